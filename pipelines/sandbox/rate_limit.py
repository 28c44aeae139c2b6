"""A limit on requests a minute, counted in a sliding window."""

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Admission:
    """The state of a key's limit after a request.

    Attributes:
        admitted: whether the request is within the limit.
        remaining: how many more requests the minute admits.
        free_at: when the oldest request in the window leaves it.
    """

    admitted: bool
    remaining: int
    free_at: timedelta


@dataclass
class SlidingWindow:
    """The requests of the last minute, by key. Times are counted from any fixed moment."""

    _admitted: dict[Hashable, deque[timedelta]] = field(default_factory=lambda: defaultdict(deque), init=False)

    def admit(self, key: Hashable, limit: int, now: timedelta) -> Admission:
        """Admits and counts a request, unless it exceeds the limit."""
        times = self._admitted[key]
        while times and times[0] <= now - _MINUTE:
            times.popleft()
        admitted = len(times) < limit
        if admitted:
            times.append(now)
        return Admission(admitted, limit - len(times), times[0] + _MINUTE)
