"""`meterhouse status`: what it costs, how fresh that is and what is wrong with it, in a screen of 80 columns."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from rich.console import Console
from rich.text import Text

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import Query, reader

WIDTH = 80
NAME = 20
DAYS = 28
"""Of a sparkline."""
SPARKS = "▁▂▃▄▅▆▇█"
MOST_WARNINGS = 12

Glance = dict[str, Any]


def read_status(destination: Destination) -> Glance:
    """What the marts say now; money as Decimals.

    Raises:
        LoadError: the destination cannot be read, or has no marts.
    """
    with reader(destination) as ask:
        return {"location": destination.location, **status_from(ask)}


def status_from(ask: Query) -> Glance:
    """The same, of whatever `ask` answers."""
    (newest,) = ask("select max(last_fetched_at) as last_fetched_at from usage.data_freshness")
    as_of: datetime | None = newest["last_fetched_at"]
    month = as_of.date().replace(day=1) if as_of else None
    freshness = ask("select status, count(*) as tables from usage.data_freshness group by status order by status")
    return {
        "as_of": as_of,
        "month": month,
        "costs": _costs(ask, month, as_of.date()) if as_of and month else [],
        "freshness": {row["status"]: row["tables"] for row in freshness},
        "warnings": list(_warnings(ask, as_of)),
    }


def _costs(ask: Query, month: date, today: date) -> list[dict[str, Any]]:
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    by_day: defaultdict[tuple[str, str, str], dict[date, Decimal]] = defaultdict(dict)
    for row in ask(BY_DAY.format(since=days[0])):
        by_day[row["provider"], row["account"], row["currency"]][row["date"]] = row["cost"]
    costs = ask(COSTS.format(month=month))
    for row in costs:
        known = by_day[row["provider"], row["account"], row["currency"]]
        row["by_day"] = [known.get(day, Decimal(0)) for day in days] if known else None
    return costs


def _warnings(ask: Query, as_of: datetime | None) -> Iterable[str]:
    for row in ask(UNPRICED):
        unit = row["meter"] if row["unit"] else f"uses of {row['meter']}"
        yield f"no price: {row['provider']} {row['account']}, {row['quantity']:,.0f} {unit} since {row['first_date']}"
    for row in ask(LATE):
        until = f"complete until {row['complete_until']:%Y-%m-%d %H:%M}" if row["complete_until"] else "nothing complete"
        yield f"{row['status']}: {row['provider']} {row['account']} {row['resource']}, {until}"
    for row in ask(GAPS):
        yield f"{row['kind']}: {row['provider']} {row['account']} {row['resource']}, {row['days']} days"
    if as_of:
        for row in ask(ANOMALIES.format(since=as_of.date() - timedelta(days=7))):
            how = "above" if row["anomaly_score"] > 0 else "below"
            yield f"unusual: {row['provider']} {row['account']} {row['meter']} on {row['date']}, far {how} its mean"
    for row in ask(CREDITS):
        when = f"for {row['days_left']:,.0f} days" if row["days_left"] is not None else "at an unknown rate"
        yield f"credits: {row['provider']} {row['account']} has {row['remaining']:,.0f} left, {when}"
    for row in ask(INVOICES):
        yield f"invoice {row['status']}: {row['provider']} {row['account']} {row['billing_month']:%Y-%m} {row['line']}"


def print_status(seen: Glance, console: Console) -> None:
    """Prints it for people; no line is longer than 80 columns."""

    def say(line: str, style: str = "") -> None:
        console.print(Text(_fit(line, WIDTH), style=style), soft_wrap=True)

    as_of = f"{seen['as_of']:%d %b %Y, %H:%M} UTC" if seen["as_of"] else "never loaded"
    say(f"{_fit(seen['location'], WIDTH - len(as_of) - 2)}  {as_of}", "bold")
    say("")
    if seen["month"]:
        say(f"{seen['month']:%B %Y}".ljust(NAME) + _columns("so far", "forecast", "") + f"  last {DAYS} days", "dim")
    for row in seen["costs"]:
        name = f"{row['provider']} {row['account']}"
        say(
            _fit(name, NAME).ljust(NAME)
            + _columns(_cents(row["cost_to_date"]), _cents(row["forecast"]), row["currency"])
            + sparkline(row["by_day"])
        )
    for currency in sorted({row["currency"] for row in seen["costs"]}):
        mine = [row for row in seen["costs"] if row["currency"] == currency]
        if len(mine) > 1:
            known = [row["forecast"] for row in mine if row["forecast"] is not None]
            forecast = _cents(sum(known, Decimal(0)) if len(known) == len(mine) else None)
            days = [row["by_day"] for row in mine if row["by_day"]]
            together = [sum(values, Decimal(0)) for values in zip(*days, strict=True)]
            say(
                "all".ljust(NAME)
                + _columns(_cents(sum((row["cost_to_date"] for row in mine), Decimal(0))), forecast, currency)
                + sparkline(together),
                "bold",
            )
    if not seen["costs"]:
        say("nothing billed in this month yet")
    say("")
    total = sum(seen["freshness"].values())
    others = ", ".join(f"{count} {status}" for status, count in seen["freshness"].items() if status != "fresh")
    say(f"fresh     {seen['freshness'].get('fresh', 0)} of {total} tables" + (f"; {others}" if others else ""))
    for warning in seen["warnings"][:MOST_WARNINGS]:
        say(f"WARNING   {warning}", "yellow")
    if len(seen["warnings"]) > MOST_WARNINGS:
        say(f"WARNING   and {len(seen['warnings']) - MOST_WARNINGS} more: meterhouse report", "yellow")


def sparkline(values: Sequence[Decimal] | None) -> str:
    """The values as a line of bars, the highest as high as the line; nothing where there are none."""
    if not values:
        return ""
    top = max(values)
    heights = [0 if top <= 0 else int(max(value, Decimal(0)) / top * (len(SPARKS) - 1)) for value in values]
    return "  " + "".join(SPARKS[height] for height in heights)


def _columns(cost: str, forecast: str, currency: str) -> str:
    return f"{cost:>12}{forecast:>13} {currency:<3}"


def _cents(amount: Decimal | None) -> str:
    return "–" if amount is None else f"{amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def _fit(text: str, width: int) -> str:
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"


COSTS = """
    select provider, account, currency, cost_to_date, forecast, forecast_low, forecast_high, basis
    from usage.cost_forecast_monthly
    where billing_month = date '{month}'
    order by currency, cost_to_date desc, provider, account
"""

BY_DAY = """
    select provider, account, currency, date, sum(billed_cost) as cost
    from usage.cost_daily
    where date >= date '{since}'
    group by provider, account, currency, date
"""

UNPRICED = """
    select provider, account, meter, unit, sum(quantity) as quantity, min(date) as first_date
    from usage.unpriced_usage
    group by provider, account, meter, unit
    order by provider, account, meter
"""

LATE = """
    select provider, account, resource, status, complete_until
    from usage.data_freshness
    where status <> 'fresh'
    order by provider, account, resource
"""

GAPS = """
    select provider, account, resource, kind, count(*) as days
    from usage.usage_gaps
    where kind in ('never fetched', 'partly fetched')
    group by provider, account, resource, kind
    order by provider, account, resource, kind
"""

ANOMALIES = """
    select provider, account, meter, date, anomaly_score
    from usage.usage_trends_daily
    where is_anomaly and date >= date '{since}'
    order by date desc, provider, account, meter
"""

CREDITS = """
    select provider, account, remaining, days_left
    from (
        select *, row_number() over (partition by provider, account order by date desc) as newest
        from usage.credit_balance_daily
    ) b
    where newest = 1 and (days_left <= 30 or remaining = 0)
    order by provider, account
"""

INVOICES = """
    select provider, account, billing_month, line, status
    from usage.invoice_reconciliation
    where status in ('over', 'under', 'missing usage')
    order by billing_month desc, provider, account, line
"""
