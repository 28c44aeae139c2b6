"""The id of the run that loads: that of the command, or of the dlt load in a pipeline of the user's own."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import dlt
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable

_COMMAND: ContextVar[str | None] = ContextVar("run_id", default=None)


@contextmanager
def stamp_run_id(run_id: str) -> Iterator[None]:
    """Stamps `run_id` on the rows that this thread extracts within the block."""
    token = _COMMAND.set(run_id)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def current_run_id() -> str | None:
    """The id of the run, in the thread that extracts; None if a resource is read without a pipeline."""
    return _COMMAND.get() or load_id()


def load_id() -> str | None:
    """The id of the current dlt load; None if a resource is read without a pipeline."""
    with suppress(CurrentLoadPackageStateNotAvailable):
        id_: str = dlt.current.load_package_state()["load_id"]
        return id_
    return None
