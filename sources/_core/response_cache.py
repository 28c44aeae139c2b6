"""Responses that several tables share: the first table sends the request, the others wait and take the same response."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import date
from threading import Lock
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass
class _Cached(Generic[R]):
    response: R
    day: date
    readers: set[str] = field(default_factory=set)


@dataclass
class ResponseCache(Generic[R]):
    """Caches the last response to each request. Each reader gets it once.

    A second read by the same reader, or a read on another day, sends the request again, for the other readers, too.
    """

    _cached: dict[Hashable, _Cached[R]] = field(default_factory=dict, init=False)
    _locks: dict[Hashable, Lock] = field(default_factory=dict, init=False)

    def take(self, request: Hashable, reader: str, day: date, send: Callable[[], R]) -> R:
        """The response to `request`; calls `send` if `reader` has taken the last one, or if it is not of `day`.

        Raises:
            SourceError: `send` raised it; the next reader sends the request again.
        """
        with self._locks.setdefault(request, Lock()):
            cached = self._cached.get(request)
            if cached is None or cached.day != day or reader in cached.readers:
                cached = self._cached[request] = _Cached(send(), day)
            cached.readers.add(reader)
            return cached.response
