"""A vendor's sandbox with a clock of its own, and a database that was in order two days ago."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.faults.matrix.scene import Clock, Scene
from tests.faults.matrix.table import replace_in_readme, written
from tests.faults.matrix.vendors import LOADED, NOW, START, VENDORS, Vendor

WRITE = "WRITE_MATRIX"
A_MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By vendor, the database after a first run; made when it is first wanted."""
    return {}


@pytest.fixture
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return VENDORS[request.param]


@pytest.fixture
def scene(
    vendor: Vendor,
    databases: dict[str, Path],
    empty_working_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    vendors_clock: list[datetime] = [NOW - A_MINUTE]
    with Sandbox(seed=7, clock=lambda: vendors_clock[0]) as sandbox, time_machine.travel(NOW) as traveller:
        prefix = f"SOURCES__{vendor.name.upper()}__"
        for name, value in sandbox.variables().items():
            if name.startswith(prefix):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv(f"{prefix}INITIAL_DATE", START.date().isoformat())
        for name, value in vendor.settings.items():
            monkeypatch.setenv(f"{prefix}{name.upper()}", str(value))
        cli = Cli(empty_working_directory)
        monkeypatch.setattr(
            "meterhouse.pipelines.run.orchestrate.load_billing", lambda *_: None
        )  # no vendor's, and a third of a run's time
        scene = Scene(sandbox, vendor, cli, Clock(traveller, monkeypatch), monkeypatch)
        if vendor.name not in databases:
            vendors_clock[0] = LOADED - A_MINUTE
            scene.clock.move_to(LOADED)
            assert scene.run() == 0, cli.output
            databases[vendor.name] = tmp_path_factory.mktemp("faults") / "loaded.duckdb"
            shutil.copy(cli.database, databases[vendor.name])
            vendors_clock[0] = NOW - A_MINUTE
            scene.clock.move_to(NOW)
        shutil.copy(databases[vendor.name], cli.database)
        scene.only = "event" if len(vendor.tables) > 1 else ""
        sandbox.requests.clear()
        yield scene


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the matrix where it was asked for whole; WRITE_MATRIX=1 puts it into the README."""
    reports = terminalreporter.getreports("passed")
    noted = [entry for report in reports if report.when == "call" for entry in report.user_properties]
    outcomes = [value for name, value in noted if name == "matrix"]
    if os.environ.get(WRITE) == "1" and outcomes:
        replace_in_readme(written(outcomes))
    elif outcomes and all("tests/faults/matrix" in report.nodeid for report in reports):
        terminalreporter.write_line(written(outcomes))
