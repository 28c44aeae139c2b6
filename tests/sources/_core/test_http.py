import json
import threading
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
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    Unreachable,
)
from meterhouse.sources._core.http.auth import BearerAuth, HeaderAuth, require_safe_url
from meterhouse.sources._core.http.client import Client, Response
from meterhouse.sources._core.http.retry import retry_after


def by_status(_: Response) -> SourceError | None:
    """A error_from_response that leaves everything to the status."""
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
        ({"cut": 10}, Unreachable),
        ({"reset": True}, Unreachable),
    ],
)
def test_what_may_pass_is_asked_again(
    sandbox: Sandbox, client: Client, waits: list[float], fault: dict[str, Any], kind: type[SourceError]
) -> None:
    """Three faults in a row are survived, with growing waits; for ever, they are the error that names them."""
    sandbox.faults.add(Fault(path=PATH, times=3, **fault))
    assert "ocr_usage" in ask(client)
    assert len(waits) == 3
    assert waits == sorted(waits)
    sandbox.faults.add(Fault(path=PATH, **fault))
    with pytest.raises(kind, match=rf"^vendor {PATH}"):
        ask(client)


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip, gzip"}, {"Content-Encoding": "gzip"}])
def test_what_is_packed_otherwise_than_asked_for_is_not_unpacked(
    sandbox: Sandbox, client: Client, headers: dict[str, str]
) -> None:
    """A bomb in a bomb, and what only calls itself packed."""
    sandbox.faults.add(Fault(path=PATH, headers=headers))
    with pytest.raises(Unreachable, match=r"content encoding gzip, gzip|cannot be unpacked"):
        ask(client)


def test_a_name_twice_in_an_object_is_no_answer_and_a_text_that_looks_like_one_is(sandbox: Sandbox, client: Client) -> None:
    """Nobody can say which of two values is meant."""
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


def test_an_outage_of_twenty_seconds_is_survived(client: Client, waits: list[float], sandbox: Sandbox) -> None:
    """The waits of all attempts together are longer than 20 s, shorter than a minute and a half."""
    sandbox.faults.add(Fault(path=PATH, status=503))
    with pytest.raises(ServiceUnavailable):
        ask(client)
    assert 20 < sum(waits) < 90


def test_a_host_that_is_down_costs_one_wait(client: Client, waits: list[float], sandbox: Sandbox) -> None:
    """Once patience has ended, later requests are tried once each."""
    sandbox.faults.add(Fault(path=PATH, status=503))
    with pytest.raises(ServiceUnavailable):
        ask(client)
    spent = len(waits)
    with pytest.raises(ServiceUnavailable):
        ask(client)
    assert len(waits) == spent


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed_in_both_forms(sandbox: Sandbox, client: Client, waits: list[float], form: str) -> None:
    """The provider's own number goes before the backoff."""
    asked = "7" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)
    sandbox.faults.add(Fault(path=PATH, times=1, status=429, headers={"Retry-After": asked}))
    ask(client)
    (wait,) = waits
    assert wait == 7.0 if form == "seconds" else 4 <= wait <= 8  # HTTP dates are whole seconds


def test_a_date_is_read_against_the_providers_own_clock() -> None:
    """Two clocks that disagree by hours do no harm."""
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
def test_what_a_limited_client_is_asked_to_wait(headers: dict[str, str], wait: float | None) -> None:
    """In whatever header; a reset means nothing where the answer is about something else."""
    assert retry_after(headers, is_limited=True) == wait
    if "retry-after" not in headers:
        assert retry_after(headers) is None


def test_a_reset_that_is_a_time_is_one_from_now(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """The other form in use."""
    at = str(int(datetime.now(UTC).timestamp()) + 30)
    sandbox.faults.add(Fault(path=PATH, times=1, status=429, headers={"X-RateLimit-Reset": at}))
    ask(client)
    (wait,) = waits
    assert 25 <= wait <= 30


def test_retry_after_of_a_day_is_not_waited_for(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """A wait longer than the whole request may take is an error at once."""
    sandbox.faults.add(Fault(path=PATH, status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(RateLimited):
        ask(client)
    assert waits == []


@pytest.mark.parametrize("value", ["", "soon", "Mon, 99 Foo 2026"])
def test_an_unreadable_retry_after_is_as_none(value: str) -> None:
    """The backoff is used then."""
    assert retry_after({"retry-after": value}) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RequestRejected), (401, CredentialsRejected), (403, CredentialsRejected), (404, RequestRejected)],
)
def test_what_cannot_pass_is_asked_once(
    sandbox: Sandbox, client: Client, waits: list[float], status: int, kind: type[SourceError]
) -> None:
    """A refusal is not retried, and its message names provider, endpoint, status and the way out."""
    sandbox.faults.add(Fault(path=PATH, status=status))
    with pytest.raises(kind, match=rf"^vendor {PATH} \(HTTP {status}\): .+\. .+\.$"):
        ask(client)
    assert waits == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("value", ["w\u00f6rk", "two\nlines"])
def test_what_no_header_can_hold_is_refused(value: str) -> None:
    """Before anything is sent, and without the value, which may be a secret."""
    with pytest.raises(ConfigurationError, match="X-Tenant") as caught:
        BearerAuth(SECRET, {"X-Tenant": value})
    assert value not in str(caught.value)


def test_a_redirect_is_not_followed(sandbox: Sandbox, client: Client) -> None:
    """A key does not travel to where an answer points."""
    sandbox.faults.add(Fault(path=PATH, redirect="http://localhost:9/elsewhere"))
    with pytest.raises(RequestRejected, match="redirect"):
        ask(client)


def test_a_host_that_is_not_there(waits: list[float]) -> None:
    """A refused connection is told as such."""
    client = Client("vendor", "http://127.0.0.1:9", auth=HeaderAuth({}), error_from_response=by_status, sleep=waits.append)
    with pytest.raises(Unreachable, match=r"cannot be reached.*base_url"):
        ask(client)


def test_a_stalled_answer_ends(sandbox: Sandbox) -> None:
    """Silence is ended by the read timeout."""
    sandbox.faults.add(Fault(path=PATH, stall=True))
    limits = Limits(read=0.2, attempts=1)
    client = Client("vendor", sandbox.url, auth=HeaderAuth({}), error_from_response=by_status, limits=limits)
    with pytest.raises(Unreachable, match="in time"):
        ask(client)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_answer_without_end_is_cut_off(sandbox: Sandbox, compressed: bool) -> None:
    """A body larger than the limit is refused while it arrives, compressed or not."""
    sandbox.faults.add(Fault(path=PATH, size=50_000_000, gzip=compressed))
    client = Client(
        "vendor", sandbox.url, auth=HeaderAuth({}), error_from_response=by_status, limits=Limits(max_bytes=1_000_000)
    )
    with pytest.raises(RequestRejected, match="larger than 1000000 bytes"):
        ask(client)


def test_no_message_holds_the_key(sandbox: Sandbox, client: Client) -> None:
    """A provider that repeats the key in its error does not get it into our log."""
    client.error_from_response = lambda answer: RequestRejected(answer.payload["error"], hint="Look it up.")
    sandbox.faults.add(Fault(path=PATH, body=json.dumps({"error": f"no usage for {SECRET}\nof you"})))
    with pytest.raises(RequestRejected) as caught:
        ask(client)
    assert "no usage for *** of you" in str(caught.value)
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


def test_numbers_keep_their_text(sandbox: Sandbox, client: Client) -> None:
    """A fraction in JSON is an exact decimal, not the nearest float."""
    sandbox.faults.add(Fault(path=PATH, body='{"credits": 0.1, "large": 12345678901234567.123456789, "count": 3}'))
    payload = ask(client)
    assert str(payload["credits"]) == "0.1"
    assert str(payload["large"]) == "12345678901234567.123456789"
    assert payload["count"] == 3


def test_the_judge_goes_before_the_status(sandbox: Sandbox, client: Client) -> None:
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
def test_an_unsafe_address_is_refused(url: str) -> None:
    """Credentials go over HTTPS, or stay on this machine; the message does not repeat what may hold a password."""
    with pytest.raises(ConfigurationError, match=r"sources\.mathpix\.base_url") as caught:
        require_safe_url(url, provider="mathpix")
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.mathpix.com/", "http://127.0.0.1:8321", "http://localhost:1", "http://[::1]:1"]
)
def test_a_safe_address_is_taken(url: str) -> None:
    """HTTPS anywhere, plain HTTP on loopback."""
    assert require_safe_url(url, provider="mathpix") == url.rstrip("/")


def test_limits_come_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """[sources.http] sets them for all providers, as numbers."""
    monkeypatch.setenv("SOURCES__HTTP__READ", "5")
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "2")
    assert Limits.from_config() == Limits(read=5.0, attempts=2)
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "0")
    with pytest.raises(ConfigurationError, match=r"sources\.http\.attempts"):
        Limits.from_config()


@pytest.mark.parametrize("said", ["no usage for {} of you", "no usage for Bearer {} of you"])
def test_a_bearer_key_is_sent_and_never_shown(sandbox: Sandbox, said: str) -> None:
    """It is blotted out with and without the word before it, and blanks around it do not break the header."""
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


def test_a_post_is_sent_and_asked_again_like_a_get(sandbox: Sandbox, client: Client, waits: list[float]) -> None:
    """With its JSON object, and as often as it takes."""
    sandbox.faults.add(Fault(path="/asked", times=1, status=503))
    sandbox.faults.add(Fault(path="/asked", body={"said": 1}))
    assert client.post("/asked", {"item_count": 1}) == {"said": 1}
    assert [(request.method, request.headers["content-length"]) for request in sandbox.requests] == [("POST", "16")] * 2
    assert len(waits) == 1


def test_who_is_told_to_ask_less_asks_one_after_the_other(sandbox: Sandbox, client: Client) -> None:
    """Side by side until the provider says that it is too much; then no thread takes what another one has waited for."""
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
