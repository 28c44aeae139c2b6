"""The tables of Scopix: a method of the usage resource each, or two where it answers two questions."""

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

from . import constants as settings

_table = partial(Table, "scopix")

SNAPSHOT_DATE = computed("snapshot_date", pa.date32(), "the day on which it was asked; the last run of a day wins")
PERIOD = computed("period", pa.string(), "the period that was asked for")
BUCKET_START = computed("bucket_start", TIMESTAMP, "start of the bucket, included")
BUCKET_END = computed("bucket_end", TIMESTAMP, "end of the bucket, excluded")
DATE = computed("date", pa.date32(), "the UTC day that was asked for")
API_KEY = computed("api_key_id", pa.string(), "the API key that was asked about; '' for all keys together")


def _snapshot(endpoint: str, name: str, *columns: Column, key: Sequence[str] = ()) -> Table:
    """A table of the present: rows of the day on which it was asked, told apart by `key`."""
    return _table(endpoint, name, (SNAPSHOT_DATE, *columns), (SNAPSHOT_DATE.name, *key), SNAPSHOT_DATE.name)


COUNTED: Sequence[Column] = (
    count("total_requests", "requests"),
    count("successful_requests", "requests that succeeded"),
    count("failed_requests", "requests that failed"),
    count("describe_count", "describe operations", nullable=True),
    count("verify_count", "verify operations; gone from newer answers", nullable=True),
    count("batch_count", "batch operations; gone from newer answers", nullable=True),
    decimal("avg_response_time_ms", "mean response time in milliseconds", nullable=True),
    decimal("total_credits", "credits", nullable=True),
)
TOKENS: Sequence[Column] = (
    count("input_tokens", "tokens read"),
    count("output_tokens", "tokens written"),
    count("total_tokens", "both"),
)
ALL_TOKENS: Sequence[Column] = (
    count("total_input_tokens", "tokens read"),
    count("total_output_tokens", "tokens written"),
    count("total_tokens", "both"),
)

USAGE_EVENTS = _table(
    settings.DETAILS,
    "usage_events",
    (
        text("id", "the event", nullable=False),
        instant("timestamp", "when the request was made"),
        dimension("operation_type", "what was done"),
        text("endpoint", "path of the request"),
        text("method", "HTTP method of the request"),
        count("status_code", "HTTP status of the answer", nullable=True),
        decimal("response_time_ms", "milliseconds to the answer", nullable=True),
        text("error_code", "why it failed"),
        dimension("api_key_id", "API key of the request; '' where it was made without one"),
        text("provider", "whose model did it; gone from newer answers"),
        text("model", "which model did it; gone from newer answers"),
    ),
    ("id",),
    "timestamp",
    is_event=True,
)

USAGE_BY_PERIOD = _table(
    settings.BY_PERIOD,
    "usage_by_period",
    (
        computed("period_type", pa.string(), "length of the bucket: hour, day or month"),
        instant("bucket_start", "start of the bucket, included", field="timestamp"),
        BUCKET_END,
        API_KEY,
        decimal("value", "how much; the API does not say of what, it is taken to be requests"),
        text("label", "the bucket as a chart would name it"),
    ),
    ("period_type", "bucket_start", "api_key_id"),
    "bucket_start",
)

USAGE_DAILY = _table(settings.SUMMARY, "usage_daily", (DATE, API_KEY, *COUNTED), ("date", "api_key_id"), "date")

USAGE_SUMMARY = _snapshot(
    settings.SUMMARY,
    "usage_summary",
    PERIOD,
    instant("period_start", "start of the period that it covers", nullable=True),
    instant("period_end", "last moment of the period that it covers", nullable=True),
    *COUNTED,
    decimal("monthly_limit", "what the month may use", field="limits_monthly_limit", nullable=True),
    decimal("used_this_month", "what of it is used", field="limits_used_this_month", nullable=True),
    decimal("remaining", "what of it is left", field="limits_remaining", nullable=True),
    decimal("percentage_used", "used share in percent", field="limits_percentage_used", nullable=True),
    text("plan_name", "the plan"),
    count("plan_requests_limit", "requests that the plan includes", nullable=True),
    count("plan_requests_used", "requests used of them", nullable=True),
    count("plan_requests_remaining", "requests left of them", nullable=True),
    decimal("plan_usage_percentage", "used share in percent", nullable=True),
    instant("plan_renewal_date", "when the plan renews", nullable=True),
    key=("period",),
)

USAGE_BREAKDOWN = _snapshot(
    settings.BREAKDOWN,
    "usage_breakdown",
    document("current_month", "the billing period, as the API names it"),
    decimal("total_credits_used", "credits used in it", nullable=True),
    decimal("monthly_limit", "credits that the month may use", nullable=True),
    decimal("remaining_credits", "credits left", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    document("by_verification_level", "credits by level; gone from newer answers"),
    document("by_operation_type", "credits by operation; gone from newer answers"),
)

USAGE_CHECKS = _snapshot(
    settings.CHECK,
    "usage_checks",
    computed("analysis_level", pa.string(), "the level that was asked about"),
    computed("item_count", pa.int64(), "how many items were asked about"),
    computed("content_category", pa.string(), "the category that was asked about; '' for none"),
    flag("can_proceed", "whether the operation would be let through", nullable=False),
    decimal("current_usage", "credits used so far", nullable=True),
    decimal("monthly_limit", "credits that the month may use", nullable=True),
    decimal("required_credits", "credits that the operation would take", nullable=True),
    decimal("available_credits", "credits left", nullable=True),
    decimal("prepaid_credits", "credits bought beside the plan", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    text("message", "why not"),
)

TOP_ENDPOINTS = _snapshot(
    settings.TOP_ENDPOINTS,
    "top_endpoints",
    computed("rank", pa.int64(), "1 for the endpoint that was used most"),
    computed("period_start", TIMESTAMP, "start of the calendar month that it covers, up to the snapshot"),
    text("endpoint", "the endpoint", nullable=False),
    count("request_count", "requests to it"),
    key=("rank",),
)

DASHBOARD_ANALYTICS = _snapshot(
    settings.DASHBOARD,
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
    count("total_tokens", "both", nullable=True),
    count("current_month_chat_tokens", "chat tokens of the running month", nullable=True),
    count("max_monthly_chat_tokens", "chat tokens that the month may use; null for no limit", nullable=True),
    key=("period",),
)

DASHBOARD_DAILY_ACTIVITY = _table(
    settings.DASHBOARD,
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
    settings.PLAN,
    "plan_utilization",
    PERIOD,
    instant("billing_start", "start of the billing period", field="billing_start_date", nullable=True),
    instant("billing_end", "end of the billing period", field="billing_end_date", nullable=True),
    count("days_remaining", "days left of it", field="billing_days_remaining", nullable=True),
    instant("renewal_date", "when the plan renews", field="billing_renewal_date", nullable=True),
    text("plan_name", "the plan"),
    count("monthly_requests_limit", "requests that the plan includes; null for no limit", nullable=True),
    count("requests_used", "requests used of them", nullable=True),
    count("requests_remaining", "requests left of them", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    document("features", "the plan's features and their limits"),
    decimal("projected_monthly_requests", "requests that the vendor expects of the month", nullable=True),
    flag("will_exceed_limit", "whether the vendor expects more than the plan includes"),
    document("trending", "where the vendor sees usage going"),
    document("suggestions", "what the vendor recommends"),
    key=("period",),
)

TOKENS_DAILY = _table(settings.TOKENS, "tokens_daily", (DATE, *ALL_TOKENS), ("date",), "date")
TOKENS_MONTHLY = _table(
    settings.TOKENS, "tokens_monthly", (BUCKET_START, BUCKET_END, *ALL_TOKENS), ("bucket_start",), "bucket_start"
)

FILE_TOKENS = _table(
    settings.FILE_TOKENS,
    "file_tokens",
    (
        text("image_id", "the file", nullable=False),
        text("filename", "its name"),
        *TOKENS,
        instant("created_at", "when it was uploaded"),
    ),
    ("image_id",),
    "created_at",
    is_event=True,
)

CONVERSATION_TOKENS = _table(
    settings.CONVERSATION_TOKENS,
    "conversation_tokens",
    (
        text("session_id", "the conversation", nullable=False),
        text("title", "its title"),
        *TOKENS,
        count("message_count", "messages in it", nullable=True),
        instant("created_at", "when it began"),
    ),
    ("session_id",),
    "created_at",
    is_event=True,
)
