-- One row per fetch of a window, for a resource and an account.

{{ fetched_windows('acme') }}
