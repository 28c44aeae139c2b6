"""Every use of what dlt and httpx do not document, each with its reason; their private names are in `private`.

The project pins dlt to 1.31 because of this package. `tests/sources/_core/test_dlt_compat.py` has a test for each function
here, which fails when the library changes what the function relies on; that of `merge` is `test_history.py`.
"""
