"""Merges: the scope of a merge, and the rows that it replaces.

Both are known only when a resource has read its windows, and differ from run to run. dlt stores each changed schema in the
destination permanently, so they go with the load package instead, and into the table's schema when dlt prepares it for its
load. `test_history.py` and `test_dlt_compat.py` in `tests/sources/_core` fail when dlt changes what this relies on.
"""
# ruff: noqa: S608 - SQL is the purpose of this module

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, cast

import dlt
import duckdb
from dlt.common.destination.client import JobClientBase
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.destinations.impl.filesystem.filesystem import DeltaLoadFilesystemJob
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from meterhouse.sources._core.dlt_compat.private import client_of, table_of

SCOPES = "meterhouse_scope_of"
"""Where a load package has the scopes of its merges, and the prefix of the names that dlt's schema has for them."""

HISTORIES = "meterhouse_history_of"
"""The key in a load package's state: which replaced rows its merges keep, by table."""

SUFFIX = "__history"
_HINT = "x-meterhouse-history"


def stored_with_package(table: str, scope: str) -> str:
    """Stores the SQL condition `scope` with the load package that is being extracted; returns its name for dlt's schema.

    The schema holds only a name, because the scope changes with every run. Without this module, a pending package fails to
    load, because no database accepts the name as a condition.
    """
    scopes: dict[str, str] = cast("Any", dlt.current.load_package_state()["state"]).setdefault(SCOPES, {})
    scopes[table] = f"({scopes[table]} OR {scope})" if table in scopes else scope
    return f"{SCOPES}.{table}"


def keep_history(table: str, keep: dict[str, Any]) -> None:
    """Tells the load of the package that is being extracted to keep the rows of `table` that it replaces or deletes.

    Args:
        table: the table, which has a history table (`SUFFIX`).
        keep: `run`, the id of the run; `time_column`, which has the time at which a row took its values; `scope`, a SQL
            condition for the rows `d` that are deleted if they are not staged; `is_within_scope`, whether it also holds for
            all rows with the key of a staged row; `withdrawn_at`, SQL conditions for parts of the scope, each with an ISO
            time; optionally `condition`, a boolean column, true for rows to keep; optionally `prune`, an ISO time before
            which superseded rows are deleted.
    """
    histories: dict[str, dict[str, Any]] = cast("Any", dlt.current.load_package_state()["state"]).setdefault(HISTORIES, {})
    if earlier := histories.get(table):  # a second resource of the same table
        keep = keep | {
            "scope": f"({earlier['scope']} OR {keep['scope']})",
            "withdrawn_at": [*earlier["withdrawn_at"], *keep["withdrawn_at"]],
        }
    histories[table] = keep


def _with_package_state(prepare: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Wraps the method that prepares a table's schema for its load: adds what the load package says of the merge."""

    @wraps(prepare)
    def prepare_load_table(client: Any, table_name: str) -> Any:
        table = prepare(client, table_name)
        state: dict[str, Any] = {}
        with suppress(CurrentLoadPackageStateNotAvailable):  # dlt also prepares tables outside of a load
            state = cast("Any", dlt.current.load_package_state()["state"])
        section, _, name = table.get("x-merge-destination-scope", "").partition(".")
        if section == SCOPES and name in state.get(SCOPES, {}):
            table["x-merge-destination-scope"] = state[SCOPES][name]
        history = client.schema.tables.get(table_name + SUFFIX)
        if history and table_name in state.get(HISTORIES, {}):
            table[_HINT] = {
                **state[HISTORIES][table_name],
                "columns": [column for column in table["columns"] if column in history["columns"]],
                "timestamp": _timestamp_type(client, history),
            }
        return table

    return prepare_load_table


def _timestamp_type(client: Any, history: Any) -> str:
    if not hasattr(client, "type_mapper"):  # files, which DuckDB reads
        return "TIMESTAMP WITH TIME ZONE"
    kind: str = client.type_mapper.to_destination_type(history["columns"]["superseded_at"], history)
    return kind


def _replaced_rows(table: Any, names: tuple[str, str], quote: Callable[[str], str], literal: Callable[[Any], str]) -> str:
    """The query for the rows that a merge replaces or deletes, with the columns of the history.

    `names` are those of the table and of the staged rows. One query for both kinds takes half the time of two.
    """
    keep = table[_HINT]
    keys = [quote(name) for name, column in table["columns"].items() if column.get("primary_key")]
    version, time = quote("row_version"), quote(keep["time_column"])
    branches = [(scope, f"CAST('{moment}' AS {keep['timestamp']})") for scope, moment in keep["withdrawn_at"]]
    cases = "".join(f" WHEN {scope} THEN {moment}" for scope, moment in branches[:-1])
    withdrawn = f"CASE{cases} ELSE {branches[-1][1]} END" if cases else branches[-1][1]
    conditions = [f"d.{quote(keep['condition'])} = {literal(True)}"] if "condition" in keep else []  # noqa: FBT003
    if keep["is_within_scope"]:
        conditions += [keep["scope"], f"(s.{keys[0]} IS NULL OR s.{version} <> d.{version})"]
    else:
        conditions.append(f"(s.{version} <> d.{version} OR s.{keys[0]} IS NULL AND {keep['scope']})")
    return (
        f"SELECT {', '.join(f'd.{quote(column)}' for column in keep['columns'])},"
        f" COALESCE(s.{time}, {withdrawn}) AS superseded_at, '{keep['run']}' AS superseded_by,"
        f" CASE WHEN s.{keys[0]} IS NULL THEN {literal(True)} ELSE {literal(False)} END AS is_withdrawn"  # noqa: FBT003
        f" FROM {names[0]} d LEFT JOIN {names[1]} s ON {' AND '.join(f'd.{key} = s.{key}' for key in keys)}"
        f" WHERE {' AND '.join(conditions)}"
    )


def _with_history(generate: Any) -> Any:
    """Wraps the method that generates the SQL of a merge: before it, inserts the replaced rows into the history."""

    @wraps(generate.__func__)
    def generate_sql(merge: Any, table_chain: Sequence[Any], sql_client: Any) -> list[str]:
        statements: list[str] = generate.__func__(merge, table_chain, sql_client)
        table = table_chain[0]
        if _HINT not in table:
            return statements
        keep, quote = table[_HINT], sql_client.escape_column_name
        history = sql_client.make_qualified_table_name(table["name"] + SUFFIX)
        into = ", ".join(map(quote, [*keep["columns"], "superseded_at", "superseded_by", "is_withdrawn"]))
        literal = sql_client.capabilities.escape_literal or (lambda value: str(value).upper())
        replaced = _replaced_rows(table, sql_client.get_qualified_table_names(table["name"]), quote, literal)
        kept = [f"INSERT INTO {history} ({into}) {replaced};"]
        if "prune" in keep:
            kept.append(f"DELETE FROM {history} WHERE superseded_at < CAST('{keep['prune']}' AS {keep['timestamp']});")
        return kept + statements

    return classmethod(generate_sql)


def _in_transaction(decide: Any) -> Any:
    """Wraps the method that decides whether a job runs in a transaction: a merge with a history does, if it can.

    dlt 1.31 is meant to use one, but its destinations declare support for DDL transactions only. So it runs the statements
    of a merge one by one, and a load that fails between two of them has already deleted rows.
    """

    @wraps(decide)
    def maybe_transaction(job: Any, sql: str) -> Any:
        supported = client_of(job).capabilities
        if SUFFIX in sql and supported.supports_transactions is None:
            supported.supports_transactions = supported.supports_ddl_transactions
        return decide(job, sql)

    return maybe_transaction


def _with_delta_history(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wraps the method that merges files into a Delta table: first merges the replaced rows into the history."""

    @wraps(run)
    def run_job(job: Any) -> None:
        if _HINT in table_of(job):
            with suppress(DestinationUndefinedEntity):  # the table's first load
                _store_delta_history(job, client_of(job).load_open_table("delta", job.load_table_name))
        run(job)

    return run_job


def _store_delta_history(job: Any, stored: Any) -> None:
    from dlt.common.libs.deltalake import deltalake_storage_options, evolve_delta_table_schema, write_delta_table

    client, name, keep = client_of(job), job.load_table_name + SUFFIX, table_of(job)[_HINT]
    present = {field.name for field in stored.schema().fields}
    table = table_of(job) | {_HINT: keep | {"columns": [column for column in keep["columns"] if column in present]}}
    keys = [column for column, details in table["columns"].items() if details.get("primary_key")]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", stored.to_pyarrow_dataset())
        connection.register("staged", job.arrow_dataset)
        replaced = _replaced_rows(table, ("stored", "staged"), lambda column: f'"{column}"', str)
        rows = connection.sql(replaced).to_arrow_table()
    try:
        history = client.load_open_table("delta", name)
    except DestinationUndefinedEntity:
        options = deltalake_storage_options(client.config.credentials, client.config.deltalake_storage_options)
        write_delta_table(client.get_open_table_location("delta", name), rows, "append", storage_options=options)
        return
    if rows.num_rows:
        evolve_delta_table_schema(history, rows.schema)
        same = " AND ".join(f"target.{column} = source.{column}" for column in (*keys, keep["time_column"]))
        merge = history.merge(rows, same, source_alias="source", target_alias="target")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    if "prune" in keep:
        expired = f"superseded_at < '{keep['prune']}'"
        with duckdb.connect() as connection:
            connection.register("history", history.to_pyarrow_dataset())
            if connection.sql(f"FROM history WHERE {expired} LIMIT 1").fetchall():
                history.delete(expired)


SqlLoadJob.maybe_transaction = _in_transaction(SqlLoadJob.maybe_transaction)  # type: ignore[method-assign]
SqlMergeFollowupJob.generate_sql = _with_history(SqlMergeFollowupJob.generate_sql)  # type: ignore[method-assign]
JobClientBase.prepare_load_table = _with_package_state(JobClientBase.prepare_load_table)  # type: ignore[assignment, method-assign]
DeltaLoadFilesystemJob.run = _with_delta_history(DeltaLoadFilesystemJob.run)  # type: ignore[assignment, method-assign]
