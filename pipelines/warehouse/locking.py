"""One run at a time on a destination."""

from collections.abc import Iterator
from contextlib import contextmanager

import fasteners

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError


@contextmanager
def exclusive_run(destination: Destination) -> Iterator[None]:
    """Refuses a second run on the same destination while the first one works: both would use one working directory.

    Raises:
        LoadError: another run is at work, or the working directory cannot be created.
    """
    try:
        destination.working_dir.mkdir(parents=True, exist_ok=True)
        lock = fasteners.InterProcessLock(destination.working_dir / "run.lock")
        is_ours = lock.acquire(blocking=False)
    except OSError as error:
        raise LoadError(f"{destination.working_dir} cannot be written ({error.strerror}); set DLT_DATA_DIR") from None
    if not is_ours:
        raise LoadError(f"another run is at work on {destination.location}. Wait for it, then run again")
    try:
        yield
    finally:
        lock.release()
