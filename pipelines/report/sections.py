"""Reads the sections of the report whose rows need several queries, or several rows of one query."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_FLOOR

from meterhouse.pipelines.report import queries
from meterhouse.pipelines.report.model import (
    BreakdownRow,
    Coverage,
    CreditBalance,
    DailyCosts,
    Driver,
    InvoiceLine,
    LatestDay,
    Meter,
    Period,
    UsageGap,
    WeekChange,
    Weeks,
)
from meterhouse.pipelines.report.rows import by_day, exact, grouped, scoped_structs, single, structs
from meterhouse.pipelines.warehouse.cost_type import CostType
from meterhouse.pipelines.warehouse.query import Query, Row

MAX_METER_DAYS = 30_000
"""The most days of all meters together in a report, at about 25 bytes each; older days are left out."""

TOP_VALUES = 10
"""Values of a dimension that the breakdown names; it sums the others."""

MAX_DRIVERS = 6
"""Values per dimension that are listed as drivers of a change."""

MAX_BREAKDOWN_ROWS = 12_000
"""With more rows than this, single accounts keep only the periods in `ACCOUNT_PERIODS`."""

ACCOUNT_PERIODS = {"28d", "month", "last-month"}

MAX_DAYS_LEFT = 36_500
"""Credits that last longer have no day on which they run out."""


def coverage(query: Query) -> list[Coverage]:
    """The days of each account, and which of them are incomplete."""
    found = []
    for (provider, account), rows in grouped(query(queries.COVERAGE), "provider", "account"):
        start, end = rows[0]["date"], rows[-1]["date"]
        complete = {row["date"] for row in rows if row["is_complete"]}
        days = (end - start).days + 1
        incomplete = [day for day in range(days) if start + timedelta(days=day) not in complete]
        found.append(Coverage(provider, account, start, days, incomplete))
    return found


def daily_costs(query: Query, cost_type: CostType) -> list[DailyCosts]:
    """The cost of each account and currency by day."""
    found = query(queries.DAILY_COSTS.format(**cost_type.columns))
    return [
        DailyCosts(provider, account, currency, rows[0]["date"], by_day(rows, "cost"))
        for (provider, account, currency), rows in grouped(found, "provider", "account", "currency")
    ]


def meters(query: Query) -> tuple[list[Meter], date | None]:
    """The usage of each meter by day, and the first day if older days are left out."""
    since, first_day = date(1970, 1, 1), None
    counts = query(queries.METER_DAYS_BY_DATE)
    if sum(row["meter_days"] for row in counts) > MAX_METER_DAYS:
        total = 0
        for row in counts:
            total += row["meter_days"]
            if total > MAX_METER_DAYS:
                break
            since = first_day = row["date"]
    rows_by_meter = grouped(query(queries.METERS.format(since=since)), "provider", "account", "meter")
    return [_meter(rows) for _, rows in rows_by_meter], first_day


def _meter(rows: Sequence[Row]) -> Meter:
    start = rows[0]["date"]
    latest = next((row for row in reversed(rows) if row["is_complete"]), rows[-1])
    return Meter(
        rows[0]["provider"],
        rows[0]["account"],
        rows[0]["meter"],
        rows[0]["unit"],
        start,
        by_day(rows, "quantity"),
        by_day(rows, "average_7d"),
        by_day(rows, "average_28d"),
        {(row["date"] - start).days: exact(row["anomaly_score"]) for row in rows if row["is_anomaly"]},
        LatestDay(
            day=latest["date"],
            quantity=exact(latest["quantity"]),
            average_7d=exact(latest["average_7d"]),
            average_28d=exact(latest["average_28d"]),
            week_over_week=exact(latest["week_over_week"]),
            month_to_date=exact(rows[-1]["month_to_date"]),
        ),
    )


def week_changes(query: Query, weeks: Weeks, cost_type: CostType) -> list[WeekChange]:
    """The cost of each account in both weeks."""
    return structs(WeekChange, query(queries.WEEK_CHANGES.format(**_week_parameters(weeks), **cost_type.columns)))


def drivers(query: Query, weeks: Weeks, cost_type: CostType, providers_with_several_accounts: set[str]) -> list[Driver]:
    """The values of each dimension that changed most between the weeks, of accounts that are complete in both."""
    rows = query(queries.DRIVERS.format(limit=MAX_DRIVERS, **_week_parameters(weeks), **cost_type.columns))
    return scoped_structs(Driver, rows, providers_with_several_accounts)


def _week_parameters(weeks: Weeks) -> dict[str, object]:
    return {
        "previous_start": weeks.previous_start,
        "start": weeks.start,
        "end": weeks.end,
        "complete_days": queries.COMPLETE_DAYS,
    }


def breakdown(
    query: Query, periods: Sequence[Period], cost_type: CostType, providers_with_several_accounts: set[str]
) -> list[BreakdownRow]:
    """The top values of every dimension in every period."""
    found: list[BreakdownRow] = []
    for period in periods:
        statement = queries.BREAKDOWN.format(
            period=period.key, start=period.start, end=period.end, top_values=TOP_VALUES, **cost_type.columns
        )
        found += scoped_structs(BreakdownRow, query(statement), providers_with_several_accounts)
    if len(found) > MAX_BREAKDOWN_ROWS:
        found = [row for row in found if row.account is None or row.period in ACCOUNT_PERIODS]
    return found


def credit_balances(query: Query) -> list[CreditBalance]:
    """The latest balance of each billing account and unit, and the balance by day."""
    found = []
    for (provider, account, unit), rows in grouped(query(queries.CREDIT_BALANCES), "provider", "account", "unit"):
        latest = rows[-1]
        days_left = exact(latest["days_left"])
        runs_out_on = None
        if days_left is not None and days_left < MAX_DAYS_LEFT:
            runs_out_on = latest["date"] + timedelta(days=int(days_left.to_integral_value(ROUND_FLOOR)))
        found.append(
            CreditBalance(
                provider=provider,
                account=account,
                unit=unit,
                day=latest["date"],
                granted=exact(latest["granted"]),
                used=exact(latest["used"]),
                remaining=exact(latest["remaining"]),
                overage=exact(latest["overage"]),
                days_left=days_left,
                runs_out_on=runs_out_on,
                start=rows[0]["date"],
                remaining_by_day=by_day(rows, "remaining"),
            )
        )
    return found


def invoice_lines(query: Query, month: date) -> tuple[list[InvoiceLine], list[str], date | None]:
    """The invoice lines of `month` and 12 months before, their advice, and the first month if older lines are left out."""
    since = date(month.year - 1, month.month, 1)
    older = single(query(queries.INVOICE_LINES_BEFORE.format(since=since)))
    rows = query(queries.INVOICE_LINES.format(since=since))
    advice = sorted({row["what_to_do"] or "" for row in rows})
    lines = structs(InvoiceLine, ({**row, "advice": advice.index(row["what_to_do"] or "")} for row in rows))
    return lines, advice, since if older else None


def gaps(query: Query) -> list[UsageGap]:
    """Consecutive days as one gap, the newest gap first; days without usage, which need no action, come last."""
    found: list[UsageGap] = []
    for row in query(queries.GAPS):
        key = (row["provider"], row["account"], row["resource"], row["kind"])
        last = found[-1] if found else None
        if (
            last
            and (last.provider, last.account, last.resource, last.kind) == key
            and (row["date"] - last.last_date).days == 1
        ):
            last.last_date, last.days = row["date"], last.days + 1
        else:
            found.append(UsageGap(*key, row["date"], row["date"], 1))
    return sorted(found, key=lambda gap: (gap.kind == "no usage", -gap.last_date.toordinal()))
