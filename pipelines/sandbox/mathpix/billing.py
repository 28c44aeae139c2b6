"""Mathpix's invoices, computed from the usage of the sandbox.

They depend neither on loaded rows nor on models, so that `invoice_reconciliation` has deviations to find: one invoice bills
too many PDF pages, and the invoice of the last closed month has not arrived.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month, billing_row
from meterhouse.pipelines.sandbox.mathpix.store import CountStore

PRICES = {
    "mathpix/image": (("image", "image-async"), "image", ((0, "0.002"), (1_000_000, "0.0015"))),
    "mathpix/pdf-page": (("pdf-page",), "page", ((0, "0.005"), (1_000_000, "0.0035"))),
    "mathpix/strokes-session": (
        ("strokes-session",),
        "session",
        ((0, "0"), (1_000, "0.01"), (100_000, "0.008"), (1_000_000, "0.005")),
    ),
}
"""By SKU: usage types, unit, and the USD price above each number of units per month (mathpix.com/docs/convert/billing)."""

OVERCHARGED_INVOICE, OVERCHARGE = 5, Decimal("1.04")
"""The number of the invoice that bills too many PDF pages, and the factor."""


def billing_rows(months: Sequence[Month], usage: CountStore) -> BillingRows:
    """An invoice for each month but the last."""
    invoices = [list(_lines(usage, month, number)) for number, month in enumerate(months[:-1], start=1)]
    return {
        "invoices": [
            billing_row("mathpix", invoice_id=lines[0]["invoice_id"], period_start=first, period_end=end, issued_on=end)
            | {"status": "issued", "currency": "USD", "total": sum(line["amount"] for line in lines)}
            for lines, (first, end) in zip(invoices, months, strict=False)
        ],
        "invoice_lines": [line for lines in invoices for line in lines],
    }


def _lines(usage: CountStore, month: Month, number: int) -> Iterator[dict[str, Any]]:
    for line, (sku_id, (usage_types, unit, tiers)) in enumerate(PRICES.items(), start=1):
        quantity = Decimal(sum(usage.total(*month, usage_type=usage_type) for usage_type in usage_types))
        if unit == "page" and number == OVERCHARGED_INVOICE:
            quantity = (quantity * OVERCHARGE).quantize(Decimal(1))
        amount = _graduated(quantity, tiers).quantize(Decimal("0.01"), ROUND_HALF_UP)
        yield billing_row("mathpix", invoice_id=f"MP-{month[0]:%Y-%m}", line_number=line, charge_category="Usage") | {
            "sku_id": sku_id,
            "quantity": quantity,
            "unit": unit,
            "amount": amount,
        }


def _graduated(quantity: Decimal, tiers: tuple[tuple[int, str], ...]) -> Decimal:
    """The cost if each tier's price holds only for the units above its bound."""
    cost, price = Decimal(0), Decimal(0)
    for bound, tier_price in tiers:
        cost += max(Decimal(0), quantity - bound) * (Decimal(tier_price) - price)
        price = Decimal(tier_price)
    return cost
