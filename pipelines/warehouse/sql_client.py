"""A user's own questions: one query for reading, or a client that is started on the database."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import duckdb
import sqlglot
from dlt.destinations.exceptions import DatabaseException
from sqlglot import exp

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import not_built, open_cursor
from meterhouse.sources._core.errors import ConfigurationError

CHANGES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Into, exp.Copy, exp.Command)


def answer(destination: Destination, sql: str) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """The columns and rows that `sql` answers.

    DuckDB is opened for reading only, and reads and writes no other file. Elsewhere what is no query is refused.

    Raises:
        ConfigurationError: the query is wrong, or would change something.
        LoadError: the destination cannot be read.
    """
    if destination.type != "duckdb":
        _require_query(sql, destination.type)
    with open_cursor(destination) as execute:
        try:
            if destination.type == "duckdb":
                execute("set enable_external_access = false")
            return execute(sql)
        except (duckdb.Error, DatabaseException) as error:
            said = " ".join(str(error).split("\n\nLINE")[0].split())
            raise ConfigurationError(f"the query cannot be answered ({said[:400]})", hint=HELP) from None


HELP = "The tables: select table_name from information_schema.tables where table_schema = 'usage'."


def _require_query(sql: str, dialect: str) -> None:
    try:
        statements = [one for one in sqlglot.parse(sql, read=dialect if dialect in sqlglot.Dialect.classes else None) if one]
    except sqlglot.ParseError as error:
        raise ConfigurationError(f"the query cannot be read ({str(error).splitlines()[0]})", hint=HELP) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or statements[0].find(*CHANGES):
        raise ConfigurationError("this is not one query", hint="Ask one select; nothing can be changed from here.")


def open_client(destination: Destination) -> int:
    """Starts harlequin on a DuckDB file, for reading only, and returns its exit status when it is closed.

    Raises:
        ConfigurationError: it is not installed, or cannot open the destination.
        LoadError: there is no database.
    """
    if destination.type != "duckdb":
        raise ConfigurationError(
            f"{destination.type} cannot be opened from here", hint="Take its own client, or meterhouse query."
        )
    if not Path(destination.location).exists():
        raise not_built(f"there is no database {destination.location}")
    client = (
        [sys.executable, "-m", "harlequin"] if find_spec("harlequin") else [found] if (found := which("harlequin")) else None
    )
    if client is None:
        raise ConfigurationError(
            "harlequin is not installed",
            hint="pip install 'meterhouse[ui]', or install harlequin apart from it, on PATH; or take meterhouse query.",
        )
    return subprocess.run([*client, "--adapter", "duckdb", "--read-only", destination.location], check=False).returncode  # noqa: S603
