"""Scopix usage: every method of the vendor's usage resource as a table."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources._core.windows import floor, utc_now

from . import constants
from .accounts import clients_by_account, key_ids
from .resources import Options, table_resources


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
    observer: Observer | None = None,
) -> Iterator[DltResource]:
    """Fourteen tables; events, days and periods are views of the same usage, which must not be added up.

    Args:
        api_key: sent as `Authorization: Bearer`; it needs the permission to view usage.
        tenant_id: sent as `X-Tenant-ID`, for a key that sees several tenants.
        base_url: the API, with its version.
        initial_date: where the first run begins; by default on the first day of the previous month.
        lookback: how much of the loaded time each run requests again.
        conversations_lookback: the same for conversations, which use tokens for as long as they go on.
        accounts: several keys, each under a name of your choice; see the README.
        api_key_ids: loads only the usage of these API keys, in the tables that have it by key: events, days and periods.
        operation_types: loads only events of these operations.
        summary_periods: snapshots of the summary: day, week, month.
        dashboard_periods: snapshots of the dashboard: week, month, year.
        plan_periods: snapshots of the plan: month, quarter, year.
        include_projections: whether the snapshot of the plan has Scopix' own forecast.
        top_endpoints: number of endpoints in a snapshot of the most used ones, 1 to 50.
        analysis_level: the operation that `check` asks about, with `item_count` and `content_category`.
        item_count: see `analysis_level`.
        content_category: see `analysis_level`.
        page_size: rows a page, 2 to 100.
        requests_per_minute: the limit of all endpoints but `check` together.
        check_requests_per_minute: the limit of `check`.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of the backfill, excluded; now by default.
        full_refresh: begins at `initial_date` again, whatever is loaded.
        observer: receives progress and failures; by default a failure ends the pipeline's extract step.

    Raises:
        ConfigurationError: a setting cannot be used; NotConfigured if there are no credentials.
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
        observer=observer,
    )
    options = Options(
        page_size=source.number("page_size", page_size, least=constants.LEAST_PAGE_SIZE, most=constants.MAX_PAGE_SIZE),
        conversations_lookback=source.duration("conversations_lookback", conversations_lookback),
        operation_types=source.names("operation_types", operation_types),
        summary_periods=source.choices("summary_periods", summary_periods, constants.SUMMARY_PERIODS),
        dashboard_periods=source.choices("dashboard_periods", dashboard_periods, constants.DASHBOARD_PERIODS),
        plan_periods=source.choices("plan_periods", plan_periods, constants.PLAN_PERIODS),
        include_projections=include_projections,
        top_endpoints=source.number("top_endpoints", top_endpoints, most=constants.MAX_TOP_ENDPOINTS),
        operation={
            "analysis_level": analysis_level,
            "item_count": source.number("item_count", item_count),
            "content_category": content_category,
        },
    )
    check_limit = source.number("check_requests_per_minute", check_requests_per_minute)
    resolved = source.resolve_accounts(
        {"api_key": api_key}, {"tenant_id": tenant_id, "api_key_ids": api_key_ids}, distinguished_by=["tenant_id"]
    )
    clients = clients_by_account(source, resolved, check_limit)
    yield from table_resources(source, clients, {account.name: key_ids(source, account) for account in resolved}, options)
    yield credentials_check(
        {account: partial(client.check_credentials, options.operation) for account, client in clients.items()}
    )
