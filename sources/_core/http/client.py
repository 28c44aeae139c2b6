"""One HTTP client for all providers."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Protocol

import httpx
import msgspec
import tenacity

from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.errors import (
    ClockSkew,
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    TransientError,
    Unreachable,
)
from meterhouse.sources._core.http.auth import SHORTEST_SECRET, HeaderAuth, is_loopback, require_safe_url
from meterhouse.sources._core.http.decoding import decode_json, decompressed
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.http.retry import parse_http_date, retry_after, wait_before_retry
from meterhouse.sources._core.http.timeouts import deadline, enforce_deadlines

Params = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP answer: `payload` is the decoded JSON body, or None where the body is not JSON.

    JSON numbers with a fraction arrive as `decimal.Decimal`, from their text; money and credits never pass through float.
    """

    status: int
    headers: Mapping[str, str]
    payload: Any


ErrorFromResponse = Callable[[Response], SourceError | None]
"""What a provider knows about its own errors: an answer's error, or None where there is nothing to object to."""


class Listener(Protocol):
    """Who hears of requests; a source's journal."""

    def requested(self, left: int | None) -> None:
        """A request is sent, for the first time or again."""

    def retrying(self, endpoint: str, error: str, attempt: int, wait: float) -> None:
        """The attempt of this number has failed, and another one follows after so many seconds."""


@dataclass
class Client:
    """Asks one provider with one account's credentials, within a rate_limiter, and again where that can help.

    A client may be used by several threads at once. `sleep` is a parameter so that tests state waits instead of living
    through them.
    """

    provider: str
    base_url: str
    auth: HeaderAuth
    error_from_response: ErrorFromResponse
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    limits: Limits = field(default_factory=Limits.from_config)
    observer: Listener | None = None
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)

    def __post_init__(self) -> None:
        self.base_url = require_safe_url(self.base_url, provider=self.provider)
        self.requests_sent = 0
        self._lost_patience = False
        self._ends_at = time.monotonic() + self.limits.run
        self._lock = threading.Lock()
        self._lanes, self._in_flight, self._was_limited = threading.Condition(), 0, False
        # Redirects are not followed: no usage API documents one, and a key must not travel to where one points.
        self._http = enforce_deadlines(
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

    def get(self, endpoint: str, params: Params, *, error_from_response: ErrorFromResponse | None = None) -> Any:
        """Returns the decoded JSON of `GET base_url + endpoint`; `error_from_response` knows what else this endpoint's answer must have.

        Retries what may pass (see TransientError): exponential backoff with jitter, or what the provider asks for by
        `Retry-After`. A client whose patience has once ended tries each later request once: a host that is down costs
        one wait, not one wait a table.

        Raises:
            SourceError: one of the tree at the head of this module.
        """
        return self._request("GET", endpoint, error_from_response, params=dict(params))

    def post(self, endpoint: str, body: Mapping[str, Any]) -> Any:
        """Returns the decoded JSON of `POST base_url + endpoint` with a JSON object, for questions that change nothing.

        Retries like `get`, so it is not for a call that must not happen twice.

        Raises:
            SourceError: one of the tree at the head of this module.
        """
        return self._request("POST", endpoint, None, json=dict(body))

    def _request(self, method: str, endpoint: str, error_from_response: ErrorFromResponse | None, **content: Any) -> Any:
        if time.monotonic() >= self._ends_at:
            raise IncompleteResponse(
                f"this run has been at work on the account for {self.limits.run:.0f} seconds, and is told to stop then",
                provider=self.provider,
                endpoint=endpoint,
                hint="The next run goes on from where this one stopped; raise sources.http.run if it needs longer.",
            )
        with self._lane():
            return self._patiently(method, endpoint, error_from_response, content)

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

    def _patiently(
        self, method: str, endpoint: str, error_from_response: ErrorFromResponse | None, content: Mapping[str, Any]
    ) -> Any:
        self.rate_limiter.wait()  # before the deadline begins: with many threads and a low limit a turn is long in coming
        ends_at = time.monotonic() + self.limits.total
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_pass),
            stop=tenacity.stop_after_attempt(1 if self._lost_patience else self.limits.attempts)
            | tenacity.stop_before_delay(self.limits.total),
            wait=wait_before_retry,
            sleep=self._pause,
            before_sleep=partial(self._tell_retry, endpoint),
            reraise=True,
        )
        try:
            return retrying(self._ask, method, endpoint, error_from_response, content, ends_at)
        except TransientError:
            self._lost_patience = True
            raise

    def _pause(self, seconds: float) -> None:
        self.sleep(seconds)
        self.rate_limiter.wait()

    def _tell_retry(self, endpoint: str, state: tenacity.RetryCallState) -> None:
        if self.observer is not None and state.outcome is not None and state.next_action is not None:
            error, wait = state.outcome.exception(), state.next_action.sleep
            self.observer.retrying(endpoint, str(error), state.attempt_number, wait)

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, TransientError) and (error.retry_after or 0) <= self.limits.total

    def _ask(
        self,
        method: str,
        endpoint: str,
        error_from_response: ErrorFromResponse | None,
        content: Mapping[str, Any],
        ends_at: float,
    ) -> Any:
        with self._lock:
            self.requests_sent += 1
        if self.observer is not None:
            self.observer.requested(self.rate_limiter.left())
        try:
            with deadline(ends_at):
                answer = self._send(method, endpoint, content)
        except httpx.HTTPError as fault:
            raise Unreachable(
                self._redact(describe_transport_error(fault)),
                provider=self.provider,
                endpoint=endpoint,
                hint=f"Check the network and sources.{self.provider}.base_url, then run again.",
            ) from None  # the cause's repr holds the request, and with it the headers
        self.rate_limiter.observe(answer.headers)
        error = (
            self.error_from_response(answer)
            or error_from_status(answer)
            or (error_from_response(answer) if error_from_response else None)
        )
        error = error or self._error_from_clock(answer)
        if error is not None:
            self._was_limited = self._was_limited or isinstance(error, RateLimited)
            raise self._placed(error, endpoint, answer)
        return answer.payload

    def _send(self, method: str, endpoint: str, content: Mapping[str, Any]) -> Response:
        with self._http.stream(method, self.base_url + endpoint, **content) as response:
            body = bytearray()
            for chunk in decompressed(response):
                body += chunk
                if len(body) > self.limits.max_bytes:
                    raise RequestRejected(
                        f"the answer is larger than {self.limits.max_bytes} bytes",
                        provider=self.provider,
                        endpoint=endpoint,
                        status=response.status_code,
                        hint="Raise sources.http.max_bytes if the provider really has that much to say.",
                    )
            try:
                payload = decode_json(body)
            except (msgspec.DecodeError, ValueError):
                payload = None
            return Response(response.status_code, response.headers, payload)

    def _error_from_clock(self, answer: Response) -> SourceError | None:
        """A clock that is behind would ask for a part and call it all; one ahead, call complete what still runs."""
        theirs = parse_http_date(answer.headers.get("date", ""))
        if theirs is None or "age" in answer.headers:  # a cache keeps the date of whoever filled it
            return None
        off = (datetime.now(UTC) - theirs).total_seconds()
        if abs(off) <= self.limits.clock_tolerance:
            return None
        return ClockSkew(
            f"this machine's clock is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} the provider's",
            hint="Set it right, then run again; sources.http.clock_tolerance is how many seconds may lie between them.",
        )

    def _placed(self, error: SourceError, endpoint: str, answer: Response) -> SourceError:
        """The same error, saying where it happened and how long the provider asks to wait."""
        placed = type(error)(
            self._redact(error.problem),
            hint=error.hint,
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


def error_from_status(answer: Response) -> SourceError | None:
    """What a status means where the provider says nothing more precise."""
    status = answer.status
    if status in {401, 403}:
        return CredentialsRejected("the key is not accepted", hint="Correct the credentials, then run again.")
    if status == 429:
        return RateLimited("too many requests", hint="Lower requests_per_minute, or run again later.")
    if status >= 500 or status == 408:
        return ServiceUnavailable("the provider has a fault of its own", hint="Run again later.")
    if 300 <= status < 400:
        return RequestRejected("the provider redirects, which its usage API does not document", hint="Check base_url.")
    if status >= 400:
        return RequestRejected(
            "the provider refuses the request", hint="Check the settings of this source against its README."
        )
    if status != 200:
        return MalformedResponse("no usage API documents this status", hint="Run again later; check base_url.")
    if answer.payload is None:
        return MalformedResponse(
            "the answer is not JSON (cut off, empty, a web page, or with two fields of one name)",
            hint="Check base_url; if it is right, run again later.",
        )
    return None


def describe_transport_error(fault: httpx.HTTPError) -> str:
    detail = str(fault) or type(fault).__name__
    if isinstance(fault, httpx.ConnectTimeout | httpx.PoolTimeout):
        return f"no connection in time ({detail})"
    if isinstance(fault, httpx.ConnectError):
        return f"the host cannot be reached ({detail})"
    if isinstance(fault, httpx.TimeoutException):
        return f"no whole answer in time ({detail})"
    return f"the connection broke ({detail})"
