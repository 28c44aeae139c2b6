"""One run at a time on a destination.

Two runs at once would lose rows: both start at the same cursor and replace the same windows. Every destination
has one or more locks. A run holds all of them from before it reads the cursor until after the last commit.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import fasteners

from meterhouse.pipelines.warehouse.errors import LoadError, RunInProgress
from meterhouse.pipelines.warehouse.query import translated_errors

POLL = timedelta(seconds=1)
"""How often a waiting run tries again."""


class RunLock(ABC):
    """A lock that one run at a time can hold. If its process ends, the lock is released, or expires (`Lease`)."""

    @abstractmethod
    def acquire(self) -> bool:
        """Takes the lock and returns True, or returns False if another run holds it."""

    @abstractmethod
    def release(self) -> None:
        """Releases the lock, if this run holds it."""

    def require_held(self) -> None:  # noqa: B027 - most locks cannot be lost
        """Checks that this run still holds the lock.

        Raises:
            LoadError: it has expired, and another run may have taken it.
        """


class FileLock(RunLock):
    """An operating-system lock on a file. Release keeps the file; acquire creates its folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = fasteners.InterProcessLock(file)

    def acquire(self) -> bool:
        """Takes the lock.

        Raises:
            LoadError: the file cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return bool(self._lock.acquire(blocking=False))
        except OSError as error:
            raise LoadError(f"{self._file} cannot be locked ({error.strerror}). Make its folder writable") from None

    def release(self) -> None:
        """Releases the lock, if this run holds it."""
        if self._lock.acquired:
            self._lock.release()


class AdvisoryLock(RunLock):
    """PostgreSQL's advisory lock, which holds for all clients of a database while the connection is open."""

    KEY = int.from_bytes(b"meterhou", "big", signed=True)

    def __init__(self, location: str, connect: Callable[[], Any]) -> None:
        """`connect` returns a context manager: a client of dlt with a connection of its own."""
        self._location, self._connect, self._connection = location, connect, ExitStack()
        self._client: Any = None

    def acquire(self) -> bool:
        """Takes the lock.

        Raises:
            LoadError: the database cannot be reached.
        """
        with translated_errors(self._location):
            if self._client is None:
                self._client = self._connection.enter_context(self._connect())
            ((is_ours,),) = self._client.execute_sql("select pg_try_advisory_lock(%s)", self.KEY)
            return bool(is_ours)

    def release(self) -> None:
        """Closes the connection, which releases the lock, if this run holds it."""
        with suppress(Exception):  # the server has ended the connection, and the lock with it
            self._connection.close()


@contextmanager
def hold_all(locks: Sequence[RunLock], location: str, wait: timedelta | None, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds all locks within the block. It waits for another run for at most `wait`, and calls `on_wait` before that.

    Raises:
        RunInProgress: another run still holds one of them.
    """
    end = time.monotonic() + (wait.total_seconds() if wait else 0)
    with ExitStack() as held:
        for lock in locks:
            held.callback(lock.release)
            is_waiting = False
            while not lock.acquire():
                if time.monotonic() >= end:
                    raise RunInProgress(
                        f"another run is using {location}. Run again after it, or wait for it with `--wait 10m`"
                    )
                if not is_waiting:
                    on_wait()
                is_waiting = True
                time.sleep(POLL.total_seconds())
        yield
