"""Fixtures of all tests: an empty working directory, no configuration but the test's own, and a sandbox over real HTTP."""

import gc
import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest
from typer.testing import CliRunner
from xdist.scheduler.loadscope import LoadScopeScheduling

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Sandbox
from tests.pipelines.transform.warehouses.templates import compile_templates_once

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

MODELS = (
    "test_as_of.",
    "test_cli.",
    "test_export.",
    "test_focus.",
    "test_money.",
    "test_billing.",
    "test_closed.",
    "test_up_to_date.",
    "transform/",
    "report/test_numbers.",
)
"""Tests under tests/pipelines that build the models: one process runs them all, so that dbt parses the project once."""

ELSEWHERE = ("transform/test_downstream.", "transform/test_portability.", "transform/test_spark.")
"""Tests of the models that dbt builds in processes of their own: any process may run them."""

LONGEST = (
    "tests/pipelines/transform/test_spark.py",
    "models",
    "tests/faults/matrix/test_matrix.py",
    "tests/examples/test_examples.py",
    "tests/test_new_provider.py",
    "tests/test_package.py",
    "tests/faults/test_process.py",
    "tests/pipelines/transform/test_portability.py",
    "tests/pipelines/transform/test_downstream.py",
    "tests/pipelines/test_providers.py",
    "tests/pipelines/test_lakehouse.py",
    "tests/pipelines/test_postgres.py",
    "tests/faults/test_secrets.py",
    "tests/faults/test_hostile.py",
)
"""Scopes to start first: started late, one of them would still run after all others have finished."""

FOREIGN = ("SOURCES__", "DESTINATION__", "METERHOUSE_", "DLT_INTERVAL_")
"""Prefixes of environment variables that would configure the tests from outside."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Runs each file on one worker, so that module fixtures are created once, and all tests that build the models on one."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scope(nodeid: str) -> str:
    """The xdist scope of a test: its file, or `models` for the tests that share one dbt project."""
    file = nodeid.partition("::")[0]
    name = file.removeprefix("tests/pipelines/")
    return "models" if name.startswith(MODELS) and not name.startswith(ELSEWHERE) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Distributes the tests to the workers of `-n 3`, in the order of `pytest_collection_modifyitems`."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_ALL=1 a skipped test fails: CI must not pass because an environment is missing."""
    report = yield
    if os.environ.get("REQUIRE_ALL") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under REQUIRE_ALL=1: {report.longrepr}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Orders scopes: the longest first, then by number of tests, descending.

    Deselects thorough tests, unless REQUIRE_ALL=1 is set or files, `-k` or `-m` are given.
    """
    tests = Counter(scope(item.nodeid) for item in items)
    order = {name: rank for rank, name in enumerate(dict.fromkeys([*LONGEST, *(name for name, _ in tests.most_common())]))}
    items.sort(key=lambda item: order[scope(item.nodeid)])
    if os.environ.get("REQUIRE_ALL") == "1" or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if config.option.markexpr or config.option.keyword:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("thorough")])
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_collection_finish() -> None:
    """Collects garbage less often: at the default thresholds, that takes a tenth of the time of all tests."""
    gc.set_threshold(100_000, 50, 50)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints measurements that tests have recorded by `record_property`, those of other processes included."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name != "matrix":  # tests/faults/matrix prints a table
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session", autouse=True)
def cached_templates() -> Iterator[None]:
    """dbt parses and compiles each template once in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", jinja2.Environment.compile)  # undone after the tests
        compile_templates_once()
        yield


@pytest.fixture(scope="session", autouse=True)
def dlt_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """dlt's working directories, apart from the user's."""
    folder = tmp_path_factory.mktemp("dlt")
    os.environ["DLT_DATA_DIR"] = str(folder)
    yield folder
    del os.environ["DLT_DATA_DIR"]


@pytest.fixture(autouse=True)
def empty_working_directory(dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment without settings of sources or destinations.

    All tests use the same folder with a new database each, because dbt parses the project again for another path. dlt's
    working directories of the test before are removed.
    """
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    folder = dlt_data_dir.with_name("work")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for left in dlt_data_dir.glob("pipelines/*/*"):
        if left.name != "transform":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The vendors' APIs with the usage of seed 7, for one test."""
    with Sandbox(seed=7) as server:
        yield server


class Cli:
    """Runs the meterhouse command in an empty folder, and reads the database that it leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "meterhouse.duckdb"
        self.output = ""

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Runs `meterhouse ARGUMENTS`, checks the exit status, and returns stdout and stderr."""
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        self.output = result.output
        assert result.exit_code == status, result.output
        return self.output

    def json(self, *arguments: str, status: int = 0) -> Any:
        """The object that `meterhouse ARGUMENTS --json` prints."""
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query in the database."""
        (rows,) = self.rows_of_each([query])
        return rows

    def rows_of_each(self, queries: Iterable[str]) -> list[list[tuple[Any, ...]]]:
        """The rows of each query. It opens the file once, because opening takes longer than most queries."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return [connection.sql(query).fetchall() for query in queries]


@pytest.fixture
def providers() -> tuple[str, ...]:
    """The providers that `cli` has credentials for; a module that tests others overrides this fixture."""
    return ("mathpix",)


@pytest.fixture
def cli(empty_working_directory: Path, sandbox: Sandbox, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command in an empty folder whose environment points at the sandbox, without retries, so that no test waits."""
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "1")
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-03-01")
        for name, value in sandbox.variables().items():
            if name.startswith(f"SOURCES__{provider.upper()}__"):
                monkeypatch.setenv(name, value)
    return Cli(empty_working_directory)
