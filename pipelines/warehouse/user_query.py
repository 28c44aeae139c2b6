"""A user's own SQL: one query that only reads, or a SQL client started on the database."""

import logging
import subprocess
import sys
from importlib.util import find_spec
from shutil import which
from typing import Any

import sqlglot
from sqlglot import exp

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt
from meterhouse.pipelines.warehouse.installation import install_command
from meterhouse.sources._core.errors import ConfigurationError

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # its warnings repeat what `require_query` refuses

CHANGES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Into, exp.Copy, exp.Command)

UNSAFE = frozenset(
    ("set_config", "cursor_to_xml", *(f"query_to_{kind}" for kind in ("xml", "xmlschema", "xml_and_xmlschema")))
)
"""Functions of PostgreSQL that change the role of the session, or run a text as SQL after such a change."""

HELP = "The tables: select table_name from information_schema.tables where table_schema = 'usage'."


def run_query(destination: Destination, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and the rows of a query.

    DuckDB opens its file for reading only and accesses no other file. Elsewhere, the SQL must be a single query.

    Raises:
        ConfigurationError: the query is wrong, or changes something.
        LoadError: the destination cannot be read.
    """
    if destination.file is None:
        require_query(sql, destination.type)
    with destination.reader() as reader:
        reader.isolate()
        try:
            names, rows = reader.tuples(sql)
        except LoadError as error:
            reason = " ".join(str(error.__cause__ or error).split("\n\nLINE")[0].split())
            raise ConfigurationError(
                f"the query failed ({reason[:400]})", hint=HELP.replace("usage", destination.schema)
            ) from None
    if not names:  # an empty text, or a statement without a result
        raise _not_a_query()
    return names, rows


def require_query(sql: str, dialect: str) -> None:
    """Checks that `sql` is one query and changes nothing.

    Raises:
        ConfigurationError: `sql` cannot be parsed, is not one query, or changes something.
    """
    try:
        parsed = sqlglot.parse(sql, read=dialect if dialect in sqlglot.Dialect.classes else None)
    except sqlglot.ParseError as error:
        raise ConfigurationError(f"the query cannot be parsed ({str(error).splitlines()[0]})", hint=HELP) from None
    statements = [statement for statement in parsed if statement]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or statements[0].find(*CHANGES):
        raise _not_a_query()
    if unsafe := UNSAFE.intersection(function.name.lower() for function in statements[0].find_all(exp.Anonymous)):
        raise ConfigurationError(f"the query may not call {min(unsafe)}", hint="Write a select without it.")


def _not_a_query() -> ConfigurationError:
    return ConfigurationError("this is not a single query", hint="Write one select; meterhouse query changes nothing.")


def open_client(destination: Destination) -> int:
    """Starts harlequin on a DuckDB file, for reading only, and returns its exit status.

    Raises:
        ConfigurationError: harlequin is not installed, or cannot open the destination.
        LoadError: the database does not exist.
    """
    if destination.file is None:
        raise ConfigurationError(
            f"meterhouse ui cannot open {destination.type}", hint="Use its own client, or meterhouse query."
        )
    if not destination.exists():
        raise NotBuilt(f"there is no database {destination.location}")
    if find_spec("harlequin"):
        client = [sys.executable, "-m", "harlequin"]
    elif found := which("harlequin"):
        client = [found]
    else:
        raise ConfigurationError(
            "harlequin is not installed",
            hint=f"{install_command('ui')}, or install harlequin on PATH; or use meterhouse query.",
        )
    return subprocess.run([*client, "--adapter", "duckdb", "--read-only", destination.location], check=False).returncode  # noqa: S603
