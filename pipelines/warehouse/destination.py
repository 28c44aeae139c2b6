"""A destination of a run. This class fits every SQL destination of dlt; DuckDB and PostgreSQL override what differs."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import dlt
import pyarrow as pa
from dlt.common.pipeline import get_dlt_pipelines_dir

from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt, describe_error
from meterhouse.pipelines.warehouse.lease import TableLease
from meterhouse.pipelines.warehouse.locking import FileLock, RunLock, hold_all
from meterhouse.pipelines.warehouse.query import Reader, SqlClientReader, insert_statement, translated_errors
from meterhouse.pipelines.warehouse.schemas import MODEL_SCHEMAS, REGULAR
from meterhouse.pipelines.warehouse.staging import drop_leftover_staging, drop_staging
from meterhouse.sources.registry import PROVIDERS

SCHEMAS = (*PROVIDERS, "billing", *MODEL_SCHEMAS)
"""The schemas of the raw tables, and those of the models."""

CONTAINER_SCHEMES = ("abfs", "az")
"""Schemes of URLs in which the part before `@` is an Azure container, not a user."""


def public_location(location: str) -> str:
    """An address without user, password, query string and fragment."""
    scheme, separator, rest = location.rpartition("://")
    if not separator:
        return location
    place = re.split("[?#]", rest, maxsplit=1)[0]
    return scheme + separator + (place if scheme.startswith(CONTAINER_SCHEMES) else re.sub(r"^[^/]*@", "", place))


@dataclass
class Destination:
    """A resolved destination. `location` is a DuckDB file's path, or host and database; it holds no credentials."""

    name: str
    type: str
    location: str
    dlt_destination: Any
    on_wait: Callable[[], None] = field(default_factory=lambda: lambda: None, init=False, repr=False)
    """Called when a command begins to wait for another process."""
    schema: str = field(default=REGULAR, init=False)
    """The schema of the marts that a reader reads."""
    _locks: list[RunLock] = field(default_factory=list, init=False, repr=False, compare=False)

    has_models: ClassVar[bool] = False
    """Whether `meterhouse run` can build the SQL models here; elsewhere the user runs dbt."""
    supports_atomic_changes: ClassVar[bool] = False
    """Whether `execute_in_transaction` works here."""
    has_own_staging: ClassVar[bool] = True
    """Whether each run has a staging dataset of its own; see `staging`."""

    supports_sql: ClassVar[bool] = True
    """Whether `execute` can run SQL statements here."""

    @property
    def models_extra(self) -> str:
        """The extra of meterhouse that installs dbt and its adapter for this destination."""
        return self.type

    @property
    def working_dir(self) -> Path:
        """The working directory of dlt: pending load packages and a copy of the state. Each destination has its own.

        dlt finds a pipeline's local state by name alone. In a shared folder, a run into the real database would use the
        cursors of an earlier demo and never request the history.
        """
        digest = hashlib.sha256(f"{self.type} {self.location}".encode()).hexdigest()[:12]
        return Path(get_dlt_pipelines_dir()) / f"meterhouse-{self.type}-{digest}"

    def dataset(self, name: str) -> str:
        """The dataset (schema) of the pipeline of this name."""
        return name

    def pipeline(self, name: str) -> dlt.Pipeline:
        """The pipeline that loads into the dataset of the same name."""
        none: Any = None  # dlt looks in its configuration for arguments that are missing, and not for those that are None
        return dlt.pipeline(
            name,
            pipelines_dir=str(self.working_dir),
            destination=self.dlt_destination,
            dataset_name=self.dataset(name),
            import_schema_path=none,
            export_schema_path=none,
            dev_mode=False,
            refresh=none,
        )

    def restored_pipeline(self, name: str) -> dlt.Pipeline:
        """The pipeline of a dataset, with the state and the schemas that the destination holds.

        The destination is the source of truth, so dlt's working directory is dropped. Otherwise dlt would prefer a newer
        state in it, although a database restored from a backup lacks the rows that its cursors claim. dlt would also load
        the package that a killed run left behind, although this run requests the same windows again.
        """
        pipeline = self.pipeline(name).drop()
        pipeline.sync_destination()
        return pipeline

    def run_locks(self) -> list[RunLock]:
        """The locks of a run, in the order in which it takes them: on the working directory, and on the destination."""
        return [FileLock(self.working_dir / "run.lock"), self.shared_lock()]

    def shared_lock(self) -> RunLock:
        """The lock on the destination, which runs of other users and machines see."""
        return TableLease(self.location, lambda: self.pipeline("meterhouse"))

    @contextmanager
    def exclusive_run(self, wait: timedelta | None = None, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keeps other runs away from the destination within the block; see `locking`.

        Raises:
            LoadError: another run is at work and does not end within `wait`, or a lock cannot be taken.
        """
        self._locks = self.run_locks()
        with hold_all(self._locks, self.location, wait, on_wait):
            yield

    def require_exclusive(self) -> None:
        """Checks, before a load, that the run still holds its locks.

        Raises:
            LoadError: one has expired.
        """
        for lock in self._locks:
            lock.require_held()

    def exists(self) -> bool:
        """False if the database does not exist yet, so that opening it would create it."""
        return True

    def create(self) -> None:
        """Creates the database if it does not exist, and drops what killed runs have left in it.

        Raises:
            LoadError: the database cannot be created.
        """
        if self.has_own_staging:
            drop_leftover_staging(self.pipeline("usage"), self.location)

    def require_available(self) -> None:
        """Checks, before any request is sent, that a run can write to the database.

        Raises:
            LoadError: another process has the database open, or the file is not a database.
        """

    def hold_open(self) -> AbstractContextManager[None]:
        """Keeps the database open within the block, for destinations that are slow to open."""
        return nullcontext()

    def drop_staging(self, pipeline: dlt.Pipeline) -> None:
        """Drops the staging dataset of a pipeline after a load. If that fails, a later run does it."""
        if self.has_own_staging:
            with suppress(LoadError):
                drop_staging(pipeline, self.location)

    @contextmanager
    def reader(self, dataset: str = "usage") -> Iterator[Reader]:
        """A connection for reading, whose default schema is `dataset`.

        Raises:
            NotBuilt: the database does not exist.
            LoadError: the database cannot be read.
        """
        with translated_errors(self.location), ExitStack() as stack:
            try:
                opened: Any = self.pipeline(dataset).sql_client()
                client = stack.enter_context(opened)
            except OSError as error:  # a bucket that cannot be reached
                raise LoadError(describe_error(error, self.location)) from error
            yield SqlClientReader(client, self.location, self.schema)

    def require_loaded(self, pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> None:
        """Checks that dlt has recorded the load packages in this database, in the pipeline's dataset.

        Raises:
            LoadError: dlt has written to another place.
        """
        self._require_location(pipeline)
        with translated_errors(self.location), pipeline.sql_client() as client:
            self._require_recorded(SqlClientReader(client, self.location), pipeline.pipeline_name, load_ids)

    def _require_location(self, pipeline: dlt.Pipeline) -> None:
        with pipeline.destination_client() as client:
            location = public_location(str(client.config.data_location()))
        if location != self.location:
            raise LoadError(f"dlt has loaded into {location} instead of {self.location}. Check [destination]")

    def _require_recorded(self, reader: Reader, dataset: str, load_ids: Sequence[str]) -> None:
        if not load_ids:
            return
        loads = reader.table_name(dataset, "_dlt_loads")
        markers = ", ".join(["%s"] * len(load_ids))
        recorded = reader.tuples_of_built([f"select load_id from {loads} where load_id in ({markers})"], *load_ids)  # noqa: S608
        if missing := set(load_ids) - {load_id for (load_id,) in recorded}:
            ids = ", ".join(sorted(missing))
            raise LoadError(f"dlt has not recorded load {ids} in {loads} of {self.location}. Check [destination]")

    def explain(self, message: str) -> str:
        """An error message of this destination, with what only the destination knows about it."""
        return message

    def execute(self, sql: str, *parameters: Any) -> None:
        """Runs one statement that changes the database. A parameter is written `%s` in every dialect.

        Raises:
            NotBuilt: a table does not exist.
            LoadError: the database cannot be written.
        """
        with translated_errors(self.location), self.pipeline("usage").sql_client() as client:
            client.execute_sql(sql, *parameters)

    def insert(self, dataset: str, table: str, rows: pa.Table) -> None:
        """Inserts rows into an existing table, all or none.

        Raises:
            LoadError: the table or one of its columns does not exist, or the database cannot be written.
        """
        with self.reader(dataset) as reader:
            name = reader.table_name(dataset, table)
        sql, values = insert_statement(name, rows.column_names, [tuple(row.values()) for row in rows.to_pylist()])
        self.execute(sql, *values)

    def execute_in_transaction(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """Runs statements, each with its parameters, in one transaction.

        Raises:
            LoadError: the database cannot be written; then nothing has changed.
        """
        with translated_errors(self.location), self.pipeline("usage").sql_client() as client, client.begin_transaction():
            for sql, parameters in statements:
                client.execute_sql(sql, *parameters)

    def execute_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Runs statements, each with its parameters, in one transaction where the destination has transactions.

        Raises:
            LoadError: the database cannot be written.
        """
        if self.supports_atomic_changes:
            self.execute_in_transaction(statements)
        else:
            for sql, parameters in statements:
                self.execute(sql, *parameters)

    def tables_with_rows(self, dataset: str, tables: Sequence[str]) -> list[str]:
        """The given tables that exist and have rows.

        Raises:
            LoadError: the database cannot be read.
        """
        try:
            with self.reader(dataset) as reader:
                counts = [f"select '{table}', count(*) from {reader.table_name(dataset, table)}" for table in tables]  # noqa: S608
                return [table for table, count in reader.tuples_of_built(counts) if count]
        except NotBuilt:
            return []

    def loaded_accounts(self, datasets: Iterable[str]) -> dict[str, set[str]]:
        """By dataset of a provider, the accounts whose usage was requested at any time.

        Raises:
            LoadError: the database cannot be read.
        """
        accounts: dict[str, set[str]] = {}
        with suppress(NotBuilt), self.reader() as reader:
            logs = [
                f"select distinct '{name}', account from {reader.table_name(name, 'fetched_windows')}"  # noqa: S608
                for name in datasets
            ]
            for name, account in reader.tuples_of_built(logs):
                accounts.setdefault(name, set()).add(account)
        return accounts

    @property
    def file(self) -> Path | None:
        """The database file of a DuckDB destination."""
        return None

    def dbt_variables(self) -> Mapping[str, str]:
        """The environment variables by which `profiles.yml` connects dbt to this destination."""
        raise NotImplementedError

    def release_dbt(self) -> None:
        """Closes what dbt's adapter leaves open after a build."""
