"""What Reducto documents about `GET /api/v1/usage/export`, and what of it we rely on.

Source: docs.reducto.ai/reference/usage-export-api.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

import pyarrow as pa

from meterhouse.sources._core.schema import Table, computed, count, day, decimal, dimension

BASE_URL = "https://studio.reducto.ai"
ENDPOINT = "/api/v1/usage/export"

INITIAL_DATE = "2024-01-01"
"""How far back the export reaches is not documented. Reducto has been in business since about that time, so nothing is
expected to lie before it; days without usage cost a few requests, once."""

LOOKBACK = "30 days"
"""Whether days are restated is not documented. Thirty days are what the export itself answers when no dates are given, and
what its dashboard shows; they cost no more than one day does, one request a table."""

LONGEST_WINDOW = timedelta(days=92)
"""No longest window and no paging are documented. A quarter is close to what the export answers by default, and keeps an
answer far below any number of rows that a server might cut at."""

REQUESTS_PER_MINUTE = 60
"""No limit is documented for the export, so this is ours: one request a second, the first minute's at once."""

GROUPINGS: Mapping[str, str] = MappingProxyType(
    {
        "product": "product, for example parse or extract",
        "feature": "billed feature, as the export names it",
        "api_key": "API key that made the requests, by whatever label the export shows",
        "file_type": "type of the files",
    }
)
"""What `groupBy` takes, which is also the name of the column; and what it means."""

FILTERS: Mapping[str, str] = MappingProxyType(
    {"products": "product", "features": "feature", "api_keys": "apiKey", "file_types": "fileType"}
)
"""Each filter's setting, and its parameter, which may be repeated."""


def usage_by(grouping: str) -> Table:
    """The table of one grouping."""
    return Table(
        "reducto",
        ENDPOINT,
        f"usage_by_{grouping}",
        (
            computed("org_id", pa.string(), "organisation, as the answer names it"),
            day("date", "day on Reducto's calendar, which is taken to be UTC"),
            dimension(grouping, GROUPINGS[grouping], field="group"),
            decimal("credits", "credits consumed; null where the export shows none", nullable=True),
            count("request_count", "API requests", field="requestCount"),
            computed("is_unrated", pa.bool_(), "requests were made, and the export shows no or 0 credits for them"),
        ),
        ("org_id", "date", grouping),
        "date",
    )
