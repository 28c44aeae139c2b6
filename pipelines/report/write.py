"""Writes the report of a destination to a file."""

from pathlib import Path

from meterhouse.pipelines.report.data import read_report_data
from meterhouse.pipelines.report.render import render
from meterhouse.pipelines.warehouse.cost_type import CostType
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.files import replacing, require_replaceable


def write_report(destination: Destination, file: Path, cost_type: CostType | None = None) -> int:
    """Writes the report of `destination`, and returns its size in bytes. Only a complete report replaces `file`.

    Without a `cost_type`, the costs are effective if anything is prepaid, else billed.

    Raises:
        ConfigurationError: `file` cannot be a file.
        LoadError: the marts cannot be read, or the file cannot be written.
    """
    require_replaceable(file, destination.file)
    with destination.reader() as reader:
        data = read_report_data(reader.rows, Path(destination.location).name, cost_type)
    content = render(data).encode()
    with replacing(file) as unfinished:
        unfinished.write_bytes(content)
    return len(content)
