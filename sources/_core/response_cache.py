"""Answers that several tables are made of: whichever table comes first asks, the others wait for it and take the same."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import date
from threading import Lock
from typing import Generic, TypeVar

A = TypeVar("A")


@dataclass
class _Kept(Generic[A]):
    answer: A
    day: date
    readers: set[str] = field(default_factory=set)


@dataclass
class ResponseCache(Generic[A]):
    """The last answer to each question, for those who have not read it yet.

    Whoever reads a second time wants to know anew, and so does whoever reads on another day; it asks for the others, too.
    """

    _kept: dict[Hashable, _Kept[A]] = field(default_factory=dict, init=False)
    _locks: dict[Hashable, Lock] = field(default_factory=dict, init=False)

    def take(self, question: Hashable, reader: str, day: date, ask: Callable[[], A]) -> A:
        """The answer to `question`, which `ask` asks where `reader` has read the last one, or it is not of `day`.

        Raises:
            SourceError: whatever `ask` raises; the next reader asks again then.
        """
        with self._locks.setdefault(question, Lock()):
            kept = self._kept.get(question)
            if kept is None or kept.day != day or reader in kept.readers:
                kept = self._kept[question] = _Kept(ask(), day)
            kept.readers.add(reader)
            return kept.answer
