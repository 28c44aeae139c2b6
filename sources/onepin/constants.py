"""What Onepin documents about `/api/v1/usage/*`, and what of it we rely on.

Sources: the API reference (Usage Summary, Usage By Language, Usage Activity) and the vendor's client `onepin` 0.16.1.
"""

from typing import Literal, get_args

import pyarrow as pa

from meterhouse.sources._core.schema import (
    TIMESTAMP,
    Column,
    computed,
    count,
    day,
    decimal,
    dimension,
    document,
    instant,
    text,
)
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
"""Local calendar days that can be asked for. Whether today is the last of them is not stated, so nothing relies on it."""

VIEW_OF: dict[Range, View] = {"30d": "monthly", "60d": "daily", "90d": "weekly"}
"""Each range is asked for together with one view, so that three requests bring every range and every view."""

BUCKET_VIEWS: dict[View, tuple[Range, Unit]] = {"weekly": ("90d", "week"), "monthly": ("30d", "month")}
"""The views that become `usage_buckets`, with the range whose answer holds them. The daily view is seven days of `daily`."""

BUCKETS_IN_REACH = 13
"""Twelve weeks and twelve months are documented; one more is accepted in case the running one is not among them."""

INITIAL_DATE = "2020-01-01"
"""Earlier than anything that can be asked for: by default a first run loads all that there is."""

LOOKBACK = "7 days"
"""How much of the activity feed each run reads again: it states nothing about late events. All else is read whole."""

MAX_PER_PAGE = 100
REQUESTS_PER_MINUTE = 1000
"""The limit is one of the key (`rate_limit_per_min`), and no general one is published: this is the reference's example."""

WORKSPACE_ID = computed("workspace_id", pa.string(), "the workspace, by the vendor's id: a key may be changed to another's")
TIMEZONE = computed("timezone", pa.string(), "IANA name of the calendar that days, weeks and months are cut by")
SNAPSHOT_DATE = computed("snapshot_date", pa.date32(), "local day on which the snapshot was taken; the day's last one stays")
PERIOD = (
    instant("period_start", "start of the period that the totals are of, included", field="period.start"),
    instant("period_end", "end of the period, excluded", field="period.end"),
)
COUNTS = (
    decimal("credits", "credits of the whole workspace; they arrive when a run settles"),
    count("characters", "characters of the whole workspace"),
    count("lines", "script lines of the whole workspace"),
    count("runs", "workflow runs that were started"),
)

DAILY_COLUMNS: tuple[Column, ...] = (WORKSPACE_ID, TIMEZONE, day("date", "local calendar date"), *COUNTS)
DAILY_KEY = ("workspace_id", "timezone", "date")

BUCKET_COLUMNS: tuple[Column, ...] = (
    WORKSPACE_ID,
    computed("view", pa.string(), "weekly (weeks begin on Monday) or monthly: the same usage twice, never to be added up"),
    TIMEZONE,
    computed("date", pa.date32(), "local date on which the bucket begins"),
    computed("bucket_start", TIMESTAMP, "local midnight of that date"),
    computed("bucket_end", TIMESTAMP, "local midnight after the bucket's last day, excluded"),
    text("label", "the vendor's label of the bucket"),
    *COUNTS,
)
BUCKET_KEY = ("workspace_id", "view", "timezone", "date")

SUMMARY_COLUMNS: tuple[Column, ...] = (
    WORKSPACE_ID,
    SNAPSHOT_DATE,
    computed("range", pa.string(), "rolling window of local days: 30d, 60d or 90d; they overlap"),
    TIMEZONE,
    *PERIOD,
    # Of whoever owns the key, in their own billing period. All that follows is of the workspace, in the rolling window:
    # two populations and two times, so that neither is a part of the other and they are never added or compared.
    decimal(
        "credits_used", "credits of the key's owner in their billing period: not of the workspace", field="credits.used"
    ),
    decimal(
        "credits_quota", "what the key's owner may use in it; null where unlimited", field="credits.quota", nullable=True
    ),
    decimal("credits_percent", "used of quota, 0 to 100", field="credits.percent", nullable=True),
    count("characters_total", "characters of the workspace", field="characters.total"),
    count("corrected_total", "words respliced; newer versions only", field="corrected.total", nullable=True),
    count("lines_total", "script lines of the workspace", field="lines.total"),
    decimal("avg_chars_per_line", "null without lines", field="lines.avg_chars_per_line", nullable=True),
    count("audio_total_ms", "delivered audio of settled runs; newer versions only", field="audio.total_ms", nullable=True),
    count("runs_total", "runs that were started in the window", field="runs.total"),
    count("runs_completed", "of these, finished", field="runs.completed"),
    count("runs_failed", "of these, failed", field="runs.failed"),
    count("runs_cancelled", "of these, cancelled", field="runs.cancelled"),
    count("runs_running", "of these, at work when asked", field="runs.running"),
    count("runs_pending", "of these, waiting when asked", field="runs.pending"),
    count("runs_paused", "of these, paused when asked; newer versions only", field="runs.paused", nullable=True),
    text("activity_view", "the view that the activity columns are of: another period than `range`", field="activity_view"),
    text("activity_bucket_unit", "day, week or month", field="activity.bucket_unit"),
    text("activity_range_label", "the vendor's label of that period", field="activity.range_label"),
    decimal("activity_credits_total", "credits of the workspace in the view's period", field="activity.total"),
    decimal("activity_credits_avg", "credits a bucket", field="activity.avg"),
    decimal("activity_peak_credits", "credits of the highest bucket", field="activity.peak.value", nullable=True),
    text("activity_peak_label", "its label", field="activity.peak.label"),
    instant("activity_peak_start", "its start", field="activity.peak.start", nullable=True),
    instant("activity_peak_end", "its end", field="activity.peak.end", nullable=True),
)
SUMMARY_KEY = ("workspace_id", "snapshot_date", "range")

LANGUAGE_COLUMNS: tuple[Column, ...] = (
    WORKSPACE_ID,
    SNAPSHOT_DATE,
    computed("range", pa.string(), "30d, 60d or 90d; '' where the period is a view's"),
    computed("activity_view", pa.string(), "daily, weekly or monthly where the period is a view's, else ''"),
    TIMEZONE,
    *PERIOD,
    dimension("locale_code", "BCP 47 code of the language; '' for the credits of none"),
    text("display_name", "its name"),
    decimal("share", "share of the workspace's usage, 0 to 1; null of no language", nullable=True),
    decimal("credits", "credits of the language"),
    count("characters", "characters of the language; null of no language", nullable=True),
    count("corrected", "words respliced; newer versions only", nullable=True),
    count("lines", "script lines of the language; null of no language", nullable=True),
    text("allocation_basis", "by what credits are divided among languages"),
    decimal("total_credits", "credits of all languages in the period: the same in each row", nullable=True),
    decimal("untagged_credits", "credits of no language in the period: the same in each row", nullable=True),
)
LANGUAGE_KEY = ("workspace_id", "snapshot_date", "range", "activity_view", "locale_code")

ACTIVITY_COLUMNS: tuple[Column, ...] = (
    WORKSPACE_ID,
    text("id", "the event", nullable=False),
    instant("timestamp", "when it happened"),
    text("user_id", "who did it; null for the system", field="user.id"),
    text("user_name", "their name at the time of asking", field="user.name"),
    text("action", "workflow_run, voice_generated, template_applied, member_invited, …", nullable=False),
    text("kind", "more precisely"),
    text("resource_type", "what it was done to", field="resource.type"),
    text("resource_id", "its id", field="resource.id"),
    text("resource_name", "its name at the time of the event", field="resource.name"),
    document("metadata", "further details, as JSON"),
    text("ip", "address of the actor, where it was recorded"),
)
ACTIVITY_KEY = ("workspace_id", "id")
