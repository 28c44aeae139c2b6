"""A rate limiter: a request waits until the provider's limit allows it, instead of running into a 429."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

WINDOW = 61.0
"""Seconds over which requests are counted: a second more than a minute. The provider counts arrivals and we count
departures. Without the extra second, a slow first request and a quick last one could arrive within one minute."""

LONGEST_PAUSE = 300.0
"""Seconds. An `X-RateLimit-Reset` further away than this is ignored."""


@dataclass
class RateLimiter:
    """At most `requests_per_minute` requests in any minute, for any number of threads; None means no limit.

    The first `requests_per_minute` requests go out at once, later ones as the first ones become a minute old. The
    provider's own headers take precedence: until `X-RateLimit-Reset`, no more requests go out than `X-RateLimit-Remaining`
    allows.

    The limiter does not know the requests that an earlier process sent in the last minute. If they were many, the first
    responses show it in their headers, or in a 429 that the client waits out.
    """

    requests_per_minute: int | None = None
    clock: Callable[[], float] = field(default_factory=lambda: time.monotonic)
    wall_clock: Callable[[], float] = field(default_factory=lambda: time.time)
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    _turns: deque[float] = field(default_factory=deque, init=False)
    _remaining: int = field(default=0, init=False)
    _reset_at: float = field(default=0.0, init=False)
    _updates: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wait(self, before_sleep: Callable[[float], None] = lambda _: None) -> None:
        """Blocks until the next request may be sent. `before_sleep` gets the seconds of each sleep, and may raise."""
        delay, updates = self._take_turn()
        while delay > 0:
            before_sleep(delay)
            self.sleep(delay)
            delay, updates = self._check_again(updates)

    def seconds_for(self, requests: int) -> float:
        """Seconds that `requests` further requests will wait for the limit."""
        with self._lock:
            now = self.clock()
            turns, turn = self._turns.copy(), now
            for number in range(requests):
                turn = self._next_turn(turns, self._earliest(now, self._remaining - number))
            return turn - now

    def remaining(self) -> int | None:
        """How many requests may go out now without a wait; None if no limit is known."""
        with self._lock:
            now = self.clock()
            stated = max(0, self._remaining) if now < self._reset_at else None
            if self.requests_per_minute is None:
                return stated
            recent = sum(1 for turn in self._turns if turn + WINDOW > now)
            remaining = max(0, self.requests_per_minute - recent)
            return remaining if stated is None else min(remaining, stated)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Lowers the limit to what the provider's headers allow (`X-RateLimit-Limit`, `-Remaining`, `-Reset`)."""
        limit = _number(headers.get("x-ratelimit-limit"))
        remaining = _number(headers.get("x-ratelimit-remaining"))
        with self._lock:
            if limit is not None and limit >= 1 and self.requests_per_minute is not None:
                self.requests_per_minute = min(self.requests_per_minute, int(limit))
            pause = seconds_until_reset(headers, self.wall_clock())
            if remaining is not None and pause is not None and 0 < pause <= LONGEST_PAUSE:
                # Responses to requests that went out together arrive in any order, so the lowest number counts.
                now, stated = self.clock(), max(0, int(remaining))
                self._remaining = min(self._remaining, stated) if now < self._reset_at else stated
                self._reset_at = now + pause
                self._updates += 1

    def _take_turn(self) -> tuple[float, int]:
        """Seconds to wait, and the number of updates from the provider's headers so far."""
        with self._lock:
            now = self.clock()
            turn = self._next_turn(self._turns, self._earliest(now, self._remaining))
            self._remaining -= 1
            return turn - now, self._updates

    def _check_again(self, updates: int) -> tuple[float, int]:
        """The same after a sleep: meanwhile, the response to another thread may have shown that no requests remain."""
        with self._lock:
            if updates == self._updates:
                return 0.0, updates
            now = self.clock()
            earliest = self._earliest(now, self._remaining)
            self._remaining -= 1
            return earliest - now, self._updates

    def _earliest(self, now: float, remaining: int) -> float:
        return self._reset_at if remaining < 1 and now < self._reset_at else now

    def _next_turn(self, turns: deque[float], earliest: float) -> float:
        """The time at which the next request may go; adds it to `turns`."""
        turn = earliest
        if self.requests_per_minute is not None:
            while len(turns) >= self.requests_per_minute:
                turn = max(turn, turns.popleft() + WINDOW)
            turns.append(turn)
        return turn


def seconds_until_reset(headers: Mapping[str, str], wall_time: float) -> float | None:
    """Seconds until `X-RateLimit-Reset`, or None. Both forms are in use: seconds from now, and seconds since 1970."""
    reset = _number(headers.get("x-ratelimit-reset"))
    return reset - wall_time if reset is not None and reset > 1_000_000_000 else reset


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
