"""The duration of a run is announced before its waits, and is right."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core import source
from meterhouse.sources._core.events import DurationEstimated, Place
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources.scopix import estimate
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


@dataclass(frozen=True)
class Announcement:
    """An estimate for a table or, with `*`, several; `sent` requests were sent before it."""

    table: str
    requests: int
    seconds: float
    sent: int


@pytest.fixture
def announcements(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[Announcement]:
    """The announcements at the documented rate, in one thread, with a clock that only the waits of the source move."""
    announced: list[Announcement] = []
    now = 1_000.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def duration_estimated(place: Place, requests: int, seconds: float) -> DurationEstimated:
        announced.append(Announcement(place.table, requests, seconds, len(sandbox.requests)))
        return DurationEstimated(place, requests, seconds)

    sandbox.scopix.options.clock = lambda: now
    sandbox.scopix.options.requests_per_minute = 30
    monkeypatch.setattr(source, "RateLimiter", partial(RateLimiter, clock=lambda: now, sleep=sleep))
    monkeypatch.setattr(estimate, "DurationEstimated", duration_estimated)
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "30")
    monkeypatch.setenv("EXTRACT__WORKERS", "1")
    return announced


def few(count: int, start: datetime) -> list[Event]:
    return [Event(f"{start:%j}-{number:05}", start + timedelta(minutes=number)) for number in range(count)]


def test_every_window_counts_even_without_events(
    cli: Cli, sandbox: Sandbox, announcements: list[Announcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty-two weeks take a request each, and so more than a minute, which is announced after the first request."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2025-06-01")
    sandbox.scopix.usage.set(few(3, NOW - timedelta(days=3)))
    cli("run", "scopix.usage_events", "--no-models")
    (only,) = announcements
    assert (only.table, only.sent) == ("usage_events", 1)
    assert only.requests + only.sent == len(sandbox.requests)


@pytest.mark.thorough
def test_a_hundred_keys_take_one_request_for_the_estimate(
    cli: Cli, sandbox: Sandbox, announcements: list[Announcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The announcement follows after one request, instead of one for each key, and is right for a second run, too."""
    keys = [str(UUID(int=4 << 76 | 1 << 63 | number)) for number in range(1, 101)]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys))
    sandbox.scopix.usage.set(
        [event._replace(api_key_id=keys[number % 100]) for number, event in enumerate(few(4_000, NOW - timedelta(days=12)))]
    )
    for _ in range(2):
        sandbox.requests.clear()
        announcements.clear()
        cli("run", "scopix.usage_events", "--no-models")
        assert announcements[0].sent <= 1
        assert announcements[0].requests == pytest.approx(len(sandbox.requests), rel=0.2)
        assert len(announcements) == 1


@pytest.mark.thorough
def test_a_long_list_is_announced_again_with_all_remaining_requests(
    cli: Cli, sandbox: Sandbox, announcements: list[Announcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and seconds of both announcements are those of all tables together."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-01-10")
    sandbox.scopix.usage.set(few(4_500, datetime(2026, 3, 10, tzinfo=UTC)))
    cli("run", "scopix.file_tokens", "scopix.tokens_daily", "--no-models")
    assert [entry.table for entry in announcements] == ["*", "*"]
    assert announcements[1].requests + announcements[1].sent == pytest.approx(len(sandbox.requests), rel=0.1)
    for entry in announcements:
        assert entry.seconds == pytest.approx((entry.requests + entry.sent - 1) // 30 * 61, abs=1)


def test_two_operations_each_count_their_pages(
    cli: Cli, sandbox: Sandbox, announcements: list[Announcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a single window, the first page of each operation shows how many follow."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    monkeypatch.setenv("SOURCES__SCOPIX__OPERATION_TYPES", "describe,chat")
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    of_each = few(1_000, datetime(2026, 3, 18, tzinfo=UTC))
    chats = [event._replace(id=f"chat-{event.id}", operation_type="chat") for event in of_each]
    sandbox.scopix.usage.set(of_each + chats)
    cli("run", "scopix.usage_events", "--no-models")
    assert announcements[-1].requests + announcements[-1].sent == pytest.approx(len(sandbox.requests), abs=1)
