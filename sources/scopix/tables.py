"""The raw tables of Scopix: one for each method of the usage resource, and two for the dashboard, the summary and tokens."""

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

SNAPSHOT_DATE = computed("snapshot_date", pa.date32(), "the day of the request; the last run of a day wins")
PERIOD = computed("period", pa.string(), "the period of the request")
BUCKET_START = computed("bucket_start", TIMESTAMP, "start of the bucket, included")
BUCKET_END = computed("bucket_end", TIMESTAMP, "end of the bucket, excluded")
DATE = computed("date", pa.date32(), "the UTC day of the request")
API_KEY = computed("api_key_id", pa.string(), "the API key of the request; '' for all keys together")


def _snapshot(endpoint: str, name: str, *columns: Column, key: Sequence[str] = ()) -> Table:
    """A table of snapshots: rows of the day of the request, distinguished by `key`."""
    return _table(endpoint, name, (SNAPSHOT_DATE, *columns), (SNAPSHOT_DATE.name, *key), SNAPSHOT_DATE.name)


COUNTED: Sequence[Column] = (
    count("total_requests", "requests"),
    count("successful_requests", "requests that succeeded"),
    count("failed_requests", "requests that failed"),
    count("describe_count", "describe operations", nullable=True),
    count("verify_count", "verify operations; missing in newer responses", nullable=True),
    count("batch_count", "batch operations; missing in newer responses", nullable=True),
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
    constants.DETAILS,
    "usage_events",
    (
        text("id", "the event", nullable=False),
        instant("timestamp", "when the request was made"),
        dimension("operation_type", "what was done"),
        text("endpoint", "path of the request"),
        text("method", "HTTP method of the request"),
        count("status_code", "HTTP status of the response", nullable=True),
        decimal("response_time_ms", "milliseconds to the response", nullable=True),
        text("error_code", "why it failed"),
        dimension("api_key_id", "API key of the request; '' for a request without one"),
        text("provider", "provider of the model; missing in newer responses"),
        text("model", "the model; missing in newer responses"),
    ),
    ("id",),
    "timestamp",
    is_event=True,
)

USAGE_BY_PERIOD = _table(
    constants.BY_PERIOD,
    "usage_by_period",
    (
        computed("period_type", pa.string(), "length of the bucket: hour, day or month"),
        instant("bucket_start", "start of the bucket, included", field="timestamp"),
        BUCKET_END,
        API_KEY,
        decimal("value", "the amount; the API does not name its unit, we take it to be requests"),
        text("label", "the bucket's label in a chart"),
    ),
    ("period_type", "bucket_start", "api_key_id"),
    "bucket_start",
)

USAGE_DAILY = _table(constants.SUMMARY, "usage_daily", (DATE, API_KEY, *COUNTED), ("date", "api_key_id"), "date")

USAGE_SUMMARY = _snapshot(
    constants.SUMMARY,
    "usage_summary",
    PERIOD,
    instant("period_start", "start of the period covered", nullable=True),
    instant("period_end", "last moment of the period covered", nullable=True),
    *COUNTED,
    decimal("monthly_limit", "limit of the month", field="limits_monthly_limit", nullable=True),
    decimal("used_this_month", "used part of the limit", field="limits_used_this_month", nullable=True),
    decimal("remaining", "remaining part of the limit", field="limits_remaining", nullable=True),
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
    constants.BREAKDOWN,
    "usage_breakdown",
    document("current_month", "the billing period, as the API names it"),
    decimal("total_credits_used", "credits used in it", nullable=True),
    decimal("monthly_limit", "credit limit of the month", nullable=True),
    decimal("remaining_credits", "credits left", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    document("by_verification_level", "credits by level; missing in newer responses"),
    document("by_operation_type", "credits by operation; missing in newer responses"),
)

USAGE_CHECKS = _snapshot(
    constants.CHECK,
    "usage_checks",
    computed("analysis_level", pa.string(), "the level of the request"),
    computed("item_count", pa.int64(), "number of items of the request"),
    computed("content_category", pa.string(), "the category of the request; '' for none"),
    flag("can_proceed", "whether Scopix would allow the operation", nullable=False),
    decimal("current_usage", "credits used so far", nullable=True),
    decimal("monthly_limit", "credit limit of the month", nullable=True),
    decimal("required_credits", "credits that the operation would use", nullable=True),
    decimal("available_credits", "credits left", nullable=True),
    decimal("prepaid_credits", "credits bought besides the plan", nullable=True),
    instant("reset_date", "when the allowance renews", nullable=True),
    text("message", "the reason for a refusal"),
)

TOP_ENDPOINTS = _snapshot(
    constants.TOP_ENDPOINTS,
    "top_endpoints",
    computed("rank", pa.int64(), "1 for the most used endpoint"),
    computed("period_start", TIMESTAMP, "start of the calendar month covered, up to the snapshot"),
    text("endpoint", "the endpoint", nullable=False),
    count("request_count", "requests to it"),
    key=("rank",),
)

DASHBOARD_ANALYTICS = _snapshot(
    constants.DASHBOARD,
    "dashboard_analytics",
    PERIOD,
    instant("period_start", "start of the period covered", field="start_date", nullable=True),
    instant("period_end", "end of the period covered", field="end_date", nullable=True),
    count("total_chat_messages", "chat messages", nullable=True),
    count("total_files_uploaded", "files uploaded", nullable=True),
    count("total_chat_sessions", "chat sessions", nullable=True),
    decimal("avg_processing_time_ms", "mean processing time in milliseconds", nullable=True),
    decimal("success_rate", "share of requests that succeeded", nullable=True),
    count("processing_tokens", "tokens of file processing", nullable=True),
    count("chat_tokens", "tokens of chats", nullable=True),
    count("total_tokens", "both", nullable=True),
    count("current_month_chat_tokens", "chat tokens of the running month", nullable=True),
    count("max_monthly_chat_tokens", "chat token limit of the month; null for no limit", nullable=True),
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
    count("days_remaining", "days left of it", field="billing_days_remaining", nullable=True),
    instant("renewal_date", "when the plan renews", field="billing_renewal_date", nullable=True),
    text("plan_name", "the plan"),
    count("monthly_requests_limit", "requests that the plan includes; null for no limit", nullable=True),
    count("requests_used", "requests used of them", nullable=True),
    count("requests_remaining", "requests left of them", nullable=True),
    decimal("usage_percentage", "used share in percent", nullable=True),
    document("features", "the plan's features and their limits"),
    decimal("projected_monthly_requests", "requests that Scopix expects for the month", nullable=True),
    flag("will_exceed_limit", "whether Scopix expects more than the plan includes"),
    document("trending", "Scopix' view of the trend"),
    document("suggestions", "Scopix' recommendations"),
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
        text("filename", "its name"),
        *TOKENS,
        instant("created_at", "when it was uploaded"),
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
        text("title", "its title"),
        *TOKENS,
        count("message_count", "messages in it", nullable=True),
        instant("created_at", "when it began"),
    ),
    ("session_id",),
    "created_at",
    is_event=True,
)
