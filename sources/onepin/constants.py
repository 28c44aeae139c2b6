"""What Onepin documents about `/api/v1/usage/*`, and the values that we chose.

Sources: the API reference (Usage Summary, Usage By Language, Usage Activity) and the vendor's client `onepin` 0.16.1.
"""

from typing import Literal, get_args

from meterhouse.sources._core.windows import Unit

BASE_URL = "https://api.onepin.ai"
SUMMARY = "/api/v1/usage/summary"
BY_LANGUAGE = "/api/v1/usage/by-language"
ACTIVITY = "/api/v1/usage/activity"
WHOAMI = "/api/v1/auth/whoami"

Range = Literal["30d", "60d", "90d"]
View = Literal["daily", "weekly", "monthly"]
Action = Literal[
    "workflow_run", "voice_generated", "template_applied", "member_invited", "api_key_created", "settings_changed"
]
RANGES: tuple[Range, ...] = get_args(Range)
VIEWS: tuple[View, ...] = get_args(View)
ACTIONS: tuple[Action, ...] = get_args(Action)

LONGEST_RANGE: Range = "90d"
DAYS_IN_REACH = 90
"""Local calendar days that the API returns. The documentation does not say whether today is the last of them, so nothing
here relies on it."""

VIEW_OF: dict[Range, View] = {"30d": "monthly", "60d": "daily", "90d": "weekly"}
"""The view that is requested together with each range, so that three requests return every range and every view."""

BUCKET_VIEWS: dict[View, tuple[Range, Unit]] = {"weekly": ("90d", "week"), "monthly": ("30d", "month")}
"""The views in `usage_buckets`, with the range whose response has them. The daily view has only seven of the days in
`daily`."""

BUCKETS_IN_REACH = 13
"""The documentation states twelve weeks and twelve months. One more is accepted, because the running one may not be among
the twelve."""

INITIAL_DATE = "2020-01-01"
"""Earlier than any usage that the API returns, so that a first run loads all of it."""

LOOKBACK = "7 days"
"""How much of the activity feed each run requests again: the documentation says nothing about late events. The other tables
are always read whole."""

MAX_PER_PAGE = 100
REQUESTS_PER_MINUTE = 1000
"""The example in the reference: each key has its own limit (`rate_limit_per_min`), and Onepin publishes no general one."""
