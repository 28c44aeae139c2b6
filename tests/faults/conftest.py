"""Fixtures of the fault tests: runs in a process of their own, and a check that the database is complete."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dlt.common.runtime.run_context import active

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS

DRIVER = Path(__file__).with_name("driver.py")
LOAD = ("run", "--no-models")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = TODAY - timedelta(days=3)


class Driver:
    """The process of driver.py, which forks a process for each run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdin
        assert self._process.stdout
        self._jobs, self.responses = self._process.stdin, self._process.stdout

    def start(self, job: Mapping[str, Any]) -> int:
        """The id of the new process; its exit status is the next response."""
        self._jobs.write(json.dumps(job).encode() + b"\n")
        return int(self.responses.readline())

    def end(self) -> None:
        self._process.communicate(timeout=60)


class BackgroundRun:
    """A run in a process of its own. `stdout` and `stderr` are its output so far, unless it goes to /dev/full."""

    def __init__(
        self, driver: Driver, folder: Path, arguments: Sequence[str], at: int, action: str, full: Sequence[str]
    ) -> None:
        self._driver = driver
        self._stdout, self._stderr = (Path("/dev/full") if name in full else folder / name for name in ("stdout", "stderr"))
        self._status: int | None = None
        self._process = driver.start(
            {
                "arguments": arguments,
                "at": at,
                "action": action,
                "environment": dict(os.environ),
                "folder": str(Path.cwd()),
                "stdout": str(self._stdout),
                "stderr": str(self._stderr),
            }
        )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text() if self._stdout.is_file() else ""

    @property
    def stderr(self) -> str:
        return self._stderr.read_text() if self._stderr.is_file() else ""

    def has_ended(self, within: float = 0) -> bool:
        """Whether the process has ended, or ends within the given seconds."""
        return self._status is not None or bool(select.select([self._driver.responses], [], [], within)[0])

    def wait_for_step(self, number: int = 1) -> None:
        """Returns when the run has announced `number` steps."""
        self._wait_until(lambda: self.stdout.count("here\n") >= number)

    def wait_for_request(self, sandbox: Sandbox, number: int = 1) -> None:
        """Returns when the sandbox has received `number` requests."""
        self._wait_until(lambda: len(sandbox.requests) >= number)

    def _wait_until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            if self.has_ended(within=0.01) and not happened():
                pytest.fail(f"the run ended too early: {self.stdout}{self.stderr}")

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self._process, number)

    def wait(self) -> int:
        """The exit status; no run prints a traceback."""
        status = self.exit_status()
        assert "Traceback" not in self.stdout + self.stderr, self.stdout + self.stderr
        return status

    def exit_status(self) -> int:
        """The exit status, negative after a signal."""
        assert self.has_ended(within=200), f"the run does not end: {self.stdout}{self.stderr}"
        if self._status is None:
            self._status = int(self._driver.responses.readline())
        return self._status

    def kill(self) -> None:
        """Ends the run if it has not ended."""
        if not self.has_ended():
            self.send_signal(signal.SIGKILL)
        self.exit_status()

    @property
    def steps(self) -> int:
        """How many steps the run took."""
        return int(self.stdout.splitlines()[-1])


Start = Callable[..., BackgroundRun]


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """One process for all tests: its imports take longer than a run."""
    started = Driver()
    yield started
    started.end()


@pytest.fixture
def start(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts runs in the background, one at a time, and ends a run that outlives the test."""
    started: list[BackgroundRun] = []

    def begin(*arguments: str, at: int = 0, action: str = "kill", full: Sequence[str] = ()) -> BackgroundRun:
        started.append(BackgroundRun(driver, tmp_path_factory.mktemp("run"), arguments, at, action, full))
        return started[-1]

    yield begin
    for run in started:
        run.kill()


@pytest.fixture
def own_dlt_folder() -> Iterator[None]:
    """After the test, moves `.dlt` away and makes dlt forget it: dlt reads its files once per process."""
    yield
    Path(".dlt").rename("done") if Path(".dlt").exists() else None
    active().reload()


def configure(text: str) -> None:
    """Writes `.dlt/config.toml`, and makes dlt read it."""
    Path(".dlt").mkdir(exist_ok=True)
    Path(".dlt/config.toml").write_text(text)
    active().reload()


def require_complete(cli: Cli, sandbox: Sandbox, providers: Iterable[str]) -> None:
    """Every day until today has the vendor's sum, no row is there twice, and no column changed its type."""
    start, today = START.date().isoformat(), TODAY.date().isoformat()
    names = ", ".join(f"'{provider}'" for provider in providers)
    tables, split = cli.rows_of_each(
        [
            f"select table_schema || '.' || table_name from information_schema.tables where table_schema in ({names})"
            " and not starts_with(table_name, '_dlt') and table_name <> 'fetched_windows'",
            "select table_name, column_name from information_schema.columns where contains(column_name, '__v_')",
        ]
    )
    assert not split
    for (table,), rows in zip(
        tables, cli.rows_of_each(f"select * exclude (fetched_at, run_id) from {table}" for (table,) in tables), strict=True
    ):
        assert len(rows) == len(set(rows)), table
    sums = [(f"{provider}.{daily.table}", daily) for provider in providers for daily in DESCRIPTIONS[provider].daily_sums]
    loaded = cli.rows_of_each(
        f"select {daily.value} from {table} where {daily.day} >= '{start}' and {daily.day} < '{today}'"
        for table, daily in sums
    )
    for (table, daily), value in zip(sums, loaded, strict=True):
        expected = daily.expected(sandbox, start, today)
        assert expected > 0
        assert value == [(expected,)], table


@pytest.fixture
def recent_cli(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A `cli` whose providers begin three days ago, because its runs take place today."""
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START.date().isoformat())
    return cli


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, ...], Path]]:
    """For each set of providers, a folder with the database and dlt's folder after a first run. The first test fills it."""
    folders: dict[tuple[str, ...], Path] = {}
    yield folders
    for folder in folders.values():
        shutil.rmtree(folder)


@pytest.fixture
def loaded_cli(
    recent_cli: Cli,
    sandbox: Sandbox,
    providers: tuple[str, ...],
    dlt_data_dir: Path,
    first_runs: dict[tuple[str, ...], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cli:
    """`recent_cli` after a first run."""
    pipelines, first = dlt_data_dir / "pipelines", first_runs.get(providers)
    if first is None:
        recent_cli(*LOAD)
        first = first_runs[providers] = tmp_path_factory.mktemp("first")
        shutil.copy(recent_cli.database, first)
        shutil.copytree(pipelines, first / "pipelines", ignore=shutil.ignore_patterns("transform"))
    else:
        shutil.copy(first / recent_cli.database.name, recent_cli.database)
        shutil.copytree(first / "pipelines", pipelines, dirs_exist_ok=True)
    sandbox.requests.clear()
    return recent_cli
