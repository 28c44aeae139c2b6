"""The source keeps to the rate limits of Scopix, and announces the waits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core import source
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources.scopix import client
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 18, tzinfo=UTC)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


class Minutes:
    """A clock for source and sandbox that only the waits of the source move; for one thread, because each one moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def minutes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Minutes:
    """The documented limits in the sandbox, and the defaults of the source."""
    monkeypatch.setenv("EXTRACT__WORKERS", "1")
    minutes = Minutes()
    options = sandbox.scopix.options
    options.clock, options.requests_per_minute, options.check_requests_per_minute = minutes, 30, 60
    for module in (source, client):
        monkeypatch.setattr(module, "RateLimiter", partial(RateLimiter, clock=minutes, sleep=minutes.sleep))
    monkeypatch.delenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE")
    monkeypatch.delenv("SOURCES__SCOPIX__CHECK_REQUESTS_PER_MINUTE")
    return minutes


def events(count: int) -> list[Event]:
    return [Event(f"event-{number:04}", MIDNIGHT + timedelta(minutes=number)) for number in range(count)]


def test_forty_five_pages_take_one_wait_of_a_minute(
    cli: Cli, sandbox: Sandbox, minutes: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor returns no 429, and the wait is announced."""
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "2")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    sandbox.scopix.usage.set(events(46))
    output = cli("run", "scopix.usage_events", "--no-models")
    assert [request.status for request in sandbox.requests] == [200] * 45
    assert 1_060 <= minutes.now < 1_062
    assert "scopix.usage_events default: about 44 requests, 1 min" in output
    assert cli.rows("select count(*) from scopix.usage_events") == [(46,)]


def test_all_tables_share_one_rate_limit_and_one_estimate(cli: Cli, sandbox: Sandbox, minutes: Minutes) -> None:
    """The duration of a first run is announced for all tables together before the first one begins, and is right."""
    sandbox.scopix.usage.set(events(300))
    output = cli("run", "--no-models")
    requests = [request for request in sandbox.requests if request.path != "/api/v2/usage/check"]
    assert {request.status for request in sandbox.requests} == {200}
    estimated = int(output.split("scopix.* default: about ")[1].split()[0])
    assert abs(estimated - len(requests)) <= 0.2 * len(requests)
    assert minutes.now - 1_000 == pytest.approx((len(requests) - 1) // 30 * 61, abs=2)


def test_a_short_run_announces_nothing_and_check_does_not_wait(cli: Cli, sandbox: Sandbox, minutes: Minutes) -> None:
    """Up to thirty requests are sent at once."""
    output = cli("run", "scopix.usage_daily", "scopix.usage_checks", "--no-models")
    assert "requests," not in output.split("scopix.usage_daily")[0]
    assert minutes.now == 1_000


def test_the_limit_in_the_response_lowers_the_rate(cli: Cli, sandbox: Sandbox, minutes: Minutes) -> None:
    """With `X-RateLimit-Limit: 10`, 21 requests, one for each day and one for events, take two waits and cause no 429."""
    sandbox.scopix.options.requests_per_minute = 10
    cli("run", "scopix.usage_daily", "--no-models")
    assert {request.status for request in sandbox.requests} == {200}
    assert minutes.now - 1_000 == pytest.approx(120, abs=3)
