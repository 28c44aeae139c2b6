"""The rate of requests to Scopix, the announced duration, and its errors."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine

import meterhouse.sources._core.source
from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core.errors import (
    CredentialsRejected,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
)
from meterhouse.sources._core.http.client import Response
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources.scopix.errors import error_from_response
from tests.conftest import House

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
    """A clock for both sides that only the source's waits advance, in one thread."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def minutes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Minutes:
    """The vendor's own limits, and the source's defaults."""
    monkeypatch.setenv("EXTRACT__WORKERS", "1")
    minutes = Minutes()
    options = sandbox.scopix.options
    options.clock, options.requests_per_minute, options.check_requests_per_minute = minutes, 30, 60
    monkeypatch.setattr(
        meterhouse.sources._core.source, "RateLimiter", partial(RateLimiter, clock=minutes, sleep=minutes.sleep)
    )
    monkeypatch.delenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE")
    monkeypatch.delenv("SOURCES__SCOPIX__CHECK_REQUESTS_PER_MINUTE")
    return minutes


def events(count: int) -> list[Event]:
    return [Event(f"event-{number:04}", MIDNIGHT + timedelta(minutes=number)) for number in range(count)]


def test_reads_forty_five_pages_at_thirty_a_minute(
    house: House, sandbox: Sandbox, minutes: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's limiter returns no 429; the one wait of a minute is announced before."""
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "2")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    sandbox.scopix.usage.set(events(46))
    said = house("run", "scopix.usage_events", "--no-models")
    assert [request.status for request in sandbox.requests] == [200] * 45
    assert 1_060 <= minutes.now < 1_062
    assert "scopix.usage_events default: about 44 requests, 1 min" in said
    assert house.rows("select count(*) from scopix.usage_events") == [(46,)]


def test_all_tables_share_one_limit_and_one_estimate(house: House, sandbox: Sandbox, minutes: Minutes) -> None:
    """The requests of a first run are estimated over all tables before any of them begins, and the estimate is right."""
    sandbox.scopix.usage.set(events(300))
    said = house("run", "--no-models")
    asked = [request for request in sandbox.requests if request.path != "/api/v2/usage/check"]
    assert {request.status for request in sandbox.requests} == {200}
    foreseen = int(said.split("scopix.* default: about ")[1].split()[0])
    assert abs(foreseen - len(asked)) <= 0.2 * len(asked)
    assert minutes.now - 1_000 == pytest.approx((len(asked) - 1) // 30 * 61, abs=2)


def test_a_short_run_announces_nothing_and_check_does_not_wait(house: House, sandbox: Sandbox, minutes: Minutes) -> None:
    """Up to thirty requests go at once."""
    said = house("run", "scopix.usage_daily", "scopix.usage_checks", "--no-models")
    assert "requests," not in said.split("scopix.usage_daily")[0]
    assert minutes.now == 1_000


def test_the_vendors_own_limit_lowers_the_rate(house: House, sandbox: Sandbox, minutes: Minutes) -> None:
    """X-RateLimit-Limit is ten: twenty days take two minutes, without a 429."""
    sandbox.scopix.options.requests_per_minute = 10
    house("run", "scopix.usage_daily", "--no-models")
    assert {request.status for request in sandbox.requests} == {200}
    assert minutes.now - 1_000 == pytest.approx(60, abs=2)


def problem(code: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "It says no", "details": details}, "request_id": "req_7"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, problem("INVALID_API_KEY"), CredentialsRejected, "It says no (INVALID_API_KEY) [request req_7]"),
        (401, problem("EXPIRED_API_KEY"), CredentialsRejected, "EXPIRED_API_KEY"),
        (402, problem("PAST_DUE"), RequestRejected, "past due"),
        (403, problem("PERMISSION_DENIED"), CredentialsRejected, "It says no"),
        (403, problem("USAGE_LIMIT_EXCEEDED", limit=10), QuotaExhausted, "limit 10"),
        (429, problem("STORAGE_QUOTA_EXCEEDED"), QuotaExhausted, "STORAGE"),
        (404, {"detail": "Not Found"}, RequestRejected, "Not Found"),
        (
            422,
            {"detail": [{"loc": ["query", "limit"], "msg": "Input should be less", "type": "less_than"}]},
            RequestRejected,
            "query.limit Input should be less",
        ),
        (422, None, RequestRejected, "no reason given"),
        (429, problem("RATE_LIMIT_ERROR"), RateLimited, "It says no"),
        (500, problem("INTERNAL"), ServiceUnavailable, "It says no"),
        (503, None, ServiceUnavailable, "no reason given"),
        (200, problem("RATE_LIMIT_ERROR"), RateLimited, "It says no"),
        (200, [], MalformedResponse, "not an object"),
    ],
)
def test_maps_errors_by_code_then_by_status(status: int, body: Any, kind: type[SourceError], words: str) -> None:
    """Each message has the vendor's own text."""
    error = error_from_response(Response(status, {}, body))
    assert type(error) is kind
    assert words in error.problem


@pytest.mark.parametrize("body", [{"items": []}, {"events": None}, {"events": [{}]}, {"events": [{"id": "a"}]}])
def test_rejects_a_response_without_its_data(house: House, sandbox: Sandbox, body: Any) -> None:
    """A missing list of events is not an empty one."""
    sandbox.faults.add(Fault(path="/api/v2/usage/details", body=body))
    assert "/usage/details" in house("run", "scopix.usage_events", "--no-models", status=1)


def test_rejects_a_summary_of_another_day(house: House, sandbox: Sandbox) -> None:
    """From a server that ignores dates, every day would have the whole month."""
    month = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-31T23:59:59Z"}
    body = {"period": month, "usage": {"total_requests": 1, "successful_requests": 1, "failed_requests": 0}}
    sandbox.faults.add(Fault(path="/api/v2/usage/summary", body=body))
    assert "covers 2026-03-01" in house("run", "scopix.usage_daily", "--no-models", status=1)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API_KEY_IDS", "scopix_abc", "not a UUID"),
        ("PAGE_SIZE", "1", "from 2 to 100"),
        ("DASHBOARD_PERIODS", "decade", "Use week, month, year"),
        ("TOP_ENDPOINTS", "51", "from 1 to 50"),
        ("BASE_URL", "http://example.com/api/v2", "HTTPS"),
    ],
)
def test_rejects_unusable_settings(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """The error names the setting, and no request is sent."""
    monkeypatch.setenv(f"SOURCES__SCOPIX__{name}", value)
    assert words in house("run", "scopix", "--no-models", status=2)
    assert not sandbox.requests
