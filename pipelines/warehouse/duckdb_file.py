"""A DuckDB file: which name it may have, and how to open it while other processes use it."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from meterhouse.pipelines.warehouse.destination import SCHEMAS
from meterhouse.pipelines.warehouse.errors import LoadError, describe_error, is_locked
from meterhouse.sources._core.errors import ConfigurationError

RESERVED = frozenset({*SCHEMAS, *(f"{schema}_staging" for schema in SCHEMAS), "information_schema", "pg_catalog"})
"""The schemas of the raw tables, of their staging tables, and of the models, and those of DuckDB itself."""

RENAMED = frozenset({"main", "temp", "system"})
"""DuckDB calls the database in such a file `main_db` and so on, but dbt-duckdb looks for `main`."""

AMBIGUOUS_CHARACTERS = frozenset("'\"#;?\\")
"""Characters in file names that DuckDB and dbt-duckdb read in different ways."""

AMBIGUOUS_CHARACTERS_IN_FOLDERS = frozenset("#?")
"""dbt-duckdb reads a path as a URL."""

SQLITE = b"SQLite format 3\0"
"""The first bytes of an SQLite database."""

MAX_NAME_BYTES = 250
"""Bytes of a file name that leave room for `.wal` and `.lock`."""

DEFAULT_WAIT = timedelta(minutes=1)
"""How long to wait for another process that has the file open, unless `--wait` says otherwise."""

POLL = timedelta(milliseconds=50)
"""How often to try again. Readers that come one after the other leave short gaps."""

ANNOUNCE_AFTER = timedelta(seconds=1)
"""A shorter wait is not announced."""


def open_file(
    file: Path | str,
    *,
    read_only: bool = False,
    config: dict[str, Any] | None = None,
    wait: timedelta = DEFAULT_WAIT,
    on_wait: Callable[[], None] = lambda: None,
) -> duckdb.DuckDBPyConnection:
    """A connection to the file. Other processes may read it at the same time if all do; a writer is always alone.

    Waits for other processes for at most `wait`, and calls `on_wait` once if that takes more than a second.

    Raises:
        LoadError: another process still has the file open, or the file is not a database.
    """
    began, is_announced = time.monotonic(), False
    while True:
        try:
            return duckdb.connect(str(file), read_only=read_only, config=config or {})
        except duckdb.Error as error:
            waited = timedelta(seconds=time.monotonic() - began)
            if not is_locked(error) or waited >= wait:
                raise LoadError(describe_error(error, str(file))) from None
            if waited >= ANNOUNCE_AFTER and not is_announced:
                is_announced = True
                on_wait()
        time.sleep(POLL.total_seconds())


def catalog_of(file: Path) -> str:
    """The file name up to a dot, in lower case: DuckDB's name of the database, except for those in `RENAMED`."""
    return file.name.lstrip(".").split(".", 1)[0].lower()


def require_usable_file(file: Path) -> None:
    """Checks that all tables can be reached in a database file of this name, and that nothing else has it.

    Raises:
        ConfigurationError: DuckDB could not distinguish the database from a schema in it, dbt could not find it, or there is
            a pipe, a device or an SQLite database of this name.
    """
    catalog = catalog_of(file)
    if catalog in RESERVED:  # mathpix.table would be ambiguous in mathpix.duckdb
        problem = f"cannot be used: DuckDB would name the database {catalog!r}, like one of its schemas"
    elif catalog in RENAMED:
        problem = f"cannot be used: DuckDB would name the database '{catalog}_db', but dbt looks for {catalog!r}"
    elif unusable := AMBIGUOUS_CHARACTERS & set(file.name) or AMBIGUOUS_CHARACTERS_IN_FOLDERS & set(str(file.parent)):
        problem = f"has {' '.join(sorted(unusable))} in its path, which DuckDB and dbt read in different ways"
    elif len(os.fsencode(file.name)) > MAX_NAME_BYTES:
        file, problem = file.with_name(f"{file.name[:80]}…"), f"has a name of more than {MAX_NAME_BYTES} bytes"
    elif file.exists() and not file.is_file() and not file.is_dir():
        problem = "is a pipe or a device"
    elif _is_sqlite(file):
        problem = "is an SQLite database"
    else:
        return
    raise ConfigurationError(f"the database file {file} {problem}", hint="Use another name, such as meterhouse.duckdb.")


def _is_sqlite(file: Path) -> bool:
    """Whether DuckDB would want an extension to open the file."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(SQLITE)) == SQLITE
    except OSError:  # there is no file, or DuckDB will refuse it, too
        return False
