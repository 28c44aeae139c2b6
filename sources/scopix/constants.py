"""What Scopix documents about its usage resource, and what of it we rely on.

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
"""Nothing is said about usage that is counted late. Three days cost three requests for each table of days."""

CONVERSATIONS_LOOKBACK = "30 days"
"""A conversation is listed by the day on which it began, but costs tokens for as long as it goes on."""

MAX_PAGE_SIZE = 100
LEAST_PAGE_SIZE = 2
"""Pages overlap by one row, so that a page of one row would never get anywhere."""

MAX_TOP_ENDPOINTS = 50

SUMMARY_PERIODS = ("day", "week", "month")
DASHBOARD_PERIODS = ("week", "month", "year")
PLAN_PERIODS = ("month", "quarter", "year")

DASHBOARD_DAYS = {"week": 7, "month": 28, "year": 365}
"""How far back each period surely reaches, the present day included: the shortest month has 28 days."""

LONGEST_WINDOW = timedelta(days=7)
"""Of the tables that take a request a day, and of events: what a failure half-way through loses is a quarter of a minute."""

LONGEST_SERIES: Mapping[Unit, timedelta] = {
    "hour": timedelta(days=92),
    "day": timedelta(days=366),
    "month": timedelta(days=3660),
}
"""Of one answer of `by-period`: about two thousand rows at most. The API documents no limit."""

WHOLE = timedelta(days=36_525)
"""For lists that cannot be asked for by date: every further window would read them from the top again."""
