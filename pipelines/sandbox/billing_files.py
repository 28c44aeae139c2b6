"""What the customer of the sandbox has on paper: plans, credits and invoices, as files for `[sources.billing]`.

All of it is made up but Mathpix' prices. An invoice is worked out from what the sandbox has counted, not from what was
loaded or modelled, so that `invoice_reconciliation` has something to find: one bills too many PDF pages, and the last has
not come yet.
"""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from meterhouse.sources.billing import TABLES

PRICES = {
    "mathpix/image": (("image", "image-async"), "image", ((0, "0.002"), (1_000_000, "0.0015"))),
    "mathpix/pdf-page": (("pdf-page",), "page", ((0, "0.005"), (1_000_000, "0.0035"))),
    "mathpix/strokes-session": (
        ("strokes-session",),
        "session",
        ((0, "0"), (1_000, "0.01"), (100_000, "0.008"), (1_000_000, "0.005")),
    ),
}
"""By SKU: usage types, unit, and from how many of a month on one costs how many USD (mathpix.com/docs/convert/billing)."""

OVERCHARGED = 5, Decimal("1.04")
"""Which invoice bills too many PDF pages, and how many times as many."""

Row = dict[str, Any]
Count = Callable[[datetime, datetime, str], int]


def write_paperwork(folder: Path, count: Count, start: date, today: date) -> dict[str, str]:
    """Writes a file for each table of `billing_source` and returns its settings.

    Args:
        folder: where to.
        count: uses of Mathpix in [from, to) of one usage type.
        start: the first of a month, at least one before this one.
        today: what has happened until then is on paper.
    """
    months = [start]
    while months[-1] <= today:
        months.append(_next_month(months[-1]))
    closed = list(pairwise(months))[:-1]
    invoices = [list(_lines(count, *month, number)) for number, month in enumerate(closed[:-1], start=1)]
    # Onepin tells the last 90 days and Scopix is asked for two months: their plans begin with the first whole one of those.
    onepin, scopix = closed[-2:][0][0], closed[-1][0]
    bought = closed[-5:][0][0]
    tables: dict[str, list[Row]] = {
        "accounts": [],
        "prices": [],
        "credit_prices": [
            _of("reducto", unit_price="0.014", currency="USD", valid_from=start),
            _of("onepin", unit_price="0.006", currency="USD", valid_from=start),
            _of("scopix", unit_price="0.02", currency="USD", valid_from=start),
        ],
        "credit_grants": [
            _included("onepin", "studio-plan", 25_000, onepin),
            _included("scopix", "team-plan", 5_000, scopix),
            _of("reducto", grant_id="pack", kind="purchased", unit="credit", amount=1_000_000, starts_on=bought)
            | {"expires_on": bought.replace(year=bought.year + 1), "cost": 11_000, "currency": "USD"},
        ],
        "fees": [_plan("onepin", "studio", "Studio plan", 99, onepin), _plan("scopix", "team", "Team plan", 49, scopix)],
        "invoices": [
            _of("mathpix", invoice_id=lines[0]["invoice_id"], period_start=first, period_end=end, issued_on=end)
            | {"status": "issued", "currency": "USD", "total": sum(line["amount"] for line in lines)}
            for lines, (first, end) in zip(invoices, closed, strict=False)
        ],
        "invoice_lines": [line for lines in invoices for line in lines],
    }
    folder.mkdir(parents=True, exist_ok=True)
    return {
        name: _write(folder / f"{name}.csv", [column.name for column in TABLES[name].columns], rows)
        for name, rows in tables.items()
    }


def _of(provider: str, **columns: Any) -> Row:
    return {"provider": provider, "billing_account": "default", **columns}


def _included(provider: str, grant_id: str, amount: int, start: date) -> Row:
    return _of(provider, grant_id=grant_id, kind="included", unit="credit", amount=amount, starts_on=start, renews="monthly")


def _plan(provider: str, fee_id: str, description: str, amount: int, start: date) -> Row:
    own: Row = {"fee_id": fee_id, "kind": "monthly", "description": description, "amount": amount}
    return _of(provider, **own, currency="USD", valid_from=start)


def _lines(count: Count, first: date, end: date, number: int) -> Iterator[Row]:
    for line, (sku_id, (usage_types, unit, tiers)) in enumerate(PRICES.items(), start=1):
        quantity = Decimal(sum(count(_midnight(first), _midnight(end), usage_type) for usage_type in usage_types))
        if unit == "page" and number == OVERCHARGED[0]:
            quantity = (quantity * OVERCHARGED[1]).quantize(Decimal(1))
        own: Row = {"invoice_id": f"MP-{first:%Y-%m}", "line_number": line, "charge_category": "Usage", "sku_id": sku_id}
        yield _of("mathpix", **own, quantity=quantity, unit=unit, amount=_cents(_graduated(quantity, tiers)))


def _graduated(quantity: Decimal, tiers: tuple[tuple[int, str], ...]) -> Decimal:
    """Each tier prices what lies above its bound, in place of the tier below it."""
    cost, price = Decimal(0), Decimal(0)
    for bound, its_price in tiers:
        cost += max(Decimal(0), quantity - bound) * (Decimal(its_price) - price)
        price = Decimal(its_price)
    return cost


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _write(file: Path, header: list[str], rows: list[Row]) -> str:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, header, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return str(file)
