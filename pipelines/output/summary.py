"""The summary of a run."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table

from meterhouse.pipelines.output.json_log import plain
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import Fetched, RunState


def loaded_table(loaded: Sequence[Fetched]) -> Table:
    table = make_table("loaded", "table", "account", "from", "to", "rows")
    by_table: dict[tuple[str, str, str], list[Fetched]] = {}
    for entry in loaded:
        by_table.setdefault((entry.provider, entry.table, entry.account), []).append(entry)
    previous = None
    for (provider, name, account), entries in by_table.items():
        if provider != previous:
            table.add_row(provider)
            previous = provider
        start = entries[0].window.start.to_date_string()
        end = entries[-1].window.end.subtract(microseconds=1).to_date_string()  # the last day, which people read as included
        table.add_row(f"  {name}", escape(account), start, end, f"{sum(entry.rows for entry in entries):,}")
    return table


MONTHS_SHOWN = 13
"""A year and the running month; all of them are in usage.cost_monthly."""


def cost_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = make_table("cost by month", "month", "provider", "account", "billed")
    months = sorted({row["billing_month"] for row in rows})[-MONTHS_SHOWN:]
    totals: dict[tuple[Any, ...], list[Decimal]] = {}
    incomplete = {row["billing_month"] for row in rows if not row["is_complete"]}
    latest = months[-1]
    for row in rows:
        if row["billing_month"] in months:
            key = (row["billing_month"], row["provider"], row["account"], row["currency"])
            totals.setdefault(key, []).append(_cents(row["billed_cost"]))  # an invoice rounds each line, then adds
    previous = None
    for (month, provider, account, currency), amounts in totals.items():
        mark = "" if month not in incomplete else " so far" if month == latest else " incomplete"
        shown = f"{month:%Y-%m}{mark}" if month != previous else ""
        table.add_row(shown, provider, escape(account), f"{sum(amounts):,} {currency}")
        previous = month
    return table


def sku_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    month = max(row["billing_month"] for row in rows)
    table = make_table(f"{month:%Y-%m} by SKU", "account", "sku", "quantity", "unit", "billed")
    for row in rows:
        if row["billing_month"] == month:
            billed = f"{_cents(row['billed_cost']):,} {row['currency']}"
            table.add_row(escape(row["account"]), escape(row["sku_id"]), f"{row['quantity']:,.0f}", row["unit"], billed)
    return table


def make_table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        right = name in {"rows", "quantity", "billed", "pages", "left in budget", "to go"}
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def distinct_failures(record: RunState) -> list[str]:
    """Each failure once, with the tables that it kept from being loaded: a wrong key fails every table alike."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    for failure in record.failures:  # a table of many parts fails with each of them
        tables.setdefault((failure.account, str(failure.error)), {})[failure.table] = None
    return [
        f"{error}" + (f" [account {account}: {', '.join(names)}]" if account else "")
        for (account, error), names in tables.items()
    ]


def result_as_dict(report: RunResult) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "status": "ok" if report.exit_status == 0 else "failed",
        "exit_status": report.exit_status,
        "run_id": report.record.run_id,
        "destination": {"name": report.destination.name, "location": report.destination.location},
        "loaded": [
            {
                "provider": entry.provider,
                "table": entry.table,
                "account": entry.account,
                "from": entry.window.start,
                "until": entry.window.end,
                "rows": entry.rows,
            }
            for entry in report.loaded
        ],
        "warnings": report.record.warnings,
        "billing": report.record.billing,
        "requests": report.record.requests,
        "gaps": [
            {
                "provider": gap.provider,
                "table": gap.table,
                "account": gap.account,
                "from": gap.window.start,
                "until": gap.window.end,
            }
            for gap in report.record.gaps
        ],
        "failures": [
            {
                "provider": failure.provider,
                "table": failure.table,
                "account": failure.account,
                "kind": type(failure.error).__name__,
                "error": str(failure.error),
            }
            for failure in report.record.failures
        ],
        "models": None
        if outcome is None
        else {
            "built": outcome.built,
            "tests_passed": outcome.tested,
            "up_to_date": outcome.up_to_date,
            "failures": outcome.failures,
            "warnings": outcome.warnings,
        },
        "cost_monthly": report.cost_monthly,
        "unpriced_usage": report.unpriced_usage,
    }


def display_value(value: Any) -> str:
    """A value in a table: a number without the zeros that a column's scale puts behind it."""
    text = plain(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in text else text
