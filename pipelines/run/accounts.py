"""Renames an account in everything that a destination stores of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meterhouse.pipelines.run import history
from meterhouse.pipelines.run.open import BILLING
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import NotBuilt
from meterhouse.pipelines.warehouse.query import queries
from meterhouse.sources._core.config.accounts import is_account_name
from meterhouse.sources._core.dlt_compat.load import state_columns, stored_state
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.fetched_windows import FETCHED_WINDOWS
from meterhouse.sources._core.nearest import nearest_name
from meterhouse.sources._core.state import accounts_in
from meterhouse.sources._core.state import rename_account as rename_in_state
from meterhouse.sources.registry import PROVIDERS, require_provider

FROZEN = ("usage_intermediate", "int_usage__frozen")
"""The schema and table of closed quantities. All other models are rebuilt."""

Statement = tuple[str, Sequence[Any]]


def rename_account(destination: Destination, provider: str, old: str, new: str) -> list[str]:
    """Renames an account in one transaction, and returns the tables that were searched.

    These are the provider's raw tables, its cursors and identities in dlt's state, the closed quantities and the history of
    runs. The loaded billing rows and their history change with them: a build as of an earlier moment needs them.

    Raises:
        ConfigurationError: the provider or a name is wrong, no row has the old name, a row has the new one, or the
            destination has no transactions.
        LoadError: the destination cannot be read or written, or a run is using it; then nothing has changed.
    """
    require_provider(provider)
    if not is_account_name(new):
        raise ConfigurationError(
            "the new name is not a valid account name", hint="Use letters, digits, space and . _ @ : - (63 at most)."
        )
    if not destination.supports_atomic_changes:
        raise ConfigurationError(
            f"rename-account does not work on {destination.type}",
            hint="It works on duckdb and postgres, which change all tables and dlt's state in one transaction.",
        )
    with destination.exclusive_run(), destination.hold_open():
        tables = _tables(destination, provider)
        state = _stored_state(destination, provider)
        _require_renamable(_loaded_accounts(destination, tables, provider, state), provider, old, new)
        statements = [*_renamed_rows(destination, tables, provider, old, new)]
        statements += _renamed_billing(destination, provider, old, new)
        if state is not None:
            statements.append(_renamed_state(destination, provider, *state, old, new))
        destination.execute_in_transaction(statements)
    return [f"{schema}.{table}" for schema, table in tables]


def _tables(destination: Destination, provider: str) -> dict[tuple[str, str], bool]:
    """The tables with rows of the provider's accounts, and whether they also have those of other providers."""
    raw, runs = destination.dataset(provider), (destination.dataset(history.DATASET), "runs")
    try:
        with destination.reader() as reader:
            _, rows = reader.tuples(queries()["tables_with_accounts"])
    except NotBuilt:
        return {}
    return {
        (schema, table): bool(has_provider)
        for schema, table, has_provider in rows
        if schema == raw or (schema, table) in {FROZEN, runs}
    }


def _stored_state(destination: Destination, provider: str) -> tuple[str, dict[str, Any]] | None:
    return stored_state(destination.pipeline(provider)) if destination.exists() else None


def _loaded_accounts(
    destination: Destination,
    tables: Mapping[tuple[str, str], bool],
    provider: str,
    state: tuple[str, dict[str, Any]] | None,
) -> set[str]:
    """The accounts with rows, windows, closed quantities or cursors. Failed requests and runs do not count."""
    accounts: set[str] = set()
    if tables:
        with destination.reader() as reader:
            for (schema, table), is_shared in tables.items():
                sql = f'select distinct account from "{schema}"."{table}"'  # noqa: S608
                if table == FETCHED_WINDOWS:
                    sql += " where window_start is not null"
                if (schema, table) == FROZEN:
                    sql += " where provider = %s"
                if not is_shared or (schema, table) == FROZEN:
                    accounts |= {account for (account,) in reader.tuples(sql, *([provider] if is_shared else []))[1]}
    if state is not None:
        accounts |= accounts_in(_of_source(state[1], provider))
    return accounts


def _require_renamable(accounts: set[str], provider: str, old: str, new: str) -> None:
    if old not in accounts:
        nearest = nearest_name(old, accounts)
        raise ConfigurationError(
            f"no row of {provider} has the account {old}",
            hint=f"Did you mean {nearest}?" if nearest else f"Loaded accounts: {', '.join(sorted(accounts)) or 'none'}.",
        )
    if new in accounts:
        raise ConfigurationError(
            f"rows of {provider} have the account {new} already, so its usage would be mixed with that of {old}",
            hint="Choose a name that no loaded row has.",
        )


def _renamed_rows(
    destination: Destination, tables: Mapping[tuple[str, str], bool], provider: str, old: str, new: str
) -> Iterator[Statement]:
    for (schema, table), is_shared in tables.items():
        qualified = f'"{schema}"."{table}"'
        where, values = ("account = %s and provider = %s", (old, provider)) if is_shared else ("account = %s", (old,))
        if (schema, table) == (destination.dataset(provider), FETCHED_WINDOWS):
            yield f"delete from {qualified} where account = %s", (new,)  # noqa: S608 - requests without a result
        yield f"update {qualified} set account = %s where {where}", (new, *values)  # noqa: S608


def _renamed_billing(destination: Destination, provider: str, old: str, new: str) -> Iterator[Statement]:
    """The changes of the loaded billing rows. The user's own files still have the old name until they are edited.

    The account is also its billing account, unless other accounts share that one or it is called otherwise.
    """
    schema = destination.dataset(BILLING)
    with destination.reader() as reader:
        _, columns = reader.tuples(queries()["columns_with_accounts"], schema)
        used = [
            *(("billing_account = %s", (new,), table) for table, name in columns if name == "billing_account"),
            *(("billing_account = %s and account <> %s", (old, old), table) for table, _ in columns if table == "accounts"),
        ]
        is_shared = any(
            reader.rows(f'select 1 from "{schema}"."{table}" where provider = %s and {condition} limit 1', provider, *names)  # noqa: S608
            for condition, names, table in used
        )
    for table, name in columns:
        if name == "account" or not is_shared:
            sql = f'update "{schema}"."{table}" set {name} = %s where {name} = %s and provider = %s'  # noqa: S608
            yield sql, (new, old, provider)


def _renamed_state(
    destination: Destination, provider: str, load_id: str, state: dict[str, Any], old: str, new: str
) -> Statement:
    rename_in_state(_of_source(state, provider), old, new)
    columns = state_columns(state)
    table = f'"{destination.dataset(provider)}"."_dlt_pipeline_state"'
    changes = ", ".join(f"{name} = %s" for name in columns)
    sql = f"update {table} set {changes} where pipeline_name = %s and _dlt_load_id = %s"  # noqa: S608
    return sql, (*columns.values(), provider, load_id)


def _of_source(state: dict[str, Any], provider: str) -> dict[str, Any]:
    """The part of a pipeline's state that belongs to the provider's source."""
    source: dict[str, Any] = state.get("sources", {}).get(PROVIDERS[provider].source_name, {})
    return source
