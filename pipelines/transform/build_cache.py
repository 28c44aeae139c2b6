"""Whether the models are what a build would make of them: then dbt, which takes seconds to start, need not.

The mark of a build that passed stands in the database that it was made in, so that no other database, working directory or
machine is believed. It says what the build was made from, and is taken away before the next one begins: a build that fails
or is killed leaves none. A build is made from

- every value of every raw table, also of those that nobody has loaded with us;
- which windows were fetched, to the hour: within an hour, an answer that brings nothing new makes nothing newer, and the
  times of `data_freshness` are those of the first such answer;
- the files of the dbt project with its variables, the versions of what runs them, and dbt's own settings in the environment;

and it made the tables and views of its schemas, with as many rows as they have.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

PACKAGES = ("dbt-core", "dbt-duckdb", "dbt-adapters", "duckdb")
RAW = ("mathpix", "reducto", "onepin", "scopix", "billing")
MADE = ("usage", "usage_staging", "usage_intermediate", "usage_seeds")
MARK = "usage_intermediate._built_from"
LOG = "fetched_windows"
FETCHED = f"""(
    select distinct
        * exclude (row_count) replace (
            date_trunc('hour', window_start) as window_start, date_trunc('hour', window_end) as window_end,
            date_trunc('hour', fetched_at) as fetched_at
        )
    from {{schema}}.{LOG}
)"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class CachedBuild:
    """What a build said that passed."""

    built: int
    tested: int
    warnings: tuple[str, ...]


def last_build(database: Path, project: Path) -> CachedBuild | None:
    """The build that made all of what is there from all of what is there now; None where there was none."""
    if not database.exists():
        return None
    with suppress(duckdb.Error), _open(database) as connection:
        marked = connection.execute(f"select made_from, made, said from {MARK}").fetchone()  # noqa: S608
        if marked and marked[0] == _made_from(connection, project) and marked[1] == _made(connection):
            said = json.loads(marked[2])
            return CachedBuild(said["built"], said["tested"], tuple(said["warnings"]))
    return None


def forget(database: Path) -> None:
    """Takes the mark away: what is there is about to change."""
    if database.exists():
        with _open(database) as connection:
            if (MARK,) in ((f"{schema}.{name}",) for schema, name, _ in _relations(connection, MADE)):
                connection.execute(f"drop table {MARK}")


def remember(database: Path, project: Path, built: CachedBuild) -> None:
    """Marks a build that passed; without the mark the next one is made in vain, and no more."""
    with suppress(duckdb.Error), _open(database) as connection:
        said = json.dumps({"built": built.built, "tested": built.tested, "warnings": built.warnings})
        made_from, made = _made_from(connection, project), _made(connection)
        connection.execute(f"create or replace table {MARK} (made_from text, made text, said text)")
        connection.execute(f"insert into {MARK} values (?, ?, ?)", [made_from, made, said])  # noqa: S608


@contextmanager
def _open(database: Path) -> Iterator[Any]:
    with duckdb.connect(str(database)) as connection:
        yield connection


def _made_from(connection: Any, project: Path) -> str:
    digest = hashlib.sha256()
    for name in PACKAGES:
        digest.update(f"{name} {version(name)}\n".encode())
    for name in sorted(os.environ):
        if name.startswith(("DBT_", "METERHOUSE_")):
            digest.update(f"{name}={os.environ[name]}\n".encode())
    for file in sorted(project.rglob("*")):
        if file.suffix in {".sql", ".yml", ".csv", ".py"}:
            digest.update(f"{file.relative_to(project)}\n".encode())
            digest.update(file.read_bytes())
    for schema, table, sql in _relations(connection, RAW):
        if not table.startswith("_dlt_"):
            values = connection.execute(f"select count(*), sum(hash(t)) from {_rows(schema, table, sql)} as t").fetchone()  # noqa: S608
            digest.update(f"{schema}.{table} {sql} {values}\n".encode())
    return digest.hexdigest()


def _rows(schema: str, table: str, sql: str) -> str:
    """A raw table without what changes though nothing has."""
    if table == LOG:
        return FETCHED.format(schema=schema)
    return f'(select * exclude (loaded_at) from {schema}."{table}")' if "loaded_at" in sql else f'{schema}."{table}"'  # noqa: S608


def _made(connection: Any) -> str:
    digest = hashlib.sha256()
    for schema, name, sql in _relations(connection, MADE):
        if f"{schema}.{name}" == MARK:
            continue
        rows = connection.execute(f'select count(*) from {schema}."{name}"').fetchone() if _is_table(sql) else None  # noqa: S608
        digest.update(f"{schema}.{name} {sql} {rows}\n".encode())
    return digest.hexdigest()


def _is_table(sql: str) -> bool:
    return sql.lstrip().upper().startswith("CREATE TABLE")


def _relations(connection: Any, schemas: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Schema, name and definition of tables and views, in order."""
    asked = """
        select schema_name, table_name, sql from duckdb_tables()
        where database_name = current_database() and list_contains(?, schema_name)
        union all
        select schema_name, view_name, sql from duckdb_views()
        where database_name = current_database() and list_contains(?, schema_name)
        order by all
    """
    found: list[tuple[str, str, str]] = connection.execute(asked, [list(schemas), list(schemas)]).fetchall()
    return found
