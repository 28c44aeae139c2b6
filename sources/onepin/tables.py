"""The raw tables of Onepin."""

from functools import partial

import pyarrow as pa

from meterhouse.sources._core.schema import (
    TIMESTAMP,
    Table,
    computed,
    count,
    day,
    decimal,
    dimension,
    document,
    instant,
    text,
)

from .constants import ACTIVITY, BY_LANGUAGE, SUMMARY

_table = partial(Table, "onepin", identity=("workspace_id",), owner="workspace_id")

WORKSPACE_ID = computed(
    "workspace_id", pa.string(), "Onepin's id of the workspace; changes if the account gets another workspace's key"
)
TIMEZONE = computed("timezone", pa.string(), "IANA name of the calendar for days, weeks and months")
SNAPSHOT_DATE = computed("snapshot_date", pa.date32(), "local day of the snapshot; the last one of a day stays")
PERIOD = (
    instant("period_start", "start of the period of the totals, included", field="period.start"),
    instant("period_end", "end of the period, excluded", field="period.end"),
)
COUNTS = (
    decimal("credits", "credits of the whole workspace; counted when a run settles"),
    count("characters", "characters of the whole workspace"),
    count("lines", "script lines of the whole workspace"),
    count("runs", "workflow runs that were started"),
)

USAGE_DAILY = _table(
    SUMMARY,
    "usage_daily",
    (WORKSPACE_ID, TIMEZONE, day("date", "local calendar date"), *COUNTS),
    ("workspace_id", "timezone", "date"),
    "date",
    is_utc=False,
)

USAGE_BUCKETS = _table(
    SUMMARY,
    "usage_buckets",
    (
        WORKSPACE_ID,
        computed("view", pa.string(), "weekly (from Monday) or monthly: two views of the same usage, never to be added up"),
        TIMEZONE,
        computed("date", pa.date32(), "local date on which the bucket begins"),
        computed("bucket_start", TIMESTAMP, "local midnight of that date"),
        computed("bucket_end", TIMESTAMP, "local midnight after the bucket's last day, excluded"),
        text("label", "Onepin's label of the bucket"),
        *COUNTS,
    ),
    ("workspace_id", "view", "timezone", "date"),
    "date",  # local, but the bucket's ends are in UTC
)

USAGE_SUMMARY = _table(
    SUMMARY,
    "usage_summary",
    (
        WORKSPACE_ID,
        SNAPSHOT_DATE,
        computed("range", pa.string(), "rolling window of local days: 30d, 60d or 90d; they overlap"),
        TIMEZONE,
        *PERIOD,
        # These three count the key's owner, in the owner's billing period. All others count the workspace, in the rolling
        # window. Population and period differ, so never add or compare them.
        decimal(
            "credits_used", "credits of the key's owner in their billing period, not of the workspace", field="credits.used"
        ),
        decimal(
            "credits_quota", "the key owner's quota in that period; null if unlimited", field="credits.quota", nullable=True
        ),
        decimal("credits_percent", "used share of the quota, 0 to 100", field="credits.percent", nullable=True),
        count("characters_total", "characters of the workspace", field="characters.total"),
        count("corrected_total", "words respliced; newer versions only", field="corrected.total", nullable=True),
        count("lines_total", "script lines of the workspace", field="lines.total"),
        decimal("avg_chars_per_line", "null without lines", field="lines.avg_chars_per_line", nullable=True),
        count(
            "audio_total_ms", "delivered audio of settled runs; newer versions only", field="audio.total_ms", nullable=True
        ),
        count("runs_total", "runs that were started in the window", field="runs.total"),
        count("runs_completed", "finished runs among them", field="runs.completed"),
        count("runs_failed", "failed runs among them", field="runs.failed"),
        count("runs_cancelled", "cancelled runs among them", field="runs.cancelled"),
        count("runs_running", "runs among them that were running at the request", field="runs.running"),
        count("runs_pending", "runs among them that were waiting at the request", field="runs.pending"),
        count(
            "runs_paused",
            "runs among them that were paused at the request; newer versions only",
            field="runs.paused",
            nullable=True,
        ),
        text("activity_view", "the view of the activity columns: another period than `range`", field="activity_view"),
        text("activity_bucket_unit", "day, week or month", field="activity.bucket_unit"),
        text("activity_range_label", "Onepin's label of that period", field="activity.range_label"),
        decimal("activity_credits_total", "credits of the workspace in the view's period", field="activity.total"),
        decimal("activity_credits_avg", "credits per bucket", field="activity.avg"),
        decimal("activity_peak_credits", "credits of the highest bucket", field="activity.peak.value", nullable=True),
        text("activity_peak_label", "its label", field="activity.peak.label"),
        instant("activity_peak_start", "its start", field="activity.peak.start", nullable=True),
        instant("activity_peak_end", "its end", field="activity.peak.end", nullable=True),
    ),
    ("workspace_id", "snapshot_date", "range"),
    "snapshot_date",
    is_event=True,
)

USAGE_BY_LANGUAGE = _table(
    BY_LANGUAGE,
    "usage_by_language",
    (
        WORKSPACE_ID,
        SNAPSHOT_DATE,
        computed("range", pa.string(), "30d, 60d or 90d; '' if the period is that of a view"),
        computed("activity_view", pa.string(), "daily, weekly or monthly if the period is that of a view, else ''"),
        TIMEZONE,
        *PERIOD,
        dimension("locale_code", "BCP 47 code of the language; '' for credits without one"),
        text("display_name", "its name"),
        decimal("share", "share of the workspace's usage, 0 to 1; null without a language", nullable=True),
        decimal("credits", "credits of the language"),
        count("characters", "characters of the language; null without one", nullable=True),
        count("corrected", "words respliced; newer versions only", nullable=True),
        count("lines", "script lines of the language; null without one", nullable=True),
        text("allocation_basis", "the basis on which credits are allocated to languages"),
        decimal("total_credits", "credits of all languages in the period: the same in each row", nullable=True),
        decimal("untagged_credits", "credits without a language in the period: the same in each row", nullable=True),
    ),
    ("workspace_id", "snapshot_date", "range", "activity_view", "locale_code"),
    "snapshot_date",
    is_event=True,
)

USAGE_ACTIVITY = _table(
    ACTIVITY,
    "usage_activity",
    (
        WORKSPACE_ID,
        text("id", "the event", nullable=False),
        instant("timestamp", "when it happened"),
        text("user_id", "the member who acted; null for the system", field="user.id"),
        text("user_name", "their name at the time of the request", field="user.name"),
        text("action", "workflow_run, voice_generated, template_applied, member_invited, …", nullable=False),
        text("kind", "the action in more detail"),
        text("resource_type", "type of the object of the action", field="resource.type"),
        text("resource_id", "its id", field="resource.id"),
        text("resource_name", "its name at the time of the event", field="resource.name"),
        document("metadata", "further details, as JSON"),
        text("ip", "address of the member, if recorded"),
    ),
    ("workspace_id", "id"),
    "timestamp",
    is_event=True,
)

TABLES = (USAGE_DAILY, USAGE_BUCKETS, USAGE_SUMMARY, USAGE_BY_LANGUAGE, USAGE_ACTIVITY)
