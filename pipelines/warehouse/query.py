"""The one read path: a reader runs SELECT statements on a destination and returns dicts, tuples or Arrow tables.

A parameter is written `%s` in every dialect. The longer queries are in `queries.sql`, one named block each.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation, DestinationConnectionError
from dlt.destinations.sql_client import SqlClientBase

from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt, describe_error
from meterhouse.pipelines.warehouse.schemas import REGULAR, in_schema

CHUNK = 20_000
"""Rows of an Arrow table that `Reader.tables` yields."""

Row = dict[str, Any]
Query = Callable[..., list[Row]]
"""Maps SQL and its parameters to rows, as `Reader.rows` does."""
TypeOf = Callable[[str], pa.DataType]
"""The Arrow type of a column, by its name."""


def if_built(query: Query) -> Query:
    """The same query; it has no rows if a table does not exist, as in a database that an earlier version has built."""

    def rows(sql: str, *parameters: Any) -> list[Row]:
        try:
            return query(sql, *parameters)
        except NotBuilt:
            return []

    return rows


class Reader(ABC):
    """An open connection for reading. Errors of the database become `LoadError`; a missing table, `NotBuilt`.

    A query for the marts in the schema `usage` reads those in `schema`.
    """

    def __init__(self, location: str, schema: str = REGULAR) -> None:
        self.location, self.schema = location, schema

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """The result, one dict per row."""
        names, rows = self.tuples(sql, *parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def rows_if_built(self, sql: str, *parameters: Any) -> list[Row]:
        """The same; no rows if a table does not exist yet."""
        return if_built(self.rows)(sql, *parameters)

    def tuples(self, sql: str, *parameters: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows. Two columns of a user's query may have the same name, or the query may have none."""
        with translated_errors(self.location, self.schema), self._cursor(in_schema(sql, self.schema), parameters) as cursor:
            names = [column[0] for column in (cursor and cursor.description) or ()]  # DuckDB has no cursor for an empty text
            return names, cursor.fetchall() if names else []

    def tuples_of_built(self, selects: Sequence[str], *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of all selects, which have the same parameters. One that reads a missing table is left out."""
        if not selects:
            return []
        try:
            return self.tuples(" union all ".join(selects), *parameters * len(selects))[1]
        except NotBuilt:  # a query for each select finds out which
            rows: list[tuple[Any, ...]] = []
            for select in selects:
                with suppress(NotBuilt):
                    rows += self.tuples(select, *parameters)[1]
            return rows

    @contextmanager
    def tables(self, sql: str, type_of: TypeOf, *, chunk: int = CHUNK) -> Iterator[tuple[pa.Schema, Iterator[pa.Table]]]:
        """The result's schema, and its rows in Arrow tables of at most `chunk` rows."""
        with translated_errors(self.location, self.schema), self._cursor(in_schema(sql, self.schema), ()) as cursor:
            schema = pa.schema([(column[0], type_of(column[0])) for column in cursor.description])
            yield schema, (_table(rows, schema) for rows in iter(lambda: cursor.fetchmany(chunk), []))

    @abstractmethod
    def table_name(self, dataset: str, table: str) -> str:
        """The qualified and quoted name of a table."""

    def isolate(self) -> None:  # noqa: B027 - not every destination has a way to
        """Makes later queries read-only and keeps them from other files; by default, it does nothing."""

    @abstractmethod
    def _cursor(self, sql: str, parameters: Sequence[Any]) -> AbstractContextManager[Any]:
        """A DB-API cursor that has executed the statement."""


def _table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


class SqlClientReader(Reader):
    """Reads through dlt's SQL client."""

    def __init__(self, client: Any, location: str, schema: str = REGULAR) -> None:
        super().__init__(location, schema)
        self._client = client

    def table_name(self, dataset: str, table: str) -> str:
        """The name as the destination's dialect writes it."""
        with self._client.with_alternative_dataset_name(dataset):
            return str(self._client.make_qualified_table_name(table))

    def isolate(self) -> None:
        """Runs what follows in one read-only transaction, which is rolled back when the connection closes.

        Only psycopg2, dlt's driver for PostgreSQL and Redshift, has `set_session`; BEGIN accepts READ ONLY on both.
        """
        connection = self._client.native_connection
        if hasattr(connection, "set_session"):
            connection.set_session(readonly=True, autocommit=False)

    @contextmanager
    def _cursor(self, sql: str, parameters: Sequence[Any]) -> Iterator[Any]:
        with self._client.execute_query(sql, *parameters) as cursor:
            yield cursor


def insert_statement(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """One INSERT of all rows, and its parameters; `table` is qualified and quoted."""
    row = f"({', '.join(['%s'] * len(columns))})"
    sql = f"insert into {table} ({', '.join(columns)}) values {', '.join([row] * len(rows))}"  # noqa: S608
    return sql, [value for values in rows for value in values]


@contextmanager
def translated_errors(location: str, schema: str = REGULAR) -> Iterator[None]:
    """Raises a database error as `NotBuilt` or `LoadError`, with the original as its cause; `schema` has the marts."""
    try:
        yield
    except (duckdb.CatalogException, DatabaseUndefinedRelation) as error:
        missing = " ".join(str(error).split("\n")[0].split())
        raise NotBuilt(f"{location} lacks a table ({missing})", schema) from error
    except (duckdb.Error, DatabaseException, DestinationConnectionError) as error:
        raise LoadError(describe_error(error, location)) from error
    except Exception as error:
        if not SqlClientBase.is_dbapi_exception(error):
            raise
        # dlt wraps a driver's errors, except those raised on connecting.
        raise LoadError(describe_error(error, location)) from error


@cache
def queries() -> Mapping[str, str]:
    """The queries of `queries.sql` by name."""
    text = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {name: sql.strip().removesuffix(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)}
