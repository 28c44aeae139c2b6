"""What Reducto documents about `GET /api/v1/usage/export`, and the values that we chose.

Source: docs.reducto.ai/reference/usage-export-api.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

BASE_URL = "https://studio.reducto.ai"
ENDPOINT = "/api/v1/usage/export"

INITIAL_DATE = "2024-01-01"
"""The documentation does not say how far back the export reaches. Reducto began business at about that time, so we expect no
usage before it; days without usage cost a few requests, once."""

LOOKBACK = "30 days"
"""The documentation does not say whether days are restated. Thirty days are what the export returns without dates, and what
its dashboard shows; they cost no more than one day: one request per table."""

LONGEST_WINDOW = timedelta(days=92)
"""The documentation states no longest window and no paging. A quarter is close to the export's default, and far below any
number of rows at which a server might cut a response."""

REQUESTS_PER_MINUTE = 60
"""Our own limit, because the documentation states none for the export. The first 60 requests go out at once."""

GROUPINGS: Mapping[str, str] = MappingProxyType(
    {
        "product": "product, for example parse or extract",
        "feature": "billed feature, as the export names it",
        "api_key": "API key that made the requests, by the label in the export",
        "file_type": "type of the files",
    }
)
"""The values of `groupBy`, which are also names of columns, with their descriptions."""

FILTERS: Mapping[str, str] = MappingProxyType(
    {"products": "product", "features": "feature", "api_keys": "apiKey", "file_types": "fileType"}
)
"""The setting of each filter, with its query parameter, which may be repeated."""
