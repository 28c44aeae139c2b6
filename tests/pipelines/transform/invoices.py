"""Invoices as rows of the billing tables, and which of their lines covers a charge, computed line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

TABLES = (
    """create table billing.invoices (provider text, billing_account text, invoice_id text, period_start date,
        period_end date, issued_on date, status text, currency text, total decimal(28,9), tax decimal(28,9), source text,
        row_number bigint, loaded_at timestamptz)""",
    """create table billing.invoice_lines (provider text, billing_account text, invoice_id text, line_number bigint,
        charge_category text, sku_id text, description text, quantity decimal(28,9), unit text, amount decimal(28,9),
        period_start date, period_end date, source text, row_number bigint, loaded_at timestamptz)""",
)
TRACE = "'file.csv', 2, cast('2026-07-01 00:00:00+00' as timestamptz)"


@dataclass(frozen=True)
class Line:
    """A line of an invoice file; without dates it has the period of its invoice."""

    category: str
    sku_id: str
    amount: Decimal
    quantity: Decimal | None = None
    unit: str | None = None
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True)
class Invoice:
    """An invoice, with lines or a total."""

    provider: str
    billing_account: str
    invoice_id: str
    start: date
    end: date
    lines: tuple[Line, ...] = ()
    total: Decimal | None = None
    tax: Decimal | None = None
    status: str = "issued"
    currency: str = "USD"


def statements(invoices: Iterable[Invoice]) -> Iterator[str]:
    """The statements that create and fill the two billing tables."""
    yield from TABLES
    for invoice in invoices:
        key = (invoice.provider, invoice.billing_account, invoice.invoice_id)
        issued_on = invoice.end if invoice.status != "open" else None
        head = (invoice.start, invoice.end, issued_on, invoice.status, invoice.currency, invoice.total, invoice.tax)
        yield f"insert into billing.invoices values ({_literals(*key, *head)}, {TRACE})"
        for number, line in enumerate(invoice.lines, 1):
            row = (
                *key,
                number,
                line.category,
                line.sku_id,
                None,
                line.quantity,
                line.unit,
                line.amount,
                line.start,
                line.end,
            )
            yield f"insert into billing.invoice_lines values ({_literals(*row)}, {TRACE})"


def _literals(*values: object) -> str:
    return ", ".join("null" if value is None else f"'{value}'" for value in values)
