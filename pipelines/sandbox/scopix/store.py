"""The book of events: what Scopix has counted, and what a test makes it say instead."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from meterhouse.pipelines.sandbox.scopix.fixtures import Event, World

_DAY = timedelta(days=1)

Moment = datetime | date | str
"""A UTC time: a datetime (naive is UTC), a date (its midnight) or ISO 8601 text of either."""

Days = dict[date, list[Event]]


class EventBook:
    """The events of every account up to now; safe to change while the server answers."""

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self._world = world
        self._clock = clock
        self._lock = threading.RLock()
        self._given: dict[str, Days] | None = None
        self._arrived: dict[str, Days] = {}
        self._changes: list[tuple[str, datetime, datetime, Mapping[str, Any], Mapping[str, Any] | None]] = []

    def now(self) -> datetime:
        """This moment, in UTC, as the sandbox's clock has it."""
        return self._clock().astimezone(UTC)

    def set(self, events: Iterable[Event], *, account: str = "default") -> None:
        """Replaces the world with exactly these events of one account, until `reset`."""
        with self._lock:
            self._given, self._arrived, self._changes = {account: {}}, {}, []
            for event in events:
                self._given[account].setdefault(event.timestamp.astimezone(UTC).date(), []).append(event)

    def arrive(self, *events: Event, account: str = "default") -> None:
        """Adds events, whatever their time: those of the past are late."""
        with self._lock:
            days = self._arrived.setdefault(account, {})
            for event in events:
                days.setdefault(event.timestamp.astimezone(UTC).date(), []).append(event)

    def restate(
        self, start: Moment, end: Moment | None = None, *, account: str = "default", to: Mapping[str, Any], **match: Any
    ) -> None:
        """Changes fields of the events that match in [start, end), or on the one UTC day `start`.

        Args:
            start: first moment.
            end: the moment after the last; None for the day that holds `start`.
            account: whose events.
            to: fields of `Event` and their new values.
            **match: fields of `Event` that an event must have.
        """
        self._change(account, start, end, match, to)

    def vanish(self, start: Moment, end: Moment | None = None, *, account: str = "default", **match: Any) -> None:
        """Withdraws what matches; arguments as of `restate`."""
        self._change(account, start, end, match, None)

    def reset(self) -> None:
        """Back to the seed's world."""
        with self._lock:
            self._given, self._arrived, self._changes = None, {}, []

    def total(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        account: str = "default",
        what: str = "requests",
        **match: Any,
    ) -> float:
        """The sum of `what` (requests, credits, input_tokens or output_tokens) in [start, end), up to now."""
        events = [event for event in self.events(account, start, end) if _matches(event, match)]
        return len(events) if what == "requests" else sum(getattr(event, what) for event in events)

    def events(self, account: str, start: Moment | None = None, end: Moment | None = None) -> list[Event]:
        """The events of [start, end), none of them after now, oldest first."""
        with self._lock:
            now = self.now()
            begin = moment(start) if start is not None else self._first(account)
            stop = min(moment(end), now + timedelta(microseconds=1)) if end is not None else now + timedelta(microseconds=1)
            found: list[Event] = []
            day = max(begin, self._first(account)).date()
            while datetime.combine(day, time(), UTC) < stop:
                events, midnight = self._day(account, day), datetime.combine(day, time(), UTC)
                inside = begin <= midnight and midnight + _DAY <= stop
                found += events if inside else [event for event in events if begin <= event.timestamp < stop]
                day += _DAY
            return found

    def _first(self, account: str) -> datetime:
        days = [*self._arrived.get(account, {}), *((self._given or {}).get(account, {}))]
        if self._given is None:
            days.append(self._world.first_day)
        return datetime.combine(min(days, default=self.now().date()), time(), UTC)

    def _change(
        self,
        account: str,
        start: Moment,
        end: Moment | None,
        match: Mapping[str, Any],
        to: Mapping[str, Any] | None,
    ) -> None:
        first = moment(start)
        midnight = datetime.combine(first.date(), time(), UTC)
        first, last = (first, moment(end)) if end is not None else (midnight, midnight + _DAY)
        with self._lock:
            self._changes.append((account, first, last, match, to))

    def _day(self, account: str, day: date) -> Sequence[Event]:
        whole: Sequence[Event]
        whole = self._given.get(account, {}).get(day, ()) if self._given is not None else self._world.day(account, day)
        if self._given is None and not self._arrived and not self._changes:
            return whole
        events = [*whole, *self._arrived.get(account, {}).get(day, ())]
        for name, start, end, match, to in self._changes:
            if name != account or not start.date() <= day <= end.date():
                continue
            hit = [start <= event.timestamp < end and _matches(event, match) for event in events]
            if to is None:
                events = [event for event, gone in zip(events, hit, strict=True) if not gone]
            else:
                events = [event._replace(**to) if changed else event for event, changed in zip(events, hit, strict=True)]
        return sorted(events, key=lambda event: (event.timestamp, event.id))


def moment(value: Moment) -> datetime:
    """The UTC time that `value` means.

    Raises:
        ValueError: the text is no ISO 8601 date or time.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _matches(event: Event, match: Mapping[str, Any]) -> bool:
    return all(getattr(event, name) == value for name, value in match.items())
