"""The files for `[sources.billing]`: plans, credits and invoices, made up except for Mathpix's prices."""

import csv
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from meterhouse.pipelines.sandbox.dates import next_month
from meterhouse.sources.billing import TABLES

BILLING_TABLES = ("accounts", "prices", "credit_prices", "credit_grants", "fees", "invoices", "invoice_lines")
"""The tables that get a file, even if the customer has no rows for them."""

BUDGETS = (
    {"scope": "total", "amount": 6500},
    {"scope": "provider", "provider": "mathpix", "amount": 5000},
    {"scope": "provider", "provider": "reducto", "amount": 2000, "cost_type": "effective"},
    {"scope": "dimension", "provider": "mathpix", "dimension": "app_id", "value": "lyceum_notes", "amount": 2500},
)
"""The customer's monthly budgets, in USD."""

Month = tuple[date, date]
"""The first day of a month and of the next one."""
BillingRows = dict[str, list[dict[str, Any]]]
"""Rows by the name of their billing table."""


def closed_months(start: date, today: date) -> list[Month]:
    """The months that have ended, from `start` on, which is the first day of an earlier month than the present one."""
    firsts = [start]
    while firsts[-1] <= today:
        firsts.append(next_month(firsts[-1]))
    return list(pairwise(firsts))[:-1]


def write_billing_files(folder: Path, vendors: Iterable[BillingRows], start: date) -> dict[str, str]:
    """Writes a file for each table and returns the arguments of `billing_source`: paths by table.

    The budgets, which belong to the customer, begin with the month `start`.
    """
    rows: BillingRows = {name: [] for name in BILLING_TABLES}
    rows["budgets"] = [row | {"currency": "USD", "valid_from": start} for row in BUDGETS]
    for own in vendors:
        for name, more in own.items():
            rows[name] += more
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _write(folder / f"{name}.csv", name, rows[name]) for name in rows}


def billing_row(provider: str, **columns: Any) -> dict[str, Any]:
    """A row of the provider's default billing account."""
    return {"provider": provider, "billing_account": "default", **columns}


def included_credits(provider: str, grant_id: str, amount: int, start: date) -> dict[str, Any]:
    """A grant of credits that a plan includes each month."""
    own = {"grant_id": grant_id, "kind": "included", "unit": "credit", "amount": amount, "starts_on": start}
    return billing_row(provider, **own, renews="monthly")


def monthly_fee(provider: str, fee_id: str, description: str, amount: int, start: date) -> dict[str, Any]:
    """The fee of a plan."""
    own = {"fee_id": fee_id, "kind": "monthly", "description": description, "amount": amount}
    return billing_row(provider, **own, currency="USD", valid_from=start)


def credit_price(provider: str, unit_price: str, start: date) -> dict[str, Any]:
    """The price of each credit beyond the granted ones."""
    return billing_row(provider, unit_price=unit_price, currency="USD", valid_from=start)


def _write(file: Path, table: str, rows: Sequence[dict[str, Any]]) -> str:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, [column.name for column in TABLES[table].columns], restval="")
        writer.writeheader()
        # Credits included in a plan come before purchased ones; the other rows stay in the order of the registry.
        writer.writerows(sorted(rows, key=lambda row: str(row.get("kind", ""))))
    return str(file)
