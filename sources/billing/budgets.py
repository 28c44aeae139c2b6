"""Checks of the budgets: each has one scope that exists, and no two rows are for the same scope and month."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from .cells import UNOWNED
from .checks import check_validity
from .columns import TABLES
from .currencies import DECIMAL_PLACES, rounded_to_currency
from .errors import RowError
from .names import KnownAccounts, KnownDimensions, check_account, check_dimension, nearest
from .rows import Row

NEEDED = {
    "total": (),
    "provider": ("provider",),
    "account": ("provider", "account"),
    "owner": (),
    "dimension": ("provider", "dimension", "value"),
}
"""By scope, the columns that must be filled."""
ALLOWED = NEEDED | {"owner": ("team", "cost_centre"), "dimension": ("provider", "account", "dimension", "value")}
SCOPE_COLUMNS = ("provider", "account", "dimension", "value", "team", "cost_centre")


def check_budgets(
    budgets: Sequence[Row], owners: Sequence[Row] | None, known_accounts: KnownAccounts, known_dimensions: KnownDimensions
) -> Iterator[RowError]:
    """All errors beyond single cells and keys. `owners` is None if that table cannot be read."""
    usable = []
    for row in budgets:
        errors = list(_check_scope(row))
        if not errors:
            errors += [*check_account(row, known_accounts), *check_dimension(row, known_dimensions)]
            errors += [] if owners is None else _check_owner(row, owners)
        errors += [*_check_amount(row), *_check_months(row)]
        yield from errors
        if row.is_complete and not errors:
            usable.append(row)
    yield from _check_overlaps(usable)


def _check_scope(row: Row) -> Iterator[RowError]:
    scope = row.values.get("scope")
    if scope is None:  # reported as an error of the cell
        return
    for column in SCOPE_COLUMNS:
        text = row.texts.get(column, "")
        if text and column not in ALLOWED[scope]:
            yield row.error(column, f"a budget with the scope {scope} has no {column}; leave it blank, or correct the scope")
        if not text and column in NEEDED[scope]:
            yield row.error(column, f"is blank; a budget with the scope {scope} needs {' and '.join(NEEDED[scope])}")
    if scope == "owner" and not any(row.text_key("team", "cost_centre")):
        yield row.error("team", "is blank; a budget with the scope owner needs a team or a cost_centre, or both")


def _check_owner(row: Row, owners: Sequence[Row]) -> Iterator[RowError]:
    known = {(UNOWNED, ""), *(owner.text_key("team", "cost_centre") for owner in owners)}
    team, cost_centre = row.text_key("team", "cost_centre")
    teams, cost_centres = {name for name, _ in known}, {name for _, name in known if name}
    if team and team not in teams:
        yield row.error("team", f"the table owners has no team {team!r}; {nearest(team, teams)}")
    elif cost_centre and cost_centre not in cost_centres:
        reason = f"the table owners has no cost centre {cost_centre!r}; {nearest(cost_centre, cost_centres)}"
        yield row.error("cost_centre", reason)
    elif team and cost_centre and (team, cost_centre) not in known:
        own = {name for other, name in known if other == team}
        reason = f"the table owners has no team {team!r} with cost centre {cost_centre!r}; {nearest(cost_centre, own)}"
        yield row.error("cost_centre", reason)


def _check_amount(row: Row) -> Iterator[RowError]:
    amount, currency = row.values.get("amount"), row.values.get("currency")
    if amount is None or currency is None:
        return
    if not amount:
        yield row.error("amount", "is 0; a budget must be above 0")
    elif amount != rounded_to_currency(amount, currency):
        places = DECIMAL_PLACES.get(currency, 2)
        yield row.error("amount", f"{row.texts['amount']} has too many decimal places; {currency} has {places or 'none'}")


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
