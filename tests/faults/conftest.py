"""A vendor's sandbox with a clock of its own, and a database that was in order two days ago."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from pipelines.sandbox import Sandbox
from tests.conftest import House
from tests.faults.scene import Clock, Scene
from tests.faults.vendors import LOADED, NOW, START, VENDORS, Vendor

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
    tmp_path: Path,
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
        house = House(tmp_path)
        monkeypatch.setattr("pipelines.run.load_billing", lambda *_: None)  # no vendor's, and a third of a run's time
        scene = Scene(sandbox, vendor, house, Clock(traveller, monkeypatch), monkeypatch)
        if vendor.name not in databases:
            vendors_clock[0] = LOADED - A_MINUTE
            scene.clock.move_to(LOADED)
            assert scene.run() == 0, house.output
            databases[vendor.name] = tmp_path_factory.mktemp("faults") / "loaded.duckdb"
            shutil.copy(house.database, databases[vendor.name])
            vendors_clock[0] = NOW - A_MINUTE
            scene.clock.move_to(NOW)
        shutil.copy(databases[vendor.name], house.database)
        sandbox.requests.clear()
        yield scene
