-- One row per fetch of a window, for a resource, an account and a partition of its rows.

{{ fetched_windows('scopix') }}
