"""`meterhouse publish`: a copy of the DuckDB file for readers that would otherwise meet a run, such as BI tools."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.pipelines.warehouse.duckdb_file import DEFAULT_WAIT, catalog_of, open_file, require_usable_file
from meterhouse.pipelines.warehouse.errors import NotBuilt
from meterhouse.pipelines.warehouse.files import replacing, require_replaceable
from meterhouse.pipelines.warehouse.query import translated_errors
from meterhouse.sources._core.errors import ConfigurationError

HISTORY = "meterhouse"
"""The schema of the run history, which is `main` in a file of this name."""


def publish(
    destination: Destination, file: Path, *, wait: timedelta | None = None, on_wait: Callable[[], None] = lambda: None
) -> int:
    """Copies the database as it is between two runs to `file`, and returns the size in bytes.

    The copy is one read-only file without a WAL. It replaces `file` in one step: a reader has the old one or the new one.
    This waits for a run, and for a writer of the database, for at most `wait`, by default a minute.

    Raises:
        ConfigurationError: the destination is no DuckDB file, or `file` cannot be the copy.
        LoadError: the database does not exist or is in use, or the copy cannot be written.
    """
    if not isinstance(destination, DuckDBDestination):
        raise ConfigurationError(
            f"meterhouse publish cannot copy {destination.type}",
            hint="It copies DuckDB files; connect BI tools to the server or the files themselves.",
        )
    _require_target(destination, file)
    with (
        destination.exclusive_run(DEFAULT_WAIT if wait is None else wait, on_wait=on_wait),
        replacing(file, read_only=True) as copy,
    ):
        _copy(destination, copy)
        with translated_errors(destination.location), open_file(copy) as connection:
            _add_history(connection, destination, file)
            connection.execute("force checkpoint")  # moves the rows of the WAL into the file
        return copy.stat().st_size


def _require_target(destination: DuckDBDestination, file: Path) -> None:
    require_replaceable(file, destination.file)
    require_usable_file(file.absolute())
    if not destination.exists():
        raise NotBuilt(f"there is no database {destination.location}")
    wal = file.with_name(f"{file.name}.wal")
    if wal.exists():
        raise ConfigurationError(
            f"{wal} exists: a program has opened the last copy for writing, and its changes would not fit the new copy",
            hint=f"Close that program, and move {wal} away.",
        )


def _copy(destination: DuckDBDestination, copy: Path) -> None:
    """Copies the file, and its WAL if a killed program has left one, while a connection for reading keeps writers away.

    The file is copied last: closing it releases the lock that this process holds on it (POSIX locks belong to the process).
    """
    source_wal, wal = (Path(f"{file}.wal") for file in (destination.file, copy))
    with destination.reader():
        if source_wal.exists():
            wal.touch(exist_ok=False)  # follows no link
            shutil.copyfile(source_wal, wal)
        shutil.copyfile(destination.file, copy)


def _add_history(connection: duckdb.DuckDBPyConnection, destination: DuckDBDestination, file: Path) -> None:
    """Makes `meterhouse.runs` work in a copy of meterhouse.duckdb, where the table is `main.runs`."""
    sql = "select lower(schema_name) from duckdb_schemas() where database_name = current_database()"
    schemas = {name for (name,) in connection.execute(sql).fetchall()}
    if catalog_of(file) in schemas:
        raise ConfigurationError(
            f"{file} cannot be used: DuckDB would name the database {catalog_of(file)!r}, like one of its schemas",
            hint="Name another file, such as published.duckdb.",
        )
    if destination.dataset(HISTORY) != HISTORY and catalog_of(file) != HISTORY and HISTORY not in schemas:
        connection.execute(f"create schema {HISTORY}")
        tables = connection.execute("select table_name from duckdb_tables() where schema_name = 'main'").fetchall()
        for (table,) in tables:
            connection.execute(f'create view {HISTORY}."{table}" as from main."{table}"')
