"""Where a run loads to: any dlt destination by name, DuckDB in the working directory by default."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlt
import duckdb
import fasteners
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from pipelines.lookups import make_quick, remembering_capabilities
from sources._core.http import ConfigurationError

DEFAULT_DATABASE = "meterhouse.duckdb"

TABLE_FORMAT = "delta"
"""Of files. To plain ones dlt can only append, and from Iceberg's it deletes nothing that a vendor has withdrawn."""

RESERVED = frozenset({"mathpix", "reducto", "onepin", "scopix", "billing", "usage"})
"""The schemas of the raw tables and of the marts."""


class LoadError(Exception):
    """The destination cannot be used, or what a provider answered could not be loaded into it. The message is one line."""


@dataclass(frozen=True)
class Destination:
    """A resolved destination. `location` is a DuckDB file's path, or host and database; it holds no credentials.

    A DuckDB file may not stay open where the user has dlt say statements at each opening, such as ATTACH, that cannot be
    said twice, or open it with an option: in one process, all that have it open must agree on those.
    """

    name: str
    type: str
    location: str
    dlt_destination: Any
    may_stay_open: bool = True

    @property
    def working_dir(self) -> Path:
        """Where dlt keeps pending packages and a copy of the state, one folder a destination.

        dlt finds a pipeline's local state by its name alone. With one folder for all, the cursors of a demo would be
        those of the real database after it, and its history would never be asked for.
        """
        digest = hashlib.sha256(f"{self.type} {self.location}".encode()).hexdigest()[:12]
        return Path(get_dlt_pipelines_dir()) / f"meterhouse-{self.type}-{digest}"

    def pipeline(self, provider: str, *, dataset: str | None = None) -> dlt.Pipeline:
        """The pipeline that loads `provider` into the dataset of the same name, or of another one."""
        return dlt.pipeline(
            provider,
            destination=self.dlt_destination,
            dataset_name=dataset or provider,
            pipelines_dir=str(self.working_dir),
        )


def resolve_destination(name: str | None = None, *, database: str | None = None) -> Destination:
    """The destination called `name` in dlt's configuration; DuckDB at `database` where that is given.

    Raises:
        ConfigurationError: dlt knows no such destination, its credentials are incomplete, or its file cannot be written.
    """
    make_quick()
    name = name or "duckdb"
    settings: dict[str, Any] = {}
    if (dlt.config.get(f"destination.{name}.destination_type", str) or name).endswith("filesystem"):
        settings["preferred_table_format"] = _table_format(name)
    if name == "duckdb":
        key = "destination.duckdb.credentials"
        configured = dlt.secrets.get(key, str) or dlt.config.get(key, str)
        if database or not configured:
            settings["credentials"] = database or DEFAULT_DATABASE
    try:
        destination = dlt.destination(name, **settings)
        resolved = configuration_of(destination, name)
        location = str(resolved.data_location())
    except UnknownDestinationModule:
        raise ConfigurationError(
            f"the destination {name!r} cannot be used: dlt knows none of that name",
            way_out=f"Name a dlt destination such as duckdb or postgres, or set destination.{name}.destination_type.",
        ) from None
    except Exception as error:  # noqa: BLE001 - dlt has no common base for "this destination cannot be used"
        raise ConfigurationError(
            f"the destination {name!r} cannot be used ({first_line(error)})",
            way_out=f"Name a dlt destination, install its extra, and set its credentials under [destination.{name}].",
        ) from None
    if resolved.destination_type.endswith("filesystem") and find_spec("deltalake") is None:
        raise ConfigurationError(
            "files are written as Delta tables, and deltalake is not installed", way_out="pip install 'meterhouse[delta]'."
        )
    may_stay_open = True
    if resolved.destination_type.endswith("duckdb"):
        _require_writable(Path(location))
        credentials = resolved.credentials
        may_stay_open = not credentials.statements and "custom_user_agent" not in (credentials.global_config or {})
    kind = resolved.destination_type.rsplit(".", 1)[-1]
    return Destination(name, kind, location, remembering_capabilities(destination), may_stay_open)


def _table_format(name: str) -> str:
    setting = f"destination.{name}.preferred_table_format"
    if dlt.config.get(setting, str) not in {None, TABLE_FORMAT}:
        raise ConfigurationError(
            f"{setting} is {dlt.config.get(setting, str)!r}, where a window that is fetched again could not replace itself",
            way_out=f"Take it out, or set it to {TABLE_FORMAT!r}.",
        )
    return TABLE_FORMAT


def configuration_of(dlt_destination: Any, name: str) -> Any:
    """What dlt makes of the configuration of a destination, credentials included."""
    initial: Any = dlt_destination.spec()
    initial._bind_dataset_name(dataset_name=name)  # noqa: SLF001 - there is no public way without a pipeline
    if hasattr(initial, "local_dir"):
        initial.local_dir = str(Path.cwd())
    return dlt_destination.configuration(initial)


def _require_writable(file: Path) -> None:
    if file.stem in RESERVED:
        # DuckDB calls a database by its file's name, and then cannot tell mathpix.table from that of another schema.
        raise ConfigurationError(
            f"the database file {file} has the name of a schema that it is to hold",
            way_out=f"Call it anything but {', '.join(sorted(RESERVED))}.",
        )
    way_out = "Make it writable, or set another file in DESTINATION__DUCKDB__CREDENTIALS."
    if file.is_dir():
        raise ConfigurationError(f"the database {file} is a folder", way_out="Name a file in it.")
    if file.exists():
        # The superuser may write whatever its mode says; a file that nobody may write was still meant to stay as it is.
        if not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(file, os.W_OK):
            raise ConfigurationError(f"the database file {file} is read-only", way_out=way_out)
    elif not file.parent.is_dir():
        raise ConfigurationError(f"there is no folder {file.parent} for the database", way_out="Make it first.")
    elif not os.access(file.parent, os.W_OK):
        raise ConfigurationError(f"the folder {file.parent} is read-only", way_out=way_out)


def require_open(destination: Destination) -> None:
    """Opens and closes a DuckDB file that exists, before anybody is asked for anything.

    Raises:
        LoadError: another process has it open, or it is no database.
    """
    if destination.type == "duckdb" and Path(destination.location).exists():
        _remove_stump(Path(destination.location))
        _opened(destination).close()


@contextmanager
def kept_open(destination: Destination) -> Iterator[None]:
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
        raise LoadError(in_words(error, destination)) from None


STORAGE_VERSION = "v1.4.0"
"""Of the files that are made here: whatever wrote them, the DuckDB 1.4 that many BI tools carry can open them."""


def make_database(destination: Destination) -> None:
    """Makes the DuckDB file where there is none yet: dlt and dbt would make one that only their own DuckDB can open.

    Raises:
        LoadError: it cannot be made.
    """
    if destination.type != "duckdb" or Path(destination.location).exists():
        return
    try:
        duckdb.connect(destination.location, config={"storage_compatibility_version": STORAGE_VERSION}).close()
    except duckdb.Error as error:
        raise LoadError(in_words(error, destination)) from None


HEADERS = 3 * 4096
"""Bytes with which a DuckDB file begins; no shorter one holds any data."""


def _remove_stump(file: Path) -> None:
    """Takes away what a full disk, or a kill, left of a database that was just being made: no run could ever open it."""
    if 0 < file.stat().st_size < HEADERS:
        with file.open("rb") as content:
            is_ours = content.read(12)[8:] == b"DUCK"
        if is_ours:
            file.unlink()


@contextmanager
def only_run(destination: Destination) -> Iterator[None]:
    """Keeps a second run from the same destination while the first is at work: both would use one working directory.

    Raises:
        LoadError: another run is at work, or the working directory cannot be made.
    """
    try:
        destination.working_dir.mkdir(parents=True, exist_ok=True)
        lock = fasteners.InterProcessLock(destination.working_dir / "run.lock")
        taken = lock.acquire(blocking=False)
    except OSError as error:
        raise LoadError(f"{destination.working_dir} cannot be written ({error.strerror}); set DLT_DATA_DIR") from None
    if not taken:
        raise LoadError(f"another run is at work on {destination.location}. Wait for it, then run again")
    try:
        yield
    finally:
        lock.release()


def query_rows(client: Any, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """What a query answers; nothing where its table was never built, which is for others to say."""
    try:
        with client.execute_query(query, *parameters) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except DatabaseUndefinedRelation:
        return []


def in_words(error: BaseException, destination: Destination) -> str:
    """What a destination's error says, in one line."""
    if isinstance(error, LoadError):  # which says so already
        return str(error)
    said = " ".join(str(error).split()) or type(error).__name__
    if "Could not set lock" in said or "being used by another process" in said:
        return f"another process has {destination.location} open. Close it, then run again"
    return f"{destination.location} cannot be used: {said[:300]}"


def first_line(error: BaseException) -> str:
    """What an error says, without the explanations that dlt puts below."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
