"""The raw tables of Acme."""

from meterhouse.sources._core.schema import Table, count, day, dimension

from .constants import ENDPOINT

USAGE_DAILY = Table(
    "acme",
    ENDPOINT,
    "usage_daily",
    (
        day("date", "day in UTC"),
        dimension("api_key", "name of the API key"),
        count("requests", "number of requests"),
    ),
    ("date", "api_key"),
    "date",
)
