"""Scopix usage: every method of the vendor's usage resource as a table."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource
from pendulum import DateTime

from meterhouse.sources._core.config.accounts import Account, resolve_accounts
from meterhouse.sources._core.config.parse import backfill_window, parse_duration, parse_moment, parse_names, parse_number
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.errors import ConfigurationError, QuotaExhausted
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Unit, Window, ceil, floor, utc_now

from . import constants as settings
from . import tables
from .client import Ask, Asker, Forecast
from .errors import error_from_response
from .lists import foresee_events, read_created, read_events
from .series import (
    buckets,
    read_by_period,
    read_daily_activity,
    read_tokens_daily,
    read_tokens_monthly,
    read_usage_daily,
)
from .snapshots import (
    asked_operation,
    read_breakdown,
    read_check,
    read_dashboard,
    read_plan,
    read_summary,
    read_top_endpoints,
)

Foresee = Callable[..., None]
"""Hears of a part's windows beforehand, and tells its asker how many requests they take."""

Wheres = Sequence[tuple[Plan, Mapping[str, str]]]
"""The parts of a table that one account has: a plan each, and the columns that it fixes."""


@dlt.source(section="scopix")
def scopix_source(
    api_key: dlt.TSecretStrValue | None = None,
    tenant_id: str = "",
    base_url: str = settings.BASE_URL,
    initial_date: str = "",
    lookback: str = settings.LOOKBACK,
    conversations_lookback: str = settings.CONVERSATIONS_LOOKBACK,
    accounts: Any = None,
    api_key_ids: Any = None,
    operation_types: Any = None,
    summary_periods: Any = "month",
    dashboard_periods: Any = "week,month,year",
    plan_periods: Any = "month",
    include_projections: bool = True,  # noqa: FBT001, FBT002 - dlt passes configuration by name
    top_endpoints: int = settings.MAX_TOP_ENDPOINTS,
    analysis_level: str = "standard",
    item_count: int = 1,
    content_category: str = "",
    page_size: int = settings.MAX_PAGE_SIZE,
    requests_per_minute: int = settings.REQUESTS_PER_MINUTE,
    check_requests_per_minute: int = settings.CHECK_REQUESTS_PER_MINUTE,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,  # noqa: FBT001, FBT002 - as above
    journal: Journal | None = None,
) -> Iterator[DltResource]:
    """Fourteen tables; those of the same usage (events, days, periods) are never to be added up.

    Args:
        api_key: sent as `Authorization: Bearer`; it needs the permission to view usage.
        tenant_id: sent as `X-Tenant-ID`, for a key that sees several tenants.
        base_url: the API, with its version.
        initial_date: where the first run begins; where left out, on the first day of the month before this one.
        lookback: how much of what is loaded each run asks for again.
        conversations_lookback: the same for conversations, which cost tokens for as long as they go on.
        accounts: several keys, each under a name of your own; see the README.
        api_key_ids: loads only what these API keys used, in the tables that can tell: events, days and periods.
        operation_types: loads only events of these operations.
        summary_periods: snapshots of the summary: day, week, month.
        dashboard_periods: snapshots of the dashboard: week, month, year.
        plan_periods: snapshots of the plan: month, quarter, year.
        include_projections: whether the snapshot of the plan has the vendor's own forecast.
        top_endpoints: how many endpoints a snapshot of the most used has, 1 to 50.
        analysis_level: what `check` asks about, with `item_count` and `content_category`.
        item_count: see `analysis_level`.
        content_category: see `analysis_level`.
        page_size: rows a page, 2 to 100.
        requests_per_minute: the limit of all endpoints but `check` together.
        check_requests_per_minute: the limit of `check`.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of such a backfill, excluded; now where left out.
        full_refresh: begins at `initial_date` again, whatever is loaded.
        journal: hears of progress and failures.

    Raises:
        ConfigurationError: a setting cannot be used; NotConfigured where there are no credentials.
    """
    journal = journal or Journal()
    page_size = parse_number(
        page_size, setting="sources.scopix.page_size", least=settings.LEAST_PAGE_SIZE, most=settings.MAX_PAGE_SIZE
    )
    limit = parse_number(top_endpoints, setting="sources.scopix.top_endpoints", most=settings.MAX_TOP_ENDPOINTS)
    operation = {
        "analysis_level": analysis_level,
        "item_count": parse_number(item_count, setting="sources.scopix.item_count"),
        "content_category": content_category,
    }
    summaries = _periods("summary_periods", summary_periods, settings.SUMMARY_PERIODS)
    dashboards = _periods("dashboard_periods", dashboard_periods, settings.DASHBOARD_PERIODS)
    plans = _periods("plan_periods", plan_periods, settings.PLAN_PERIODS)
    operations = parse_names(operation_types, setting="sources.scopix.operation_types") or ("",)
    plan = Plan(
        unit="day",
        initial_date=_initial(initial_date),
        lookback=parse_duration(lookback, setting="sources.scopix.lookback"),
        longest=settings.LONGEST_WINDOW,
        backfill=backfill_window(since, until, "day"),
        restart=full_refresh,
    )
    series = _series(plan, until)
    present = replace(plan, reach=1)
    activity = replace(plan, longest=settings.WHOLE, reach=settings.DASHBOARD_DAYS["year"])
    events = replace(plan, unit="hour")
    files = replace(plan, unit="hour", longest=settings.WHOLE)
    talks = replace(files, lookback=parse_duration(conversations_lookback, setting="sources.scopix.conversations_lookback"))
    paces = (
        parse_number(requests_per_minute, setting="sources.scopix.requests_per_minute"),
        parse_number(check_requests_per_minute, setting="sources.scopix.check_requests_per_minute"),
    )
    resolved = resolve_accounts(
        "scopix",
        accounts,
        credentials={"api_key": api_key},
        settings={"base_url": base_url, "tenant_id": tenant_id, "api_key_ids": api_key_ids},
        distinguished_by=["tenant_id"],
    )
    _require_tenants(resolved)
    askers = _askers(resolved, paces, journal)
    keys = {account.name: _key_ids(account) for account in resolved}

    def resource(
        table: Table,
        fetch: Callable[..., FetchResult],
        wheres: Wheres | Callable[[str], Wheres],
        foresee: Foresee | None,
        **arguments: Any,
    ) -> DltResource:
        parts = [
            Partition(account, Ask(asker, where, floor(own.initial_date, own.unit)), own, where)
            for account, asker in askers.items()
            for own, where in (wheres(account) if callable(wheres) else wheres)
        ]
        return windowed_resource(
            table,
            parts=parts,
            fetch=partial(fetch, table=table, **arguments),
            journal=journal,
            foresee=partial(foresee, table=table) if foresee else None,
        )

    def of_keys(account: str) -> Wheres:
        return [(plan, {"api_key_id": key}) for key in keys[account] or ("",)]

    def of_periods(account: str) -> Wheres:
        return [
            (own, {"period_type": unit, "api_key_id": key}) for unit, own in series.items() for key in keys[account] or ("",)
        ]

    def of_events(account: str) -> Wheres:
        fixed = [{"api_key_id": key} for key in keys[account]] or [{}]
        return [(events, where | ({"operation_type": kind} if kind else {})) for where in fixed for kind in operations]

    def of_present(periods: Sequence[str]) -> Wheres:
        return [(present, {"period": period}) for period in periods]

    a_window, a_day, a_month = _a_request_a(None), _a_request_a("day"), _a_request_a("month")
    pages = partial(foresee_events, page_size=page_size, parts={account: len(of_events(account)) for account in askers})
    months: Wheres = [(series["month"], {})] if "month" in series else []
    yield resource(tables.USAGE_EVENTS, read_events, of_events, pages, page_size=page_size)
    yield resource(tables.USAGE_BY_PERIOD, read_by_period, of_periods, a_window)
    yield resource(tables.USAGE_DAILY, read_usage_daily, of_keys, a_day)
    yield resource(tables.USAGE_SUMMARY, read_summary, of_present(summaries), a_window)
    yield resource(tables.USAGE_BREAKDOWN, read_breakdown, [(present, {})], a_window)
    yield resource(tables.USAGE_CHECKS, read_check, [(present, {})], None, operation=operation)  # by a budget of its own
    yield resource(tables.TOP_ENDPOINTS, read_top_endpoints, [(present, {})], a_window, limit=limit)
    yield resource(tables.DASHBOARD_ANALYTICS, read_dashboard, of_present(dashboards), a_window)
    yield resource(tables.DASHBOARD_DAILY_ACTIVITY, read_daily_activity, [(activity, {})], None)  # of the same answers
    yield resource(tables.PLAN_UTILIZATION, read_plan, of_present(plans), a_window, include_projections=include_projections)
    yield resource(tables.TOKENS_DAILY, read_tokens_daily, [(plan, {})], a_day)
    yield resource(tables.TOKENS_MONTHLY, read_tokens_monthly, months, a_month)
    yield resource(tables.FILE_TOKENS, read_created, [(files, {})], a_window, items="files", page_size=page_size)
    yield resource(
        tables.CONVERSATION_TOKENS, read_created, [(talks, {})], a_window, items="conversations", page_size=page_size
    )
    yield credentials_check(askers, partial(_check, operation=operation))


def _initial(text: str) -> DateTime:
    """The first run's beginning: two billing months, of which one is whole, take minutes to load; years take hours."""
    if text:
        return parse_moment(text, setting="sources.scopix.initial_date")
    return floor(utc_now(), "month").subtract(months=1)


def _series(plan: Plan, until: str | None) -> dict[Unit, Plan]:
    """A plan for each length of bucket; a backfill of days has only the months that lie in it whole."""
    plans: dict[Unit, Plan] = {}
    for unit, longest in settings.LONGEST_SERIES.items():
        backfill = plan.backfill
        if backfill is not None:
            start, end = ceil(backfill.start, unit), floor(backfill.end, unit) if until else ceil(utc_now(), unit)
            if start >= end:
                continue
            backfill = Window(start, end)
        plans[unit] = replace(plan, unit=unit, longest=longest, backfill=backfill)
    return plans


def _require_tenants(accounts: Sequence[Account]) -> None:
    """One key for several accounts is right only where each of them says which tenant it is."""
    for account in accounts:
        for other in accounts:
            if account is not other and account.credentials == other.credentials and not account.settings["tenant_id"]:
                raise ConfigurationError(
                    f"the accounts {account.name} and {other.name} of scopix have the same api_key, and the first has "
                    "no tenant_id, so that it may be the tenant of the other, and all usage would count twice",
                    hint=f"Set sources.scopix.accounts.{account.name}.tenant_id, or remove one of the two.",
                )


def _askers(accounts: Sequence[Account], paces: tuple[int, int], journal: Journal) -> dict[str, Asker]:
    """Who asks for each account; accounts with the same key share its budgets, because the vendor counts by key."""
    shared: dict[tuple[str, str], tuple[list[RateLimiter], Forecast]] = {}
    askers = {}
    for account in accounts:
        key, url = account.credentials["api_key"], str(account.settings["base_url"])
        if (key, url) not in shared:
            shared[key, url] = [RateLimiter(pace) for pace in paces], Forecast()
        budgets, forecast = shared[key, url]
        tenant = str(account.settings["tenant_id"] or "")
        auth = BearerAuth(key, {"X-Tenant-ID": tenant} if tenant else {})
        usage, check = (
            Client("scopix", url, auth=auth, error_from_response=error_from_response, rate_limiter=budget, observer=journal)
            for budget in budgets
        )
        askers[account.name] = Asker(account.name, usage, check, journal, forecast)
    return askers


def _key_ids(account: Account) -> tuple[str, ...]:
    keys = parse_names(account.settings["api_key_ids"], setting="sources.scopix.api_key_ids")
    try:
        return tuple(str(uuid.UUID(key)) for key in keys)
    except ValueError:
        raise ConfigurationError(
            "sources.scopix.api_key_ids holds something that is no UUID",
            hint="Name the ids of the keys, as the Scopix console shows them, and not the keys themselves.",
        ) from None


def _periods(setting: str, value: Any, known: Sequence[str]) -> tuple[str, ...]:
    periods = parse_names(value, setting=f"sources.scopix.{setting}")
    for period in periods:
        if period not in known:
            raise ConfigurationError(f"sources.scopix.{setting} has {period!r}", hint=f"Use {', '.join(known)}.")
    return periods


def _a_request_a(unit: Unit | None) -> Foresee:
    """Foresees a request a bucket of `unit`, or one a window."""

    def foresee(ask: Ask, windows: Sequence[Window], *, table: Table) -> None:
        requests = len(windows) if unit is None else sum(1 for window in windows for _ in buckets(window, unit))
        ask.asker.foresee(table.name, requests)

    return foresee


def _check(asker: Asker, operation: Mapping[str, Any]) -> None:
    try:
        asker.check(settings.CHECK, asked_operation(operation))
    except QuotaExhausted:
        return  # the key works; that nothing is left to use is what the tables are for
