"""A provider's sandbox with a clock of its own, and a database that was up to date two days ago."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.faults.matrix.scenario import A_MINUTE, LOADED, NOW, START, Clock, Scenario
from tests.faults.matrix.table import render
from tests.providers.description import Description


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By provider, the database after a first run, which the first test of the provider makes."""
    return {}


@pytest.fixture
def scenario(
    provider: Description,
    databases: dict[str, Path],
    empty_working_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scenario]:
    vendors_clock: list[datetime] = [NOW - A_MINUTE]
    with Sandbox(seed=7, clock=lambda: vendors_clock[0]) as sandbox, time_machine.travel(NOW) as traveller:
        for name, value in sandbox.variables().items():
            if name.startswith(provider.setting("")):
                monkeypatch.setenv(name, value)
        cli = Cli(empty_working_directory)
        scenario = Scenario(sandbox, provider, cli, Clock(traveller, monkeypatch), monkeypatch)
        scenario.set("initial_date", START.date().isoformat())
        if provider.paging:
            scenario.set("page_size", provider.paging.page_size)
        if provider.name not in databases:
            vendors_clock[0] = LOADED - A_MINUTE
            scenario.clock.move_to(LOADED)
            assert scenario.run() == 0, cli.output
            databases[provider.name] = tmp_path_factory.mktemp("faults") / "loaded.duckdb"
            shutil.copy(cli.database, databases[provider.name])
            vendors_clock[0] = NOW - A_MINUTE
            scenario.clock.move_to(NOW)
        shutil.copy(databases[provider.name], cli.database)
        scenario.only = "event" if len(provider.tables) > 1 else ""
        sandbox.requests.clear()
        yield scenario


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the matrix of a run that was of the matrix only."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    outcomes = [value for report in reports for name, value in report.user_properties if name == "matrix"]
    if outcomes and all("tests/faults/matrix" in report.nodeid for report in reports):
        terminalreporter.write_line(render(outcomes))
