"""One run at a time on a destination."""

from collections.abc import Iterator
from contextlib import contextmanager

import fasteners

from meterhouse.pipelines.warehouse.destination import Destination, LoadError


@contextmanager
def exclusive_run(destination: Destination) -> Iterator[None]:
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
