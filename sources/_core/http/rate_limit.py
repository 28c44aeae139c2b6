"""A rate rate_limiter that is known beforehand: a request waits for its turn, so that the provider never has to say 429."""

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
class RateLimiter:
    """At most `requests_per_minute` requests in any minute, whatever the number of threads; None is no limit.

    A full rate_limiter goes out at once (the burst), later requests as the first ones become a minute old (the pace). What the
    provider says is left goes before: until its reset no more than that many requests go out.

    What an earlier process has sent in the last minute is not known. If it was much, the first answers say so by their
    headers, or by a 429 that is waited out.
    """

    requests_per_minute: int | None = None
    clock: Callable[[], float] = field(default_factory=lambda: time.monotonic)
    wall_clock: Callable[[], float] = field(default_factory=lambda: time.time)
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    _turns: deque[float] = field(default_factory=deque, init=False)
    _left: int = field(default=0, init=False)
    _reset_at: float = field(default=0.0, init=False)
    _told: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wait(self) -> None:
        """Returns when the next request may be sent."""
        delay, told = self._take_turn()
        while delay > 0:
            self.sleep(delay)
            delay, told = self._look_again(told)

    def seconds_for(self, requests: int) -> float:
        """How long so many requests take from now on, if the provider answers at once."""
        with self._lock:
            now = self.clock()
            turns, turn = self._turns.copy(), now
            for number in range(requests):
                turn = self._next_turn(turns, self._earliest(now, self._left - number))
            return turn - now

    def left(self) -> int | None:
        """How many requests may go out now without waiting; None where no limit is known."""
        with self._lock:
            now = self.clock()
            told = max(0, self._left) if now < self._reset_at else None
            if self.requests_per_minute is None:
                return told
            recent = sum(1 for turn in self._turns if turn + WINDOW > now)
            left = max(0, self.requests_per_minute - recent)
            return left if told is None else min(left, told)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Lowers the rate_limiter to what the provider says is left (`X-RateLimit-Limit`, `-Remaining`, `-Reset`)."""
        limit = _number(headers.get("x-ratelimit-limit"))
        remaining = _number(headers.get("x-ratelimit-remaining"))
        with self._lock:
            if limit is not None and limit >= 1 and self.requests_per_minute is not None:
                self.requests_per_minute = min(self.requests_per_minute, int(limit))
            pause = seconds_until_reset(headers, self.wall_clock())
            if remaining is not None and pause is not None and 0 < pause <= LONGEST_PAUSE:
                # The answers to requests that went out together come in any order: the least that one tells holds.
                now, left = self.clock(), max(0, int(remaining))
                self._left = min(self._left, left) if now < self._reset_at else left
                self._reset_at = now + pause
                self._told += 1

    def _take_turn(self) -> tuple[float, int]:
        """Seconds to wait, and how often the provider has told what is left until now."""
        with self._lock:
            now = self.clock()
            turn = self._next_turn(self._turns, self._earliest(now, self._left))
            self._left -= 1
            return turn - now, self._told

    def _look_again(self, told: int) -> tuple[float, int]:
        """The same after a sleep: others may have been told meanwhile that nothing is left."""
        with self._lock:
            if told == self._told:
                return 0.0, told
            now = self.clock()
            earliest = self._earliest(now, self._left)
            self._left -= 1
            return earliest - now, self._told

    def _earliest(self, now: float, left: int) -> float:
        return self._reset_at if left < 1 and now < self._reset_at else now

    def _next_turn(self, turns: deque[float], earliest: float) -> float:
        """When the next request may go, which is added to `turns`."""
        turn = earliest
        if self.requests_per_minute is not None:
            while len(turns) >= self.requests_per_minute:
                turn = max(turn, turns.popleft() + WINDOW)
            turns.append(turn)
        return turn


def seconds_until_reset(headers: Mapping[str, str], wall_time: float) -> float | None:
    """Seconds until `X-RateLimit-Reset`, or None. Both forms are in use: seconds from now, and a time since 1970."""
    reset = _number(headers.get("x-ratelimit-reset"))
    return reset - wall_time if reset is not None and reset > 1_000_000_000 else reset


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
