"""Checks of the owners: every cost has at most one row that maps it, so that no row takes precedence unnoticed."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations

from meterhouse.sources.registry import PROVIDERS

from .cells import EVEN, PROPORTIONAL
from .columns import TABLES
from .errors import RowError
from .names import KnownAccounts, KnownDimensions, check_account, check_dimension
from .rows import Row


def check_owners(
    owners: Sequence[Row], known_accounts: KnownAccounts, known_dimensions: KnownDimensions
) -> Iterator[RowError]:
    """All errors beyond single cells and keys."""
    usable = []
    for row in owners:
        errors = [*_check_columns(row), *check_account(row, known_accounts), *check_dimension(row, known_dimensions)]
        yield from errors
        if row.is_complete and not errors:
            usable.append(row)
    mapped = [row for row in usable if row.values["dimension"]]
    yield from _check_values(mapped, known_dimensions)
    yield from _check_one_dimension(mapped, known_dimensions)
    scopes: dict[tuple[str, ...], list[Row]] = {}
    for row in usable:
        if not row.values["dimension"]:
            scopes.setdefault((row.values["provider"], row.values["account"]), []).append(row)
    for rows in scopes.values():
        yield from _check_shares(rows)


def _check_columns(row: Row) -> Iterator[RowError]:
    dimension, value, share = row.text_key("dimension", "value", "share")
    if dimension and not value:
        yield row.error("value", "is blank; write a value of the dimension, or * for all of them")
    if value and not dimension:
        yield row.error("dimension", "is blank; name the dimension of the value")
    if dimension and share:
        yield row.error("share", "only a row without dimension and value has a share; leave it blank")


def _check_values(mapped: Sequence[Row], known_dimensions: KnownDimensions) -> Iterator[RowError]:
    """No value is mapped by two rows on the same day. Patterns overlap if one of them begins with the other."""
    by_dimension: dict[str, list[tuple[str, bool, Row]]] = {}
    for row in mapped:
        value = row.values["value"]
        by_dimension.setdefault(row.values["dimension"], []).append((value.removesuffix("*"), value.endswith("*"), row))
    found: dict[int, RowError] = {}
    for rows in by_dimension.values():
        # A pattern stands before all that begin with it.
        rows.sort(key=lambda item: (item[0], not item[1], item[2].number))
        for index, (start, is_pattern, row) in enumerate(rows):
            for text, _, other in rows[index + 1 :]:
                if not text.startswith(start) or (text != start and not is_pattern):
                    break
                if _meet(row, other, known_dimensions) and not _have_same_key(row, other):
                    first, later = sorted((row, other), key=lambda item: item.number)
                    reason = f"maps the same value on the same day as row {first.number}, {first.texts['value']!r}"
                    found.setdefault(later.number, later.error("value", reason))
    yield from found.values()


def _check_one_dimension(mapped: Sequence[Row], known_dimensions: KnownDimensions) -> Iterator[RowError]:
    """The usage of an account is divided by one dimension on a day: two would each divide all of it."""
    distinct: dict[tuple[object, ...], Row] = {}
    for row in mapped:
        value = row.values
        key = tuple(value[name] for name in ("provider", "account", "dimension", "valid_from", "valid_to"))
        distinct.setdefault(key, row)
    found: dict[int, RowError] = {}
    for one, other in combinations(distinct.values(), 2):
        if one.values["dimension"] != other.values["dimension"] and _meet(one, other, known_dimensions):
            first, later = sorted((one, other), key=lambda item: item.number)
            reason = f"row {first.number} divides the same account by {first.values['dimension']} on the same day"
            found.setdefault(later.number, later.error("dimension", reason))
    yield from found.values()


def _meet(one: Row, other: Row, known_dimensions: KnownDimensions) -> bool:
    """Whether some account on some day has both rows."""
    accounts = {one.values["account"], other.values["account"]} - {""}
    both = _providers(one, known_dimensions) & _providers(other, known_dimensions)
    return bool(both) and len(accounts) < 2 and _share_a_day(one, other)


def _providers(row: Row, known_dimensions: KnownDimensions) -> set[str]:
    if row.values["provider"]:
        return {row.values["provider"]}
    return {name for name in PROVIDERS if not known_dimensions or row.values["dimension"] in known_dimensions.get(name, ())}


def _share_a_day(one: Row, other: Row) -> bool:
    return all(
        row.values["valid_from"] < (another.values["valid_to"] or date.max) for row, another in ((one, other), (other, one))
    )


def _have_same_key(one: Row, other: Row) -> bool:
    """The check of keys reports such rows."""
    return all(one.values[name] == other.values[name] for name in TABLES["owners"].key)


def _check_shares(rows: Sequence[Row]) -> Iterator[RowError]:
    """The rows of a scope that are valid on the same day share in one way, each owner once, and at most all of it."""
    found: dict[int, RowError] = {}
    for first, later in combinations(sorted(rows, key=lambda row: row.number), 2):
        if later.number not in found and _share_a_day(first, later) and (problem := _share_problem(first, later)):
            found[later.number] = later.error(*problem)
    yield from found.values()
    for row in rows:
        if not found and _is_number(row):
            day = row.values["valid_from"]
            valid = [other for other in rows if other.values["valid_from"] <= day < (other.values["valid_to"] or date.max)]
            total = sum((Decimal(other.values["share"]) for other in valid), Decimal())
            if total > 1 and row.number == max(other.number for other in valid if other.values["valid_from"] == day):
                numbers = ", ".join(str(other.number) for other in valid)
                yield row.error("share", f"the shares of rows {numbers} are {total:f} together on {day}; at most 1")


def _share_problem(first: Row, later: Row) -> tuple[str, str] | None:
    if _have_same_key(first, later):
        return None
    owner, other = ((row.values["team"], row.values["cost_centre"]) for row in (first, later))
    if owner == other:
        return "team", f"row {first.number} has the same owner on the same day"
    if first.values["share"] is None or later.values["share"] is None:
        whole = first.number if first.values["share"] is None else later.number
        return "share", f"row {first.number} maps the same cost on the same day; row {whole} takes all of it without a share"
    kinds = [row.values["share"] if row.values["share"] in (EVEN, PROPORTIONAL) else "a number" for row in (first, later)]
    if kinds[0] != kinds[1]:
        return "share", f"is {kinds[1]}, but {kinds[0]} in row {first.number}; rows that share a cost do so in the same way"
    return None


def _is_number(row: Row) -> bool:
    return row.values["share"] not in (None, EVEN, PROPORTIONAL)
