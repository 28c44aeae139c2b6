"""What the tests of Onepin share."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox.onepin import Run
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
NEW_YORK = "America/New_York"
ALL = ("usage_daily", "usage_buckets", "usage_summary", "usage_by_language", "usage_activity")
SUMMARY, ACTIVITY = "/api/v1/usage/summary", "/api/v1/usage/activity"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("onepin",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; the clock runs, so that no two loads have the same name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


@pytest.fixture
def load(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the named tables, or all, and returns the run's result."""
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")

    def run(*tables: str, status: int = 0, options: tuple[str, ...] = ()) -> Any:
        named = [f"onepin.{table}" for table in tables] or ["onepin"]
        return cli.json("run", *named, "--no-models", *options, status=status)

    return run


def loaded(cli: Cli, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return cli.rows(f"select {columns} from onepin.{table} order by all")


def steady(*days: str, account: str = "default") -> list[Run]:
    """A run at noon of each day, of 100, 101, … credits."""
    return [
        Run(datetime.fromisoformat(f"{day}T12:00:00+00:00"), credits=100 + number, account=account)
        for number, day in enumerate(days)
    ]
