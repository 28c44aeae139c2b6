"""What the tests of faults share: a run in a process of its own, and whether a database holds what the vendors count."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli

DRIVER = Path(__file__).with_name("driver.py")
LOAD = ("run", "--no-models")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = TODAY - timedelta(days=3)


class Started:
    """A run that is at work; what it has said and its status once it has ended."""

    def __init__(self, *arguments: str, at: int = 0, action: str = "kill") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(at), action, *arguments],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until_here(self) -> None:
        """Returns when the run has come to its step."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line == "here\n":
                return
        pytest.fail(f"the run ended before that step: {self.process.stderr.read() if self.process.stderr else ''}")

    def until_asking(self, sandbox: Sandbox) -> None:
        """Returns when the sandbox has been asked for something."""
        while not sandbox.requests:
            if self.process.poll() is not None:
                pytest.fail(f"the run ended before it asked: {self.process.communicate()}")
            time.sleep(0.01)

    def end(self) -> int:
        """The exit status; whatever happened, there is no traceback."""
        self.said, self.complained = self.process.communicate(timeout=60)
        assert "Traceback" not in self.said + self.complained, self.said + self.complained
        return self.process.returncode

    @property
    def steps(self) -> int:
        """How many steps it took."""
        return int(self.said.splitlines()[-1])


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts runs, and lets none of them outlive the test."""
    started: list[Started] = []

    def begin(*arguments: str, at: int = 0, action: str = "kill") -> Started:
        started.append(Started(*arguments, at=at, action=action))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture(autouse=True)
def own_dlt_data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Working directories of dlt that a test may break."""
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("DLT_DATA_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


SUMS = {
    "mathpix": ("ocr_usage_by_usage_type", "bucket_start", "count"),
    "reducto": ("usage_by_product", "date", "credits"),
    "onepin": ("usage_daily", "date", "credits"),
    "scopix": ("usage_events", "timestamp", "1"),
}
"""Of each provider a table, its time, and what of it the vendor tells the sum of."""


def truth(sandbox: Sandbox, provider: str) -> Decimal:
    """What the vendor has counted in the days that had ended when the tests began."""
    match provider:
        case "mathpix":
            return Decimal(sandbox.mathpix.usage.total(START, TODAY))
        case "reducto":
            return sandbox.reducto.usage.total(START.date(), TODAY.date()).credits or Decimal()
        case "onepin":
            return Decimal(sandbox.onepin.usage.credits(START, TODAY))
        case _:
            return Decimal(str(sandbox.scopix.usage.total(START, TODAY)))


def require_whole(cli: Cli, sandbox: Sandbox, providers: tuple[str, ...]) -> None:
    """Nothing lost, nothing doubled: sums are the vendors', in each grouping of a provider, and each key is there once."""
    for provider in providers:
        table, time, what = SUMS[provider]
        asked = f"{time} >= '{START.date()}' and {time} < '{TODAY.date()}'"
        total = truth(sandbox, provider)
        assert total > 0
        assert cli.rows(f"select sum({what}) from {provider}.{table} where {asked}") == [(total,)]
        if provider == "mathpix":
            for grouping in ("request_args_hash", "app_id"):
                assert cli.rows(f"select sum(count) from mathpix.ocr_usage_by_{grouping} where {asked}") == [(total,)]
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
def few_days(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A folder whose configuration begins three days ago, because its runs take place today; a fault is not asked again."""
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START.date().isoformat())
    return cli
