"""Decides whether a build would change the models. If not, a run skips dbt, which takes seconds to start.

A build that passed leaves a mark in the database that it ran on, so a mark never vouches for another database, working
directory or machine. The next build removes the mark when it begins: after a failed or killed build there is none.

The mark holds a digest of the build's inputs:

- every value of every raw table, also if another program loaded it;
- which windows were fetched, rounded to the hour: within an hour, a response without news makes nothing newer, and
  `data_freshness` keeps the times of the first such response;
- the files of the dbt project with its variables, the versions of the packages that run it, and dbt's own settings in the
  environment;

and a digest of its outputs: the tables and views of the models' schemas, and their numbers of rows.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from meterhouse.pipelines.transform.data_tests import RECORD, DataTests
from meterhouse.pipelines.transform.digests import code_digest
from meterhouse.pipelines.warehouse.duckdb_file import open_file
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.schemas import MODEL_SCHEMAS
from meterhouse.sources.registry import PROVIDERS

PACKAGES = ("dbt-core", "dbt-duckdb", "dbt-adapters", "duckdb")
INPUT_SCHEMAS = (*PROVIDERS, "billing")
MARK = "usage_intermediate._built_from"
WINDOWS_TABLE = "fetched_windows"
WINDOWS = f"""(
    select distinct
        * replace (
            date_trunc('hour', window_start) as window_start, date_trunc('hour', window_end) as window_end,
            date_trunc('hour', fetched_at) as fetched_at
        )
    from (select columns(lambda name: name not in ('row_count', 'load_id')) from {{schema}}.{WINDOWS_TABLE})
)"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class CachedBuild:
    """The result of a build that passed, and the reporting currency that it converted into."""

    built: int
    data_tests: DataTests | None
    reporting_currency: str | None = None


def last_build(database: Path, project: Path) -> CachedBuild | None:
    """The last build, if neither its inputs nor its outputs have changed since; None otherwise."""
    if not database.exists():
        return None
    with suppress(duckdb.Error, LoadError), open_file(database, read_only=True) as connection:
        mark = connection.execute(f"select inputs, outputs, result from {MARK}").fetchone()  # noqa: S608
        if mark and mark[0] == _inputs(connection, project) and mark[1] == _outputs(connection):
            return _from_json(json.loads(mark[2]))
    return None


def forget(database: Path) -> None:
    """Removes the mark before a build changes the outputs."""
    if database.exists():
        with open_file(database) as connection:
            if MARK in {f"{schema}.{name}" for schema, name, _ in _relations(connection, MODEL_SCHEMAS)}:
                connection.execute(f"drop table {MARK}")


def remember(database: Path, project: Path, build: CachedBuild) -> None:
    """Marks a build that passed. If that fails, the next build is superfluous and nothing else is lost."""
    with suppress(duckdb.Error, LoadError), open_file(database) as connection:
        inputs, outputs = _inputs(connection, project), _outputs(connection)
        connection.execute(f"create or replace table {MARK} (inputs text, outputs text, result text)")
        connection.execute(f"insert into {MARK} values (?, ?, ?)", [inputs, outputs, json.dumps(asdict(build), default=str)])  # noqa: S608


def _from_json(result: dict[str, Any]) -> CachedBuild:
    tests, currency = result["data_tests"], result.get("reporting_currency")
    if tests is None:
        return CachedBuild(result["built"], None, currency)
    run_at = datetime.fromisoformat(tests["run_at"])
    return CachedBuild(result["built"], DataTests(run_at, tests["passed"], tuple(tests["warnings"])), currency)


def _inputs(connection: duckdb.DuckDBPyConnection, project: Path) -> str:
    digest = hashlib.sha256(code_digest(project, PACKAGES).encode())
    for schema, table, sql in _relations(connection, INPUT_SCHEMAS):
        if not table.startswith("_dlt_"):
            values = connection.execute(f"select count(*), sum(hash(t)) from {_rows(schema, table, sql)} as t").fetchone()  # noqa: S608
            digest.update(f"{schema}.{table} {sql} {values}\n".encode())
    return digest.hexdigest()


def _rows(schema: str, table: str, sql: str) -> str:
    """A raw table without the values that change in every load."""
    if table == WINDOWS_TABLE:
        return WINDOWS.format(schema=schema)
    return f'(select * exclude (loaded_at) from {schema}."{table}")' if "loaded_at" in sql else f'{schema}."{table}"'  # noqa: S608


def _outputs(connection: duckdb.DuckDBPyConnection) -> str:
    digest = hashlib.sha256()
    for schema, name, sql in _relations(connection, MODEL_SCHEMAS):
        if f"{schema}.{name}" in {MARK, RECORD}:
            continue
        is_table = sql.lstrip().upper().startswith("CREATE TABLE")
        rows = connection.execute(f'select count(*) from {schema}."{name}"').fetchone() if is_table else None  # noqa: S608
        digest.update(f"{schema}.{name} {sql} {rows}\n".encode())
    return digest.hexdigest()


def _relations(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> list[tuple[str, str, str]]:
    """Schema, name and definition of the tables and views of these schemas, in order."""
    sql = """
        select schema_name, table_name, sql from duckdb_tables()
        where database_name = current_database() and list_contains(?, schema_name)
        union all
        select schema_name, view_name, sql from duckdb_views()
        where database_name = current_database() and list_contains(?, schema_name)
        order by all
    """
    return connection.execute(sql, [list(schemas), list(schemas)]).fetchall()
