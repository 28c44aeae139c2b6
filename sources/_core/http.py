"""One HTTP client for all providers: who asks, how often, how long, how many times, and what went wrong.

The error tree; each name says what its reader can do about it, each message names provider, endpoint, status and way out:

    SourceError
    ├── ConfigurationError      correct the configuration; nothing was asked
    │   └── NotConfigured       no credentials at all: the provider is not in use
    ├── CredentialsRejected     correct the key
    ├── RequestRejected         the provider understood and refused; asking again changes nothing
    ├── QuotaExhausted          wait for the quota to renew, or raise it
    ├── UnexpectedValue         a field does not hold what the provider documents
    ├── ClocksDisagree          set this machine's clock right
    ├── IncompleteAnswer        the provider cannot be made to say everything
    └── TransientError          was asked again until patience ended; run again later
        ├── RateLimited
        ├── ServiceUnavailable
        ├── Unreachable
        └── MalformedAnswer
"""

import email.utils
import ipaddress
import json
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Protocol

import dlt
import httpx
import msgspec
import tenacity

from sources._core.budget import Budget, seconds_until_reset
from sources._core.deadline import keep_deadlines, until
from sources._core.numbers import decimal_from_text

SHORTEST_SECRET = 6
"""Characters. Nobody issues shorter keys, and blotting out a shorter text would make an error unreadable."""

PIECE = 1 << 20
"""Bytes of an answer that are unpacked at a time."""

Params = Mapping[str, str | int | Sequence[str]]


class SourceError(Exception):
    """Something keeps a source from its data. The message is one line and holds no secret."""

    def __init__(
        self,
        problem: str,
        *,
        way_out: str,
        provider: str = "",
        endpoint: str = "",
        status: int | None = None,
    ) -> None:
        self.provider, self.endpoint, self.status = provider, endpoint, status
        self.problem, self.way_out = problem, way_out
        where = " ".join(part for part in (provider, endpoint) if part)
        answered = f" (HTTP {status})" if status is not None else ""
        super().__init__(f"{where}{answered}: {problem}. {way_out}" if where else f"{problem}. {way_out}")


class ConfigurationError(SourceError):
    """The configuration is wrong; nothing was asked of anyone."""


class NotConfigured(ConfigurationError):
    """No credential of the provider is set: it is not in use."""


class CredentialsRejected(SourceError):
    """The provider does not accept the key."""


class RequestRejected(SourceError):
    """The provider understood the request and refuses it; asking again changes nothing."""


class QuotaExhausted(SourceError):
    """A quota that renews in days or weeks is used up; asking again in minutes changes nothing."""


class UnexpectedValue(SourceError):
    """A field does not hold what the provider documents."""


class IncompleteAnswer(SourceError):
    """The provider cannot be made to say everything that was asked for."""


class ClocksDisagree(SourceError):
    """This machine's clock is not the provider's, so that windows and what is complete would be wrong."""


class TransientError(SourceError):
    """A fault that asking again may cure; it was asked again until patience ended."""

    retry_after: float | None = None


class RateLimited(TransientError):
    """Too many requests a minute."""


class ServiceUnavailable(TransientError):
    """The provider has a fault of its own."""


class Unreachable(TransientError):
    """No answer came, or it broke off."""


class MalformedAnswer(TransientError):
    """The answer is not what the endpoint documents: cut off, not JSON, or without its data."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer: `payload` is the decoded JSON body, or None where the body is not JSON.

    JSON numbers with a fraction arrive as `decimal.Decimal`, from their text; money and credits never pass through float.
    """

    status: int
    headers: Mapping[str, str]
    payload: Any


Judge = Callable[[Answer], SourceError | None]
"""What a provider knows about its own errors: an answer's error, or None where there is nothing to object to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a request may take and how far two clocks may lie apart (seconds), how large an answer may be (bytes).

    `connect` and `read` are for one step, `total` for an answer with all retries, `run` for all that a run asks one account;
    `max_bytes` is of the decompressed answer.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0
    run: float = 6 * 3600.0
    attempts: int = 6
    max_bytes: int = 256 * 1024 * 1024
    clock_tolerance: float = 3600.0

    @classmethod
    def from_config(cls) -> "Limits":
        """The limits that `[sources.http]` sets, for all providers."""
        stated: dict[str, Any] = {}
        for item in fields(cls):
            value: Any = dlt.config.get(f"sources.http.{item.name}", type(item.default))
            if value is not None:
                stated[item.name] = value
        return cls(**stated)

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 < getattr(self, item.name) < float("inf"):
                raise ConfigurationError(
                    f"sources.http.{item.name} is {getattr(self, item.name)}", way_out="Set it to a number above 0."
                )


class HeaderAuth(httpx.Auth):
    """Sends the credentials as headers; httpx drops an auth where a request would leave its host."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        for name, value in self._headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ConfigurationError(
                    f"{name} would be sent with characters that no header can hold",
                    way_out="Copy what is set for it anew, without line breaks.",
                )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the headers to the one request."""
        request.headers.update(self._headers)
        yield request

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no message may show."""
        return tuple(self._headers.values())


class BearerAuth(HeaderAuth):
    """Sends a key as `Authorization: Bearer`, with further headers that are no secret."""

    def __init__(self, key: str, headers: Mapping[str, str] | None = None) -> None:
        self._key = key.strip()
        super().__init__({"Authorization": f"Bearer {self._key}", **(headers or {})})

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key alone: a provider that repeats it in a message may leave out the word before it."""
        return (self._key,)


def require_safe_url(url: str, *, provider: str) -> str:
    """Returns `url` without a trailing slash, or raises ConfigurationError.

    Credentials travel in headers, so anything but HTTPS is refused unless the host is this machine.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    setting = f"sources.{provider}.base_url"
    if not parsed.host or parsed.scheme not in {"http", "https"} or parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError(
            f"{setting} is not an address", way_out="Write it as https://host, without credentials in it."
        )
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise ConfigurationError(
            f"{setting} ({parsed.host}) is not HTTPS",
            way_out="Use https://; plain http is only for this machine (127.0.0.1, ::1, localhost).",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listener(Protocol):
    """Who hears of requests; a source's journal."""

    def requested(self, left: int | None) -> None:
        """A request is sent, for the first time or again."""

    def retrying(self, endpoint: str, error: str, attempt: int, wait: float) -> None:
        """The attempt of this number has failed, and another one follows after so many seconds."""


@dataclass
class Client:
    """Asks one provider with one account's credentials, within a budget, and again where that can help.

    A client may be used by several threads at once. `sleep` is a parameter so that tests state waits instead of living
    through them.
    """

    provider: str
    base_url: str
    auth: HeaderAuth
    judge: Judge
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits.from_config)
    heard_by: Listener | None = None
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)

    def __post_init__(self) -> None:
        self.base_url = require_safe_url(self.base_url, provider=self.provider)
        self.requests_sent = 0
        self._lost_patience = False
        self._ends_at = time.monotonic() + self.limits.run
        self._lock = threading.Lock()
        self._lanes, self._in_flight, self._was_limited = threading.Condition(), 0, False
        # Redirects are not followed: no usage API documents one, and a key must not travel to where one points.
        self._http = keep_deadlines(
            httpx.Client(
                auth=self.auth,
                verify=_trusted(),
                trust_env=not is_loopback(httpx.URL(self.base_url).host),  # this machine is not behind its own proxy
                timeout=httpx.Timeout(self.limits.read, connect=self.limits.connect),
                follow_redirects=False,
                headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "meterhouse"},
            )
        )

    def close(self) -> None:
        """Closes the connection pool."""
        self._http.close()

    def get(self, endpoint: str, params: Params, *, judge: Judge | None = None) -> Any:
        """Returns the decoded JSON of `GET base_url + endpoint`; `judge` knows what else this endpoint's answer must have.

        Retries what may pass (see TransientError): exponential backoff with jitter, or what the provider asks for by
        `Retry-After`. A client whose patience has once ended tries each later request once: a host that is down costs
        one wait, not one wait a table.

        Raises:
            SourceError: one of the tree at the head of this module.
        """
        return self._request("GET", endpoint, judge, params=dict(params))

    def post(self, endpoint: str, body: Mapping[str, Any]) -> Any:
        """Returns the decoded JSON of `POST base_url + endpoint` with a JSON object, for questions that change nothing.

        Retries like `get`, so it is not for a call that must not happen twice.

        Raises:
            SourceError: one of the tree at the head of this module.
        """
        return self._request("POST", endpoint, None, json=dict(body))

    def _request(self, method: str, endpoint: str, judge: Judge | None, **content: Any) -> Any:
        if time.monotonic() >= self._ends_at:
            raise IncompleteAnswer(
                f"this run has been at work on the account for {self.limits.run:.0f} seconds, and is told to stop then",
                provider=self.provider,
                endpoint=endpoint,
                way_out="The next run goes on from where this one stopped; raise sources.http.run if it needs longer.",
            )
        with self._lane():
            return self._patiently(method, endpoint, judge, content)

    @contextmanager
    def _lane(self) -> Iterator[None]:
        """Side by side with other threads; one after the other as soon as the provider has said once that it is too much.

        Else they would use up each other's attempts: what is left for one would go to those that have not waited for it.
        """
        with self._lanes:
            self._lanes.wait_for(lambda: not (self._was_limited and self._in_flight))
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lanes:
                self._in_flight -= 1
                self._lanes.notify_all()

    def _patiently(self, method: str, endpoint: str, judge: Judge | None, content: Mapping[str, Any]) -> Any:
        self.budget.wait()  # before the deadline begins: with many threads and a low limit a turn is long in coming
        deadline = time.monotonic() + self.limits.total
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_pass),
            stop=tenacity.stop_after_attempt(1 if self._lost_patience else self.limits.attempts)
            | tenacity.stop_before_delay(self.limits.total),
            wait=_wait,
            sleep=self._pause,
            before_sleep=partial(self._tell_retry, endpoint),
            reraise=True,
        )
        try:
            return retrying(self._ask, method, endpoint, judge, content, deadline)
        except TransientError:
            self._lost_patience = True
            raise

    def _pause(self, seconds: float) -> None:
        self.sleep(seconds)
        self.budget.wait()

    def _tell_retry(self, endpoint: str, state: tenacity.RetryCallState) -> None:
        if self.heard_by is not None and state.outcome is not None and state.next_action is not None:
            error, wait = state.outcome.exception(), state.next_action.sleep
            self.heard_by.retrying(endpoint, str(error), state.attempt_number, wait)

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, TransientError) and (error.retry_after or 0) <= self.limits.total

    def _ask(self, method: str, endpoint: str, judge: Judge | None, content: Mapping[str, Any], deadline: float) -> Any:
        with self._lock:
            self.requests_sent += 1
        if self.heard_by is not None:
            self.heard_by.requested(self.budget.left())
        try:
            with until(deadline):
                answer = self._send(method, endpoint, content)
        except httpx.HTTPError as fault:
            raise Unreachable(
                self._redact(_in_words(fault)),
                provider=self.provider,
                endpoint=endpoint,
                way_out=f"Check the network and sources.{self.provider}.base_url, then run again.",
            ) from None  # the cause's repr holds the request, and with it the headers
        self.budget.observe(answer.headers)
        error = self.judge(answer) or _judge_by_status(answer) or (judge(answer) if judge else None)
        error = error or self._judge_by_clock(answer)
        if error is not None:
            self._was_limited = self._was_limited or isinstance(error, RateLimited)
            raise self._placed(error, endpoint, answer)
        return answer.payload

    def _send(self, method: str, endpoint: str, content: Mapping[str, Any]) -> Answer:
        with self._http.stream(method, self.base_url + endpoint, **content) as response:
            body = bytearray()
            for chunk in _decompressed(response):
                body += chunk
                if len(body) > self.limits.max_bytes:
                    raise RequestRejected(
                        f"the answer is larger than {self.limits.max_bytes} bytes",
                        provider=self.provider,
                        endpoint=endpoint,
                        status=response.status_code,
                        way_out="Raise sources.http.max_bytes if the provider really has that much to say.",
                    )
            try:
                payload = _decode_json(body)
            except (msgspec.DecodeError, ValueError):
                payload = None
            return Answer(response.status_code, response.headers, payload)

    def _judge_by_clock(self, answer: Answer) -> SourceError | None:
        """A clock that is behind would ask for a part and call it all; one ahead, call complete what still runs."""
        theirs = _http_date(answer.headers.get("date", ""))
        if theirs is None or "age" in answer.headers:  # a cache keeps the date of whoever filled it
            return None
        off = (datetime.now(UTC) - theirs).total_seconds()
        if abs(off) <= self.limits.clock_tolerance:
            return None
        return ClocksDisagree(
            f"this machine's clock is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} the provider's",
            way_out="Set it right, then run again; sources.http.clock_tolerance is how many seconds may lie between them.",
        )

    def _placed(self, error: SourceError, endpoint: str, answer: Answer) -> SourceError:
        """The same error, saying where it happened and how long the provider asks to wait."""
        placed = type(error)(
            self._redact(error.problem),
            way_out=error.way_out,
            provider=self.provider,
            endpoint=endpoint,
            status=answer.status,
        )
        if isinstance(placed, TransientError):
            placed.retry_after = retry_after(answer.headers, is_limited=answer.status == 429)
        return placed

    def _redact(self, text: str) -> str:
        for secret in sorted(self.auth.secrets, key=len, reverse=True):  # one may be part of another
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return " ".join(text.split())[:500]


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates to trust; reading them takes longer than all else that a client needs, so it is done once."""
    return httpx.create_ssl_context()


def _decompressed(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces that are small whatever was sent.

    httpx would make 64 MB of 64 KB of a gzip bomb, or 64 GB if it is packed twice, before it hands anything out.

    Raises:
        httpx.DecodingError: the body is packed in a way that was not asked for, or not as it says, or breaks off.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from response.iter_raw()
    elif encoding in {"gzip", "x-gzip"}:
        yield from _unpacked(response.iter_raw())
    else:
        raise httpx.DecodingError(f"the answer is packed as {encoding}, which was not asked for")


def _unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16 asks for gzip's frame
    try:
        for chunk in packed:
            rest = chunk
            while rest and not gzip.eof:
                yield gzip.decompress(rest, PIECE)
                rest = gzip.unconsumed_tail
    except zlib.error as fault:
        raise httpx.DecodingError(f"the answer cannot be unpacked ({fault})") from None
    if not gzip.eof:
        raise httpx.DecodingError("the packed answer is cut off")


def _decode_json(body: bytes | bytearray) -> Any:
    """The value that `body` is.

    Raises:
        ValueError: it is no JSON, or an object in it has two fields of one name, of which nobody can say which is meant.
    """
    value = _decode(body)
    # Looking at each object as it is read would take ten times as long, so the colons of the answer are counted, and those
    # of what it was read as, written again, which has one less for each field that was passed over. Where a colon of a text
    # may be written as \u003a, which would make up for it, only the slow way tells.
    if body.count(b":") != msgspec.json.encode(value).count(b":") or rb"\u003" in body:
        json.loads(body, object_pairs_hook=_require_distinct_names)
    return value


_decode = msgspec.json.Decoder(float_hook=decimal_from_text).decode


def _require_distinct_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("an object has two fields of one name")


def _judge_by_status(answer: Answer) -> SourceError | None:
    """What a status means where the provider says nothing more precise."""
    status = answer.status
    if status in {401, 403}:
        return CredentialsRejected("the key is not accepted", way_out="Correct the credentials, then run again.")
    if status == 429:
        return RateLimited("too many requests", way_out="Lower requests_per_minute, or run again later.")
    if status >= 500 or status == 408:
        return ServiceUnavailable("the provider has a fault of its own", way_out="Run again later.")
    if 300 <= status < 400:
        return RequestRejected("the provider redirects, which its usage API does not document", way_out="Check base_url.")
    if status >= 400:
        return RequestRejected(
            "the provider refuses the request", way_out="Check the settings of this source against its README."
        )
    if status != 200:
        return MalformedAnswer("no usage API documents this status", way_out="Run again later; check base_url.")
    if answer.payload is None:
        return MalformedAnswer(
            "the answer is not JSON (cut off, empty, a web page, or with two fields of one name)",
            way_out="Check base_url; if it is right, run again later.",
        )
    return None


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: as the provider asks, else 1, 2, 4 … 60 with up to a second of jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else None
    return asked if asked is not None else float(_backoff(state))


_backoff = tenacity.wait_exponential_jitter(initial=1, max=60, jitter=1)


def retry_after(headers: Mapping[str, str], *, is_limited: bool = False) -> float | None:
    """Seconds that the provider asks to wait, or None: `Retry-After-Ms`, or `Retry-After` in either of its forms.

    RFC 9110 §10.2.3. A date is read against the provider's own `Date` where it sends one, so that two clocks that disagree
    do no harm. Where requests were too many (`is_limited`), a bare `X-RateLimit-Reset` says the same.
    """
    with suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    value = headers.get("retry-after", "").strip()
    if not value:
        reset = seconds_until_reset(headers, time.time()) if is_limited else None
        return max(0.0, reset) if reset is not None else None
    try:
        return max(0.0, float(value))
    except ValueError:
        until = _http_date(value)
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _in_words(fault: httpx.HTTPError) -> str:
    detail = str(fault) or type(fault).__name__
    if isinstance(fault, httpx.ConnectTimeout | httpx.PoolTimeout):
        return f"no connection in time ({detail})"
    if isinstance(fault, httpx.ConnectError):
        return f"the host cannot be reached ({detail})"
    if isinstance(fault, httpx.TimeoutException):
        return f"no whole answer in time ({detail})"
    return f"the connection broke ({detail})"
