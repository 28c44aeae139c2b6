"""Fixtures of the fault tests: runs in a process of their own, and a check that the database is complete."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS

DRIVER = Path(__file__).with_name("driver.py")
LOAD = ("run", "--no-models")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = TODAY - timedelta(days=3)


class BackgroundRun:
    """A run in a process of its own; `stdout` and `stderr` once it has ended."""

    def __init__(self, *arguments: str, at: int = 0, action: str = "kill") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(at), action, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_step(self) -> None:
        """Returns when the run has announced its step."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line == "here\n":
                return
        pytest.fail(f"the run ended before that step: {self.process.stderr.read() if self.process.stderr else ''}")

    def wait_for_request(self, sandbox: Sandbox) -> None:
        """Returns when the sandbox has received a request."""
        while not sandbox.requests:
            if self.process.poll() is not None:
                pytest.fail(f"the run ended before its first request: {self.process.communicate()}")
            time.sleep(0.01)

    def wait(self) -> int:
        """The exit status; no run prints a traceback."""
        self.stdout, self.stderr = self.process.communicate(timeout=60)
        assert "Traceback" not in self.stdout + self.stderr, self.stdout + self.stderr
        return self.process.returncode

    @property
    def steps(self) -> int:
        """How many steps the run took."""
        return int(self.stdout.splitlines()[-1])


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts runs in the background, and ends those that outlive the test."""
    started: list[BackgroundRun] = []

    def begin(*arguments: str, at: int = 0, action: str = "kill") -> BackgroundRun:
        started.append(BackgroundRun(*arguments, at=at, action=action))
        return started[-1]

    yield begin
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()


@pytest.fixture(autouse=True)
def own_dlt_data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """dlt's working directories of this test alone, which it may break."""
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("DLT_DATA_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def require_complete(cli: Cli, sandbox: Sandbox, providers: Iterable[str]) -> None:
    """Every day until today has the vendor's sum, no row is there twice, and no column changed its type."""
    start, today = START.date().isoformat(), TODAY.date().isoformat()
    for provider in providers:
        for daily in DESCRIPTIONS[provider].daily_sums:
            expected = daily.expected(sandbox, start, today)
            assert expected > 0
            days = f"{daily.day} >= '{start}' and {daily.day} < '{today}'"
            assert cli.rows(f"select {daily.value} from {provider}.{daily.table} where {days}") == [(expected,)], daily.table
        tables = cli.rows(
            f"select table_name from information_schema.tables where table_schema = '{provider}'"
            " and not starts_with(table_name, '_dlt') and table_name <> 'fetched_windows'"
        )
        for (name,) in tables:
            rows = cli.rows(f"select * exclude (fetched_at) from {provider}.{name}")
            assert len(rows) == len(set(rows)), name
        assert not cli.rows(
            "select table_name, column_name from information_schema.columns where contains(column_name, '__v_')"
        )


@pytest.fixture
def recent_cli(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A `cli` whose providers begin three days ago, because its runs take place today."""
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START.date().isoformat())
    return cli
