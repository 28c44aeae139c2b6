"""The HTML report: one self-contained file that opens from disk, makes no network request, and reads only the marts."""

from meterhouse.pipelines.report.write import write_report

__all__ = ["write_report"]
