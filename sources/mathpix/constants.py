"""What Mathpix documents about `GET /v3/ocr-usage`, and the values that we chose.

Sources: docs.mathpix.com/reference/ocr-usage, docs.mathpix.com/reference/error-handling and the vendor's client mpxpy.
"""

from datetime import timedelta

BASE_URL = "https://api.mathpix.com"
ENDPOINT = "/v3/ocr-usage"

INITIAL_DATE = "2022-06-06"
"""The day on which Mathpix announced the usage API; we expect no older usage."""

LOOKBACK = "7 days"
"""The documentation does not say whether counts are restated, nor when asynchronous PDFs are counted. A week costs one page
per table."""

REQUESTS_PER_MINUTE = 200
"""The default limit of the conversion endpoints (docs.mathpix.com/reference/limits-and-quotas). The documentation does not
say whether usage requests count towards it; at this rate they do not disturb your conversions."""

GROUPINGS = (("usage_type",), ("request_args_hash",), ("app_id",), ("usage_type", "app_id"))
"""The dimensions that each table's requests group by. The reference states one value of `group_by`; the vendor's own
clients, mpxpy and mathpix-cli, send several."""

MAX_PAGE = 100
MAX_PER_PAGE = 1000
"""Bounds that only mpxpy states (`page` 1–100, `per_page` 1–1000): a window has at most 100,000 readable rows."""

LONGEST_WINDOW = timedelta(days=366)
"""The documentation states no longest window. A year fits into memory and keeps error messages meaningful."""
