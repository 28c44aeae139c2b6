"""The raw tables of Reducto: one for each grouping."""

import pyarrow as pa

from meterhouse.sources._core.schema import Table, computed, count, day, decimal, dimension

from .constants import ENDPOINT, GROUPINGS


def usage_by(grouping: str) -> Table:
    """The table of one grouping."""
    return Table(
        "reducto",
        ENDPOINT,
        f"usage_by_{grouping}",
        (
            computed("org_id", pa.string(), "organisation, as the response names it"),
            day("date", "day in Reducto's calendar, which we take to be UTC"),
            dimension(grouping, GROUPINGS[grouping], field="group"),
            decimal("credits", "credits consumed; null if the export has none", nullable=True),
            count("request_count", "API requests", field="requestCount"),
            computed("is_unrated", pa.bool_(), "true if the export has requests, but no or 0 credits for them"),
        ),
        ("org_id", "date", grouping),
        "date",
        identity=("org_id",),
        owner="org_id",
    )
