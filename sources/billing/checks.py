"""What must hold between the columns of a row, the rows of a table and the tables; each check returns what does not.

A row of which something could not be read is left out, and whatever it is part of with it: one fault is told once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from .columns import TABLES, Fault, Row

Tables = Mapping[str, Sequence[Row]]

SPANS = (("valid_from", "valid_to"), ("starts_on", "expires_on"), ("period_start", "period_end"))


def check(tables: Tables, unreadable: Collection[str], known_skus: Collection[str] | None) -> list[Fault]:
    """All that is wrong beyond single values, as far as the tables could be read."""
    faults: list[Fault] = []
    for rows in tables.values():
        faults += _duplicates(rows)
        for row in rows:
            faults += _sku(row, known_skus)
            if row.is_whole:
                faults += [*_span(row), *_row(row)]
    faults += _versions(tables)
    faults += _fee_versions(tables.get("fees", ()))
    if "invoices" not in unreadable:
        faults += _invoices(tables)
    return faults


def _duplicates(rows: Sequence[Row]) -> Iterator[Fault]:
    for twins in _grouped((row for row in rows if row.is_whole), by_key=True).values():
        for row in twins[1:]:
            key = ", ".join(TABLES[row.table].key)
            yield row.fault("", f"has the same {key} as row {twins[0].number}")


def _grouped(rows: Iterable[Row], *columns: str, by_key: bool = False) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row.values[name] for name in TABLES[row.table].key) if by_key else row.key(*columns)
        groups.setdefault(key, []).append(row)
    return groups


def _sku(row: Row, known: Collection[str] | None) -> Iterator[Fault]:
    """A SKU is one that usage can have, or what a credit of the provider is called; a line may also be of a fee or grant."""
    sku, provider = row.texts.get("sku_id", ""), row.texts.get("provider", "")
    if not sku or not provider:
        return
    if not sku.startswith(f"{provider}/"):
        yield row.fault("sku_id", f"{sku!r} is no SKU of {provider}, which begin with {provider}/")
        return
    is_charge = row.table == "invoice_lines" and sku.startswith((f"{provider}/fee/", f"{provider}/credits/"))
    if known is not None and sku not in known and sku != f"{provider}/credit" and not is_charge:
        own = sorted({name for name in known if name.startswith(f"{provider}/")} | {f"{provider}/credit"})
        yield row.fault("sku_id", f"{sku!r} is not known; {provider} has {', '.join(own)}")


def _span(row: Row) -> Iterator[Fault]:
    for first, last in SPANS:
        start, end = row.values.get(first), row.values.get(last)
        if isinstance(start, date) and isinstance(end, date) and end <= start:
            yield row.fault(last, f"{end} is not after {first} {start}; it is excluded")


def _row(row: Row) -> Iterator[Fault]:
    value = row.values
    match row.table:
        case "prices" if _is_empty(row):
            yield row.fault("tier_to", f"{row.texts['tier_to']} is not above tier_from {row.texts['tier_from']}")
        case "credit_grants" if value["cost"] and value["currency"] is None:
            yield row.fault("currency", "is blank, and the grant has a cost")
        case "fees":
            if value["kind"] == "one_time" and value["valid_to"] is not None:
                yield row.fault("valid_to", "a one_time fee is charged on valid_from and has no valid_to; leave it blank")
            if value["kind"] != "minimum" and value["sku_id"]:
                yield row.fault("sku_id", "only a minimum is of one SKU; leave it blank")
        case "invoices" if value["status"] == "issued" and value["issued_on"] is None:
            yield row.fault("issued_on", "is blank, and the invoice is issued")
        case "invoices" if value["status"] == "open" and value["issued_on"] is not None:
            yield row.fault("issued_on", "an open invoice is not issued yet; leave it blank, or correct its status")


def _is_empty(tier: Row) -> bool:
    end = tier.values["tier_to"]
    return bool(end is not None and end <= tier.values["tier_from"])


def _versions(tables: Tables) -> Iterator[Fault]:
    """Each price by itself, and the prices of one SKU and billing account, one after the other."""
    rows = [*tables.get("prices", ()), *tables.get("credit_prices", ())]
    for versions in _by_sku(rows).values():
        if not all(row.is_whole for row in versions):
            continue
        firsts = []
        for tiers in _versions_of(versions):
            yield from _tiers(tiers)
            firsts.append(tiers[0])
        yield from _overlaps(firsts)


def _by_sku(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        provider, billing_account = row.key("provider", "billing_account")
        sku = row.texts.get("sku_id", "") if row.table == "prices" else f"{provider}/credit"
        groups.setdefault((provider, billing_account, sku), []).append(row)
    return groups


def _versions_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each table and first day, by tier; a tier that is there twice has been told as a duplicate."""
    versions: dict[tuple[Any, ...], dict[Any, Row]] = {}
    for row in rows:
        tiers = versions.setdefault((row.table, row.values["valid_from"]), {})
        tiers.setdefault(row.values.get("tier_from"), row)
    return [sorted(tiers.values(), key=lambda row: row.values.get("tier_from", 0)) for tiers in versions.values()]


def _tiers(tiers: Sequence[Row]) -> Iterator[Fault]:
    """The tiers of one price cover all usage from 0 on, once, and are one price."""
    first, last = tiers[0], tiers[-1]
    if first.table != "prices" or any(_is_empty(row) for row in tiers):
        return
    for row in tiers[1:]:
        for column in ("pricing_model", "unit", "currency", "valid_to"):
            if row.values[column] != first.values[column]:
                ours, theirs = (side.texts[column] or "blank" for side in (row, first))
                yield row.fault(column, f"is {ours}, and {theirs} in row {first.number}: tiers of one price have the same")
    if first.values["pricing_model"] == "flat" and len(tiers) > 1:
        yield tiers[1].fault("pricing_model", f"a flat price has one tier; the first is in row {first.number}")
    if first.values["tier_from"] != 0:
        yield first.fault("tier_from", f"the first tier begins at {first.texts['tier_from']}, not at 0")
    for before, after in pairwise(tiers):
        start, end = after.values["tier_from"], before.values["tier_to"]
        if start != end:
            problem = "overlaps" if end is None or start < end else "leaves a gap after"
            ends = "never ends" if end is None else f"ends at {before.texts['tier_to']}"
            yield after.fault(
                "tier_from", f"{after.texts['tier_from']} {problem} the tier in row {before.number}, which {ends}"
            )
    if last.values["tier_to"] is not None:
        yield last.fault(
            "tier_to", f"usage from {last.texts['tier_to']} on has no tier; the last one is open: leave it blank"
        )


def _overlaps(rows: Sequence[Row]) -> Iterator[Fault]:
    """No two of them are valid on the same day."""
    latest: Row | None = None  # of those so far the one that is valid longest
    for row in sorted(rows, key=lambda row: row.values["valid_from"]):
        if latest is not None and row.values["valid_from"] < _end(latest):
            where = f"row {latest.number}" + (f" of {latest.source}" if latest.source != row.source else "")
            span = f"from {latest.values['valid_from']} to {latest.values['valid_to'] or 'ever'}"
            yield row.fault("valid_from", f"{row.values['valid_from']} lies within {where}, which is valid {span}")
        if latest is None or _end(row) > _end(latest):
            latest = row


def _end(row: Row) -> date:
    return row.values["valid_to"] or date.max


def _fee_versions(fees: Sequence[Row]) -> Iterator[Fault]:
    for versions in _grouped(fees, "provider", "billing_account", "fee_id").values():
        if all(row.is_whole for row in versions):
            distinct = {row.values["valid_from"]: row for row in reversed(versions) if row.values["kind"] != "one_time"}
            yield from _overlaps(list(distinct.values()))


def _invoices(tables: Tables) -> Iterator[Fault]:
    """Every line has its invoice, and the lines of an invoice are what its total says."""
    if "invoice_lines" not in tables:
        return
    columns = ("provider", "billing_account", "invoice_id")
    invoices = _grouped(tables.get("invoices", ()), *columns)
    lines = _grouped(tables["invoice_lines"], *columns)
    for key, own in lines.items():
        if key not in invoices:
            yield from (row.fault("invoice_id", f"there is no invoice {key[2]!r} of {key[0]} {key[1]}") for row in own)
            continue
        invoice = invoices[key][0]
        if not invoice.is_whole or not all(row.is_whole for row in own) or invoice.values["total"] is None:
            continue
        sum_of_lines = sum((row.values["amount"] for row in own), Decimal())
        if sum_of_lines != invoice.values["total"]:
            yield invoice.fault("total", f"{invoice.texts['total']} is not what its lines add up to, {_plain(sum_of_lines)}")


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
