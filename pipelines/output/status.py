"""`meterhouse status`: cost, forecast, freshness and warnings, on one screen of 80 columns."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.text import Text

from meterhouse.pipelines.run.alert_kinds import credits_left
from meterhouse.pipelines.run.budgets import BudgetStatus, budgets_of_month
from meterhouse.pipelines.run.restatements import RECENT
from meterhouse.pipelines.transform.as_of import moment_of
from meterhouse.pipelines.transform.exchange import if_converted, missing_rates, reporting_total
from meterhouse.pipelines.warehouse.cost_type import CostType, default_cost_type
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import Query, Row, if_built, queries
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources.billing.currencies import rounded_to_currency

WIDTH = 80
NAME_WIDTH = 20
DAYS = 28
"""Days of a sparkline."""
BARS = "▁▂▃▄▅▆▇█"
MAX_WARNINGS = 12
MAX_OWNERS = 8
MAX_BUDGETS = 8
MAX_CHANGES = 8

CHANGE_COLUMNS = ("change", "volume_change", "price_change", "mix_change")

Status = dict[str, Any]


def read_status(destination: Destination, cost_type: CostType | None = None) -> Status:
    """The status from the marts; money as Decimal. Without a `cost_type`, costs are effective if anything is prepaid.

    Raises:
        LoadError: the destination cannot be read, or has no marts.
    """
    with destination.reader() as reader:
        return {"location": destination.location, **status_from(reader.rows, cost_type)}


def status_from(query: Query, cost_type: CostType | None = None) -> Status:
    """The status from the marts that `query` reads."""
    cost_type = cost_type or default_cost_type(query)
    (newest,) = query("select max(last_fetched_at) as last_fetched_at from usage.data_freshness")
    as_of: datetime | None = newest["last_fetched_at"]
    month = as_of.date().replace(day=1) if as_of else None
    freshness = query("select status, count(*) as tables from usage.data_freshness group by status order by status")
    return {
        "as_of": as_of,
        "built_as_of": moment_of(query),
        "month": month,
        "cost_type": cost_type,
        "costs": _costs(query, month, as_of.date(), cost_type) if as_of and month else [],
        "reporting": reporting_total(query, month, cost_type) if month else None,
        "restated": _restated(query, as_of),
        "owners": if_built(query)(queries()["status_owners"].format(**cost_type.columns), month) if month else [],
        "owners_converted": if_converted(query)(queries()["status_owners_converted"].format(**cost_type.columns), month)
        if month
        else [],
        "budgets": [asdict(budget) for budget in budgets_of_month(if_built(query), month)] if month else [],
        "changes": _changes(query, month, as_of.date(), cost_type) if as_of and month else [],
        "freshness": {row["status"]: row["tables"] for row in freshness},
        "warnings": list(_warnings(query, as_of)),
    }


def _costs(query: Query, month: date, today: date, cost_type: CostType) -> list[dict[str, Any]]:
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    by_day: defaultdict[tuple[str, str, str], dict[date, Decimal]] = defaultdict(dict)
    for row in query(queries()["status_costs_by_day"].format(**cost_type.columns), days[0]):
        by_day[row["provider"], row["account"], row["currency"]][row["date"]] = row["cost"]
    costs = query(queries()["status_costs"].format(**cost_type.columns), month)
    for row in costs:
        known = by_day[row["provider"], row["account"], row["currency"]]
        row["by_day"] = [known.get(day, Decimal(0)) for day in days] if known else None
        if row["cost_to_date"] is None and not row["forecast"]:  # usage without a price has no forecast either
            row |= dict.fromkeys(("forecast", "forecast_low", "forecast_high"))
    return costs


def _changes(query: Query, month: date, today: date, cost_type: CostType) -> list[dict[str, Any]]:
    """The changes of the last complete month, the largest first, and of recent anomalies, each with its main driver."""
    rows = if_built(query)(queries()["status_changes"].format(**cost_type.columns), month, today - RECENT)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:  # the driver of a change is in the row after it
        key = tuple(row[name] for name in ("period", "provider", "account", "date", "currency"))
        names = ("dimension", "value")
        if row["value"] is None:
            found[key] = {**{name: value for name, value in row.items() if name not in names}, "driver": None}
        elif key in found and row["change"]:
            found[key]["driver"] = {name: row[name] for name in (*names, *CHANGE_COLUMNS)}
    return sorted((row for row in found.values() if row["change"]), key=_order_of_change)


def _order_of_change(row: Row) -> Any:
    return row["period"] == "day", -row["date"].toordinal(), row["currency"], -abs(row["change"])


def _restated(query: Query, as_of: datetime | None) -> list[dict[str, Any]]:
    """Restatements of the last week by currency: cost change, buckets, and how many buckets are in closed periods."""
    by_currency: dict[str | None, dict[str, Any]] = {}
    for row in if_built(query)(queries()["recent_restatements"], as_of.date() - RECENT) if as_of else ():
        names = ("cost_change", "buckets", "closed_buckets")
        sums = by_currency.setdefault(row["currency"], {"currency": row["currency"], **dict.fromkeys(names, 0)})
        sums |= {name: sums[name] + (row[name] or 0) for name in names}
    return list(by_currency.values())


def _warnings(query: Query, as_of: datetime | None) -> Iterable[str]:
    sql = queries()
    yield from map(str, missing_rates(query))
    for row in query(sql["status_unpriced"]):
        unit = row["meter"] if row["unit"] else f"uses of {row['meter']}"
        yield f"no price: {row['provider']} {row['account']}, {row['quantity']:,.0f} {unit} since {row['first_date']}"
    for row in query(sql["status_not_fresh"]):
        until = f"complete until {row['complete_until']:%Y-%m-%d %H:%M}" if row["complete_until"] else "nothing complete"
        yield f"{row['status']}: {row['provider']} {row['account']} {row['resource']}, {until}"
    for row in query(sql["status_gaps"]):
        yield f"{row['kind']}: {row['provider']} {row['account']} {row['resource']}, {row['days']} days"
    if as_of:
        for row in query(sql["status_anomalies"], as_of.date() - RECENT):
            side = "above" if row["anomaly_score"] > 0 else "below"
            yield f"unusual: {row['provider']} {row['account']} {row['meter']} on {row['date']}, far {side} normal"
    for row in query(sql["status_credits"]):
        yield f"credits: {row['provider']} {row['billing_account']} has {credits_left(row)}"
    for row in query(sql["status_invoices"]):
        account = f"{row['provider']} {row['billing_account']}"
        yield f"invoice {row['status']}: {account} {row['billing_month']:%Y-%m} {row['line']}"


def print_status(status: Status, console: Console) -> None:
    """Prints the status; no line exceeds 80 columns."""

    def print_line(line: str, style: str = "") -> None:
        console.print(Text(_fit(line, WIDTH), style=style), soft_wrap=True)

    for line in _heading(status):
        print_line(line, "bold")
    print_line("")
    if status["month"]:
        heads = _columns("so far", "forecast", "") + f"  last {DAYS} days"
        print_line(f"{status['month']:%B %Y}".ljust(NAME_WIDTH) + heads, "dim")
    for line, style in (*_lines_of_costs(status["costs"]), *_lines_of_reporting(status["reporting"])):
        print_line(line, style)
    for line, style in _lines_below_costs(status):
        print_line(line, style)
    total = sum(status["freshness"].values())
    others = ", ".join(f"{count} {state}" for state, count in status["freshness"].items() if state != "fresh")
    print_line(f"fresh     {status['freshness'].get('fresh', 0)} of {total} tables" + (f"; {others}" if others else ""))
    if status["restated"]:
        print_line("restated  " + "; ".join(map(_change, status["restated"])) + ", in the last 7 days")
    for warning in status["warnings"][:MAX_WARNINGS]:
        print_line(f"WARNING   {warning}", "yellow")
    if len(status["warnings"]) > MAX_WARNINGS:
        print_line(f"WARNING   and {len(status['warnings']) - MAX_WARNINGS} more: meterhouse report", "yellow")


def _heading(status: Status) -> Iterable[str]:
    loaded = f"last load {status['as_of']:%d %b %Y, %H:%M} UTC" if status["as_of"] else "never loaded"
    yield f"{_fit(status['location'], WIDTH - len(loaded) - 2)}  {loaded}"
    if status["built_as_of"]:
        yield f"as of {status['built_as_of']:%d %b %Y, %H:%M:%S} UTC, not the present state"
    if status["cost_type"] == CostType.EFFECTIVE:
        yield "effective cost: prepaid credits count when used (--cost billed: when invoiced)"


def _lines_of_costs(costs: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """A line for each account, and a total for each currency that several accounts have."""
    for row in costs:
        name = _fit(f"{row['provider']} {row['account']}", NAME_WIDTH).ljust(NAME_WIDTH)
        yield name + _amounts(row["cost_to_date"], row["forecast"], row["currency"]) + sparkline(row["by_day"]), ""
    for currency in sorted({row["currency"] for row in costs}):
        rows = [row for row in costs if row["currency"] == currency]
        if len(rows) > 1:
            known = [row["forecast"] for row in rows if row["forecast"] is not None]
            forecast = sum(known, Decimal(0)) if len(known) == len(rows) else None
            to_date = [row["cost_to_date"] for row in rows if row["cost_to_date"] is not None]
            days = [row["by_day"] for row in rows if row["by_day"]]
            by_day = [sum(values, Decimal(0)) for values in zip(*days, strict=True)]
            amounts = _amounts(sum(to_date, Decimal(0)) if to_date else None, forecast, currency)
            yield "all".ljust(NAME_WIDTH) + amounts + sparkline(by_day), "bold"


def _lines_of_reporting(total: Row | None) -> Iterable[tuple[str, str]]:
    if total:
        currency = total["reporting_currency"]
        note = "" if total["cost"] is not None else "  a rate is missing"
        yield f"all in {currency}".ljust(NAME_WIDTH) + _amounts(total["cost"], None, currency) + note, "bold"


def _lines_below_costs(status: Status) -> Iterable[tuple[str, str]]:
    if not status["costs"]:
        yield "nothing billed in this month yet", ""
    yield "", ""
    yield from _budget_lines(status["budgets"])
    yield from _owner_lines(status["owners"], status["owners_converted"])
    yield from _change_lines(status["changes"])


def _budget_lines(rows: Sequence[Row]) -> Iterable[tuple[str, str]]:
    budgets = [BudgetStatus(**row) for row in rows]
    if not budgets:
        return
    yield "budgets".ljust(NAME_WIDTH) + _columns("so far", "forecast", "") + "  used", "dim"
    for budget in sorted(budgets, key=lambda budget: -budget.share_used)[:MAX_BUDGETS]:
        name = _fit(budget.budget, NAME_WIDTH).ljust(NAME_WIDTH)
        amounts = _amounts(budget.actual, budget.forecast, budget.currency)
        used = f"{budget.percent:,} % of {rounded_to_currency(budget.amount, budget.currency):,}"
        effective = ", effective" if budget.cost_type == "effective" else ""
        others = f", without {budget.other_currencies}" if budget.other_currencies else ""
        yield f"{name}{amounts}  {used}{effective}{others}", "yellow" if budget.is_over else ""
    if len(budgets) > MAX_BUDGETS:
        yield f"and {len(budgets) - MAX_BUDGETS} more: usage.budget_status_monthly", ""
    yield "", ""


def _owner_lines(owners: Sequence[Row], converted: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """The owners in the original currencies, with their forecasts, and then all of their cost in the reporting currency."""
    original = [(row, _amounts(row["cost"], row["forecast"], row["currency"])) for row in owners]
    yield from _owner_table(_columns("so far", "forecast", ""), original)
    yield from _owner_table(_columns("all so far", "", ""), [(row, _converted(row)) for row in converted])


def _owner_table(heading: str, rows: Sequence[tuple[Row, str]]) -> Iterable[tuple[str, str]]:
    if not rows:
        return
    yield "by owner".ljust(NAME_WIDTH) + heading, "dim"
    for row, amounts in rows[:MAX_OWNERS]:
        yield _fit(f"{row['team']} {row['cost_centre']}".strip(), NAME_WIDTH).ljust(NAME_WIDTH) + amounts, ""
    if len(rows) > MAX_OWNERS:
        yield f"and {len(rows) - MAX_OWNERS} more: usage.cost_forecast_by_owner_monthly", ""
    yield "", ""


def _converted(row: Row) -> str:
    cost, currency = row["cost"], row["currency"]
    return _columns("no rate" if cost is None else f"{rounded_to_currency(cost, currency):,}", "", currency)


def _change_lines(changes: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """A heading for each month or day; below it, the change of each account and of the value that changed it most."""
    heading = ""
    for row in changes[:MAX_CHANGES]:
        day, before = row["date"], row["compared_with"]
        of_month = f"{day:%b %Y} against {before:%b}" if row["period"] == "month" else ""
        if (title := of_month or f"{day:%d %b} against {before:%d %b}") != heading:
            yield title.ljust(NAME_WIDTH + 1) + f"{'change':>11}{'volume':>12}{'price':>12}{'mix':>12}", "dim"
            heading = title
        yield _changed_by(f"{row['provider']} {row['account']}", row, row["currency"]), ""
        if driver := row["driver"]:
            yield _changed_by(f"  {driver['value']}", driver, row["currency"]), "dim"
    if len(changes) > MAX_CHANGES:
        yield f"and {len(changes) - MAX_CHANGES} more: usage.cost_drivers", ""
    if changes:
        yield "", ""


def _changed_by(name: str, row: Row, currency: str) -> str:
    rounded = [rounded_to_currency(row[column], currency) for column in CHANGE_COLUMNS]
    amounts = "".join(f"{amount:>+12,}" if amount else f"{amount:>12,}" for amount in rounded)
    return f"{_fit(name, NAME_WIDTH):<{NAME_WIDTH}}{amounts} {currency}"


def sparkline(values: Sequence[Decimal] | None) -> str:
    """The values as a line of bars, the highest at full height; an empty text without values."""
    if not values:
        return ""
    top = max(values)
    heights = [0 if top <= 0 else int(max(value, Decimal(0)) / top * (len(BARS) - 1)) for value in values]
    return "  " + "".join(BARS[height] for height in heights)


def _change(row: Row) -> str:
    currency = row["currency"]
    amount = f"{rounded_to_currency(row['cost_change'], currency):+,} {currency}" if currency else "unpriced"
    closed = f", {row['closed_buckets']:,} in closed periods" if row["closed_buckets"] else ""
    return f"{amount} ({row['buckets']:,} bucket{'' if row['buckets'] == 1 else 's'}{closed})"


def _columns(cost: str, forecast: str, currency: str) -> str:
    return f"{cost:>12}{forecast:>13} {currency:<3}"


def _amounts(cost: Decimal | None, forecast: Decimal | None, currency: str) -> str:
    to_date, expected = (
        "–" if amount is None else f"{rounded_to_currency(amount, currency):,}" for amount in (cost, forecast)
    )
    return _columns(to_date, expected, currency)


def _fit(text: str, width: int) -> str:
    clean = escape_control_characters(text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"
