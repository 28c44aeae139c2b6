"""The book of usage: what Reducto has counted, and what a test makes it say instead."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from meterhouse.pipelines.sandbox.reducto.fixtures import CREDENTIALS, Day, Figures, Series, World

_DAY = timedelta(days=1)
_DAYS_KEPT = 8192
DEFAULT = CREDENTIALS[0].org_ids[0]
"""The organisation that is meant where none is named."""

DayLike = date | str
"""A UTC day: a date, or ISO 8601 text of one (a time after it is passed over)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one organisation used on one day; `credits` is a decimal, its text, or None where the export shows none."""

    date: DayLike
    product: str = "parse"
    feature: str = "standard_page"
    api_key: str = "production"
    file_type: str = "pdf"
    credits: Decimal | int | str | None = 1
    requests: int = 1
    org_id: str = DEFAULT


@dataclass(frozen=True, slots=True)
class _Edit:
    """A change of what the vendor says of the past; `change` gives the new figures of old ones, None to take them away."""

    start: date
    end: date
    match: Mapping[str, str]
    change: Callable[[Figures], Figures | None]

    def apply(self, org_id: str, day: date, used: Day) -> None:
        if not self.start <= day < self.end or self.match.get("org_id", org_id) != org_id:
            return
        for series in [series for series in used if _matches(series, self.match)]:
            figures = self.change(used[series])
            if figures is not None:
                used[series] = figures
            else:
                del used[series]


class UsageBook:
    """What every organisation used on every day up to now; safe to change while the server answers.

    The usage of the seed's world is the vendor's truth until `set` replaces it. Today counts as far as it has run, to the
    minute; days to come hold nothing. What is matched is named as in `Usage`: `org_id`, `product`, `feature`, `api_key`,
    `file_type`.
    """

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self._world = world
        self._clock = clock
        self._lock = threading.RLock()
        self._set: dict[tuple[str, date], Day] | None = None
        self._edits: list[_Edit] = []
        self._kept: OrderedDict[tuple[str, date], Day] = OrderedDict()

    def now(self) -> datetime:
        """This moment, in UTC, as the sandbox's clock has it."""
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError(f"the sandbox's clock gave {now!r}, a time without a timezone")
        return now.astimezone(UTC)

    def set(self, rows: Iterable[Usage | Mapping[str, Any]]) -> None:
        """Replaces the world with exactly these rows, until `reset`; what `restate` and `vanish` did is forgotten.

        Args:
            rows: `Usage`, or mappings with its fields. Rows of one organisation, day and series add up.

        Raises:
            ValueError: a date is none.
        """
        book: dict[tuple[str, date], Day] = {}
        for given in rows:
            row = given if isinstance(given, Usage) else Usage(**given)
            used = book.setdefault((row.org_id, as_day(row.date)), {})
            series = Series(row.product, row.feature, row.api_key, row.file_type)
            figures = Figures(None if row.credits is None else Decimal(row.credits), row.requests)
            used[series] = added(used[series], figures) if series in used else figures
        with self._lock:
            self._set, self._edits = book, []
            self._kept.clear()

    def restate(
        self,
        start: DayLike,
        end: DayLike | None = None,
        *,
        factor: Decimal | int | str | None = None,
        credits: Decimal | int | str | None = None,  # noqa: A002 - as the API names it
        requests: int | None = None,
        **match: str,
    ) -> None:
        """Makes the vendor count anew what matches in [start, end).

        Args:
            start: first day.
            end: the day after the last; None for the one day `start`.
            factor: what the old figures are multiplied by, requests rounded down; or
            credits: the new credits of every matching day and series, and
            requests: the new number of requests.
            **match: only of this product and so on.

        Raises:
            ValueError: nothing or both ways are given, or the window is empty.
        """
        if (factor is None) == (credits is None and requests is None):
            raise ValueError("restate takes either a factor or credits and requests")

        def change(old: Figures) -> Figures:
            if factor is not None:
                by = Decimal(factor)
                return Figures(None if old.credits is None else old.credits * by, int(old.requests * by))
            return Figures(
                old.credits if credits is None else Decimal(credits), old.requests if requests is None else requests
            )

        self._edit(start, end, change, match)

    def vanish(self, start: DayLike, end: DayLike | None = None, **match: str) -> None:
        """Withdraws what matches in [start, end); arguments as of `restate`."""
        self._edit(start, end, lambda _: None, match)

    def reset(self) -> None:
        """Back to the seed's world, as if nothing had been set, restated or withdrawn."""
        with self._lock:
            self._set, self._edits = None, []
            self._kept.clear()

    def total(
        self, start: DayLike | None = None, end: DayLike | None = None, *, org_id: str = DEFAULT, **match: str
    ) -> Figures:
        """Credits and requests of one organisation in [start, end), up to now; None for no bound."""
        total = Figures(Decimal(0), 0)
        for _, used in self.days(org_id, start, end):
            for series, figures in used.items():
                if _matches(series, match):
                    total = Figures(
                        (total.credits or 0) + (figures.credits or Decimal(0)), total.requests + figures.requests
                    )
        return total

    def rows(self, start: DayLike | None = None, end: DayLike | None = None, *, org_id: str = DEFAULT) -> list[Usage]:
        """Every day and series of one organisation in [start, end), up to now: what `set` takes."""
        return [
            Usage(day, *series, *figures, org_id=org_id)
            for day, used in self.days(org_id, start, end)
            for series, figures in sorted(used.items())
        ]

    def days(self, org_id: str, start: DayLike | None, end: DayLike | None) -> Iterator[tuple[date, Day]]:
        """The days in [start, end) that hold usage, in order, none of them after today."""
        with self._lock:
            now = self.now()
            first, last = self._span(org_id)
            day = max(as_day(start), first) if start is not None else first
            stop = min(as_day(end) if end is not None else date.max, now.date() + _DAY, last + _DAY)
            found = []
            while day < stop:
                if used := self._day(org_id, day, now):
                    found.append((day, used))
                day += _DAY
        return iter(found)

    def _edit(
        self, start: DayLike, end: DayLike | None, change: Callable[[Figures], Figures | None], match: Mapping[str, str]
    ) -> None:
        first = as_day(start)
        last = as_day(end) if end is not None else first + _DAY
        if first >= last:
            raise ValueError(f"the window from {first} to {last} is empty")
        if unknown := match.keys() - {"org_id", *Series._fields}:
            raise ValueError(f"usage has no {', '.join(sorted(unknown))}")
        with self._lock:
            self._edits.append(_Edit(first, last, match, change))
            self._kept.clear()

    def _span(self, org_id: str) -> tuple[date, date]:
        if self._set is None:
            return self._world.first_day, self._world.last_day
        days = [day for name, day in self._set if name == org_id] or [date(1970, 1, 1)]
        return min(days), max(days)

    def _day(self, org_id: str, day: date, now: datetime) -> Day:
        key = (org_id, day)
        if key in self._kept:
            return self._kept[key]
        if self._set is not None:
            used = dict(self._set.get(key, {}))
        elif day == now.date():
            used = self._world.day(org_id, day, now.hour * 60 + now.minute)
        else:
            used = self._world.day(org_id, day)
        for edit in self._edits:
            edit.apply(org_id, day, used)
        if day < now.date():  # today is another every minute
            self._kept[key] = used
            while len(self._kept) > _DAYS_KEPT:
                self._kept.popitem(last=False)
        return used


def added(one: Figures, other: Figures) -> Figures:
    """Both together; credits that are not shown stay so, where the others are not shown either."""
    shown = [figures.credits for figures in (one, other) if figures.credits is not None]
    return Figures(sum(shown, Decimal(0)) if shown else None, one.requests + other.requests)


def as_day(value: DayLike) -> date:
    """The day that `value` means.

    Raises:
        ValueError: the text is no ISO 8601 date.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.date() if isinstance(value, datetime) else value


def _matches(series: Series, match: Mapping[str, str]) -> bool:
    return all(getattr(series, name) == value for name, value in match.items() if name != "org_id")
