"""The raw tables of Scopix: one for each method of the usage resource, or two if its responses have two kinds of rows."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from meterhouse.sources._core.schema import (
    TIMESTAMP,
    Column,
    Table,
    computed,
    count,
    day,
    decimal,
    dimension,
    document,
    flag,
    instant,
    text,
)

from . import constants

_table = partial(Table, "scopix")

SNAPSHOT_DATE = computed("snapshot_date", pa.date32(), "day of the request; the last run of a day replaces the earlier ones")
PERIOD = computed("period", pa.string(), "the requested period")
BUCKET_START = computed("bucket_start", TIMESTAMP, "start of the bucket, included")
BUCKET_END = computed("bucket_end", TIMESTAMP, "end of the bucket, excluded")
DATE = computed("date", pa.date32(), "the requested day, in UTC")
API_KEY = computed("api_key_id", pa.string(), "the requested API key; '' for all keys together")


def _snapshot(endpoint: str, name: str, *columns: Column, key: Sequence[str] = ()) -> Table:
    """A snapshot table: one set of rows per day, with `key` as the key within a day."""
    return _table(endpoint, name, (SNAPSHOT_DATE, *columns), (SNAPSHOT_DATE.name, *key), SNAPSHOT_DATE.name)


COUNTED: Sequence[Column] = (
    count("total_requests", "number of requests"),
    count("successful_requests", "requests that succeeded"),
    count("failed_requests", "requests that failed"),
    count("describe_count", "describe operations", nullable=True),
    count("verify_count", "verify operations; newer responses lack it", nullable=True),
    count("batch_count", "batch operations; newer responses lack it", nullable=True),
    decimal("avg_response_time_ms", "mean response time in milliseconds", nullable=True),
    decimal("total_credits", "credits", nullable=True),
)
TOKENS: Sequence[Column] = (
    count("input_tokens", "input tokens"),
    count("output_tokens", "output tokens"),
    count("total_tokens", "input and output tokens"),
)
ALL_TOKENS: Sequence[Column] = (
    count("total_input_tokens", "input tokens"),
    count("total_output_tokens", "output tokens"),
    count("total_tokens", "input and output tokens"),
)

USAGE_EVENTS = _table(
    constants.DETAILS,
    "usage_events",
    (
        text("id", "the event", nullable=False),
        instant("timestamp", "when the request was made"),
        dimension("operation_type", "kind of operation"),
        text("endpoint", "path of the request"),
        text("method", "HTTP method of the request"),
        count("status_code", "HTTP status of the response", nullable=True),
        decimal("response_time_ms", "milliseconds until the response", nullable=True),
        text("error_code", "reason of a failure"),
        dimension("api_key_id", "API key of the request; '' for a request without one"),
        text("provider", "provider of the model; newer responses lack it"),
        text("model", "the model; newer responses lack it"),
    ),
    ("id",),
    "timestamp",
    is_event=True,
    identity=("api_key_id",),
)

USAGE_BY_PERIOD = _table(
    constants.BY_PERIOD,
    "usage_by_period",
    (
        computed("period_type", pa.string(), "length of the bucket: hour, day or month"),
        instant("bucket_start", "start of the bucket, included", field="timestamp"),
        BUCKET_END,
        API_KEY,
        decimal("value", "amount; the API documents no unit, so the models take it as requests"),
        text("label", "name of the bucket for a chart"),
    ),
    ("period_type", "bucket_start", "api_key_id"),
    "bucket_start",
)

USAGE_DAILY = _table(constants.SUMMARY, "usage_daily", (DATE, API_KEY, *COUNTED), ("date", "api_key_id"), "date")

USAGE_SUMMARY = _snapshot(
    constants.SUMMARY,
    "usage_summary",
    PERIOD,
    instant("period_start", "start of the period that it covers", nullable=True),
    instant("period_end", "last moment of the period that it covers", nullable=True),
    *COUNTED,
    decimal("monthly_limit", "allowance of the month", field="limits_monthly_limit", nullable=True),
    decimal("used_this_month", "used part of the allowance", field="limits_used_this_month", nullable=True),
    decimal("remaining", "rest of the allowance", field="limits_remaining", nullable=True),
    decimal("percentage_used", "used share in percent", field="limits_percentage_used", nullable=True),
    text("plan_name", "the plan"),
    count("plan_requests_limit", "requests that the plan includes", nullable=True),
    count("plan_requests_used", "included requests that are used", nullable=True),
    count("plan_requests_remaining", "included requests that are left", nullable=True),
    decimal("plan_usage_percentage", "used share in percent", nullable=True),
    instant("plan_renewal_date", "when the plan renews", nullable=True),
    key=("period",),
)

USAGE_BREAKDOWN = _snapshot(
    constants.BREAKDOWN,
    "usage_breakdown",
    document("current_month", "the billing period, as the API names it"),
    decimal("total_credits_used", "credits used in the billing period", nullable=True),
    decimal("monthly_limit", "credits that the month includes", nullable=True),
    decimal("remaining_credits", "credits left", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    document("by_verification_level", "credits by level; newer responses lack it"),
    document("by_operation_type", "credits by operation; newer responses lack it"),
)

USAGE_CHECKS = _snapshot(
    constants.CHECK,
    "usage_checks",
    computed("analysis_level", pa.string(), "level of the checked operation"),
    computed("item_count", pa.int64(), "number of items of the checked operation"),
    computed("content_category", pa.string(), "category of the checked operation; '' for none"),
    flag("can_proceed", "whether Scopix would allow the operation", nullable=False),
    decimal("current_usage", "credits used so far", nullable=True),
    decimal("monthly_limit", "credits that the month includes", nullable=True),
    decimal("required_credits", "credits that the operation needs", nullable=True),
    decimal("available_credits", "credits left", nullable=True),
    decimal("prepaid_credits", "credits bought in addition to the plan", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    text("message", "reason of a refusal"),
)

TOP_ENDPOINTS = _snapshot(
    constants.TOP_ENDPOINTS,
    "top_endpoints",
    computed("rank", pa.int64(), "1 for the endpoint with most requests"),
    computed("period_start", TIMESTAMP, "start of the calendar month that it covers, up to the snapshot"),
    text("endpoint", "the endpoint", nullable=False),
    count("request_count", "requests to the endpoint"),
    key=("rank",),
)

DASHBOARD_ANALYTICS = _snapshot(
    constants.DASHBOARD,
    "dashboard_analytics",
    PERIOD,
    instant("period_start", "start of the period that it covers", field="start_date", nullable=True),
    instant("period_end", "end of the period that it covers", field="end_date", nullable=True),
    count("total_chat_messages", "chat messages", nullable=True),
    count("total_files_uploaded", "files uploaded", nullable=True),
    count("total_chat_sessions", "chat sessions", nullable=True),
    decimal("avg_processing_time_ms", "mean processing time in milliseconds", nullable=True),
    decimal("success_rate", "share of requests that succeeded", nullable=True),
    count("processing_tokens", "tokens of file processing", nullable=True),
    count("chat_tokens", "tokens of chats", nullable=True),
    count("total_tokens", "processing and chat tokens", nullable=True),
    count("current_month_chat_tokens", "chat tokens of the running month", nullable=True),
    count("max_monthly_chat_tokens", "chat tokens that the month includes; null for no limit", nullable=True),
    key=("period",),
)

DASHBOARD_DAILY_ACTIVITY = _table(
    constants.DASHBOARD,
    "dashboard_daily_activity",
    (
        day("date", "the day"),
        count("files_uploaded", "files uploaded"),
        count("chat_messages", "chat messages"),
    ),
    ("date",),
    "date",
)

PLAN_UTILIZATION = _snapshot(
    constants.PLAN,
    "plan_utilization",
    PERIOD,
    instant("billing_start", "start of the billing period", field="billing_start_date", nullable=True),
    instant("billing_end", "end of the billing period", field="billing_end_date", nullable=True),
    count("days_remaining", "days that are left in the billing period", field="billing_days_remaining", nullable=True),
    instant("renewal_date", "when the plan renews", field="billing_renewal_date", nullable=True),
    text("plan_name", "the plan"),
    count("monthly_requests_limit", "requests that the plan includes; null for no limit", nullable=True),
    count("requests_used", "included requests that are used", nullable=True),
    count("requests_remaining", "included requests that are left", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    document("features", "the plan's features and their limits"),
    decimal("projected_monthly_requests", "the vendor's forecast of the month's requests", nullable=True),
    flag("will_exceed_limit", "whether the forecast exceeds the plan"),
    document("trending", "the vendor's view of the trend"),
    document("suggestions", "the vendor's recommendations"),
    key=("period",),
)

TOKENS_DAILY = _table(constants.TOKENS, "tokens_daily", (DATE, *ALL_TOKENS), ("date",), "date")
TOKENS_MONTHLY = _table(
    constants.TOKENS, "tokens_monthly", (BUCKET_START, BUCKET_END, *ALL_TOKENS), ("bucket_start",), "bucket_start"
)

FILE_TOKENS = _table(
    constants.FILE_TOKENS,
    "file_tokens",
    (
        text("image_id", "the file", nullable=False),
        text("filename", "name of the file"),
        *TOKENS,
        instant("created_at", "when the file was uploaded"),
    ),
    ("image_id",),
    "created_at",
    is_event=True,
)

CONVERSATION_TOKENS = _table(
    constants.CONVERSATION_TOKENS,
    "conversation_tokens",
    (
        text("session_id", "the conversation", nullable=False),
        text("title", "title of the conversation"),
        *TOKENS,
        count("message_count", "messages in the conversation", nullable=True),
        instant("created_at", "when the conversation began"),
    ),
    ("session_id",),
    "created_at",
    is_event=True,
)
