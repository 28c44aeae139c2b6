"""The bounds of a load package. `meterhouse run` loads a long sync in several packages, each with the cursors of its rows.

So memory does not grow with the history, and a sync that is interrupted goes on after its last package. A pipeline of the
user's own has no bounds: dlt loads what it extracts as one package.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

MOST_ROWS = 200_000
MOST_SECONDS = 60.0
"""A package ends with the window in which it reaches one of these. A load takes a second or two of the minute."""


class Package:
    """What the tables of a source have read for one package. They are read in several threads."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._rows: int | None = None
        self._lock = Lock()
        self.has_rest = False
        """Whether a table has left windows for the next package."""

    def add_window(self, rows: int) -> None:
        """Counts a window that was read, so that each package has at least one."""
        with self._lock:
            self._rows = (self._rows or 0) + rows

    @property
    def is_full(self) -> bool:
        """Whether the tables leave their other windows for the next package."""
        if self._rows is None:
            return False
        return self._rows >= MOST_ROWS or time.monotonic() - self._began >= MOST_SECONDS


_CURRENT: ContextVar[Package | None] = ContextVar("package", default=None)


@contextmanager
def bounded_package() -> Iterator[Package]:
    """Bounds what this thread extracts within the block. If `has_rest`, the same source continues with the next extract."""
    package = Package()
    token = _CURRENT.set(package)
    try:
        yield package
    finally:
        _CURRENT.reset(token)


def current_package() -> Package | None:
    """The package, in the thread that extracts; None without bounds."""
    return _CURRENT.get()
