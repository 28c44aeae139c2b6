"""Locks for destinations that have none of their own: a run holds a lease, and renews it as long as it works.

A lease has an owner and an expiry. A killed run cannot release its lease, so it expires. Clocks must agree within a minute.

A run looks for other leases, writes its own, and looks again. Of two runs that start together, at least one sees the other.
If both do, both withdraw; a run that waits tries again after a random delay.
"""

import random
import secrets
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import dlt
import pyarrow as pa

from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt, describe_error
from meterhouse.pipelines.warehouse.locking import RunLock
from meterhouse.pipelines.warehouse.query import translated_errors

LIFETIME = 120
"""Seconds that a lease holds without renewal."""

RENEWAL_INTERVAL = 30
"""Seconds between two renewals."""

NAME = "run_leases"
"""The table in the dataset `meterhouse`, or the folder in a bucket."""


class Lease(RunLock):
    """The lease of a run; each kind of destination stores it in its own way."""

    def __init__(self, location: str) -> None:
        self.location, self.owner = location, secrets.token_hex(8)
        self._expires_at = 0
        self._stop = threading.Event()
        self._renewal: threading.Thread | None = None

    def acquire(self) -> bool:
        """Takes the lease.

        Raises:
            LoadError: the destination cannot be reached or written.
        """
        if self.others(_now()):
            return False
        time.sleep(random.random() / 2)  # noqa: S311 - keeps two runs from withdrawing for ever
        self._extend()
        if self.others(_now()):
            self.delete()
            return False
        self._stop.clear()
        self._renewal = threading.Thread(target=self._renew, daemon=True)
        self._renewal.start()
        return True

    def release(self) -> None:
        """Releases the lease, if this run holds it."""
        if self._renewal is not None:
            self._stop.set()
            self._renewal.join()
            self._renewal = None
            with suppress(LoadError):  # it expires
                self.delete()

    def require_held(self) -> None:
        """Checks that the lease has not expired: another run takes an expired one.

        Raises:
            LoadError: it has expired, because it could not be renewed in time.
        """
        if _now() >= self._expires_at:
            raise LoadError(f"{self.location}: the lease of this run expired, so another run may be at work. Run again")

    def _extend(self) -> None:
        expires_at = _now() + LIFETIME
        self.write(expires_at)
        self._expires_at = expires_at

    def _renew(self) -> None:
        while not self._stop.wait(RENEWAL_INTERVAL):
            with suppress(LoadError):  # the lease holds until the next attempt
                self.require_held()  # a process that was suspended may have lost it
                self._extend()

    @abstractmethod
    def others(self, now: int) -> bool:
        """Whether another run has a lease that expires after `now`."""

    @abstractmethod
    def write(self, expires_at: int) -> None:
        """Writes this run's lease, or its new expiry; times are seconds since 1970."""

    @abstractmethod
    def delete(self) -> None:
        """Deletes this run's lease, and those that have expired."""


class TableLease(Lease):
    """A row in the table `meterhouse.run_leases`, for SQL servers of any kind."""

    def __init__(self, location: str, pipeline: Callable[[], dlt.Pipeline]) -> None:
        """`pipeline` returns the pipeline that loads into the dataset `meterhouse`."""
        super().__init__(location)
        self._make_pipeline = pipeline

    @cached_property
    def _pipeline(self) -> dlt.Pipeline:
        return self._make_pipeline()  # only once: dlt makes a new pipeline the active one

    def others(self, now: int) -> bool:
        """Whether there is such a row; creates the table if it does not exist."""
        query = "select 1 from {table} where owner <> %s and expires_at > %s"
        try:
            with (
                translated_errors(self.location),
                self._pipeline.sql_client() as client,
                client.execute_query(_named(query, client), self.owner, now) as cursor,
            ):
                return cursor.fetchone() is not None
        except NotBuilt:
            self._create()
            return False

    def write(self, expires_at: int) -> None:
        """Inserts a row, and deletes the one before: in any order of events, the run has a row."""
        self._execute("insert into {table} (owner, expires_at) values (%s, %s)", self.owner, expires_at)
        self._execute("delete from {table} where owner = %s and expires_at < %s", self.owner, expires_at)

    def delete(self) -> None:
        """Deletes this run's row, and expired ones."""
        self._execute("delete from {table} where owner = %s or expires_at < %s", self.owner, _now())

    def _execute(self, statement: str, *parameters: Any) -> None:
        with translated_errors(self.location), self._pipeline.sql_client() as client:
            client.execute_sql(_named(statement, client), *parameters)

    def _create(self) -> None:
        """Creates the table through dlt, which knows the types of every database."""
        empty = pa.schema([("owner", pa.string()), ("expires_at", pa.int64())]).empty_table()
        self._pipeline.drop().run(dlt.resource([empty], name=NAME, write_disposition="append"))


class BucketLease(Lease):
    """A file in the folder `run_leases` of a bucket; its name is the owner, its content the expiry."""

    def __init__(self, location: str, open_bucket: Callable[[], tuple[Any, str]]) -> None:
        """`open_bucket` returns the file system (fsspec) of the bucket, and the path of the bucket in it."""
        super().__init__(location)
        self._open_bucket = open_bucket

    def others(self, now: int) -> bool:
        """Whether there is such a file."""
        return any(expires_at > now for owner, expires_at in self._leases().items() if owner != self.owner)

    def write(self, expires_at: int) -> None:
        """Writes the file."""
        with _bucket_errors(self.location):
            file_system, folder = self._folder()
            file_system.makedirs(folder, exist_ok=True)
            file_system.pipe_file(f"{folder}/{self.owner}", str(expires_at).encode())

    def delete(self) -> None:
        """Deletes the files."""
        now = _now()
        removable = [owner for owner, expires_at in self._leases().items() if owner == self.owner or expires_at < now]
        file_system, folder = self._folder()
        for owner in removable:
            with suppress(FileNotFoundError), _bucket_errors(self.location):
                file_system.rm_file(f"{folder}/{owner}")

    def _leases(self) -> dict[str, int]:
        """The expiry of each lease, by owner."""
        leases = {}
        with _bucket_errors(self.location):
            file_system, folder = self._folder()
            file_system.invalidate_cache()
            for path in file_system.ls(folder, detail=False) if file_system.exists(folder) else ():
                with suppress(FileNotFoundError, ValueError):  # deleted since, or no lease
                    leases[path.rpartition("/")[2]] = int(file_system.cat_file(path))
        return leases

    def _folder(self) -> tuple[Any, str]:
        file_system, path = self._open_bucket()
        return file_system, f"{path.rstrip('/')}/{NAME}"


@contextmanager
def _bucket_errors(location: str) -> Iterator[None]:
    """Raises any error of the bucket's client as LoadError, except for a missing file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise LoadError(describe_error(error, location)) from error


def _named(statement: str, client: Any) -> str:
    return statement.format(table=client.make_qualified_table_name(NAME))


def _now() -> int:
    """Whole seconds, which have the same type in every database."""
    return int(time.time())
