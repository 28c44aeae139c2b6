"""Errors of Scopix and of its settings: each has a message of its own, and nothing wrong is loaded."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
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
from meterhouse.sources.scopix.errors import error_from_response
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


def problem(code: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "Request refused", "details": details}, "request_id": "req_7"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, problem("INVALID_API_KEY"), CredentialsRejected, "Request refused (INVALID_API_KEY) [request req_7]"),
        (401, problem("EXPIRED_API_KEY"), CredentialsRejected, "EXPIRED_API_KEY"),
        (402, problem("PAST_DUE"), RequestRejected, "past due"),
        (403, problem("PERMISSION_DENIED"), CredentialsRejected, "Request refused"),
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
        (429, problem("RATE_LIMIT_ERROR"), RateLimited, "Request refused"),
        (500, problem("INTERNAL"), ServiceUnavailable, "Request refused"),
        (503, None, ServiceUnavailable, "no reason given"),
        (200, problem("RATE_LIMIT_ERROR"), RateLimited, "Request refused"),
        (200, [], MalformedResponse, "not an object"),
    ],
)
def test_a_response_maps_to_an_error_by_code_and_status(
    status: int, body: Any, kind: type[SourceError], message: str
) -> None:
    """The code decides before the status, and the message of the vendor stays."""
    error = error_from_response(Response(status, {}, body))
    assert type(error) is kind
    assert message in error.problem


@pytest.mark.parametrize("body", [{"items": []}, {"events": None}, {"events": [{}]}, {"events": [{"id": "a"}]}])
def test_a_response_without_its_list_is_an_error(cli: Cli, sandbox: Sandbox, body: Any) -> None:
    """A missing list of events, or a list with other items, is not an empty list."""
    sandbox.faults.add(Fault(path="/api/v2/usage/details", body=body))
    assert "/usage/details" in cli("run", "scopix.usage_events", "--no-models", status=1)


def test_a_summary_of_another_day_is_an_error(cli: Cli, sandbox: Sandbox) -> None:
    """A server that ignores the dates would return the whole month for each day."""
    month = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-31T23:59:59Z"}
    body = {"period": month, "usage": {"total_requests": 1, "successful_requests": 1, "failed_requests": 0}}
    sandbox.faults.add(Fault(path="/api/v2/usage/summary", body=body))
    assert "covers 2026-03-01" in cli("run", "scopix.usage_daily", "--no-models", status=1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("API_KEY_IDS", "scopix_abc", "not a UUID"),
        ("PAGE_SIZE", "1", "from 2 to 100"),
        ("DASHBOARD_PERIODS", "decade", "Use week, month, year"),
        ("TOP_ENDPOINTS", "51", "from 1 to 50"),
        ("BASE_URL", "http://example.com/api/v2", "HTTPS"),
    ],
)
def test_a_wrong_setting_is_named_before_any_request(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """The message shows how to write it."""
    monkeypatch.setenv(f"SOURCES__SCOPIX__{name}", value)
    assert message in cli("run", "scopix", "--no-models", status=2)
    assert not sandbox.requests
