"""The tables and their columns: what a text must be to stand in one. A reason says what is wrong and how to write it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import pyarrow as pa

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.schema import DECIMAL, Column

from .currencies import CURRENCIES

PROVIDERS = ("mathpix", "reducto", "onepin", "scopix")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `row` is the line of the file (the header is 1), None where it is the file itself."""

    table: str
    source: str
    row: int | None
    column: str
    reason: str

    def __str__(self) -> str:
        row = f" row {self.row}" if self.row is not None else ""
        return f"{self.source}{row}{f', {self.column}' if self.column else ''}: {self.reason}"


class Faults(ConfigurationError):
    """All that is wrong with the files and tables of [sources.billing]; nothing of them was loaded."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        order = list(TABLES)
        self.faults = tuple(sorted(faults, key=lambda fault: (order.index(fault.table), fault.row or 0)))
        super().__init__(
            "; ".join(map(str, self.faults)),
            provider="billing",
            hint="Correct it, then run again; nothing of billing was loaded.",
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its texts as they stand there, and its values, without those that could not be read."""

    table: str
    source: str
    number: int
    texts: Mapping[str, str]
    values: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether every column could be read."""
        return len(self.values) == len(TABLES[self.table].columns)

    def key(self, *columns: str) -> tuple[str, ...]:
        """The texts of `columns`, which a row has whether or not they could be read."""
        return tuple(self.texts.get(column, "") for column in columns)

    def fault(self, column: str, reason: str) -> Fault:
        """Something that is wrong in this row."""
        return Fault(self.table, self.source, self.number, column, reason)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table and those that tell its rows apart."""

    columns: Sequence[Column]
    key: Sequence[str]


def _required(parse: Callable[[str], object]) -> Callable[[str], object]:
    def stated(text: str) -> object:
        if not text:
            raise ValueError("is blank")
        return parse(text)

    return stated


def _column(
    name: str, kind: pa.DataType, parse: Callable[[str], object], description: str, *, blank: bool, stored: str | None = None
) -> Column:
    """`blank` says whether it may be; it is stored as null then, or as `stored`."""

    def optional(text: str) -> object:
        return parse(text) if text else stored

    nullable = blank and stored is None
    return Column(name, kind, optional if blank else _required(parse), name, description, nullable)


def _text(name: str, description: str, *, blank: bool = False, stored: str | None = None) -> Column:
    return _column(name, pa.string(), str, description, blank=blank, stored=stored)


def _choice(name: str, description: str, *choices: str, blank: bool = False) -> Column:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{_shown(text)} is none of {', '.join(choices)}")
        return text

    return _column(name, pa.string(), parse, description, blank=blank)


def _currency_code(text: str) -> str:
    if text not in CURRENCIES:
        raise ValueError(f"{_shown(text)} is no currency of ISO 4217, such as USD or EUR")
    return text


def _currency(*, description: str = "currency, as ISO 4217 names it", blank: bool = False) -> Column:
    return _column("currency", pa.string(), _currency_code, description, blank=blank)


_NUMBER = re.compile(r"[+-]?(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?")
_DECIMALS = 9
_DIGITS = 19
_LEAST = Decimal("1e-9")


def _number(text: str) -> Decimal:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a number, which is written as 1234.56")
    if len(match[1].lstrip("0")) > _DIGITS:
        raise ValueError(f"{_shown(text)} has more than {_DIGITS} digits before the point")
    if len((match[2] or "").rstrip("0")) > _DECIMALS:
        raise ValueError(f"{_shown(text)} has more than {_DECIMALS} decimals")
    return Decimal(text).quantize(_LEAST)


def _decimal(name: str, description: str, *, blank: bool = False, signed: bool = False) -> Column:
    def parse(text: str) -> Decimal:
        number = _number(text)
        if number < 0 and not signed:
            raise ValueError(f"{_shown(text)} is negative")
        return number

    return _column(name, DECIMAL, parse, description, blank=blank)


def _integer(name: str, description: str, *, blank: bool = False) -> Column:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError(f"{_shown(text)} is not a whole number from 0 to 999999999")
        return int(text)

    return _column(name, pa.int64(), parse, description, blank=blank)


def _day(name: str, description: str, *, blank: bool = False) -> Column:
    def parse(text: str) -> date:
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise ValueError(f"{_shown(text)} is not a date, which is written as 2026-01-31")

    return _column(name, pa.date32(), parse, description, blank=blank)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(text: str) -> str:
    if text not in _timezones():
        raise ValueError(f"{_shown(text)} is no IANA time zone, such as America/New_York or UTC")
    return text


def _grant_unit(text: str) -> str:
    if text != "credit" and text not in CURRENCIES:
        raise ValueError(f"{_shown(text)} is neither credit nor a currency of ISO 4217")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


PROVIDER = _choice("provider", "the vendor", *PROVIDERS)
BILLING_ACCOUNT = _text("billing_account", "who pays: the owner of tiers, credits and invoices")
ANY_ACCOUNT = _text("billing_account", "whose price it is; blank: all of the provider", blank=True, stored="")
VALID_FROM = _day("valid_from", "first day")
VALID_TO = _day("valid_to", "day on which it no longer holds; blank: open", blank=True)

TABLES: Mapping[str, Table] = {
    "accounts": Table(
        (
            PROVIDER,
            _text("account", "the configured account, default if there is one"),
            _text("billing_account", "who pays for it; blank: itself", blank=True, stored=""),
            _column("billing_timezone", pa.string(), _timezone, "calendar of its billing months", blank=True),
            _text("plan", "the vendor's plan", blank=True, stored=""),
            _day("signed_up_on", "blank: no shipped one-time fee and promotional credit", blank=True),
        ),
        ("provider", "account"),
    ),
    "prices": Table(
        (
            PROVIDER,
            ANY_ACCOUNT,
            _text("sku_id", "what is sold"),
            _choice("pricing_model", "how tiers price usage", "flat", "graduated", "volume"),
            _decimal("tier_from", "usage of the month at which the tier begins"),
            _decimal("tier_to", "usage at which it ends, excluded; blank: never", blank=True),
            _text("unit", "what one unit of usage is", blank=True),
            _decimal("unit_price", "price of one unit"),
            _currency(),
            VALID_FROM,
            VALID_TO,
        ),
        ("provider", "billing_account", "sku_id", "valid_from", "tier_from"),
    ),
    "credit_prices": Table(
        (
            PROVIDER,
            ANY_ACCOUNT,
            _decimal("unit_price", "price of one credit that no grant covers"),
            _currency(),
            VALID_FROM,
            VALID_TO,
        ),
        ("provider", "billing_account", "valid_from"),
    ),
    "credit_grants": Table(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("grant_id", "a name of one's own"),
            _choice("kind", "where it comes from", "included", "promotional", "purchased"),
            _column("unit", pa.string(), _grant_unit, "credit, or the currency of a money credit", blank=False),
            _decimal("amount", "how much is granted"),
            _day("starts_on", "first day on which it can be drawn from"),
            _day("expires_on", "day from which it no longer can; blank: never", blank=True),
            _choice("renews", "monthly: granted anew each billing month; blank: once", "monthly", blank=True),
            _integer("priority", "lower is drawn first; blank: by kind", blank=True),
            _decimal("cost", "money paid for it; blank or 0 where a plan fee pays", blank=True),
            _currency(description="currency of the cost", blank=True),
        ),
        ("provider", "billing_account", "grant_id"),
    ),
    "fees": Table(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("fee_id", "a name of one's own"),
            _choice("kind", "when it is charged", "monthly", "yearly", "one_time", "minimum"),
            _text("description", "as it reads on the invoice", blank=True),
            _decimal("amount", "amount of one period"),
            _currency(),
            _day("valid_from", "first day; of a one_time fee the day on which it is charged"),
            VALID_TO,
            _text("sku_id", "what a minimum is of; blank: all usage of the billing account", blank=True, stored=""),
        ),
        ("provider", "billing_account", "fee_id", "valid_from"),
    ),
    "invoices": Table(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("invoice_id", "the vendor's number"),
            _day("period_start", "first day that it bills"),
            _day("period_end", "day after the last one"),
            _day("issued_on", "blank while it is open", blank=True),
            _choice("status", "how final it is", "open", "issued", "voided"),
            _currency(),
            _decimal("total", "what is to be paid; blank where only lines are known", blank=True, signed=True),
        ),
        ("provider", "billing_account", "invoice_id"),
    ),
    "invoice_lines": Table(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("invoice_id", "the invoice that it stands on"),
            _integer("line_number", "its number there"),
            _choice("charge_category", "what it is", "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
            _text("sku_id", "what it bills", blank=True, stored=""),
            _text("description", "as it reads", blank=True),
            _decimal("quantity", "how much", blank=True, signed=True),
            _text("unit", "of what", blank=True),
            _decimal("amount", "its amount, in the currency of its invoice", signed=True),
        ),
        ("provider", "billing_account", "invoice_id", "line_number"),
    ),
}
"""In the order in which they are loaded and their faults are listed."""
