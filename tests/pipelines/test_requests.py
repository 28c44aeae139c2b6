"""How many requests a run sends: only as many as each API requires, computed from the data that there is to read."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS
from tests.providers.description import Count

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(DESCRIPTIONS)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A Friday morning. Time stands still, so that the running hour does not grow during a test."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def quick(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Scopix without a rate limit, and Onepin with all of its 90 days."""
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "100000")
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")
    return cli


def require_requests(cli: Cli, sandbox: Sandbox, expected: Callable[[Count], Mapping[str, int]]) -> None:
    """Each endpoint got exactly so many requests."""

    def count(query: str) -> int:
        ((number,),) = cli.rows(query)
        return int(number)

    paths = [request.path for request in sandbox.requests]
    sent = {path: sum(f"/{one}".endswith(f"/{path.lstrip('/')}") for one in paths) for path in expected(count)}
    assert sent == expected(count)


@pytest.mark.thorough
def test_a_first_run_requests_the_widest_windows_and_a_later_one_the_lookback(
    quick: Cli, sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """For twenty days: one window for Mathpix and Reducto, three weeks for Scopix, and all that Onepin has.

    A day later, each provider is requested from its lookback on, and no day, week or page before it.
    """
    quick("run", "--no-models")
    for provider in DESCRIPTIONS.values():
        require_requests(quick, sandbox, provider.requests.first)
    sandbox.requests.clear()
    clock.shift(timedelta(days=1))
    quick("run", "--no-models")
    for provider in DESCRIPTIONS.values():
        require_requests(quick, sandbox, provider.requests.later)
        if provider.requests.earliest:
            path, name, first = provider.requests.earliest
            requested = [request.query[name][0] for request in sandbox.requests if request.path == path]
            assert requested
            assert min(requested) >= first, path
