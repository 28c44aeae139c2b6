"""Reads the page's numbers from the marts. What is added up is added up in SQL, by the same keys that the page shows."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from meterhouse.pipelines.report.model import (
    ROWS,
    Account,
    CostSeries,
    Coverage,
    Credits,
    Driver,
    Forecast,
    LastDay,
    Line,
    MeterSeries,
    MissedWindow,
    Page,
    Period,
    Slice,
    Source,
    Unpriced,
    WeekChange,
    Weeks,
)
from meterhouse.pipelines.warehouse.query import Query, Row

S = TypeVar("S", bound=msgspec.Struct)

MOST_POINTS = 30_000
"""Days of meters that the page holds at most, some 25 bytes each; beyond that it begins later."""

TOP = 10
"""Values of a dimension that are shown by name."""

MOST_DRIVERS = 6
"""Values of a dimension, of those that changed most."""

MOST_SLICES = 12_000
MOST_GAPS = 300
LINES_OF_MONTHS = 13

WHOLE_DAYS = """
    select provider, account, date, min(case when is_complete then 1 else 0 end) as is_whole
    from usage.usage_trends_daily
    group by provider, account, date
"""

WHOLE_UNTIL = f"select max(date) as last from ({WHOLE_DAYS}) d where is_whole = 1 group by provider, account"  # noqa: S608


def gather(ask: Query, source: str) -> Page:
    """The page of what `ask` answers; `source` is where that is."""
    as_of = _one(ask("select max(last_fetched_at) as v from usage.data_freshness"))
    today = _today(ask, as_of)
    month = today.replace(day=1)
    weeks = _weeks(ask, today)
    several = _providers_of_several_accounts(ask)
    periods = _periods(ask, today)
    meters, meters_from = _meters(ask)
    lines, advice, lines_from = _lines(ask, month)
    gaps = _gaps(ask)
    return Page(
        source=source,
        as_of=as_of,
        today=today,
        month=month,
        weeks=weeks,
        periods=periods,
        accounts=_accounts(ask),
        coverage=_coverage(ask),
        forecasts=_structs(Forecast, ask(FORECASTS.format(month=month))),
        costs=_costs(ask),
        meters=meters,
        meters_from=meters_from,
        changes=_structs(WeekChange, ask(CHANGES.format(**_week_limits(weeks)))),
        drivers=_of_scope(Driver, ask(DRIVERS.format(most=MOST_DRIVERS, **_week_limits(weeks))), several),
        slices=_slices(ask, periods, several),
        unpriced=_structs(Unpriced, ask(UNPRICED.format(month=month))),
        credits=_credits(ask),
        lines=lines,
        lines_from=lines_from,
        advice=advice,
        sources=_structs(Source, ask(SOURCES)),
        gaps=gaps[:MOST_GAPS],
        gaps_left_out=max(0, len(gaps) - MOST_GAPS),
        fields={name: list(struct.__struct_fields__) for name, struct in ROWS.items()},
    )


def _today(ask: Query, as_of: datetime | None) -> date:
    """The day of the newest fetch: the page is of the data, whenever it is made."""
    if as_of is not None:
        return as_of.date()
    latest: date | None = _one(ask("select max(date) as v from usage.usage_daily"))
    latest = latest or _one(ask("select max(billing_month) as v from usage.cost_monthly"))
    return latest or date(1970, 1, 1)


def _weeks(ask: Query, today: date) -> Weeks:
    """The last week that is whole for all accounts that are up to date; who has stopped days ago does not hold it up."""
    whole_until: list[date] = [row["last"] for row in ask(WHOLE_UNTIL)]
    recent = [day for day in whole_until if day >= today - timedelta(days=4)]
    end = min(recent, default=max(whole_until, default=today - timedelta(days=1))) + timedelta(days=1)
    return Weeks(end - timedelta(days=14), end - timedelta(days=7), end)


def _week_limits(weeks: Weeks) -> dict[str, Any]:
    return {"before": weeks.before, "start": weeks.start, "end": weeks.end, "whole_days": WHOLE_DAYS}


def _providers_of_several_accounts(ask: Query) -> set[str]:
    known: defaultdict[str, set[str]] = defaultdict(set)
    for row in ask(
        "select distinct provider, account from usage.usage_by_dimension"
        " union select distinct provider, account from usage.cost_daily"
    ):
        known[row["provider"]].add(row["account"])
    return {provider for provider, accounts in known.items() if len(accounts) > 1}


def _periods(ask: Query, today: date) -> list[Period]:
    tomorrow, month = today + timedelta(days=1), today.replace(day=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    first: date = _one(ask("select min(date) as v from usage.usage_daily")) or today
    year_ago = date(month.year - 1, month.month, 1)
    return [
        Period("7d", "Last 7 days", today - timedelta(days=6), tomorrow),
        Period("28d", "Last 28 days", today - timedelta(days=27), tomorrow),
        Period("month", "This month", month, tomorrow),
        Period("last-month", "Last month", last_month, month),
        Period("90d", "Last 90 days", today - timedelta(days=89), tomorrow),
        Period("year", "Last 12 months and this one", year_ago, tomorrow),
        Period("all", "All that is loaded", min(first, today), tomorrow),
    ]


def _accounts(ask: Query) -> list[Account]:
    owners: dict[tuple[str, str], list[str]] = {}
    for row in ask(ACCOUNTS):
        owned = owners.setdefault((row["provider"], row["account"]), [])
        if row["billing_account"] is not None:
            owned.append(row["billing_account"])
    return [Account(provider, account, billing) for (provider, account), billing in owners.items()]


def _coverage(ask: Query) -> list[Coverage]:
    found = []
    for (provider, account), rows in _grouped(ask(f"{WHOLE_DAYS} order by provider, account, date"), "provider", "account"):
        start, end = rows[0]["date"], rows[-1]["date"]
        whole = {row["date"] for row in rows if row["is_whole"]}
        days = (end - start).days + 1
        incomplete = [day for day in range(days) if start + timedelta(days=day) not in whole]
        found.append(Coverage(provider, account, start, days, incomplete))
    return found


def _costs(ask: Query) -> list[CostSeries]:
    return [
        CostSeries(provider, account, currency, rows[0]["date"], _by_day(rows, "billed_cost"))
        for (provider, account, currency), rows in _grouped(ask(COSTS), "provider", "account", "currency")
    ]


def _meters(ask: Query) -> tuple[list[MeterSeries], date | None]:
    """All meters, and the day from which they are shown where that is not all that is loaded."""
    size = ask("select count(*) as n, max(date) as last from usage.usage_trends_daily")[0]
    since, shown_from = date(1970, 1, 1), None
    if size["n"] > MOST_POINTS:
        counted = ask("select date, count(*) as n from usage.usage_trends_daily group by date order by date desc")
        points = 0
        for row in counted:
            points += row["n"]
            if points > MOST_POINTS:
                break
            since = shown_from = row["date"]
    series = _grouped(ask(METERS.format(since=since)), "provider", "account", "meter")
    return [_meter(rows) for _, rows in series], shown_from


def _meter(rows: Sequence[Row]) -> MeterSeries:
    start = rows[0]["date"]
    last = next((row for row in reversed(rows) if row["is_complete"]), rows[-1])
    return MeterSeries(
        rows[0]["provider"],
        rows[0]["account"],
        rows[0]["meter"],
        rows[0]["unit"],
        start,
        _by_day(rows, "quantity"),
        _by_day(rows, "average_7d"),
        _by_day(rows, "average_28d"),
        {(row["date"] - start).days: exact(row["anomaly_score"]) for row in rows if row["is_anomaly"]},
        LastDay(
            day=last["date"],
            quantity=exact(last["quantity"]),
            average_7d=exact(last["average_7d"]),
            average_28d=exact(last["average_28d"]),
            week_over_week=exact(last["week_over_week"]),
            month_over_month=exact(last["month_over_month"]),
            month_to_date=exact(rows[-1]["month_to_date"]),
        ),
    )


def _slices(ask: Query, periods: Sequence[Period], several: set[str]) -> list[Slice]:
    """The first values of every dimension in every period. Where accounts are many, single ones have fewer periods."""
    found: list[Slice] = []
    for period in periods:
        rows = ask(SLICES.format(period=period.key, start=period.start, end=period.end, top=TOP))
        found += _of_scope(Slice, rows, several)
    if len(found) > MOST_SLICES:
        keep = {"28d", "month", "last-month"}
        found = [row for row in found if row.account is None or row.period in keep]
    return found


def _credits(ask: Query) -> list[Credits]:
    found = []
    for (provider, account), rows in _grouped(ask(CREDITS), "provider", "account"):
        last = rows[-1]
        days_left = exact(last["days_left"])
        runs_out = None
        if days_left is not None and days_left < 36_500:
            runs_out = last["date"] + timedelta(days=int(days_left.to_integral_value(ROUND_FLOOR)))
        found.append(
            Credits(
                provider=provider,
                account=account,
                unit=last["unit"],
                day=last["date"],
                granted=exact(last["granted"]),
                used=exact(last["used"]),
                remaining=exact(last["remaining"]),
                overage=exact(last["overage"]),
                days_left=days_left,
                runs_out_on=runs_out,
                start=rows[0]["date"],
                left_by_day=_by_day(rows, "remaining"),
            )
        )
    return found


def _lines(ask: Query, month: date) -> tuple[list[Line], list[str], date | None]:
    """The lines of invoices, what may be advised about them, and the first month where that is not the first of all."""
    since = date(month.year - 1, month.month, 1)
    older = _one(ask(f"select count(*) as v from usage.invoice_reconciliation where billing_month < date '{since}'"))  # noqa: S608
    rows = ask(LINES.format(since=since))
    advice = sorted({row["what_to_do"] or "" for row in rows})
    lines = _structs(Line, ({**row, "advice": advice.index(row["what_to_do"] or "")} for row in rows))
    return lines, advice, since if older else None


def _gaps(ask: Query) -> list[MissedWindow]:
    """Days that follow each other as one gap, the newest first."""
    gaps: list[MissedWindow] = []
    for row in ask(GAPS):
        key = (row["provider"], row["account"], row["resource"], row["kind"])
        last = gaps[-1] if gaps else None
        if (
            last
            and (last.provider, last.account, last.resource, last.kind) == key
            and (row["date"] - last.last_date).days == 1
        ):
            last.last_date, last.days = row["date"], last.days + 1
        else:
            gaps.append(MissedWindow(*key, row["date"], row["date"], 1))
    # What was never asked for can be mended; that nothing was used is no fault.
    return sorted(gaps, key=lambda gap: (gap.kind == "no usage", -gap.last_date.toordinal()))


def exact(value: Any) -> Any:
    """The same number, without the zeros that a column's scale puts behind it; anything else as it is."""
    if not isinstance(value, Decimal):
        return value
    text = f"{value:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _structs(struct: type[S], rows: Iterable[Row]) -> list[S]:
    names = struct.__struct_fields__
    return [struct(*(exact(row[name]) for name in names)) for row in rows]


def _of_scope(struct: type[S], rows: Iterable[Row], several: set[str]) -> list[S]:
    """The same; an account that is the only one of its provider is that provider."""
    return _structs(struct, (row for row in rows if row["account"] is None or row["provider"] in several))


def _grouped(rows: Iterable[Row], *names: str) -> Iterable[tuple[tuple[Any, ...], list[Row]]]:
    key: Callable[[Row], tuple[Any, ...]] = lambda row: tuple(row[name] for name in names)  # noqa: E731
    return ((found, list(group)) for found, group in groupby(rows, key))


def _by_day(rows: Sequence[Row], name: str) -> list[Any]:
    """The column day by day from the first row's on, with null where there is no row."""
    start = rows[0]["date"]
    days: list[Any] = [None] * ((rows[-1]["date"] - start).days + 1)
    for row in rows:
        days[(row["date"] - start).days] = exact(row[name])
    return days


def _one(rows: Sequence[Row]) -> Any:
    return rows[0]["v"]


ACCOUNTS = """
    select known.provider, known.account, owner.billing_account
    from (
        select provider, account from usage.usage_daily
        union select provider, account from usage.data_freshness
        union select provider, account from usage.cost_monthly where account <> ''
        union select provider, account from usage.cost_forecast_monthly
    ) known
    left join (select distinct provider, account, billing_account from usage.cost_monthly where account <> '') owner
        on owner.provider = known.provider and owner.account = known.account
    order by known.provider, known.account, owner.billing_account
"""

FORECASTS = """
    select provider, account, billing_month, currency, cost_to_date, forecast, forecast_low, forecast_high, is_final, is_cut,
        as_of_date, remaining_days, basis
    from usage.cost_forecast_monthly
    where billing_month <= date '{month}'
    order by provider, account, currency, billing_month
"""

COSTS = """
    select provider, account, currency, date, sum(billed_cost) as billed_cost
    from usage.cost_daily
    group by provider, account, currency, date
    order by provider, account, currency, date
"""

METERS = """
    select provider, account, meter, unit, date, quantity, is_complete, average_7d, average_28d, week_over_week,
        month_over_month, month_to_date, anomaly_score, is_anomaly
    from usage.usage_trends_daily
    where date >= date '{since}'
    order by provider, account, meter, date
"""

CHANGES = """
    select w.provider, w.account, c.currency, c.cost_before, c.cost_now, w.days_before, w.days_now
    from (
        select provider, account,
            sum(case when date < date '{start}' then is_whole else 0 end) as days_before,
            sum(case when date >= date '{start}' then is_whole else 0 end) as days_now
        from ({whole_days}) d
        where date >= date '{before}' and date < date '{end}'
        group by provider, account
    ) w
    left join (
        select provider, account, currency,
            sum(case when date < date '{start}' then billed_cost else 0 end) as cost_before,
            sum(case when date >= date '{start}' then billed_cost else 0 end) as cost_now
        from usage.cost_daily
        where date >= date '{before}' and date < date '{end}'
        group by provider, account, currency
    ) c on c.provider = w.provider and c.account = w.account
    order by w.provider, w.account, c.currency
"""

DRIVERS = """
    with whole as (
        select provider, account
        from ({whole_days}) d
        where date >= date '{before}' and date < date '{end}'
        group by provider, account
        having sum(is_whole) = 14
    ),
    summed as (
        select u.provider, u.account, u.dimension, u.value, u.unit, max(u.currency) as currency,
            count(distinct u.currency) as currencies,
            sum(case when u.date < date '{start}' then u.quantity else 0 end) as quantity_before,
            sum(case when u.date >= date '{start}' then u.quantity else 0 end) as quantity_now,
            sum(case when u.date < date '{start}' then u.allocated_cost end) as cost_before,
            sum(case when u.date >= date '{start}' then u.allocated_cost end) as cost_now
        from usage.usage_by_dimension u
        inner join whole on whole.provider = u.provider and whole.account = u.account
        where u.date >= date '{before}' and u.date < date '{end}'
        group by grouping sets (
            (u.provider, u.dimension, u.value, u.unit),
            (u.provider, u.account, u.dimension, u.value, u.unit)
        )
    ),
    ranked as (
        select *,
            row_number() over (
                partition by provider, account, dimension, unit
                order by
                    abs(coalesce(cost_now, 0) - coalesce(cost_before, 0)) desc,
                    abs(quantity_now - quantity_before) desc,
                    value
            ) as place
        from summed
    )
    select provider, account, dimension, value, unit, quantity_before, quantity_now,
        case when currencies = 1 then currency end as currency,
        case when currencies = 1 then cost_before end as cost_before,
        case when currencies = 1 then cost_now end as cost_now
    from ranked
    where place <= {most} and (quantity_now <> quantity_before or cost_now <> cost_before)
    order by provider, account, dimension, unit, place
"""

SLICES = """
    with cut as (
        select provider, account, dimension, value, unit, quantity, allocated_cost, currency
        from usage.usage_by_dimension
        where date >= date '{start}' and date < date '{end}'
        union all
        select provider, account, 'sku', sku_id, unit, quantity, billed_cost, currency
        from usage.cost_daily
        where date >= date '{start}' and date < date '{end}'
    ),
    summed as (
        select provider, account, dimension, value, unit, max(currency) as currency, count(distinct currency) as currencies,
            sum(quantity) as quantity, sum(case when allocated_cost is null then quantity else 0 end) as unpriced,
            sum(allocated_cost) as cost
        from cut
        group by grouping sets (
            (provider, dimension, value, unit), (provider, account, dimension, value, unit)
        )
    ),
    ranked as (
        select *,
            row_number() over (
                partition by provider, account, dimension, unit
                order by coalesce(cost, 0) desc, quantity desc, value
            ) as place
        from summed
    ),
    named as (
        select *, case when place <= {top} then value end as name from ranked
    )
    select '{period}' as period, provider, account, dimension, unit, name as value, count(*) as "values",
        sum(quantity) as quantity, sum(unpriced) as unpriced,
        case when max(currencies) <= 1 and count(distinct currency) <= 1 then sum(cost) end as cost,
        case when max(currencies) <= 1 and count(distinct currency) <= 1 then max(currency) end as currency
    from named
    group by provider, account, dimension, unit, name
    order by provider, account, dimension, unit, min(place)
"""

UNPRICED = """
    select provider, account, meter, unit, reason, min(date) as first_date, max(date) as last_date,
        sum(quantity) as quantity,
        sum(case when date >= date '{month}' then quantity else 0 end) as quantity_of_month
    from usage.unpriced_usage
    group by provider, account, meter, unit, reason
    order by provider, account, meter, reason
"""

CREDITS = """
    select provider, account, date, unit, granted, used, remaining, overage, days_left
    from usage.credit_balance_daily
    order by provider, account, date
"""

LINES = """
    select provider, account, billing_month, line, computed, computed_high, invoiced, difference, tolerance, currency,
        status, what_to_do, has_unpriced_usage
    from usage.invoice_reconciliation
    where billing_month >= date '{since}'
    order by billing_month desc, provider, account, currency, line
"""

SOURCES = """
    select provider, account, resource, loaded_from, complete_until, last_fetched_at, row_count, hours_behind,
        account_hours_behind, status
    from usage.data_freshness
    order by provider, account, resource
"""

GAPS = """
    select provider, account, resource, kind, date
    from usage.usage_gaps
    order by provider, account, resource, kind, date
"""
