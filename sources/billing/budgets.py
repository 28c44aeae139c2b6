"""Checks of the budgets: each has one scope that exists, and no two rows are for the same scope and month."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from .checks import check_validity
from .columns import TABLES
from .currencies import excess_decimals
from .errors import RowError
from .names import KnownAccounts, KnownDimensions
from .rows import Row
from .scopes import check_scope

SCOPE_COLUMNS = ("provider", "account", "dimension", "value", "team", "cost_centre")


def check_budgets(
    budgets: Sequence[Row], owners: Sequence[Row] | None, known_accounts: KnownAccounts, known_dimensions: KnownDimensions
) -> Iterator[RowError]:
    """All errors beyond single cells and keys. `owners` is None if that table cannot be read."""
    usable = []
    for row in budgets:
        errors = list(check_scope(row, "budget", SCOPE_COLUMNS, owners, known_accounts, known_dimensions))
        errors += [*_check_amount(row), *_check_months(row)]
        yield from errors
        if row.is_complete and not errors:
            usable.append(row)
    yield from _check_overlaps(usable)


def _check_amount(row: Row) -> Iterator[RowError]:
    amount, currency = row.values.get("amount"), row.values.get("currency")
    if amount is None or currency is None:
        return
    if not amount:
        yield row.error("amount", "is 0; a budget must be above 0")
    elif problem := excess_decimals(row.texts["amount"], amount, currency, row.source):
        yield row.error("amount", problem)


def _check_months(row: Row) -> Iterator[RowError]:
    for column in ("valid_from", "valid_to"):
        day = row.values.get(column)
        if day is not None and day.day != 1:
            first = day.replace(day=1)
            if column == "valid_to":  # the budget ends before it
                first = (first + timedelta(days=32)).replace(day=1)
            yield row.error(column, f"{day} is not the first day of a month; write {first}")


def _check_overlaps(rows: Sequence[Row]) -> Iterator[RowError]:
    """At most one row covers a month of a scope, currency and type of cost. The check of keys reports equal keys."""
    by_scope: dict[tuple[object, ...], dict[object, Row]] = {}
    for row in rows:
        key = tuple(row.values[name] for name in TABLES["budgets"].key if name != "valid_from")
        by_scope.setdefault(key, {}).setdefault(row.values["valid_from"], row)
    for same in by_scope.values():
        yield from check_validity(list(same.values()))
