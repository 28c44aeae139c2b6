"""What a source reports while it works: frozen events, passed to one observer.

A source in your own dlt pipeline needs no observer: `fail_fast` ignores everything but a failure, which it raises, so that
dlt discards the load package and nothing changes. `meterhouse run` passes an observer that draws progress, writes the log
and collects failures, so that an account that fails does not stop the others.

Tables are read in several threads, so an observer is called by several threads at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from meterhouse.sources._core.errors import SourceError
from meterhouse.sources._core.windows import Window


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happens: one account's table. Both are '' for a request without a table, as in a credentials check."""

    provider: str
    account: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class RequestSent:
    """A request is about to be sent, for the first time or again; `remaining` more may follow at once (None: no limit)."""

    place: Place
    remaining: int | None


@dataclass(frozen=True, slots=True)
class RequestRetried:
    """Attempt number `attempt` failed with `error`; the next one follows after `wait` seconds."""

    place: Place
    endpoint: str
    error: str
    attempt: int
    wait: float


LONG_WAIT = 10.0
"""Seconds. Longer waits are announced."""


@dataclass(frozen=True, slots=True)
class RequestDelayed:
    """The next request waits `wait` seconds for the rate limit: `requests_per_minute`, or the provider's own (None).

    Reported for long waits, unless one at least as long was reported in the last ten minutes.
    """

    place: Place
    wait: float
    requests_per_minute: int | None


@dataclass(frozen=True, slots=True)
class WindowsPlanned:
    """The run will request `window`, in one request or several."""

    place: Place
    window: Window


@dataclass(frozen=True, slots=True)
class WindowRequested:
    """The run requests `window` now."""

    place: Place
    window: Window


@dataclass(frozen=True, slots=True)
class WindowFetched:
    """`window` was read completely: `rows` rows of one account's table."""

    place: Place
    window: Window
    rows: int


@dataclass(frozen=True, slots=True)
class WindowMissed:
    """The API no longer returns `window`, and no earlier run loaded it."""

    place: Place
    window: Window


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """The requests for one account's table took `seconds`, waits and retries included; reported after each fetch."""

    place: Place
    seconds: float


@dataclass(frozen=True, slots=True)
class DurationEstimated:
    """`requests` more requests will take about `seconds` at the allowed rate; table `*` stands for several tables."""

    place: Place
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A window could not be read. If the observer returns, the next partition is read; if it raises, the extract ends."""

    place: Place
    error: SourceError


Event = (
    RequestSent
    | RequestRetried
    | RequestDelayed
    | WindowsPlanned
    | WindowRequested
    | WindowFetched
    | WindowMissed
    | TimeSpent
    | DurationEstimated
    | FetchFailed
)
Observer = Callable[[Event], None]


def fail_fast(event: Event) -> None:
    """The default observer: raises the error of a failure, and ignores every other event."""
    if isinstance(event, FetchFailed):
        raise event.error


_place: ContextVar[Place | None] = ContextVar("place", default=None)


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Attributes the requests that this thread sends in the block to `place`."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def current_place(provider: str) -> Place:
    """The place that this thread fetches for; outside of `at`, the provider alone."""
    return _place.get() or Place(provider)
