"""Checks of the business metrics: each value is for one scope that exists."""

from collections.abc import Iterator, Sequence

from .errors import RowError
from .names import KnownAccounts
from .rows import Row
from .scopes import check_scope

SCOPE_COLUMNS = ("provider", "account", "team", "cost_centre")


def check_metrics(metrics: Sequence[Row], owners: Sequence[Row] | None, known_accounts: KnownAccounts) -> Iterator[RowError]:
    """All errors beyond single cells and keys. `owners` is None if that table cannot be read."""
    for row in metrics:
        yield from check_scope(row, "metric", SCOPE_COLUMNS, owners, known_accounts, {})
