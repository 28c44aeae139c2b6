"""Checks of the scope that a row of `budgets` or `business_metrics` is for: its cells are filled, and it exists."""

from collections.abc import Iterator, Sequence

from .cells import UNOWNED
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


def check_scope(
    row: Row,
    noun: str,
    columns: Sequence[str],
    owners: Sequence[Row] | None,
    known_accounts: KnownAccounts,
    known_dimensions: KnownDimensions,
) -> Iterator[RowError]:
    """All errors in the scope of a row, which errors call a `noun`.

    `columns` are those that describe a scope in the row's table. `owners` is None if that table cannot be read.
    """
    errors = list(_check_cells(row, noun, columns))
    if not errors:
        errors += [*check_account(row, known_accounts), *check_dimension(row, known_dimensions)]
        errors += [] if owners is None else _check_owner(row, owners)
    yield from errors


def _check_cells(row: Row, noun: str, columns: Sequence[str]) -> Iterator[RowError]:
    scope = row.values.get("scope")
    if scope is None:  # reported as an error of the cell
        return
    for column in columns:
        text = row.texts.get(column, "")
        if text and column not in ALLOWED[scope]:
            yield row.error(column, f"a {noun} with the scope {scope} has no {column}; leave it blank, or correct the scope")
        if not text and column in NEEDED[scope]:
            yield row.error(column, f"is blank; a {noun} with the scope {scope} needs {' and '.join(NEEDED[scope])}")
    if scope == "owner" and not any(row.text_key("team", "cost_centre")):
        yield row.error("team", f"is blank; a {noun} with the scope owner needs a team or a cost_centre, or both")


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
