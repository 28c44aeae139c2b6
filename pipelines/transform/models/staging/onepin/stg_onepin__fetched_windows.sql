-- One row per fetch of a window, for a resource, an account and a part of its rows.

{{ fetched_windows('onepin') }}
