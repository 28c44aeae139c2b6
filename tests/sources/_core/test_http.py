import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.errors import (
    ConfigurationError,
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    Unreachable,
)
from meterhouse.sources._core.events import Place, RequestDelayed
from meterhouse.sources._core.http.auth import BearerAuth, HeaderAuth, require_safe_url
from meterhouse.sources._core.http.client import Client, Response
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.http.retry import retry_after
from tests.conftest import Cli


def by_status(_: Response) -> SourceError | None:
    """Leaves every response to its status."""
    return None


PATH = "/v3/ocr-usage"
SECRET = "sandbox-key-of-lyceum_notes"


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client would have slept."""
    return []


@pytest.fixture
def client(sandbox: Sandbox, waits: list[float]) -> Iterator[Client]:
    with_key = HeaderAuth({"app_id": "lyceum_notes", "app_key": SECRET})
    client = Client("vendor", sandbox.url, auth=with_key, error_from_response=by_status, sleep=waits.append)
    yield client
    client.close()


def ask(client: Client) -> Any:
    return client.get(
        PATH, {"group_by": "usage_type", "timespan": "day", "from_date": "2026-01-01T00:00:00Z", "per_page": 1}
    )


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 202, "body": "{}"}, MalformedResponse),
        ({"status": 206, "body": "[1]"}, MalformedResponse),
        ({"status": 429}, RateLimited),
        ({"status": 500}, ServiceUnavailable),
        ({"status": 502}, ServiceUnavailable),
        ({"status": 503}, ServiceUnavailable),
        ({"body": "<html>maintenance</html>"}, MalformedResponse),
        ({"body": ""}, MalformedResponse),
        ({"body": '{"ocr_usage": [NaN]}'}, MalformedResponse),
        ({"body": '{"ocr_usage": [{"coun'}, MalformedResponse),
        pytest.param({"body": '{"ocr_usage": [1e999999999999999999999]}'}, MalformedResponse, id="exponent"),
        pytest.param({"body": "[" * 100_000 + "]" * 100_000}, MalformedResponse, id="deep"),
        ({"cut": 10}, Unreachable),
        ({"reset": True}, Unreachable),
    ],
)
def test_retries_transient_errors(
    sandbox: Sandbox, client: Client, waits: list[float], fault: dict[str, Any], kind: type[SourceError]
) -> None:
    """The client survives three errors in a row, with growing waits; an error that stays is raised with its type."""
    sandbox.faults.add(Fault(path=PATH, times=3, **fault))
    assert "ocr_usage" in ask(client)
    assert len(waits) == 3
    assert waits == sorted(waits)
    sandbox.faults.add(Fault(path=PATH, **fault))
    with pytest.raises(kind, match=rf"^vendor {PATH}"):
        ask(client)


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip, gzip"}, {"Content-Encoding": "gzip"}])
def test_rejects_unrequested_content_encoding(sandbox: Sandbox, client: Client, headers: dict[str, str]) -> None:
    """This holds for a gzip bomb in a gzip bomb, and for a body that is not compressed."""
    sandbox.faults.add(Fault(path=PATH, headers=headers))
    with pytest.raises(Unreachable, match=r"content encoding gzip, gzip|cannot be unpacked"):
        ask(client)


def test_rejects_duplicate_names_in_an_object(sandbox: Sandbox, client: Client) -> None:
    """A text that only looks like a duplicate name is accepted."""
    sandbox.faults.add(Fault(path=PATH, times=1, body='{"said": "\\"a\\": 1, \\"a\\": 2", "list": [{"b": {}}, {"b": 1}]}'))
    assert ask(client) == {"said": '"a": 1, "a": 2', "list": [{"b": {}}, {"b": 1}]}
    sandbox.faults.add(Fault(path=PATH, body='{"list": [{"b": 1, "b": 2}]}'))
    with pytest.raises(MalformedResponse, match="two fields of one name"):
        ask(client)
    sandbox.faults.clear()
    # A colon more, because it was not written as one, where the second name makes for one less.
    sandbox.faults.add(Fault(path=PATH, body='{"said": "a\\u003a b", "list": [{"b": 1, "b": 2}]}'))
    with pytest.raises(MalformedResponse, match="two fields of one name"):
        ask(client)


def test_survives_an_outage_of_twenty_seconds(client: Client, waits: list[float], sandbox: Sandbox) -> None:
    """The waits of all attempts add up to more than 20 seconds and less than 90."""
    sandbox.faults.add(Fault(path=PATH, status=503))
    with pytest.raises(ServiceUnavailable):
        ask(client)
    assert 20 < sum(waits) < 90


def test_retries_only_once_while_a_host_is_down(client: Client, waits: list[float], sandbox: Sandbox) -> None:
    """After the retries of one request are exhausted, each later request is tried once."""
    sandbox.faults.add(Fault(path=PATH, status=503))
    with pytest.raises(ServiceUnavailable):
        ask(client)
    spent = len(waits)
    with pytest.raises(ServiceUnavailable):
        ask(client)
    assert len(waits) == spent


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_obeys_retry_after_in_both_forms(sandbox: Sandbox, client: Client, waits: list[float], form: str) -> None:
    """The provider's wait replaces the backoff."""
    asked = "7" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)
    sandbox.faults.add(Fault(path=PATH, times=1, status=429, headers={"Retry-After": asked}))
    ask(client)
    (wait,) = waits
    assert wait == 7.0 if form == "seconds" else 4 <= wait <= 8  # HTTP dates are whole seconds


def test_reads_a_retry_date_against_the_providers_clock() -> None:
    """Clocks that differ by hours do no harm."""
    headers = {"retry-after": "Fri, 01 May 2026 12:00:07 GMT", "date": "Fri, 01 May 2026 12:00:00 GMT"}
    assert retry_after(headers) == 7.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "9", "x-ratelimit-reset": "40"}, 9.0),
        ({"x-ratelimit-reset": "40"}, 40.0),
        ({"x-ratelimit-reset": "-3"}, 0.0),
        ({"x-ratelimit-reset": "never"}, None),
    ],
)
def test_reads_the_wait_from_any_header(headers: dict[str, str], wait: float | None) -> None:
    """A rate limit's reset counts only after a 429."""
    assert retry_after(headers, is_limited=True) == wait
    if "retry-after" not in headers:
        assert retry_after(headers) is None


def test_reads_a_reset_given_as_a_time(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """The reset may be seconds since 1970."""
    at = str(int(datetime.now(UTC).timestamp()) + 30)
    sandbox.faults.add(Fault(path=PATH, times=1, status=429, headers={"X-RateLimit-Reset": at}))
    ask(client)
    (wait,) = waits
    assert 25 <= wait <= 30


def test_does_not_wait_a_day(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """A wait longer than the whole request may take is an error at once."""
    sandbox.faults.add(Fault(path=PATH, status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(RateLimited):
        ask(client)
    assert waits == []


@pytest.mark.parametrize("value", ["", "soon", "Mon, 99 Foo 2026"])
def test_ignores_an_unreadable_retry_after(value: str) -> None:
    """The client uses its backoff then."""
    assert retry_after({"retry-after": value}) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RequestRejected), (401, CredentialsRejected), (403, CredentialsRejected), (404, RequestRejected)],
)
def test_does_not_retry_refusals(
    sandbox: Sandbox, client: Client, waits: list[float], status: int, kind: type[SourceError]
) -> None:
    """The message names provider, endpoint, status and a hint."""
    sandbox.faults.add(Fault(path=PATH, status=status))
    with pytest.raises(kind, match=rf"^vendor {PATH} \(HTTP {status}\): .+\. .+\.$"):
        ask(client)
    assert waits == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("value", ["w\u00f6rk", "two\nlines"])
def test_rejects_values_that_a_header_cannot_hold(value: str) -> None:
    """No request is sent, and the message does not show the value, which may be a secret."""
    with pytest.raises(ConfigurationError, match="X-Tenant") as caught:
        BearerAuth(SECRET, {"X-Tenant": value})
    assert value not in str(caught.value)


def test_does_not_follow_redirects(sandbox: Sandbox, client: Client) -> None:
    """A key does not travel to another address."""
    sandbox.faults.add(Fault(path=PATH, redirect="http://localhost:9/elsewhere"))
    with pytest.raises(RequestRejected, match="redirect"):
        ask(client)


def test_reports_a_refused_connection(waits: list[float]) -> None:
    """The message says that the host cannot be reached."""
    client = Client("vendor", "http://127.0.0.1:9", auth=HeaderAuth({}), error_from_response=by_status, sleep=waits.append)
    with pytest.raises(Unreachable, match=r"cannot be reached.*base_url"):
        ask(client)


def test_the_read_timeout_ends_a_stalled_response(sandbox: Sandbox) -> None:
    """A server that sends nothing does not block the client."""
    sandbox.faults.add(Fault(path=PATH, stall=True))
    limits = Limits(read=0.2, attempts=1)
    client = Client("vendor", sandbox.url, auth=HeaderAuth({}), error_from_response=by_status, limits=limits)
    with pytest.raises(Unreachable, match="in time"):
        ask(client)


@pytest.mark.parametrize("compressed", [False, True])
def test_rejects_a_response_larger_than_the_limit(sandbox: Sandbox, compressed: bool) -> None:
    """The client stops reading at the limit, compressed or not."""
    sandbox.faults.add(Fault(path=PATH, size=50_000_000, gzip=compressed))
    client = Client(
        "vendor", sandbox.url, auth=HeaderAuth({}), error_from_response=by_status, limits=Limits(max_bytes=1_000_000)
    )
    with pytest.raises(RequestRejected, match="larger than 1000000 bytes"):
        ask(client)


def test_messages_do_not_show_the_key(sandbox: Sandbox, client: Client) -> None:
    """The key is redacted even if the provider repeats it in its error."""
    client.error_from_response = lambda answer: RequestRejected(answer.payload["error"], hint="Look it up.")
    sandbox.faults.add(Fault(path=PATH, body=json.dumps({"error": f"no usage for {SECRET}\nof you"})))
    with pytest.raises(RequestRejected) as caught:
        ask(client)
    assert "no usage for *** of you" in str(caught.value)
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


def test_fractions_are_exact_decimals(sandbox: Sandbox, client: Client) -> None:
    """A fraction in JSON becomes a decimal, not the nearest float."""
    sandbox.faults.add(Fault(path=PATH, body='{"credits": 0.1, "large": 12345678901234567.123456789, "count": 3}'))
    payload = ask(client)
    assert str(payload["credits"]) == "0.1"
    assert str(payload["large"]) == "12345678901234567.123456789"
    assert payload["count"] == 3


def test_the_providers_own_errors_precede_the_status(sandbox: Sandbox, client: Client) -> None:
    """An error inside a 200 is an error."""

    def error_from_response(answer: Response) -> SourceError | None:
        return RequestRejected("it says so", hint="Read it.") if "error" in answer.payload else None

    client.error_from_response = error_from_response
    sandbox.faults.add(Fault(path=PATH, body='{"error": "x"}'))
    with pytest.raises(RequestRejected, match=r"HTTP 200.*it says so"):
        ask(client)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.mathpix.com",
        "ftp://127.0.0.1",
        "api.mathpix.com",
        "",
        "https://user:pass@host",
        "http://127.0.0.1.evil.test",
    ],
)
def test_rejects_unsafe_addresses(url: str) -> None:
    """Credentials need HTTPS or this machine; the message does not show what may hold a password."""
    with pytest.raises(ConfigurationError, match=r"sources\.mathpix\.base_url") as caught:
        require_safe_url(url, provider="mathpix")
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.mathpix.com/", "http://127.0.0.1:8321", "http://localhost:1", "http://[::1]:1"]
)
def test_accepts_safe_addresses(url: str) -> None:
    """HTTPS anywhere, plain HTTP on loopback."""
    assert require_safe_url(url, provider="mathpix") == url.rstrip("/")


def test_reads_limits_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """[sources.http] sets them for all providers, as numbers."""
    monkeypatch.setenv("SOURCES__HTTP__READ", "5")
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "2")
    assert Limits.from_config() == Limits(read=5.0, attempts=2)
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "0")
    with pytest.raises(ConfigurationError, match=r"sources\.http\.attempts"):
        Limits.from_config()


@pytest.mark.parametrize("said", ["no usage for {} of you", "no usage for Bearer {} of you"])
def test_a_bearer_key_is_sent_and_redacted(sandbox: Sandbox, said: str) -> None:
    """It is redacted with and without the word before it, and blanks around it do not break the header."""
    sandbox.faults.add(Fault(path=PATH, body={"said": said.format(SECRET)}))

    def error_from_response(answer: Response) -> SourceError:
        return RequestRejected(answer.payload["said"], hint="Stop.")

    auth = BearerAuth(f" {SECRET}\n", {"X-Tenant": "t"})
    with pytest.raises(RequestRejected) as caught:
        ask(Client("vendor", sandbox.url, auth=auth, error_from_response=error_from_response))
    assert SECRET not in str(caught.value)
    assert "***" in str(caught.value)
    assert sandbox.requests[0].headers["authorization"] == "***"
    assert sandbox.requests[0].headers["x-tenant"] == "t"


def test_retries_post_like_get(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """Each attempt sends the JSON object."""
    sandbox.faults.add(Fault(path="/asked", times=1, status=503))
    sandbox.faults.add(Fault(path="/asked", body={"said": 1}))
    assert client.post("/asked", {"item_count": 1}) == {"said": 1}
    assert [(request.method, request.headers["content-length"]) for request in sandbox.requests] == [("POST", "16")] * 2
    assert len(waits) == 1


def test_sends_one_request_at_a_time_after_a_429(sandbox: Sandbox, client: Client) -> None:
    """Before, threads send side by side; afterwards no thread takes the allowance that another one waits for."""
    together, counting, in_flight, most = threading.Barrier(3, timeout=60), threading.Lock(), 0, 0

    def counted(answer: Response) -> SourceError | None:
        nonlocal in_flight, most
        with counting:
            in_flight += 1
            most = max(most, in_flight)
        if answer.status == 429:
            together.wait()
        with counting:
            in_flight -= 1
        return by_status(answer)

    client.error_from_response = counted
    sandbox.faults.add(Fault(path=PATH, status=429, times=3))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ask(client), range(3)))
        assert most == 3
        most = 0
        list(pool.map(lambda _: ask(client), range(9)))
    assert most == 1


@pytest.fixture
def delays(sandbox: Sandbox, client: Client, waits: list[float]) -> list[RequestDelayed]:
    """The delays of `client`, whose provider states a limit of one request a minute; its clock advances by waiting only."""
    sandbox.faults.add(Fault(path=PATH, headers={"X-RateLimit-Limit": "1"}))
    delays: list[RequestDelayed] = []
    client.rate_limiter = RateLimiter(200, clock=lambda: sum(waits), sleep=waits.append)
    client.observer = lambda event: delays.append(event) if isinstance(event, RequestDelayed) else None
    return delays


def test_announces_a_long_wait_for_the_rate_limit(
    client: Client, delays: list[RequestDelayed], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its length; waits of the same length are announced again after a while, shorter ones are not."""
    for _ in range(3):
        ask(client)
    assert waits == [61.0, 61.0]
    assert delays == [RequestDelayed(Place("vendor"), 61.0, 1)]
    monkeypatch.setattr("meterhouse.sources._core.http.client.REPORT_INTERVAL", 0.0)
    ask(client)
    assert [delay.wait for delay in delays] == [61.0, 61.0]
    waits.append(55.0)
    ask(client)
    assert waits[-1] == 6.0
    assert len(delays) == 2


def test_a_wait_beyond_the_limit_of_the_run_is_an_error_at_once(
    sandbox: Sandbox, client: Client, delays: list[RequestDelayed], waits: list[float]
) -> None:
    """Whether the rate limit or `Retry-After` asks for it; the error names the setting."""
    client._ends_at = time.monotonic() + 60.0
    ask(client)
    with pytest.raises(IncompleteResponse, match=r"would have to wait 61 seconds, beyond .*raise sources\.http\.run"):
        ask(client)
    sandbox.faults.clear()
    sandbox.faults.add(Fault(path=PATH, status=503, headers={"Retry-After": "62"}))
    client.rate_limiter = RateLimiter()
    with pytest.raises(IncompleteResponse, match="would have to wait 62 seconds, beyond"):
        ask(client)
    assert not waits
    assert not delays


def test_a_tiny_rate_limit_ends_the_run_in_time(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a silent wait of hours."""
    monkeypatch.setenv("SOURCES__HTTP__RUN", "50")
    sandbox.faults.add(Fault(path=PATH, headers={"X-RateLimit-Limit": "1"}))
    output = cli("run", "mathpix.ocr_usage_by_app_id", "--no-models", status=1)
    assert re.search(r"the next request would have to wait \d+ seconds, beyond this run's limit of 50 seconds", output)
