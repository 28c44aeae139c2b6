"""One HTTP client for all providers."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import msgspec
import tenacity

from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.errors import (
    ConfigurationError,
    CredentialsRejected,
    IncompleteResponse,
    RateLimited,
    RequestRejected,
    SourceError,
    TransientError,
)
from meterhouse.sources._core.events import (
    LONG_WAIT,
    Observer,
    RequestDelayed,
    RequestRetried,
    RequestSent,
    current_place,
    fail_fast,
)
from meterhouse.sources._core.http.auth import SHORTEST_SECRET, HeaderAuth, require_safe_url
from meterhouse.sources._core.http.common_errors import error_from_clock, error_from_status
from meterhouse.sources._core.http.decoding import decode_json, decompressed
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.http.retry import retry_after, wait_before_retry
from meterhouse.sources._core.http.timeouts import deadline
from meterhouse.sources._core.http.transport import error_from_transport, open_client

REPORT_INTERVAL = 600.0
"""Seconds after which a wait of the same length is reported again."""

Params = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response: `payload` is the decoded JSON body, or None for a body that is not JSON.

    JSON numbers with a fraction arrive as `decimal.Decimal`, from their text; money and credits never pass through float.
    """

    status: int
    headers: Mapping[str, str]
    payload: Any


ErrorFromResponse = Callable[[Response], SourceError | None]
"""Maps a response to an error, or None."""


@dataclass
class Client:
    """Sends requests to one provider with one account's credentials: rate limited, and retried where that can help.

    Several threads may use a client at once. `sleep` is a parameter, so that tests do not wait. `section` is the section of
    the configuration that has the account's credentials; an error about them names it.
    """

    provider: str
    base_url: str
    auth: HeaderAuth
    error_from_response: ErrorFromResponse
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    limits: Limits = field(default_factory=Limits.from_config)
    observer: Observer = fail_fast
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    section: str = ""

    def __post_init__(self) -> None:
        self.base_url = require_safe_url(self.base_url, provider=self.provider)
        self.requests_sent = 0
        self._retries_exhausted = False
        self._ends_at = time.monotonic() + self.limits.run
        self._lock = threading.Lock()
        self._lanes, self._in_flight, self._was_limited = threading.Condition(), 0, False
        self._reported_wait, self._reported_at = 0.0, 0.0
        self._http: httpx.Client | None = None

    def close(self) -> None:
        """Closes the connection pool."""
        if self._http is not None:
            self._http.close()

    def get(self, endpoint: str, params: Params, *, error_from_response: ErrorFromResponse | None = None) -> Any:
        """Returns the decoded JSON of `GET base_url + endpoint`.

        Retries transient errors (see TransientError): with exponential backoff and jitter, or after the time that the
        provider asks for by `Retry-After`. Once the retries of a request are exhausted, each later request is tried once:
        a host that is down costs one wait, not one wait per table.

        Args:
            endpoint: the path below the base URL.
            params: the query; a sequence repeats its parameter.
            error_from_response: checks that this endpoint needs beyond those of the provider.

        Raises:
            SourceError: see `errors`.
        """
        return self._request("GET", endpoint, error_from_response, params=dict(params))

    def post(self, endpoint: str, body: Mapping[str, Any]) -> Any:
        """Returns the decoded JSON of `POST base_url + endpoint` with a JSON object, for requests that change nothing.

        Retries like `get`, so it does not suit a request that must not happen twice.

        Raises:
            SourceError: see `errors`.
        """
        return self._request("POST", endpoint, None, json=dict(body))

    def _request(self, method: str, endpoint: str, error_from_response: ErrorFromResponse | None, **content: Any) -> Any:
        with self._lane():
            self._require_time(endpoint)
            return self._send_with_retries(method, endpoint, error_from_response, content)

    def _require_time(self, endpoint: str, wait: float = 0.0) -> None:
        """Raises IncompleteResponse if the run's limit for the account ends within `wait` seconds."""
        if time.monotonic() + wait >= self._ends_at:
            limit = f"limit of {self.limits.run:.0f} seconds"
            raise IncompleteResponse(
                f"the next request would have to wait {wait:.0f} seconds, beyond this run's {limit} for the account"
                if wait
                else f"this run has spent its {limit} on the account",
                provider=self.provider,
                endpoint=endpoint,
                hint="The next run continues where this one stopped; raise sources.http.run if a run needs longer.",
            )

    @contextmanager
    def _lane(self) -> Iterator[None]:
        """Lets threads send side by side until the provider limits one of them; then one after the other.

        Otherwise other threads would use the quota that a waiting thread is about to use, and its retries would fail.
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

    def _send_with_retries(
        self, method: str, endpoint: str, error_from_response: ErrorFromResponse | None, content: Mapping[str, Any]
    ) -> Any:
        before_sleep = partial(self._before_delay, endpoint)
        self.rate_limiter.wait(before_sleep)  # before the deadline begins: with many threads and a low limit it is long
        ends_at = time.monotonic() + self.limits.total
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_pass),
            stop=tenacity.stop_after_attempt(1 if self._retries_exhausted else self.limits.attempts)
            | tenacity.stop_before_delay(self.limits.total),
            wait=wait_before_retry,
            sleep=partial(self._pause, endpoint),
            before_sleep=partial(self._report_retry, endpoint),
            reraise=True,
        )
        try:
            return retrying(self._send_once, method, endpoint, error_from_response, content, ends_at)
        except TransientError:
            self._retries_exhausted = True
            raise

    def _pause(self, endpoint: str, seconds: float) -> None:
        self._require_time(endpoint, seconds)
        self.sleep(seconds)
        self.rate_limiter.wait(partial(self._before_delay, endpoint))

    def _before_delay(self, endpoint: str, wait: float) -> None:
        """Reports a long wait for the rate limit; one that the run's limit does not allow is an error at once."""
        self._require_time(endpoint, wait)
        with self._lock:
            now = time.monotonic()
            if wait < LONG_WAIT or (wait <= self._reported_wait and now < self._reported_at + REPORT_INTERVAL):
                return
            self._reported_wait, self._reported_at = wait, now
        self.observer(RequestDelayed(current_place(self.provider), wait, self.rate_limiter.requests_per_minute))

    def _report_retry(self, endpoint: str, state: tenacity.RetryCallState) -> None:
        if state.outcome is not None and state.next_action is not None:
            error, wait = str(state.outcome.exception()), state.next_action.sleep
            self.observer(RequestRetried(current_place(self.provider), endpoint, error, state.attempt_number, wait))

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, TransientError) and (error.retry_after or 0) <= self.limits.total

    def _send_once(
        self,
        method: str,
        endpoint: str,
        error_from_response: ErrorFromResponse | None,
        content: Mapping[str, Any],
        ends_at: float,
    ) -> Any:
        connections = self._connections()
        with self._lock:
            self.requests_sent += 1
        self.observer(RequestSent(current_place(self.provider), self.rate_limiter.remaining()))
        try:
            with deadline(ends_at):
                response = self._exchange(connections, method, endpoint, content)
        except httpx.HTTPError as error:
            # The cause's repr holds the request, and with it the headers.
            raise self._with_place(error_from_transport(error, self.provider), endpoint) from None
        self.rate_limiter.observe(response.headers)
        problem = (
            self.error_from_response(response)
            or error_from_status(response.status, is_json=response.payload is not None)
            or (error_from_response(response) if error_from_response else None)
            or error_from_clock(response.headers, self.limits.clock_tolerance)
        )
        if problem is not None:
            self._was_limited = self._was_limited or isinstance(problem, RateLimited)
            raise self._with_place(problem, endpoint, response)
        return response.payload

    def _connections(self) -> httpx.Client:
        """The connection pool. The first request opens it, so that an error concerns one account, not the whole run."""
        with self._lock:
            if self._http is None:
                try:
                    self._http = open_client(
                        self.base_url,
                        auth=self.auth,
                        timeout=httpx.Timeout(self.limits.read, connect=self.limits.connect),
                        headers={
                            "Accept": "application/json",
                            "Accept-Encoding": "gzip",
                            "User-Agent": "meterhouse",
                        },
                    )
                except ConfigurationError as error:
                    raise ConfigurationError(error.problem, hint=error.hint, provider=self.provider) from None
            return self._http

    def _exchange(self, connections: httpx.Client, method: str, endpoint: str, content: Mapping[str, Any]) -> Response:
        with connections.stream(method, self.base_url + endpoint, **content) as response:
            body = bytearray()
            for chunk in decompressed(response):
                body += chunk
                if len(body) > self.limits.max_bytes:
                    raise RequestRejected(
                        f"the response is larger than {self.limits.max_bytes} bytes",
                        provider=self.provider,
                        endpoint=endpoint,
                        status=response.status_code,
                        hint="Raise sources.http.max_bytes if responses of this size are right.",
                    )
            try:
                payload = decode_json(body)
            except (msgspec.DecodeError, ValueError, RecursionError):
                payload = None
            return Response(response.status_code, response.headers, payload)

    def _with_place(self, error: SourceError, endpoint: str, response: Response | None = None) -> SourceError:
        """The same error with provider, endpoint, status, the account's section, and the wait that the provider asks for."""
        names_section = isinstance(error, CredentialsRejected) and self.section
        placed = type(error)(
            self._redact(error.problem),
            hint=error.hint.replace(f"sources.{self.provider}", self.section) if names_section else error.hint,
            provider=self.provider,
            endpoint=endpoint,
            status=response.status if response else None,
        )
        if response and isinstance(placed, TransientError):
            placed.retry_after = retry_after(response.headers, is_limited=response.status == 429)
        return placed

    def _redact(self, text: str) -> str:
        for secret in sorted(self.auth.secrets, key=len, reverse=True):  # one may be part of another
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return " ".join(text.split())[:500]
