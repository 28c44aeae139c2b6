"""Reads what the models built, for reading only: several may do so at once, and no file is made where there is none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation, DestinationConnectionError

from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error

Row = dict[str, Any]
Query = Callable[[str], list[Row]]
"""A query, and the rows that it answers."""


@contextmanager
def reader(destination: Destination) -> Iterator[Query]:
    """Asks a destination one query after the other.

    Raises:
        LoadError: it cannot be read, or a table that is asked for is not there.
    """
    with open_cursor(destination) as execute:

        def ask(query: str) -> list[Row]:
            names, rows = execute(query)
            return [dict(zip(names, row, strict=True)) for row in rows]

        yield ask


Execute = Callable[[str], tuple[Sequence[str], list[tuple[Any, ...]]]]
"""A query, and the names and rows that it answers: names may be there twice, or not be there at all."""


@contextmanager
def open_cursor(destination: Destination) -> Iterator[Execute]:
    """The same with columns by their position, as a user's own query may need.

    Raises:
        LoadError: as `reading`.
    """
    try:
        if destination.type == "duckdb":
            if not Path(destination.location).exists():
                raise not_built(f"there is no database {destination.location}")
            with duckdb.connect(destination.location, read_only=True) as connection:
                yield lambda query: _answer(connection.execute(query))
        else:
            with destination.pipeline("usage").sql_client() as client:

                def execute(query: str) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
                    with client.execute_query(query) as cursor:
                        return _answer(cursor)

                yield execute
    except (duckdb.CatalogException, DatabaseUndefinedRelation) as error:
        missing = " ".join(str(error).split("\n")[0].split())
        raise not_built(f"{destination.location} lacks a table ({missing})") from None
    except (duckdb.Error, DatabaseException, DestinationConnectionError) as error:
        raise LoadError(describe_error(error, destination)) from None


def _answer(cursor: Any) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    names = [column[0] for column in cursor.description or ()]
    return names, cursor.fetchall() if names else []


def not_built(what: str) -> LoadError:
    """The error of whoever asks before there is anything to ask for."""
    return LoadError(f"{what}. Build the models first: meterhouse run, or meterhouse models")


FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""How a text begins that a spreadsheet would compute; the wide ones are those of East Asian keyboards."""


def escape_formula(value: Any, text: str) -> str:
    """`text`, which stands for `value` in a table, such that no spreadsheet takes it for a formula.

    Names are others' to choose; a number that is negative is no text.
    """
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
