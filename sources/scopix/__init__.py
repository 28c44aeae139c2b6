"""Scopix usage: a table for each method of the vendor's usage resource."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.history import COMPLETE
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources._core.windows import floor, utc_now

from . import constants, reader, tables
from .client import connect

Slices = Sequence[tuple[Plan, Mapping[str, str]]]
"""The partitions of a table in one account: the plan and the fixed columns of each."""

Estimate = Callable[..., None]
"""Adds the requests of a partition to the estimate; see `reader.estimate_windows`."""


@dlt.source(section="scopix")
def scopix_source(
    api_key: dlt.TSecretStrValue | None = None,
    tenant_id: str = "",
    base_url: str = constants.BASE_URL,
    initial_date: str = "",
    lookback: str = constants.LOOKBACK,
    conversations_lookback: str = constants.CONVERSATIONS_LOOKBACK,
    accounts: Any = None,
    api_key_ids: Any = None,
    operation_types: Any = None,
    summary_periods: Any = "month",
    dashboard_periods: Any = "week,month,year",
    plan_periods: Any = "month",
    include_projections: bool = True,  # noqa: FBT001, FBT002 - dlt passes configuration by name
    top_endpoints: int = constants.MAX_TOP_ENDPOINTS,
    analysis_level: str = "standard",
    item_count: int = 1,
    content_category: str = "",
    page_size: int = constants.MAX_PAGE_SIZE,
    requests_per_minute: int = constants.REQUESTS_PER_MINUTE,
    check_requests_per_minute: int = constants.CHECK_REQUESTS_PER_MINUTE,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,  # noqa: FBT001, FBT002 - as above
    history: str = COMPLETE,
    history_retention: str | None = None,
    observer: Observer | None = None,
) -> Iterator[DltResource]:
    """Fourteen tables. Events, days and periods are views of the same usage, which must not be added up.

    Args:
        api_key: sent as `Authorization: Bearer`; it needs the permission to view usage.
        tenant_id: sent as `X-Tenant-ID`, for a key that sees several tenants.
        base_url: the address of the API, with its version.
        initial_date: where the first run begins; by default the first day of the previous month.
        lookback: how much of the loaded time each run requests again.
        conversations_lookback: the same for conversations, which use tokens for as long as they go on.
        accounts: several keys, each under a name of your choice; see the README.
        api_key_ids: loads only the usage of these API keys, in the tables that distinguish keys: events, days and periods.
        operation_types: loads only events of these operations.
        summary_periods: snapshots of the summary: day, week, month.
        dashboard_periods: snapshots of the dashboard: week, month, year.
        plan_periods: snapshots of the plan: month, quarter, year.
        include_projections: whether a snapshot of the plan has the vendor's own forecast.
        top_endpoints: how many endpoints a snapshot has, those with most requests first; 1 to 50.
        analysis_level: the operation that `check` asks about, with `item_count` and `content_category`.
        item_count: see `analysis_level`.
        content_category: see `analysis_level`.
        page_size: rows per page, 2 to 100.
        requests_per_minute: the common limit of all endpoints but `check`.
        check_requests_per_minute: the limit of `check`.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of the backfill, excluded; now by default.
        full_refresh: ignores the cursors and begins at `initial_date` again.
        history: which replaced rows go to `<table>__history`: `complete`, those whose bucket had ended, or `all`.
        history_retention: how long they stay there, such as `400 days`; for ever by default.
        observer: receives progress and failures; by default a failure ends the pipeline's extract step.

    Raises:
        ConfigurationError: a setting is wrong; NotConfigured if no credentials are set.
    """
    source = SourceBuilder(
        provider="scopix",
        base_url=base_url,
        # Two billing months, of which one is complete, load in minutes; years take hours.
        initial_date=initial_date or floor(utc_now(), "month").subtract(months=1),
        lookback=lookback,
        requests_per_minute=requests_per_minute,
        accounts=accounts,
        since=since,
        until=until,
        full_refresh=full_refresh,
        history=history,
        history_retention=history_retention,
        observer=observer,
    )
    page_size = source.number("page_size", page_size, least=constants.LEAST_PAGE_SIZE, most=constants.MAX_PAGE_SIZE)
    limit = source.number("top_endpoints", top_endpoints, most=constants.MAX_TOP_ENDPOINTS)
    operation = {
        "analysis_level": analysis_level,
        "item_count": source.number("item_count", item_count),
        "content_category": content_category,
    }
    summaries = source.choices("summary_periods", summary_periods, constants.SUMMARY_PERIODS)
    dashboards = source.choices("dashboard_periods", dashboard_periods, constants.DASHBOARD_PERIODS)
    plans = source.choices("plan_periods", plan_periods, constants.PLAN_PERIODS)
    operations = source.names("operation_types", operation_types)

    daily = source.plan("day", longest=constants.LONGEST_WINDOW)
    snapshot = source.plan("day", longest=constants.LONGEST_WINDOW, reach=1)
    activity = source.plan("day", longest=constants.UNLIMITED, reach=constants.DASHBOARD_DAYS["year"])
    events = source.plan("hour", longest=constants.LONGEST_WINDOW)
    files = source.plan("hour", longest=constants.UNLIMITED)
    conversations_span = source.duration("conversations_lookback", conversations_lookback)
    conversations = source.plan("hour", longest=constants.UNLIMITED, lookback=conversations_span)
    series = {
        unit: plan
        for unit, longest in constants.LONGEST_SERIES.items()
        if (plan := source.plan_of_whole_buckets(unit, longest=longest)) is not None
    }

    check_limit = source.number("check_requests_per_minute", check_requests_per_minute)
    resolved = source.resolve_accounts(
        {"api_key": api_key}, {"tenant_id": tenant_id, "api_key_ids": api_key_ids}, distinguished_by=["tenant_id"]
    )
    clients = connect(source, resolved, check_limit)
    tenants = {account.name: str(account.settings["tenant_id"] or "") for account in resolved}
    keys = {account.name: _key_ids(source, account) for account in resolved}

    def resource(
        table: Table, read: Callable[..., FetchResult], slices: Slices | Callable[[str], Slices], estimate: Estimate | None
    ) -> DltResource:
        partitions = [
            Partition(
                account,
                plan,
                partial(read, client, **columns),
                columns,
                estimate=partial(estimate, client, table=table) if estimate else None,
                identify=partial(reader.identify, client, tenant_id=tenants[account]),
                identified_by=tables.USAGE_EVENTS.name,
            )
            for account, client in clients.items()
            for plan, columns in (slices(account) if callable(slices) else slices)
        ]
        return source.resource(table, partitions)

    def event_slices(account: str) -> Slices:
        by_key = [{"api_key_id": key} for key in keys[account]] or [{}]
        by_operation = [{"operation_type": name} for name in operations] or [{}]
        return [(events, key | operation) for key in by_key for operation in by_operation]

    def series_slices(account: str) -> Slices:
        return [
            (plan, {"period_type": unit, "api_key_id": key})
            for unit, plan in series.items()
            for key in keys[account] or ("",)
        ]

    def key_slices(account: str) -> Slices:
        return [(daily, {"api_key_id": key}) for key in keys[account] or ("",)]

    def period_slices(periods: Sequence[str]) -> Slices:
        return [(snapshot, {"period": period}) for period in periods]

    read_events = partial(reader.read_events, page_size=page_size)
    event_filters = {account: slices[0][1] if len(slices := event_slices(account)) == 1 else {} for account in clients}
    event_pages = partial(reader.estimate_events, page_size=page_size, filters=event_filters)
    first_starts = {unit: floor(plan.initial_date, unit) for unit, plan in series.items()}
    read_by_period = partial(reader.read_by_period, first_starts=first_starts)
    read_plan = partial(reader.read_plan, include_projections=include_projections)
    read_files = partial(reader.read_files, page_size=page_size)
    read_conversations = partial(reader.read_conversations, page_size=page_size)
    months: Slices = [(series["month"], {})] if "month" in series else []
    per_window = partial(reader.estimate_windows, request_unit=None)
    per_day = partial(reader.estimate_windows, request_unit="day")
    per_month = partial(reader.estimate_windows, request_unit="month")

    yield resource(tables.USAGE_EVENTS, read_events, event_slices, event_pages)
    yield resource(tables.USAGE_BY_PERIOD, read_by_period, series_slices, per_window)
    yield resource(tables.USAGE_DAILY, reader.read_usage_daily, key_slices, per_day)
    yield resource(tables.USAGE_SUMMARY, reader.read_summary, period_slices(summaries), per_window)
    yield resource(tables.USAGE_BREAKDOWN, reader.read_breakdown, [(snapshot, {})], per_window)
    # `check` has a rate limit of its own, and the days of the dashboard share the responses of its totals.
    yield resource(tables.USAGE_CHECKS, partial(reader.read_check, operation=operation), [(snapshot, {})], None)
    yield resource(tables.TOP_ENDPOINTS, partial(reader.read_top_endpoints, limit=limit), [(snapshot, {})], per_window)
    yield resource(tables.DASHBOARD_ANALYTICS, reader.read_dashboard, period_slices(dashboards), per_window)
    yield resource(tables.DASHBOARD_DAILY_ACTIVITY, reader.read_daily_activity, [(activity, {})], None)
    yield resource(tables.PLAN_UTILIZATION, read_plan, period_slices(plans), per_window)
    yield resource(tables.TOKENS_DAILY, reader.read_tokens_daily, [(daily, {})], per_day)
    yield resource(tables.TOKENS_MONTHLY, reader.read_tokens_monthly, months, per_month)
    yield resource(tables.FILE_TOKENS, read_files, [(files, {})], per_window)
    yield resource(tables.CONVERSATION_TOKENS, read_conversations, [(conversations, {})], per_window)
    yield credentials_check({account: partial(client.check_credentials, operation) for account, client in clients.items()})


def _key_ids(source: SourceBuilder, account: Account) -> tuple[str, ...]:
    """The ids of the API keys whose usage the account loads; none for all keys together."""
    try:
        return tuple(str(uuid.UUID(key)) for key in source.names("api_key_ids", account.settings["api_key_ids"]))
    except ValueError:
        raise ConfigurationError(
            f"{source.setting('api_key_ids')} has a text that is not a UUID",
            hint="Use the ids of the keys, as the Scopix console shows them, instead of the keys themselves.",
        ) from None
