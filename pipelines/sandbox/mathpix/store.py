"""The book of usage: what Mathpix has counted, and what a test makes it say instead."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from meterhouse.pipelines.sandbox.mathpix.fixtures import Hours, Series, World

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_DAYS_KEPT = 4096

Moment = datetime | date | str
"""A UTC time: a datetime (naive is UTC), a date (its midnight) or ISO 8601 text of either."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one app used in one hour; `hour` is any moment of it, `account` the sandbox's own name of an account."""

    hour: Moment
    app_id: str
    usage_type: str
    request_args_hash: str = ""
    count: int = 1
    account: str = "default"


@dataclass(frozen=True, slots=True)
class _Edit:
    """A change of what the vendor says of the past; `change` gives the new count of an old one."""

    start: datetime
    end: datetime
    match: Mapping[str, str]
    change: Callable[[int], int]

    def apply(self, account: str, midnight: datetime, hours: Hours) -> None:
        if midnight + _DAY <= self.start or midnight >= self.end or self.match.get("account", account) != account:
            return
        for index, counts in enumerate(hours):
            if not self.start <= midnight + index * _HOUR < self.end:
                continue
            for series in [series for series in counts if self._matches(series)]:
                count = self.change(counts[series])
                if count > 0:
                    counts[series] = count
                else:
                    del counts[series]

    def _matches(self, series: Series) -> bool:
        return all(getattr(series, name) == value for name, value in self.match.items() if name != "account")


class UsageBook:
    """What every account used in every hour up to now; safe to change while the server answers.

    The usage of the seed's world is the vendor's truth until `set` replaces it. The hour that is running counts as far
    as it has run, to the minute; hours to come hold nothing.
    """

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self._world = world
        self._clock = clock
        self._lock = threading.RLock()
        self._rows: dict[tuple[str, date], Hours] | None = None
        self._edits: list[_Edit] = []
        self._days: OrderedDict[tuple[str, date], Hours] = OrderedDict()
        self.version = 0
        """Counts the changes of the book: what was computed of one version holds until the next."""

    def now(self) -> datetime:
        """This moment, in UTC, as the sandbox's clock has it."""
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError(f"the sandbox's clock gave {now!r}, a time without a timezone")
        return now.astimezone(UTC)

    def set(self, rows: Iterable[Usage | Mapping[str, Any]]) -> None:
        """Replaces the world with exactly these rows, until `reset`; what `restate` and `vanish` did is forgotten.

        Args:
            rows: `Usage`, or mappings with its fields. Rows of one hour and series add up; a count of the running hour is
                answered as it stands here.

        Raises:
            ValueError: a count is not positive, or a time is none.
        """
        book: dict[tuple[str, date], Hours] = {}
        for given in rows:
            row = given if isinstance(given, Usage) else Usage(**given)
            if row.count < 1:
                raise ValueError(f"a count must be at least 1, not {row.count}: the vendor sends no empty rows")
            hour = moment(row.hour)
            hours = book.setdefault((row.account, hour.date()), [{} for _ in range(24)])
            series = Series(row.app_id, row.usage_type, row.request_args_hash)
            hours[hour.hour][series] = hours[hour.hour].get(series, 0) + row.count
        with self._lock:
            self._rows, self._edits = book, []
            self._changed()

    def restate(
        self,
        start: Moment,
        end: Moment | None = None,
        *,
        count: int | None = None,
        factor: float | None = None,
        app_id: str | None = None,
        usage_type: str | None = None,
        request_args_hash: str | None = None,
        account: str | None = None,
    ) -> None:
        """Makes the vendor count anew: what matches in [start, end) has another count from now on.

        Args:
            start: first hour.
            end: the hour after the last; None for the one UTC day that holds `start`.
            count: the new count of every matching hour and series, or
            factor: what the old count is multiplied by, rounded down. A count that falls to 0 takes its row away.
            app_id: only of this app, and so on for the other three; None for all.
            usage_type: see `app_id`.
            request_args_hash: see `app_id`; '' is the empty hash.
            account: see `app_id`.

        Raises:
            ValueError: not exactly one of `count` and `factor`, a negative one, or an empty window.
        """
        if (count is None) == (factor is None):
            raise ValueError("restate takes either count or factor")
        if (count or 0) < 0 or (factor or 0) < 0:
            raise ValueError("a restated count is never negative")

        def change(old: int) -> int:
            return count if count is not None else int(old * (factor or 0))

        self._edit(start, end, change, app_id, usage_type, request_args_hash, account)

    def vanish(
        self,
        start: Moment,
        end: Moment | None = None,
        *,
        app_id: str | None = None,
        usage_type: str | None = None,
        request_args_hash: str | None = None,
        account: str | None = None,
    ) -> None:
        """Withdraws what matches in [start, end); arguments as of `restate`."""
        self._edit(start, end, lambda _: 0, app_id, usage_type, request_args_hash, account)

    def reset(self) -> None:
        """Back to the seed's world, as if nothing had been set, restated or withdrawn."""
        with self._lock:
            self._rows, self._edits = None, []
            self._changed()

    def total(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        app_id: str | None = None,
        usage_type: str | None = None,
        request_args_hash: str | None = None,
        account: str = "default",
    ) -> int:
        """The sum of the counts of one account in [start, end), up to now; None for no bound. Arguments as of `restate`."""
        match = _given(app_id=app_id, usage_type=usage_type, request_args_hash=request_args_hash).items()
        return sum(
            count
            for _, counts in self.hours(account, start, end)
            for series, count in counts.items()
            if all(getattr(series, name) == value for name, value in match)
        )

    def rows(self, start: Moment | None = None, end: Moment | None = None, *, account: str = "default") -> list[Usage]:
        """Every hour and series of one account in [start, end), up to now: what `set` takes."""
        return [
            Usage(hour, *series, count=count, account=account)
            for hour, counts in self.hours(account, start, end)
            for series, count in sorted(counts.items())
        ]

    def hours(self, account: str, start: Moment | None, end: Moment | None) -> list[tuple[datetime, Mapping[Series, int]]]:
        """The hours that start in [start, end) and hold usage, in order, none of them after now."""
        found: list[tuple[datetime, Mapping[Series, int]]] = []
        with self._lock:
            now = self.now()
            first, last = self._span(account)
            begin = max(moment(start), first) if start is not None else first
            stop = min(moment(end) if end is not None else last, last, now + timedelta(microseconds=1))
            day = begin.date()
            while (midnight := datetime.combine(day, time(), UTC)) < stop:
                for index, counts in enumerate(self._day(account, day, now)):
                    hour = midnight + index * _HOUR
                    if counts and begin <= hour < stop:
                        found.append((hour, counts))
                day += _DAY
        return found

    def _edit(
        self,
        start: Moment,
        end: Moment | None,
        change: Callable[[int], int],
        app_id: str | None,
        usage_type: str | None,
        request_args_hash: str | None,
        account: str | None,
    ) -> None:
        first = moment(start)
        midnight = datetime.combine(first.date(), time(), UTC)
        first, last = (first, moment(end)) if end is not None else (midnight, midnight + _DAY)
        if first >= last:
            raise ValueError(f"the window from {first} to {last} is empty")
        match = _given(app_id=app_id, usage_type=usage_type, request_args_hash=request_args_hash, account=account)
        with self._lock:
            self._edits.append(_Edit(first, last, match, change))
            self._changed()

    def _changed(self) -> None:
        self._days.clear()
        self.version += 1

    def _span(self, account: str) -> tuple[datetime, datetime]:
        """Where the account's first day starts and its last day ends."""
        days = [day for name, day in self._rows if name == account] if self._rows is not None else None
        first, last = (
            (self._world.first_day, self._world.last_day)
            if days is None
            else (min(days, default=date(1970, 1, 1)), max(days, default=date(1970, 1, 1)))
        )
        return datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + _DAY

    def _day(self, account: str, day: date, now: datetime) -> Hours:
        key = (account, day)
        if key in self._days:
            self._days.move_to_end(key)
            return self._days[key]
        midnight = datetime.combine(day, time(), UTC)
        if self._rows is not None:
            hours = [dict(counts) for counts in self._rows.get(key, [{} for _ in range(24)])]
        else:
            hours = self._world.day(account, day)
            if day == now.date():
                hours[now.hour] = {
                    series: count for series, whole in hours[now.hour].items() if (count := whole * now.minute // 60)
                }
        for edit in self._edits:
            edit.apply(account, midnight, hours)
        if day < now.date():  # today is another every minute
            self._days[key] = hours
            while len(self._days) > _DAYS_KEPT:
                self._days.popitem(last=False)
        return hours


def moment(value: Moment) -> datetime:
    """The UTC time that `value` means.

    Raises:
        ValueError: the text is no ISO 8601 date or time.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = datetime.combine(value, time())
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as beyond:
        raise ValueError(f"{value} is no time in UTC between the years 1 and 9999") from beyond


def _given(**match: str | None) -> dict[str, str]:
    return {name: value for name, value in match.items() if value is not None}
