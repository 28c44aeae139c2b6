"""Runs the whole fault matrix and writes its table into tests/README.md: `python -m tests.faults.matrix`."""

import os
import sys
from pathlib import Path

import pytest

from tests.faults.matrix.table import README, Outcome, render, write


class Outcomes:
    """Collects the outcomes of the cells."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.outcomes += [value for name, value in report.user_properties if name == "matrix"]  # type: ignore[misc]


def main() -> int:
    """The exit status of pytest; the table is written only when every cell has passed."""
    os.environ["METERHOUSE_WRITE_MATRIX"] = "1"
    collected = Outcomes()
    status = pytest.main(["-q", *sys.argv[1:], str(Path(__file__).parent)], plugins=[collected])
    if status == pytest.ExitCode.OK:
        write(render(collected.outcomes))
        print(f"written: {README}")  # noqa: T201 - a command
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
