"""Checks across the columns of a row, the rows of a table, and the tables.

A row with an unreadable cell is left out, along with every check that depends on it, so that each mistake is reported once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from meterhouse.sources.registry import PROVIDERS

from .columns import TABLES
from .currencies import excess_decimals
from .errors import RowError
from .rows import Row

Tables = Mapping[str, Sequence[Row]]

DATE_RANGES = (("valid_from", "valid_to"), ("starts_on", "expires_on"), ("period_start", "period_end"))


def check_tables(tables: Tables, unreadable: Collection[str], known_skus: Mapping[str, str] | None) -> list[RowError]:
    """All errors beyond single cells, in the tables that could be read."""
    errors: list[RowError] = []
    units = _units_by_sku(tables, known_skus or {})
    knows_all = known_skus is not None and "skus" not in unreadable
    for rows in tables.values():
        errors += _check_keys(rows)
        for row in rows:
            errors += [*_check_sku(row, units, knows_all=knows_all), *_check_unit(row, units)]
            if row.is_complete:
                errors += [*_check_date_ranges(row), *_check_row(row)]
    errors += _check_prices(tables)
    errors += _check_fees(tables.get("fees", ()))
    if "invoices" not in unreadable:
        errors += _check_invoice_lines(tables)
    if "invoice_lines" not in unreadable:
        errors += _check_amounts(tables)
    return errors


def _check_keys(rows: Sequence[Row]) -> Iterator[RowError]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.is_complete:
            groups.setdefault(tuple(row.values[name] for name in TABLES[row.table].key), []).append(row)
    for first, *duplicates in groups.values():
        for row in duplicates:
            yield row.error("", f"has the same {', '.join(TABLES[row.table].key)} as row {first.number}")


def _units_by_sku(tables: Tables, known_skus: Mapping[str, str]) -> dict[str, str]:
    """The unit of each SKU that usage can have: shipped ones, credits, and those that `skus` adds."""
    units = {f"{provider}/credit": "credit" for provider in PROVIDERS} | dict(known_skus)
    for row in tables.get("skus", ()):
        sku, unit = row.text_key("sku_id", "unit")
        if sku:
            units.setdefault(sku, unit)
    return units


def _check_sku(row: Row, units: Mapping[str, str], *, knows_all: bool) -> Iterator[RowError]:
    """A SKU must be known; only `skus` adds others. An invoice line may also name the SKU of a fee or a grant."""
    provider, sku = row.text_key("provider", "sku_id")
    if not sku or not provider:
        return
    if not sku.startswith(f"{provider}/"):
        yield row.error("sku_id", f"{sku!r} is not a SKU of {provider}; its SKUs begin with {provider}/")
        return
    is_charge = sku.startswith((f"{provider}/fee/", f"{provider}/credits/"))
    if row.table == "skus" and is_charge:
        yield row.error("sku_id", f"{sku!r} is the name of a fee or a grant; choose another name")
    elif knows_all and sku not in units and not (row.table == "invoice_lines" and is_charge):
        own = ", ".join(sorted(name for name in units if name.startswith(f"{provider}/")))
        yield row.error("sku_id", f"{sku!r} is not a known SKU; {provider} has {own}; add others to skus")


def _check_unit(row: Row, units: Mapping[str, str]) -> Iterator[RowError]:
    """All meters and prices of a SKU have its unit."""
    sku, unit = row.text_key("sku_id", "unit")
    if row.table not in ("skus", "prices") or not unit or units.get(sku, unit) == unit:
        return
    hint = "; for a price of several units, write their number in per" if row.table == "prices" else ""
    yield row.error("unit", f"{unit!r} is not the unit of {sku}, which is {units[sku]}{hint}")


def _check_date_ranges(row: Row) -> Iterator[RowError]:
    for first, last in DATE_RANGES:
        start, end = row.values.get(first), row.values.get(last)
        if isinstance(start, date) and isinstance(end, date) and end <= start:
            yield row.error(last, f"{end} is not after {first} {start}; {last} is exclusive")


def _check_row(row: Row) -> Iterator[RowError]:
    value = row.values
    match row.table:
        case "skus" if value["is_billed"] and value["sku_id"] is None:
            yield row.error("sku_id", "is blank, but the meter is billed; name its SKU, or write no in is_billed")
        case "prices":
            if _is_empty_tier(row):
                yield row.error("tier_to", f"{row.texts['tier_to']} is not greater than tier_from {row.texts['tier_from']}")
            yield from _check_unit_price(row)
        case "credit_grants" if value["cost"] and value["currency"] is None:
            yield row.error("currency", "is blank, but the grant has a cost")
        case "fees":
            yield from _check_fee(row)
        case "invoices":
            yield from _check_invoice(row)


def _check_fee(fee: Row) -> Iterator[RowError]:
    value = fee.values
    if value["kind"] == "one_time" and value["valid_to"] is not None:
        yield fee.error("valid_to", "a one_time fee is charged on valid_from and has no valid_to; leave it blank")
    if value["kind"] != "minimum" and value["sku_id"]:
        yield fee.error("sku_id", "only a minimum can name a SKU; leave it blank")
    if value["kind"] not in ("monthly", "yearly") and value["prorate"]:
        yield fee.error("prorate", "only a monthly or yearly fee can be prorated; leave it blank")
    if value["kind"] != "minimum" and value["after_credits"]:
        yield fee.error("after_credits", "only a minimum is compared with usage; leave it blank")


def _check_invoice(invoice: Row) -> Iterator[RowError]:
    value = invoice.values
    if value["status"] == "issued" and value["issued_on"] is None:
        yield invoice.error("issued_on", "is blank, but the invoice is issued")
    if value["status"] == "open" and value["issued_on"] is not None:
        yield invoice.error("issued_on", "an open invoice has no date of issue; leave it blank or correct the status")
    tax, total = value["tax"], value["total"]
    if tax and total is None:
        yield invoice.error("total", "is blank, but the invoice has a tax; write the total, including the tax")
    elif tax and (tax * total <= 0 or abs(tax) > abs(total)):
        yield invoice.error("tax", f"{invoice.texts['tax']} is not a part of the total {invoice.texts['total']}")
    for column in ("total", "tax"):
        amount = value[column]
        if amount is not None and (
            problem := excess_decimals(invoice.texts[column], amount, value["currency"], invoice.source)
        ):
            yield invoice.error(column, problem)


def price_of_one_unit(price: Row) -> tuple[Decimal, bool]:
    """The price of one of `per` units, rounded half up to nine decimals, and whether it is exact."""
    per = int(price.values["per"])
    billionths, rest = divmod(int(price.values["unit_price"].scaleb(9)), per)
    return Decimal(billionths + (2 * rest >= per)).scaleb(-9), rest == 0


def _check_unit_price(price: Row) -> Iterator[RowError]:
    rounded, is_exact = price_of_one_unit(price)
    if not is_exact:
        ratio = f"{price.texts['unit_price']} per {price.texts['per']}"
        fix = f"write the rounded price of one unit, {rounded:f}, and leave per blank" if rounded else "write a smaller per"
        yield price.error("unit_price", f"{ratio} gives a unit price with more than 9 decimal places; {fix}")


def _is_empty_tier(tier: Row) -> bool:
    end = tier.values["tier_to"]
    return bool(end is not None and end <= tier.values["tier_from"])


def _check_prices(tables: Tables) -> Iterator[RowError]:
    """The tiers of each price, and the validity of the successive prices of one billing account and SKU."""
    rows = [*tables.get("prices", ()), *tables.get("credit_prices", ())]
    for prices in _by_sku(rows).values():
        if not all(row.is_complete for row in prices):
            continue
        first_tiers = []
        for tiers in _tiers_by_price(prices):
            yield from _check_tiers(tiers)
            first_tiers.append(tiers[0])
        yield from check_validity(first_tiers)


def _by_sku(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        provider, billing_account = row.text_key("provider", "billing_account")
        sku = row.texts.get("sku_id", "") if row.table == "prices" else f"{provider}/credit"
        groups.setdefault((provider, billing_account, sku), []).append(row)
    return groups


def _tiers_by_price(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each table and `valid_from`, ordered by tier; a repeated tier is left to the check of the keys."""
    prices: dict[tuple[Any, ...], dict[Any, Row]] = {}
    for row in rows:
        tiers = prices.setdefault((row.table, row.values["valid_from"]), {})
        tiers.setdefault(row.values.get("tier_from"), row)
    return [sorted(tiers.values(), key=lambda row: row.values.get("tier_from", 0)) for tiers in prices.values()]


def _check_tiers(tiers: Sequence[Row]) -> Iterator[RowError]:
    """The tiers of a price cover all usage from 0 up exactly once, and agree in the columns that describe the price."""
    first, last = tiers[0], tiers[-1]
    if first.table != "prices" or any(_is_empty_tier(row) for row in tiers):
        return
    for row in tiers[1:]:
        for column in ("pricing_model", "unit", "currency", "valid_to"):
            if row.values[column] != first.values[column]:
                here, there = (side.texts[column] or "blank" for side in (row, first))
                yield row.error(
                    column, f"is {here}, but {there} in row {first.number}; all tiers of a price have the same {column}"
                )
    if first.values["pricing_model"] == "flat" and len(tiers) > 1:
        yield tiers[1].error("pricing_model", f"a flat price has one tier; the first is in row {first.number}")
    if first.values["tier_from"] != 0:
        yield first.error("tier_from", f"the first tier begins at {first.texts['tier_from']}, not at 0")
    for before, after in pairwise(tiers):
        start, end = after.values["tier_from"], before.values["tier_to"]
        if start != end:
            problem = "overlaps" if end is None or start < end else "does not adjoin"
            limit = "has no end" if end is None else f"ends at {before.texts['tier_to']}"
            yield after.error(
                "tier_from", f"{after.texts['tier_from']} {problem} the tier in row {before.number}, which {limit}"
            )
    if last.values["tier_to"] is not None:
        yield last.error("tier_to", f"no tier covers usage from {last.texts['tier_to']} up; leave the last tier_to blank")


def check_validity(rows: Sequence[Row]) -> Iterator[RowError]:
    """No two rows are valid on the same day."""
    latest: Row | None = None  # of the rows so far, the one that is valid longest
    for row in sorted(rows, key=lambda row: row.values["valid_from"]):
        if latest is not None and row.values["valid_from"] < _validity_end(latest):
            other = f"row {latest.number}" + (f" of {latest.source}" if latest.source != row.source else "")
            end = latest.values["valid_to"]
            span = f"from {latest.values['valid_from']} " + (f"to {end}" if end else "on")
            yield row.error("valid_from", f"{row.values['valid_from']} overlaps {other}, which is valid {span}")
        if latest is None or _validity_end(row) > _validity_end(latest):
            latest = row


def _validity_end(row: Row) -> date:
    return row.values["valid_to"] or date.max


def _check_fees(fees: Sequence[Row]) -> Iterator[RowError]:
    for versions in _by_text_key(fees, "provider", "billing_account", "fee_id").values():
        if all(row.is_complete for row in versions):
            distinct = {row.values["valid_from"]: row for row in reversed(versions) if row.values["kind"] != "one_time"}
            yield from check_validity(list(distinct.values()))


INVOICE_KEY = ("provider", "billing_account", "invoice_id")


def _check_invoice_lines(tables: Tables) -> Iterator[RowError]:
    """Every line has an invoice. A line with only one date of its period takes the other date from its invoice."""
    invoices = _by_text_key(tables.get("invoices", ()), *INVOICE_KEY)
    for key, lines in _by_text_key(tables.get("invoice_lines", ()), *INVOICE_KEY).items():
        provider, billing_account, invoice_id = key
        if key not in invoices:
            reason = f"there is no invoice {invoice_id!r} of {provider} {billing_account}"
            yield from (row.error("invoice_id", reason) for row in lines)
        elif (invoice := invoices[key][0]).is_complete:
            for line in lines:
                yield from _check_line_period(line, invoice)


def _check_line_period(line: Row, invoice: Row) -> Iterator[RowError]:
    start, end = line.values.get("period_start"), line.values.get("period_end")
    if line.is_complete and start and not end and start >= invoice.values["period_end"]:
        end_of_invoice = invoice.texts["period_end"]
        yield line.error("period_start", f"{start} is not before period_end {end_of_invoice} of its invoice; add period_end")
    if line.is_complete and end and not start and end <= invoice.values["period_start"]:
        start_of_invoice = invoice.texts["period_start"]
        yield line.error(
            "period_end", f"{end} is not after period_start {start_of_invoice} of its invoice; add period_start"
        )


def _check_amounts(tables: Tables) -> Iterator[RowError]:
    """An issued invoice has a total or lines. Its lines include the tax and sum to the total."""
    lines_of = _by_text_key(tables.get("invoice_lines", ()), *INVOICE_KEY)
    for key, (invoice, *_) in _by_text_key(tables.get("invoices", ()), *INVOICE_KEY).items():
        lines = lines_of.get(key, [])
        if not invoice.is_complete or not all(row.is_complete for row in lines):
            continue
        total, tax = invoice.values["total"], invoice.values["tax"]
        sum_of_lines = sum((row.values["amount"] for row in lines), Decimal())
        if lines and tax is not None:
            yield invoice.error("tax", "the invoice has lines; leave it blank and add a line of category Tax")
        if lines and total is not None and sum_of_lines != total:
            yield invoice.error("total", f"{invoice.texts['total']} is not the sum of its lines, {_plain(sum_of_lines)}")
        if not lines and not tax and total is None and invoice.values["status"] == "issued":
            yield invoice.error("total", "is blank, and the invoice has no lines; write the total or add its lines")


def _by_text_key(rows: Iterable[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.text_key(*columns), []).append(row)
    return groups


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
