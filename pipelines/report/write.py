"""Writes the report of a destination to a file."""

import secrets
from pathlib import Path

from meterhouse.pipelines.report.data import read_report_data
from meterhouse.pipelines.report.render import render
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.sources._core.errors import ConfigurationError


def write_report(destination: Destination, file: Path) -> int:
    """Writes the report of `destination`, and returns its size in bytes. Only a complete report replaces `file`.

    Raises:
        ConfigurationError: `file` is not a file, or its folder does not exist.
        LoadError: the marts cannot be read, or the file cannot be written.
    """
    if (file.exists() and not file.is_file()) or not file.absolute().parent.is_dir():
        raise ConfigurationError(f"{file} cannot be written", hint="Name a file in a folder that exists.")
    with destination.reader() as reader:
        data = read_report_data(reader.rows, Path(destination.location).name)
    content = render(data).encode()
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        unfinished.touch(exist_ok=False)  # follows no link that another user has put there
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError as error:
        raise LoadError(f"{file} cannot be written ({error.strerror or error})") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return len(content)
