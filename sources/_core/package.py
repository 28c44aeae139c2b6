"""The limits of a load package. `meterhouse run` loads a long sync in several packages, each with the cursors of its rows.

So memory use does not grow with the length of a sync, and an interrupted sync continues after its last loaded package. In a
user's own pipeline there are no limits: dlt loads everything as one package.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

MAX_ROWS = 200_000
MAX_SECONDS = 60.0
"""A package ends after the window that reaches either limit. Loading it takes only a second or two."""


class Package:
    """What one package has read so far. Thread-safe: the tables of a source are read in several threads."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._rows: int | None = None
        self._lock = Lock()
        self.has_more = False
        """Whether windows remain for the next package."""

    def add_window(self, rows: int) -> None:
        """Counts a window that was read. A package without a window is never full."""
        with self._lock:
            self._rows = (self._rows or 0) + rows

    @property
    def is_full(self) -> bool:
        """Whether the remaining windows belong to the next package."""
        if self._rows is None:
            return False
        return self._rows >= MAX_ROWS or time.monotonic() - self._began >= MAX_SECONDS


_CURRENT: ContextVar[Package | None] = ContextVar("package", default=None)


@contextmanager
def bounded_package() -> Iterator[Package]:
    """Limits what this thread extracts within the block. If `has_more`, extract the same source again to continue."""
    package = Package()
    token = _CURRENT.set(package)
    try:
        yield package
    finally:
        _CURRENT.reset(token)


def current_package() -> Package | None:
    """The package that this thread extracts; None without limits."""
    return _CURRENT.get()
