"""How many requests the accounts of one API key will send, and how long these take at the allowed rate."""

from dataclasses import dataclass, field
from threading import Lock

from meterhouse.sources._core.events import DurationEstimated, Observer, Place
from meterhouse.sources._core.http.rate_limit import RateLimiter

SHORT = 60.0
"""Seconds. A shorter duration is not announced."""

GROWTH = 1.2
"""An estimate is announced again when it has grown by a fifth."""


@dataclass
class RequestEstimate:
    """The requests of all accounts of one API key, which share its rate limit. Several threads may use it at once."""

    rate_limiter: RateLimiter
    observer: Observer
    _expected: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)
    _expected_before: int = field(default=0, init=False)
    """The number of requests that were expected at the last check for an announcement."""
    _tables: set[str] = field(default_factory=set, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def add(self, table: str, requests: int) -> None:
        """Adds `requests` that `table` will send."""
        with self._lock:
            self._tables.add(table)
            self._expected += requests

    def count_sent(self) -> None:
        """Counts a request that is sent."""
        with self._lock:
            self._sent += 1

    def announce(self, account: str) -> None:
        """Reports the duration of the remaining requests if it exceeds a minute, and again when it has grown."""
        with self._lock:
            if self._expected <= self._expected_before * GROWTH:
                return
            self._expected_before = self._expected
            remaining = max(0, self._expected - self._sent)
            table = next(iter(self._tables)) if len(self._tables) == 1 else "*"
        seconds = self.rate_limiter.seconds_for(remaining)
        if seconds > SHORT:
            self.observer(DurationEstimated(Place("scopix", account, table), remaining, seconds))
