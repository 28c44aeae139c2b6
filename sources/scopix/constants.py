"""What Scopix documents about its usage resource, and the values that we chose where it documents nothing.

Sources: the vendor's SDK reference of `client.usage` (parameters, periods, limits), and the OpenAPI document and SDK that it
published under its former name Aionvision (paths, fields, the older paging).
"""

from collections.abc import Mapping
from datetime import timedelta

from meterhouse.sources._core.windows import Unit

BASE_URL = "https://api.scopix.ai/api/v2"

CHECK = "/usage/check"
BREAKDOWN = "/usage/breakdown"
SUMMARY = "/usage/summary"
DETAILS = "/usage/details"
BY_PERIOD = "/usage/by-period"
TOP_ENDPOINTS = "/usage/top-endpoints"
DASHBOARD = "/usage/dashboard-analytics"
PLAN = "/usage/plan"
TOKENS = "/usage/tokens/monthly"
FILE_TOKENS = "/usage/tokens/files"
CONVERSATION_TOKENS = "/usage/tokens/conversations"

REQUESTS_PER_MINUTE = 30
CHECK_REQUESTS_PER_MINUTE = 60
"""The limits of the usage endpoints and of `check`, as the SDK reference states them for every plan."""

LOOKBACK = "3 days"
"""The documentation does not mention usage that is counted late. Three days cost three requests per table of days."""

CONVERSATIONS_LOOKBACK = "30 days"
"""A conversation is listed under the day on which it began, but uses tokens for as long as it goes on."""

MAX_PAGE_SIZE = 100
LEAST_PAGE_SIZE = 2
"""Pages overlap by one row, so pages of one row would make no progress."""

MAX_TOP_ENDPOINTS = 50

SUMMARY_PERIODS = ("day", "week", "month")
DASHBOARD_PERIODS = ("week", "month", "year")
PLAN_PERIODS = ("month", "quarter", "year")

DASHBOARD_DAYS = {"week": 7, "month": 28, "year": 365}
"""The days that each period certainly covers, today included: the shortest month has 28 days."""

LONGEST_WINDOW = timedelta(days=7)
"""For events, and for tables that take one request per day: a failure halfway loses 15 seconds of requests at most."""

LONGEST_SERIES: Mapping[Unit, timedelta] = {
    "hour": timedelta(days=92),
    "day": timedelta(days=366),
    "month": timedelta(days=3660),
}
"""The window of one `by-period` request: at most about two thousand rows. The API documents no limit."""

UNLIMITED = timedelta(days=36_525)
"""For lists without date parameters: each further window would read them from the top again."""
