"""Invoices as rows of the billing tables, and a calculation in Python of how they compare with the charges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby

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
    """A line of an invoice file. Without dates, it has the period of its invoice."""

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


@dataclass(frozen=True)
class Charge:
    """The columns of a charge that invoices depend on."""

    charge_id: str
    provider: str
    billing_account: str
    currency: str
    sku_id: str
    category: str
    billed_on: date
    billed_cost: Decimal


@dataclass(frozen=True)
class Item:
    """A line of an invoice, or the total of an invoice without lines, with the values that it takes from the invoice."""

    invoice: Invoice
    number: int
    category: str
    sku_id: str
    amount: Decimal
    tax: Decimal
    start: date
    end: date

    @property
    def scope(self) -> str:
        return self.sku_id or self.category or "total"

    @property
    def key(self) -> tuple[str, int]:
        return self.invoice.invoice_id, self.number

    @property
    def is_issued(self) -> bool:
        return self.invoice.status == "issued"

    @property
    def is_note(self) -> bool:
        return self.amount + (self.tax if self.scope == "total" else 0) < 0 and self.category not in ("Credit", "Tax")

    def includes(self, charge: Charge) -> bool:
        """Whether the charge lies in the period and scope of the line, in any currency."""
        owner = (charge.provider, charge.billing_account) == (self.invoice.provider, self.invoice.billing_account)
        scopes = (charge.sku_id, charge.category, "total")
        return owner and self.start <= charge.billed_on < self.end and self.scope in scopes


def items(invoices: Iterable[Invoice]) -> list[Item]:
    """The lines of all invoices that are not voided."""
    found = []
    for invoice in invoices:
        if invoice.status == "voided":
            continue
        if not invoice.lines and invoice.total is not None:
            tax = invoice.tax or Decimal(0)
            found.append(Item(invoice, 0, "", "", invoice.total - tax, tax, invoice.start, invoice.end))
        for number, line in enumerate(invoice.lines, 1):
            tax = line.amount if line.category == "Tax" else Decimal(0)
            period = (line.start or invoice.start, line.end or invoice.end)
            found.append(Item(invoice, number, line.category, line.sku_id, line.amount, tax, *period))
    return found


def in_order(item: Item) -> tuple[bool, int]:
    """The order of lines for the same charges: those for usage first, because they close periods."""
    return item.category != "Usage", item.number


def main_item(item: Item, all_items: Sequence[Item]) -> Item:
    """The main line that this line is part of, or the line itself."""
    if item.category == "Tax":
        return item
    of_payer = [
        other
        for other in all_items
        if (other.invoice.provider, other.invoice.billing_account) == (item.invoice.provider, item.invoice.billing_account)
        and other.invoice.currency == item.invoice.currency
        and other.category != "Tax"
    ]
    own = [
        other
        for other in of_payer
        if (other.invoice, other.start, other.end, other.is_note) == (item.invoice, item.start, item.end, item.is_note)
        and other.scope == item.scope
    ]
    if item.is_note:
        scopes = [scope for scope in (item.sku_id, item.category, "total") if scope]
        credited = [
            other
            for other in of_payer
            if not other.is_note and other.amount >= 0 and other.start <= item.start < other.end
            and (item.is_issued or not other.is_issued) and other.scope in scopes
        ]  # fmt: skip
        if credited:
            # Of lines for the same charges and period the first; then issued lines, the most specific ones, its own invoice
            # and late periods first.
            def alike(other: Item) -> tuple[str, str, date, date]:
                return other.invoice.invoice_id, other.scope, other.start, other.end

            firsts = [min(group, key=in_order) for _, group in groupby(sorted(credited, key=alike), key=alike)]
            return min(
                firsts,
                key=lambda other: (
                    not other.is_issued, scopes.index(other.scope), other.invoice != item.invoice,
                    -other.start.toordinal(), other.key,
                ),
            )  # fmt: skip
    return min(own, key=in_order)


class Reconciliation:
    """The charges that each line covers, and the comparison of each line."""

    def __init__(self, invoices: Sequence[Invoice], charges: Sequence[Charge]) -> None:
        self.items = items(invoices)
        self.mains = {item: main_item(item, self.items) for item in self.items}
        mains = [item for item in self.items if self.mains[item] is item and item.category != "Tax"]
        self.covering = [item for item in mains if not item.is_note or self._is_refund(item, charges)]
        self.line_of: dict[Charge, Item | None] = {charge: self._line_of(charge) for charge in charges}
        self.covered: dict[Item, list[Charge]] = {item: [] for item in self.items}
        for charge, item in self.line_of.items():
            if item is not None:
                self.covered[item].append(charge)

    @staticmethod
    def _is_refund(note: Item, charges: Sequence[Charge]) -> bool:
        """Whether the sum of the charges of a credit note is negative, as with corrections."""
        costs = [c.billed_cost for c in charges if note.includes(c) and c.currency == note.invoice.currency]
        return sum(costs, Decimal(0)) < 0

    def _line_of(self, charge: Charge) -> Item | None:
        claims = [item for item in self.covering if item.includes(charge) and item.invoice.currency == charge.currency]
        rank = {charge.sku_id: 0, charge.category: 1, "total": 2}
        return min(claims, key=lambda item: (not item.is_issued, rank[item.scope], item.key), default=None)

    def computed(self, item: Item) -> Decimal | None:
        """The cost of the charges that the line covers, in cents; None without charges."""
        costs = [charge.billed_cost for charge in self.covered[item]]
        return cents(sum(costs, Decimal(0))) if costs else None

    def net(self, item: Item) -> Decimal:
        """The amount that is compared, without tax."""
        if self.mains[item] is not item or item.category == "Tax":
            return Decimal(0)
        return sum((part.amount for part in self.items if self.mains[part] is item), Decimal(0))

    def result(self, item: Item, loaded: Mapping[tuple[str, str], tuple[date, date]], newest: datetime) -> str:
        """The status. `loaded` has the loaded days by provider and billing account, `newest` the end of all loaded data."""
        main = self.mains[item]
        if main is not item:
            return self.result(main, loaded, newest)
        computed, net = self.computed(item), self.net(item)
        purchases = {charge.category for charge in self.covered[item]} == {"Purchase"} and bool(item.sku_id)
        first, last = loaded[item.invoice.provider, item.invoice.billing_account]
        if item.category == "Tax":
            return "not computed"
        is_late = first > item.start or newest >= datetime.combine(item.end, time(12)) + timedelta(days=1)
        if item.category != "Purchase" and not purchases and not (first <= item.start and item.end <= last):
            return "not loaded whole" if item.is_issued or is_late else "draft"
        if not item.is_issued:
            return "draft"
        others = [charge for charge, line in self.line_of.items() if line is None and item.includes(charge)]
        is_other = any(charge.currency != item.invoice.currency for charge in others) and item in self.covering
        if computed is None and is_other:
            return "currency mismatch"
        difference = net - (computed or Decimal(0))
        if difference == 0:
            return "matched"
        if abs(difference) <= max(Decimal("0.05"), Decimal("0.005") * abs(computed or Decimal(0))):
            return "within tolerance"
        if computed is None and (net > 0 or item.category == "Credit"):
            return "missing usage"
        return "over" if difference > 0 else "under"


def cents(amount: Decimal) -> Decimal:
    """The amount rounded like an invoice line."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)
