"""Files that a command writes: a reader never sees half of one."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.sources._core.errors import ConfigurationError

READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def require_replaceable(file: Path, database: Path | None = None) -> None:
    """Checks, before the content is made, that `file` may become a file.

    Raises:
        ConfigurationError: it is a folder or a device, its folder does not exist, or its name is too long; or it is the
            `database`, or a file that belongs to it; or it is `-`, by which other programs mean stdout.
    """
    require_not_stdout(file)
    try:
        is_possible = (not file.exists() or file.is_file()) and file.absolute().parent.is_dir()
    except OSError as error:  # the name is too long, or its folder may not be searched
        name = file.name if len(file.name) <= 80 else f"{file.name[:80]}…"
        raise ConfigurationError(f"{name} cannot be written ({error.strerror})", hint="Name another file.") from None
    if not is_possible:
        raise ConfigurationError(f"{file} cannot be written", hint="Name a file in a folder that exists.")
    if database is not None:
        own = database.resolve()
        is_same = file.exists() and own.exists() and file.samefile(own)
        if is_same or file.resolve() in {own, *(own.with_name(f"{own.name}.{ending}") for ending in ("wal", "lock"))}:
            raise ConfigurationError(f"{file} belongs to the database", hint="Name another file.")


def require_not_stdout(file: Path) -> None:
    """Checks that `file` is not `-`, by which other programs mean stdout.

    Raises:
        ConfigurationError: it is.
    """
    if str(file) == "-":
        raise ConfigurationError("the output cannot go to stdout (-)", hint="Name a file.")


@contextmanager
def replacing(file: Path, *, read_only: bool = False) -> Iterator[Path]:
    """A temporary file beside `file`, which replaces it in one step if the block succeeds, and is removed if it fails.

    With `read_only`, nobody may write to the finished file.

    Raises:
        LoadError: the file cannot be written.
    """
    unfinished = file.with_name(f".meterhouse-{secrets.token_hex(8)}.part")  # short: a long name would not fit
    try:
        unfinished.touch(exist_ok=False)  # follows no link that another user has put there
        try:
            yield unfinished
            with unfinished.open("r+b") as content:
                os.fsync(content.fileno())  # otherwise, a power failure could leave an empty file under the name
            if read_only:
                unfinished.chmod(unfinished.stat().st_mode & READABLE)
            unfinished.replace(file)
        finally:
            for left in (unfinished, unfinished.with_name(f"{unfinished.name}.wal")):  # the second by DuckDB
                left.unlink(missing_ok=True)
    except OSError as error:
        raise LoadError(f"{file} cannot be written ({error.strerror or error})") from None
