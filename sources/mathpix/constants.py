"""What Mathpix documents about `GET /v3/ocr-usage`, and what of it we rely on.

Sources: docs.mathpix.com/reference/ocr-usage, docs.mathpix.com/reference/error-handling and the vendor's client mpxpy.
"""

from datetime import timedelta

import pyarrow as pa

from meterhouse.sources._core.schema import TIMESTAMP, Column, computed, count, dimension, instant

BASE_URL = "https://api.mathpix.com"
ENDPOINT = "/v3/ocr-usage"

INITIAL_DATE = "2022-06-06"
"""The day on which the usage API was announced; there is nothing older to ask for."""

LOOKBACK = "7 days"
"""Whether counts are restated is not documented. Asynchronous PDFs are counted at a time that is not stated, so that a week
is asked for again: it costs one page a table."""

REQUESTS_PER_MINUTE = 200
"""The default limit that docs.mathpix.com/reference/limits-and-quotas states for the conversion endpoints. Whether usage
requests count towards it is not stated; asking no faster than this keeps them out of your conversions' way."""

GROUPINGS = ("usage_type", "request_args_hash", "app_id")

MAX_PAGE = 100
MAX_PER_PAGE = 1000
"""Bounds that only mpxpy states (`page` 1–100, `per_page` 1–1000): no window has more than 100,000 rows to give."""

LONGEST_WINDOW = timedelta(days=366)
"""No longest window is documented. A year keeps an answer in memory and an error message meaningful."""

COLUMNS: tuple[Column, ...] = (
    computed("timespan", pa.string(), "length of the bucket: hour, day, week or month"),
    instant("bucket_start", "start of the bucket, included", field="from_date"),
    computed("bucket_end", TIMESTAMP, "end of the bucket, excluded; the API does not name it"),
    dimension("app_id", "application, where the answer tells it"),
    dimension("group_id", "group of the application, where the answer tells it"),
    dimension("usage_type", "service kind, for example image, image-async, pdf-page, strokes-session"),
    dimension("request_args_hash", "hash of the request arguments: tells configurations apart, not documents"),
    count("count", "how many, in the unit of the usage type"),
)

KEY = ("timespan", "bucket_start", "app_id", "group_id", "usage_type", "request_args_hash")
