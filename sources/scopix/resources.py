"""The fourteen tables of Scopix as dlt resources: the partitions and windows of each, and the function that reads it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from dlt.sources import DltResource

from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources._core.windows import Unit, Window

from . import tables
from .client import ScopixClient
from .constants import DASHBOARD_DAYS, LONGEST_SERIES, LONGEST_WINDOW, WHOLE
from .lists import estimate_events, read_created, read_events
from .reader import (
    bucket_starts,
    read_by_period,
    read_daily_activity,
    read_tokens_daily,
    read_tokens_monthly,
    read_usage_daily,
)
from .snapshots import read_breakdown, read_check, read_dashboard, read_plan, read_summary, read_top_endpoints

Slices = Sequence[tuple[Plan, Mapping[str, str]]]
"""The partitions that one account has in a table: a plan and the fixed columns of each."""


@dataclass(frozen=True)
class Options:
    """The parsed settings of the tables; see `scopix_source`."""

    page_size: int
    conversations_lookback: timedelta
    operation_types: Sequence[str]
    summary_periods: Sequence[str]
    dashboard_periods: Sequence[str]
    plan_periods: Sequence[str]
    include_projections: bool
    top_endpoints: int
    operation: Mapping[str, Any]


def table_resources(
    source: SourceBuilder,
    clients: Mapping[str, ScopixClient],
    key_ids: Mapping[str, Sequence[str]],
    options: Options,
) -> Iterator[DltResource]:
    """The resource of each table.

    Args:
        source: the common settings.
        clients: by account.
        key_ids: by account, the API keys whose usage is loaded; none for all keys together.
        options: the settings of the tables.
    """
    days = source.plan("day", longest=LONGEST_WINDOW)
    events = replace(days, unit="hour")
    files = replace(events, longest=WHOLE)
    conversations = replace(files, lookback=options.conversations_lookback)
    activity = replace(days, longest=WHOLE, reach=DASHBOARD_DAYS["year"])
    today = replace(days, reach=1)
    series = {unit: source.plan_of_whole_buckets(unit, longest=longest) for unit, longest in LONGEST_SERIES.items()}
    months = series["month"]

    def resource(
        table: Table,
        read: Callable[..., FetchResult],
        slices: Slices | Callable[[str], Slices],
        estimate: Callable[..., None] | None = None,
    ) -> DltResource:
        partitions = [
            Partition(
                account,
                plan,
                partial(read, client, table=table, **fixed),
                fixed,
                estimate=partial(estimate, client, table=table) if estimate else None,
            )
            for account, client in clients.items()
            for plan, fixed in (slices(account) if callable(slices) else slices)
        ]
        return source.resource(table, partitions)

    def by_key(account: str) -> Slices:
        return [(days, {"api_key_id": key}) for key in key_ids[account] or ("",)]

    def by_period_and_key(account: str) -> Slices:
        return [
            (plan, {"period_type": unit, "api_key_id": key})
            for unit, plan in series.items()
            if plan is not None
            for key in key_ids[account] or ("",)
        ]

    def by_period(periods: Sequence[str]) -> Slices:
        return [(today, {"period": period}) for period in periods]

    a_window, a_day, a_month = (partial(estimate_requests, unit=unit) for unit in (None, "day", "month"))
    page_size = options.page_size
    yield _usage_events(source, events, clients, key_ids, options)
    read = partial(read_by_period, initial_date=days.initial_date)
    yield resource(tables.USAGE_BY_PERIOD, read, by_period_and_key, a_window)
    yield resource(tables.USAGE_DAILY, read_usage_daily, by_key, a_day)
    yield resource(tables.USAGE_SUMMARY, read_summary, by_period(options.summary_periods), a_window)
    yield resource(tables.USAGE_BREAKDOWN, read_breakdown, [(today, {})], a_window)
    # `check` has a rate limit of its own, so the estimate leaves it out.
    yield resource(tables.USAGE_CHECKS, partial(read_check, operation=options.operation), [(today, {})])
    yield resource(tables.TOP_ENDPOINTS, partial(read_top_endpoints, limit=options.top_endpoints), [(today, {})], a_window)
    yield resource(tables.DASHBOARD_ANALYTICS, read_dashboard, by_period(options.dashboard_periods), a_window)
    # It shares the responses of the dashboard, which are estimated there.
    yield resource(tables.DASHBOARD_DAILY_ACTIVITY, read_daily_activity, [(activity, {})])
    read = partial(read_plan, include_projections=options.include_projections)
    yield resource(tables.PLAN_UTILIZATION, read, by_period(options.plan_periods), a_window)
    yield resource(tables.TOKENS_DAILY, read_tokens_daily, [(days, {})], a_day)
    yield resource(tables.TOKENS_MONTHLY, read_tokens_monthly, [(months, {})] if months else [], a_month)
    read = partial(read_created, field="files", page_size=page_size)
    yield resource(tables.FILE_TOKENS, read, [(files, {})], a_window)
    read = partial(read_created, field="conversations", page_size=page_size)
    yield resource(tables.CONVERSATION_TOKENS, read, [(conversations, {})], a_window)


def _usage_events(
    source: SourceBuilder,
    plan: Plan,
    clients: Mapping[str, ScopixClient],
    key_ids: Mapping[str, Sequence[str]],
    options: Options,
) -> DltResource:
    table, partitions = tables.USAGE_EVENTS, []
    for account, client in clients.items():
        keys: Sequence[dict[str, str]] = [{"api_key_id": key} for key in key_ids[account]] or [{}]
        operations: Sequence[dict[str, str]] = [{"operation_type": name} for name in options.operation_types] or [{}]
        filters = [key | operation for key in keys for operation in operations]
        for chosen in filters:
            arguments: dict[str, Any] = {"table": table, "page_size": options.page_size, "filters": chosen}
            fetch = partial(read_events, client, **arguments)
            estimate = partial(estimate_events, client, partitions=len(filters), **arguments)
            partitions.append(Partition(account, plan, fetch, chosen, estimate=estimate))
    return source.resource(table, partitions)


def estimate_requests(client: ScopixClient, windows: Sequence[Window], *, table: Table, unit: Unit | None) -> None:
    """Adds a request for each bucket of `unit` to the estimate, or one for each window without a unit."""
    requests = len(windows) if unit is None else sum(1 for window in windows for _ in bucket_starts(window, unit))
    client.estimate.add(table.name, requests)
