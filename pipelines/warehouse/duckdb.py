"""A DuckDB file as a destination."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import duckdb

from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error


def require_open(destination: Destination) -> None:
    """Opens and closes a DuckDB file that exists, before anybody is asked for anything.

    Raises:
        LoadError: another process has it open, or it is no database.
    """
    if destination.type == "duckdb" and Path(destination.location).exists():
        _remove_stump(Path(destination.location))
        _opened(destination).close()


@contextmanager
def hold_open(destination: Destination) -> Iterator[None]:
    """Within the block a DuckDB file that exists stays open; dlt opens it for each question and each job, 25 ms a time.

    No other process can open it meanwhile, which is why no block waits for a provider. In this process nobody may open it
    while it is being closed, which DuckDB refuses: threads enter the block one after the other.

    Raises:
        LoadError: another process has it open, or it is no database.
    """
    is_there = destination.type == "duckdb" and Path(destination.location).exists()
    with _opened(destination) if is_there and destination.may_stay_open else nullcontext():
        yield


def _opened(destination: Destination) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(destination.location)
    except duckdb.Error as error:
        raise LoadError(describe_error(error, destination)) from None


STORAGE_VERSION = "v1.4.0"
"""Of the files that are made here: whatever wrote them, the DuckDB 1.4 that many BI tools carry can open them."""


def create_database(destination: Destination) -> None:
    """Makes the DuckDB file where there is none yet: dlt and dbt would make one that only their own DuckDB can open.

    Raises:
        LoadError: it cannot be made.
    """
    if destination.type != "duckdb" or Path(destination.location).exists():
        return
    try:
        duckdb.connect(destination.location, config={"storage_compatibility_version": STORAGE_VERSION}).close()
    except duckdb.Error as error:
        raise LoadError(describe_error(error, destination)) from None


HEADERS = 3 * 4096
"""Bytes with which a DuckDB file begins; no shorter one holds any data."""


def _remove_stump(file: Path) -> None:
    """Takes away what a full disk, or a kill, left of a database that was just being made: no run could ever open it."""
    if 0 < file.stat().st_size < HEADERS:
        with file.open("rb") as content:
            is_ours = content.read(12)[8:] == b"DUCK"
        if is_ours:
            file.unlink()
