"""A DuckDB file as a destination. One process at a time may write to it; opening it takes 25 ms."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import dlt
import duckdb
import pyarrow as pa

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.duckdb_file import DEFAULT_WAIT, catalog_of, open_file
from meterhouse.pipelines.warehouse.errors import NotBuilt
from meterhouse.pipelines.warehouse.locking import FileLock, RunLock
from meterhouse.pipelines.warehouse.query import CHUNK, Reader, TypeOf, translated_errors
from meterhouse.pipelines.warehouse.schemas import in_schema
from meterhouse.sources._core.errors import ConfigurationError

STORAGE_VERSION = "v1.4.0"
"""The storage version of new files, so that the DuckDB 1.4 of many BI tools can open them."""

HEADERS = 3 * 4096
"""Bytes of the headers of a DuckDB file; a shorter file holds no data."""


@dataclass
class DuckDBDestination(Destination):
    """A DuckDB file.

    `may_stay_open` is False if dlt's configuration has statements that run at each opening (a second ATTACH would fail) or
    opens the file with options: within a process, all connections to a file must have the same ones.
    """

    may_stay_open: bool = True
    wait: timedelta = field(default=DEFAULT_WAIT, init=False)
    """How long to wait, at each opening, for another process that has the file open."""
    _held: duckdb.DuckDBPyConnection | None = field(default=None, init=False, repr=False)

    has_models: ClassVar[bool] = True
    supports_atomic_changes: ClassVar[bool] = True
    has_own_staging: ClassVar[bool] = False
    """A load keeps the file open from its first staging table to its last merge, so no other process can write between."""

    @property
    def models_extra(self) -> str:
        """The extra `dbt`, which installs dbt-duckdb."""
        return "dbt"

    @property
    def file(self) -> Path:
        """The database file."""
        return Path(self.location)

    @property
    def catalog(self) -> str:
        """DuckDB's name of the database, in lower case."""
        return catalog_of(self.file)

    def dataset(self, name: str) -> str:
        """The schema of the pipeline; `main` if the database has the pipeline's name.

        DuckDB names a database after its file. In meterhouse.duckdb, a schema `meterhouse` would make `meterhouse.runs`
        ambiguous. As a table of `main`, it has the name `meterhouse.runs` there, as in every other file.
        """
        return "main" if self.catalog == name else name

    def shared_lock(self) -> RunLock:
        """A lock file beside the database, which may have several names and users."""
        file = self.file.resolve()
        return FileLock(file.with_name(f"{file.name}.lock"))

    @contextmanager
    def exclusive_run(self, wait: timedelta | None = None, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keeps other runs away within the block.

        `wait` limits the wait for another run (default: none) and for processes that have the file open (default: a minute).

        Raises:
            LoadError: another run is at work and does not end within `wait`, or a lock cannot be taken.
        """
        self.on_wait = on_wait
        if wait is not None:
            self.wait = wait
        with super().exclusive_run(wait, on_wait=on_wait):
            yield

    def exists(self) -> bool:
        """Whether the file exists."""
        return self.file.exists()

    def create(self) -> None:
        """Creates the file in an older storage version; dlt or dbt would create one that older DuckDB cannot open.

        Raises:
            LoadError: the file cannot be created.
        """
        if self.exists():
            _remove_fragment(self.file)
        if not self.exists():
            self._connect(config={"storage_compatibility_version": STORAGE_VERSION}).close()

    def require_available(self) -> None:
        """Opens and closes the file, if it exists and is not held open.

        Raises:
            LoadError: another process has the file open, or the file is not a database.
        """
        if self.exists() and self._held is None:
            _remove_fragment(self.file)
            self._connect().close()

    @contextmanager
    def hold_open(self) -> Iterator[None]:
        """Keeps the file open within the block: dlt opens it for each query and each job.

        Meanwhile no other process can open the file, so nothing in the block may wait for a provider. Threads enter the
        block one after the other, because DuckDB refuses to open a file while the same process closes it.

        Raises:
            LoadError: another process has the file open, or the file is not a database.
        """
        if not self.exists():
            yield
            return
        if not self.may_stay_open:
            self.require_available()
            yield
            return
        before = self._held
        with self._connect() as self._held:
            try:
                yield
            finally:
                self._held = before

    @contextmanager
    def reader(self, dataset: str = "usage") -> Iterator[Reader]:  # noqa: ARG002 - every schema is in the one file
        """A connection for reading only: several processes may have one at a time, and no file is created.

        Raises:
            NotBuilt: the file does not exist.
            LoadError: the file cannot be read.
        """
        if not self.exists():
            raise NotBuilt(f"there is no database {self.location}")
        # While this process holds the file open for writing, DuckDB refuses a connection for reading only.
        with (
            translated_errors(self.location),
            self._held.cursor() if self._held else self._connect(read_only=True) as connection,
        ):
            yield DuckDBReader(connection, self)

    def execute(self, sql: str, *parameters: Any) -> None:
        """Runs one statement that changes the database. A parameter is written `%s`, as in every dialect.

        Raises:
            NotBuilt: a table does not exist.
            LoadError: the database cannot be written.
        """
        with self.hold_open():
            super().execute(sql, *parameters)

    def require_loaded(self, pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> None:
        """Checks that dlt has recorded the load packages in this file, in the pipeline's dataset.

        Raises:
            LoadError: dlt has written to another place.
        """
        with self.reader() as reader:
            self._require_recorded(reader, pipeline.pipeline_name, load_ids)

    def dbt_variables(self) -> Mapping[str, str]:
        """The path of the file."""
        return {"METERHOUSE_DUCKDB": self.location}

    def release_dbt(self) -> None:
        """Closes dbt-duckdb's handle, which otherwise stays open and keeps other processes from opening the file."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        DuckDBConnectionManager.close_all_connections()

    def require_writable(self) -> None:
        """Checks the mode of the file, which need not exist.

        Raises:
            ConfigurationError: the file or its folder is not writable.
        """
        file = self.file
        hint = "Make it writable, or set another file in DESTINATION__DUCKDB__CREDENTIALS."
        if file.is_dir():
            raise ConfigurationError(f"the database {file} is a folder", hint="Name a file in it.")
        if file.exists():
            # The superuser may write to any file, but a file without write permission was protected on purpose.
            if not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(file, os.W_OK):
                raise ConfigurationError(f"the database file {file} is read-only", hint=hint)
        elif not file.parent.is_dir():
            raise ConfigurationError(f"there is no folder {file.parent} for the database", hint="Create it first.")
        elif not os.access(file.parent, os.W_OK):
            raise ConfigurationError(f"the folder {file.parent} is read-only", hint=hint)

    def _connect(self, *, read_only: bool = False, config: dict[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
        return open_file(self.location, read_only=read_only, config=config, wait=self.wait, on_wait=self.on_wait)


class DuckDBReader(Reader):
    """Reads through DuckDB itself, which is faster than dlt's client and can open a file for reading only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, destination: DuckDBDestination) -> None:
        super().__init__(destination.location, destination.schema)
        self._connection, self._destination = connection, destination

    def table_name(self, dataset: str, table: str) -> str:
        """Schema and table, quoted."""
        return f'"{self._destination.dataset(dataset)}"."{table}"'

    def isolate(self) -> None:
        """Denies the queries that follow any access to other files, and any change of DuckDB's configuration.

        A query that turns on logging, for example, would abort the process: DuckDB cannot open the log.
        """
        self._connection.execute("set enable_external_access = false")
        self._connection.execute("set lock_configuration = true")

    @contextmanager
    def _cursor(self, sql: str, parameters: Sequence[Any]) -> Iterator[Any]:
        yield self._connection.execute(sql.replace("%s", "?") if parameters else sql, parameters or None)

    @contextmanager
    def tables(self, sql: str, type_of: TypeOf, *, chunk: int = CHUNK) -> Iterator[tuple[pa.Schema, Iterator[pa.Table]]]:
        """The result's schema, and its rows in Arrow tables of at most `chunk` rows."""
        with translated_errors(self.location, self.schema):
            relation = self._connection.sql(in_schema(sql, self.schema))
            read = relation.to_arrow_reader if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader  # 1.4
            # An open Arrow reader would make DuckDB wait forever when this process next opens the file.
            with read(chunk) as batches:
                schema = pa.schema([(name, type_of(name)) for name in batches.schema.names])
                yield schema, (pa.Table.from_batches([batch]).cast(schema) for batch in batches)


def _remove_fragment(file: Path) -> None:
    """Removes the fragment that a full disk or a kill left of a new database; no run could ever open it."""
    if 0 < file.stat().st_size < HEADERS:
        with file.open("rb") as content:
            is_ours = content.read(12)[8:] == b"DUCK"
        if is_ours:
            file.unlink()
