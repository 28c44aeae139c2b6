"""A rate budget that is known beforehand: a request waits for its turn, so that the provider never has to say 429."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

WINDOW = 61.0
"""Seconds over which requests are counted. A second more than a minute: the provider counts arrivals, we count departures,
and a slow first request followed by a quick last one must not look like one too many."""

LONGEST_PAUSE = 300.0
"""Seconds. A `X-RateLimit-Reset` further away than this is not believed."""


@dataclass
class Budget:
    """At most `requests_per_minute` requests in any minute, whatever the number of threads; None is no limit.

    A full budget goes out at once (the burst), later requests as the first ones become a minute old (the pace).
    """

    requests_per_minute: int | None = None
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _turns: deque[float] = field(default_factory=deque, init=False)
    _not_before: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wait(self) -> None:
        """Returns when the next request may be sent."""
        delay = self._take_turn()
        if delay > 0:
            self.sleep(delay)

    def seconds_for(self, requests: int) -> float:
        """How long so many requests take from now on, if the provider answers at once."""
        with self._lock:
            now = self.clock()
            turns, turn = self._turns.copy(), now
            for _ in range(requests):
                turn = self._next_turn(turns, now)
            return turn - now

    def observe(self, headers: Mapping[str, str]) -> None:
        """Lowers the budget to what the provider says is left (`X-RateLimit-Limit`, `-Remaining`, `-Reset`)."""
        limit = _number(headers.get("x-ratelimit-limit"))
        remaining = _number(headers.get("x-ratelimit-remaining"))
        reset = _number(headers.get("x-ratelimit-reset"))
        with self._lock:
            if limit is not None and limit >= 1 and self.requests_per_minute is not None:
                self.requests_per_minute = min(self.requests_per_minute, int(limit))
            if remaining is not None and remaining < 1 and reset is not None:
                # Both forms are in use: seconds from now, and a point in time since 1970.
                pause = reset - self.wall_clock() if reset > 1_000_000_000 else reset
                if 0 < pause <= LONGEST_PAUSE:
                    self._not_before = max(self._not_before, self.clock() + pause)

    def _take_turn(self) -> float:
        with self._lock:
            now = self.clock()
            return self._next_turn(self._turns, now) - now

    def _next_turn(self, turns: deque[float], now: float) -> float:
        """When the next request may go, which is added to `turns`."""
        turn = max(now, self._not_before)
        if self.requests_per_minute is not None:
            while len(turns) >= self.requests_per_minute:
                turn = max(turn, turns.popleft() + WINDOW)
            turns.append(turn)
        return turn


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
