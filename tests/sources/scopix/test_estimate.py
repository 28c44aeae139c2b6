"""The announced duration of a run comes before its waits, and is right."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
import time_machine

import meterhouse.sources._core.source
import meterhouse.sources.scopix.estimate
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core.events import DurationEstimated, Place
from meterhouse.sources._core.http.rate_limit import RateLimiter
from tests.conftest import House

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


@dataclass(frozen=True)
class Said:
    """An estimate: its table, requests and seconds, and the number of requests sent by then."""

    table: str
    requests: int
    seconds: float
    asked: int


@pytest.fixture
def said(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[Said]:
    """The estimates at the documented rate, with a clock that only the source's waits advance, in one thread."""
    heard: list[Said] = []
    now = 1_000.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def announce(place: Place, requests: int, seconds: float) -> DurationEstimated:
        heard.append(Said(place.table, requests, seconds, len(sandbox.requests)))
        return DurationEstimated(place, requests, seconds)

    sandbox.scopix.options.clock = lambda: now
    sandbox.scopix.options.requests_per_minute = 30
    monkeypatch.setattr(meterhouse.sources._core.source, "RateLimiter", partial(RateLimiter, clock=lambda: now, sleep=sleep))
    monkeypatch.setattr(meterhouse.sources.scopix.estimate, "DurationEstimated", announce)
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "30")
    monkeypatch.setenv("EXTRACT__WORKERS", "1")
    return heard


def few(count: int, start: datetime) -> list[Event]:
    return [Event(f"{start:%j}-{number:05}", start + timedelta(minutes=number)) for number in range(count)]


def test_estimates_many_windows_with_few_events(
    house: House, sandbox: Sandbox, said: list[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each window costs a request: forty-two weeks take a minute, which is announced first."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2025-06-01")
    sandbox.scopix.usage.set(few(3, NOW - timedelta(days=3)))
    house("run", "scopix.usage_events", "--no-models")
    (only,) = said
    assert (only.table, only.asked) == ("usage_events", 1)
    assert only.requests + only.asked == len(sandbox.requests)


@pytest.mark.thorough
def test_estimates_a_hundred_keys(house: House, sandbox: Sandbox, said: list[Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first estimate comes after one request, not after one a key; a second run's is right, too."""
    keys = [str(UUID(int=4 << 76 | 1 << 63 | number)) for number in range(1, 101)]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys))
    sandbox.scopix.usage.set(
        [event._replace(api_key_id=keys[number % 100]) for number, event in enumerate(few(4_000, NOW - timedelta(days=12)))]
    )
    for _ in range(2):
        sandbox.requests.clear()
        said.clear()
        house("run", "scopix.usage_events", "--no-models")
        assert said[0].asked <= 1
        assert said[0].requests == pytest.approx(len(sandbox.requests), rel=0.2)
        assert len(said) == 1


def test_a_longer_list_updates_the_estimate_of_all_tables(
    house: House, sandbox: Sandbox, said: list[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and seconds cover the same tables."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-01-10")
    sandbox.scopix.usage.set(few(4_500, datetime(2026, 3, 10, tzinfo=UTC)))
    house("run", "scopix.file_tokens", "scopix.tokens_daily", "--no-models")
    assert [entry.table for entry in said] == ["*", "*"]
    assert said[1].requests + said[1].asked == pytest.approx(len(sandbox.requests), rel=0.1)
    for entry in said:
        assert entry.seconds == pytest.approx((entry.requests + entry.asked - 1) // 30 * 61, abs=1)


def test_each_operation_counts_its_own_pages(
    house: House, sandbox: Sandbox, said: list[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a single window the first page of each operation shows how many follow."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    monkeypatch.setenv("SOURCES__SCOPIX__OPERATION_TYPES", "describe,chat")
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    of_each = few(1_000, datetime(2026, 3, 18, tzinfo=UTC))
    chats = [event._replace(id=f"chat-{event.id}", operation_type="chat") for event in of_each]
    sandbox.scopix.usage.set(of_each + chats)
    house("run", "scopix.usage_events", "--no-models")
    assert said[-1].requests + said[-1].asked == pytest.approx(len(sandbox.requests), abs=1)
