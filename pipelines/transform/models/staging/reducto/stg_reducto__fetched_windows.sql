-- One row per fetch of a window, for a resource, an account and an organisation.

{{ fetched_windows('reducto') }}
