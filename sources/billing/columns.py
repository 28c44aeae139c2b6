"""The billing tables: their columns, each with the parser of its cells."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pyarrow as pa

from meterhouse.sources._core.config.parse import YEARS
from meterhouse.sources._core.nearest import nearest_name
from meterhouse.sources._core.schema import DECIMAL, Column, computed
from meterhouse.sources.registry import PROVIDERS

from .cells import (
    RATE_DECIMALS,
    parse_currency,
    parse_grant_unit,
    parse_number,
    parse_owned_value,
    parse_owner_name,
    parse_pattern,
    parse_rate,
    parse_share,
    parse_tags,
    parse_team,
    parse_thresholds,
    parse_timezone,
    parse_units,
    quoted,
)


@dataclass(frozen=True, slots=True)
class BillingTable:
    """A table's columns, and the key columns that identify a row. The header may leave out optional columns.

    `computed` columns are not in the file. A column's `field` is its name in the file.
    """

    columns: Sequence[Column]
    key: Sequence[str]
    optional: Sequence[str] = ()
    computed: Sequence[Column] = ()


def name_in_file(column: Column) -> str:
    """The column's name in the header of a file."""
    return column.field or column.name


def _required(parse: Callable[[str], object]) -> Callable[[str], object]:
    def required(text: str) -> object:
        if not text:
            raise ValueError("is blank")
        return parse(text)

    return required


def _column(
    name: str, kind: pa.DataType, parse: Callable[[str], object], description: str, *, blank: bool, stored: object = None
) -> Column:
    """`blank` allows an empty cell, which is stored as null, or as `stored`."""

    def optional(text: str) -> object:
        return parse(text) if text else stored

    nullable = blank and stored is None
    return Column(name, kind, optional if blank else _required(parse), name, description, nullable)


def _text(name: str, description: str, *, blank: bool = False, stored: str | None = None) -> Column:
    return _column(name, pa.string(), str, description, blank=blank, stored=stored)


def _choice(name: str, description: str, *choices: str, blank: bool = False, stored: str | None = None) -> Column:
    def parse(text: str) -> str:
        if text not in choices:
            near = nearest_name(text, choices)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"{quoted(text)} is not one of {', '.join(choices)}{hint}")
        return text

    return _column(name, pa.string(), parse, description, blank=blank, stored=stored)


def _currency(*, description: str = "ISO 4217 currency code", blank: bool = False) -> Column:
    return _column("currency", pa.string(), parse_currency, description, blank=blank)


def _decimal(name: str, description: str, *, blank: bool = False, signed: bool = False) -> Column:
    def parse(text: str) -> Decimal:
        number = parse_number(text)
        if number < 0 and not signed:
            raise ValueError(f"{quoted(text)} is negative")
        return number

    return _column(name, DECIMAL, parse, description, blank=blank)


def _integer(name: str, description: str, *, blank: bool = False) -> Column:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError(f"{quoted(text)} is not a whole number from 0 to 999999999")
        return int(text)

    return _column(name, pa.int64(), parse, description, blank=blank)


_DATE_RANGE = date(YEARS[0], 1, 1), date(YEARS[-1], 12, 31)
"""The dates that are allowed. A typo such as year 0026 or 9999 would charge fees for centuries."""


def _day(name: str, description: str, *, blank: bool = False) -> Column:
    def parse(text: str) -> date:
        day = None
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                day = date.fromisoformat(text)
        except ValueError:
            pass
        if day is None:
            raise ValueError(f"{quoted(text)} is not a date; write it like 2026-01-31")
        if not _DATE_RANGE[0] <= day <= _DATE_RANGE[1]:
            end = "; leave it blank for no end" if blank and day > _DATE_RANGE[1] else ""
            raise ValueError(f"{day} is not between {_DATE_RANGE[0]} and {_DATE_RANGE[1]}{end}")
        return day

    return _column(name, pa.date32(), parse, description, blank=blank)


_YES_OR_NO = {"yes": True, "true": True, "no": False, "false": False}


def _yes_or_no(name: str, description: str, *, stored: bool | None = False) -> Column:
    def parse(text: str) -> bool:
        if text.lower() not in _YES_OR_NO:
            raise ValueError(f"{quoted(text)} is not one of yes, no")
        return _YES_OR_NO[text.lower()]

    return _column(name, pa.bool_(), parse, description, blank=True, stored=stored)


SCOPES = ("total", "provider", "account", "owner")
"""What a business metric can be for. A budget can also be for values of a dimension."""

PROVIDER = _choice("provider", "the vendor", *PROVIDERS)
BILLING_ACCOUNT = _text("billing_account", "the account that the vendor bills: owner of price tiers, credits and invoices")
ANY_ACCOUNT = _text(
    "billing_account",
    "the billing account that pays this price; blank: all billing accounts of the provider",
    blank=True,
    stored="",
)
VALID_FROM = _day("valid_from", "first day on which it applies")
VALID_TO = _day("valid_to", "first day on which it no longer applies; blank: no end", blank=True)

TABLES: Mapping[str, BillingTable] = {
    "accounts": BillingTable(
        (
            PROVIDER,
            _text("account", "name of the configured account; `default` if only one is configured"),
            _text(
                "billing_account", "the billing account that pays for it; blank: the account itself", blank=True, stored=""
            ),
            _column("billing_timezone", pa.string(), parse_timezone, "time zone of its billing months", blank=True),
            _text("plan", "name of the vendor's plan", blank=True, stored=""),
            _day(
                "signed_up_on",
                "sign-up date; blank: the built-in one-time fee and promotional credit do not apply",
                blank=True,
            ),
        ),
        ("provider", "account"),
    ),
    "skus": BillingTable(
        (
            PROVIDER,
            _text("meter", "the vendor's name for the kind of usage"),
            _text("sku_id", "SKU that the meter is charged as; blank only if it is not billed", blank=True),
            _text("unit", "name of one unit of usage"),
            _yes_or_no("is_billed", "`no` for usage that the vendor does not bill; blank: yes", stored=True),
        ),
        ("provider", "meter"),
    ),
    "prices": BillingTable(
        (
            PROVIDER,
            ANY_ACCOUNT,
            _text("sku_id", "SKU that the price applies to"),
            _choice("pricing_model", "how tiers price usage", "flat", "graduated", "volume"),
            _decimal("tier_from", "monthly usage at which the tier begins"),
            _decimal("tier_to", "monthly usage at which the tier ends, exclusive; blank: no end", blank=True),
            _text("unit", "the SKU's unit of usage", blank=True),
            _decimal("unit_price", "price of one unit, or of `per` units"),
            # Nullable, because a database cannot add a non-nullable column to a table that already has rows.
            Column("per", DECIMAL, parse_units, "per", "number of units that the price is for; blank: 1", nullable=True),
            _currency(),
            VALID_FROM,
            VALID_TO,
        ),
        ("provider", "billing_account", "sku_id", "valid_from", "tier_from"),
        optional=("unit", "per"),
    ),
    "credit_prices": BillingTable(
        (
            PROVIDER,
            ANY_ACCOUNT,
            _decimal("unit_price", "price of one credit beyond all grants"),
            _currency(),
            VALID_FROM,
            VALID_TO,
        ),
        ("provider", "billing_account", "valid_from"),
    ),
    "credit_grants": BillingTable(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("grant_id", "your identifier"),
            _choice("kind", "origin of the credits", "included", "promotional", "purchased"),
            _column("unit", pa.string(), parse_grant_unit, "`credit`, or the currency of a monetary credit", blank=False),
            _decimal("amount", "amount granted"),
            _day("starts_on", "first day on which it can be used"),
            _day("expires_on", "first day on which it can no longer be used; blank: never expires", blank=True),
            _choice(
                "renews",
                "`monthly`: granted again each month, on the same day as `starts_on`; blank: granted once",
                "monthly",
                blank=True,
            ),
            _integer("priority", "lower values are used first; blank: by kind", blank=True),
            _decimal("cost", "price paid; blank or 0 if a plan fee covers it", blank=True),
            _currency(description="currency of the cost", blank=True),
        ),
        ("provider", "billing_account", "grant_id"),
    ),
    "fees": BillingTable(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("fee_id", "your identifier"),
            _choice("kind", "when the fee is charged", "monthly", "yearly", "one_time", "minimum"),
            _text("description", "text on the invoice", blank=True),
            _decimal("amount", "amount per period"),
            _currency(),
            _day("valid_from", "first day on which it applies; for a one_time fee, the day it is charged"),
            VALID_TO,
            _text(
                "sku_id",
                "for a minimum, the SKU it applies to; blank: all usage of the billing account",
                blank=True,
                stored="",
            ),
            _yes_or_no(
                "prorate", "`yes`: a fee that changes or ends within a period is prorated by day; blank: no", stored=None
            ),
            _yes_or_no(
                "after_credits", "`yes`: a minimum is compared with usage after monetary credits; blank: before", stored=None
            ),
        ),
        ("provider", "billing_account", "fee_id", "valid_from"),
        optional=("prorate", "after_credits"),
    ),
    "invoices": BillingTable(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("invoice_id", "the vendor's invoice number"),
            _day("period_start", "first day of the billed period"),
            _day("period_end", "day after the billed period"),
            _day("issued_on", "date of issue; blank while open", blank=True),
            _choice("status", "state of the invoice", "open", "issued", "voided"),
            _currency(),
            _decimal("total", "total due; blank if only lines are known", blank=True, signed=True),
            _decimal("tax", "tax in the total, of an invoice without lines; blank: none", blank=True, signed=True),
        ),
        ("provider", "billing_account", "invoice_id"),
        optional=("tax",),
    ),
    "invoice_lines": BillingTable(
        (
            PROVIDER,
            BILLING_ACCOUNT,
            _text("invoice_id", "invoice that the line belongs to"),
            _integer("line_number", "line number on the invoice"),
            _choice("charge_category", "FOCUS charge category", "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
            _text("sku_id", "SKU that the line bills", blank=True, stored=""),
            _text("description", "text on the invoice", blank=True),
            _decimal("quantity", "quantity billed", blank=True, signed=True),
            _text("unit", "unit of the quantity", blank=True),
            _decimal("amount", "amount in the currency of the invoice", signed=True),
            _day("period_start", "first day of the line's own period; blank: that of its invoice", blank=True),
            _day("period_end", "day after the line's own period; blank: that of its invoice", blank=True),
        ),
        ("provider", "billing_account", "invoice_id", "line_number"),
        optional=("period_start", "period_end"),
    ),
    "owners": BillingTable(
        (
            _choice("provider", "the vendor; blank: all vendors", *PROVIDERS, blank=True, stored=""),
            _text("account", "name of the configured account; blank: all accounts", blank=True, stored=""),
            _text("dimension", "dimension of the value; blank: what no other row maps", blank=True, stored=""),
            _column(
                "value",
                pa.string(),
                parse_owned_value,
                "value, or its start and a `*`; blank with `dimension`",
                blank=True,
                stored="",
            ),
            _column("team", pa.string(), parse_team, "the team that pays", blank=False),
            _column("cost_centre", pa.string(), parse_owner_name, "the cost centre that pays", blank=True, stored=""),
            _column("tags", pa.string(), parse_tags, "tags, such as env=prod;product=search; stored as JSON", blank=True),
            _column("share", pa.string(), parse_share, "share of what no other row maps; blank: all of it", blank=True),
            VALID_FROM,
            VALID_TO,
        ),
        ("provider", "account", "dimension", "value", "team", "cost_centre", "valid_from"),
        optional=("tags", "share"),
    ),
    "budgets": BillingTable(
        (
            _choice("scope", "what the budget is for", *SCOPES, "dimension"),
            _choice("provider", "the vendor of the scope", *PROVIDERS, blank=True, stored=""),
            _text("account", "the configured account of the scope", blank=True, stored=""),
            _text("dimension", "the dimension of the scope", blank=True, stored=""),
            _column(
                "value", pa.string(), parse_pattern, "value of the dimension, or its start and a `*`", blank=True, stored=""
            ),
            _text("team", "the team of the scope, as in `owners`", blank=True, stored=""),
            _text("cost_centre", "the cost centre of the scope, as in `owners`", blank=True, stored=""),
            _decimal("amount", "amount per month"),
            _currency(),
            _choice("cost_type", "the cost that counts; blank: billed", "billed", "effective", blank=True, stored="billed"),
            _column(
                "thresholds",
                pa.string(),
                parse_thresholds,
                "shares of the amount (%) for alerts of the cost; blank: 50;80;100",
                blank=True,
            ),
            _column(
                "forecast_thresholds",
                pa.string(),
                parse_thresholds,
                "shares of the amount (%) for alerts of the forecast; blank: 100",
                blank=True,
            ),
            _day("valid_from", "first day of the first month"),
            _day("valid_to", "first day of the month after the last one; blank: no end", blank=True),
        ),
        (
            *("scope", "provider", "account", "dimension", "value", "team", "cost_centre"),
            *("currency", "cost_type", "valid_from"),
        ),
        optional=("thresholds", "forecast_thresholds"),
    ),
    "fx_rates": BillingTable(
        (
            _currency(),
            _day("date", "first day on which the rate applies, in UTC"),
            _column(
                "rate",
                pa.decimal128(28, RATE_DECIMALS),
                parse_rate,
                "value of one unit of the currency in the reporting currency",
                blank=False,
            ),
            # A loaded table has a column `source` already: the file.
            Column("rate_source", pa.string(), lambda text: text or None, "source", "who publishes the rate", nullable=True),
        ),
        ("currency", "date"),
        optional=("source",),
        computed=(
            computed("reporting_currency", pa.string(), "the setting `reporting_currency` at loading", nullable=True),
        ),
    ),
    "business_metrics": BillingTable(
        (
            _text("metric", "name of the metric, such as documents"),
            _day("date", "any day of the month that the value belongs to"),
            _choice("scope", "what the metric counts for", *SCOPES),
            _choice("provider", "the vendor of the scope", *PROVIDERS, blank=True, stored=""),
            _text("account", "the configured account of the scope", blank=True, stored=""),
            _text("team", "the team of the scope, as in `owners`", blank=True, stored=""),
            _text("cost_centre", "the cost centre of the scope, as in `owners`", blank=True, stored=""),
            _decimal("value", "value of the metric"),
        ),
        ("metric", "date", "scope", "provider", "account", "team", "cost_centre"),
    ),
}
"""By name, in the order in which they are loaded and their errors are listed."""
