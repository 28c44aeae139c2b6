"""What a source keeps in dlt's state: the cursors of each table, and the identities of all accounts."""

from typing import Any

from meterhouse.sources._core.partition import SEPARATOR

CURSORS = "cursors"
"""In the state of a resource: its cursors, by `Partition.cursor_key`."""

IDENTITIES = "identities"
"""In the state of the source: by account and column, the values that the account has reported; see `identities`."""


def rename_account(state: dict[str, Any], old: str, new: str) -> None:
    """Renames an account in the state of a source, in place."""
    for resource in state.get("resources", {}).values():
        cursors = resource.get(CURSORS, {})
        for key in [key for key in cursors if key.partition(SEPARATOR)[0] == old]:
            cursors[new + key.removeprefix(old)] = cursors.pop(key)
    identities = state.get(IDENTITIES, {})
    if old in identities:
        identities[new] = identities.pop(old)


def accounts_in(state: dict[str, Any]) -> set[str]:
    """The accounts that have a cursor in the state of a source."""
    resources = state.get("resources", {}).values()
    return {key.partition(SEPARATOR)[0] for resource in resources for key in resource.get(CURSORS, {})}
