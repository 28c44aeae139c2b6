"""Estimates how many requests a run will send, and announces how long they take if that is more than a minute."""

from dataclasses import dataclass, field
from threading import Lock

from meterhouse.sources._core.events import DurationEstimated, Observer, Place
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.schema import Table

MINUTE = 60.0
GROWTH = 1.2
"""An estimate is announced again once it has grown by a fifth."""


@dataclass
class RequestEstimate:
    """The requests of all accounts with one API key: they share its rate limit, and so its waits.

    Tables add their requests before the first table fetches; lists add theirs when their first page shows their length.
    Several threads may use an estimate at once.
    """

    rate_limiter: RateLimiter
    observer: Observer
    _expected: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)
    _announced: int = field(default=0, init=False)
    """`_expected` at the last announcement, or at the last check that found the run too short for one."""
    _tables: set[str] = field(default_factory=set, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def add(self, table: Table, requests: int) -> None:
        """Adds requests that `table` will send."""
        with self._lock:
            self._tables.add(table.name)
            self._expected += requests

    def count_sent(self) -> None:
        """Counts a request that is about to be sent."""
        with self._lock:
            self._sent += 1

    def announce(self, account: str) -> None:
        """Reports the duration of the remaining requests: before the first one, and again once the estimate has grown."""
        with self._lock:
            if self._expected <= self._announced * GROWTH:
                return
            self._announced = self._expected
            remaining = max(0, self._expected - self._sent)
            table = next(iter(self._tables)) if len(self._tables) == 1 else "*"
        seconds = self.rate_limiter.seconds_for(remaining)
        if seconds > MINUTE:
            self.observer(DurationEstimated(Place("scopix", account, table), remaining, seconds))
