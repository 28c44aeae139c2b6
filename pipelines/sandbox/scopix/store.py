"""The events of Scopix: one for each request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from meterhouse.pipelines.sandbox.dates import DAY, Moment, midnight
from meterhouse.pipelines.sandbox.scopix.fixtures import Event, UsageFixtures
from meterhouse.pipelines.sandbox.store import Edit, UsageStore, edited, matches

Events = list[Event]


class EventStore(UsageStore[Events, Event]):
    """The events of every account, up to now. An edit is of the account `default` unless it names another."""

    dimensions = Event._fields

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._fixtures = UsageFixtures(seed)
        self._late: dict[tuple[str, date], Events] = {}

    def set(self, events: Iterable[Event], *, account: str = "default") -> None:
        """Replaces the fixtures with exactly these events of one account, until `reset`."""
        days: dict[tuple[str, date], Events] = {}
        for event in events:
            days.setdefault((account, _day(event)), []).append(event)
        with self._lock:
            self._late.clear()
            self._replace({key: _in_order(day) for key, day in days.items()})

    def arrive(self, *events: Event, account: str = "default") -> None:
        """Adds events of any time since the first day of the fixtures; events of the past arrive late."""
        with self._lock:
            days = self._late if self._given is None else self._given
            for event in events:
                key = (account, _day(event))
                days[key] = _in_order([*days.get(key, ()), event])
            self._changed()

    def restate(self, start: Moment, end: Moment | None = None, *, to: Mapping[str, Any], **match: Any) -> None:
        """Changes fields of the events that match in [start, end).

        Args:
            start: first moment.
            end: the moment after the last; None for the one UTC day that holds `start`.
            to: fields of `Event` and their new values.
            **match: only events of this `account` (by default `default`), and with these values of their fields.

        Raises:
            ValueError: the window is empty, or there is no such field.
        """
        if unknown := to.keys() - set(Event._fields):
            raise ValueError(f"an event has no {', '.join(sorted(unknown))}")
        self._edit(start, end, match, lambda event: event._replace(**to))

    def reset(self) -> None:
        """Restores the fixtures: forgets what was set, restated, withdrawn or has arrived."""
        with self._lock:
            self._late.clear()
            super().reset()

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
        events = [event for event in self.events(account, start, end) if matches(event, match)]
        return len(events) if what == "requests" else sum(getattr(event, what) for event in events)

    def events(self, account: str, start: Moment | None = None, end: Moment | None = None) -> list[Event]:
        """The events of [start, end), none of them after now, oldest first."""
        begin, stop = self._window(start, end)
        found: Events = []
        for day, events in self._days(account, begin, stop):
            inside = begin <= midnight(day) and midnight(day) + DAY <= stop
            found += events if inside else [event for event in events if begin <= event.timestamp < stop]
        return found

    def _edit(
        self, start: Moment, end: Moment | None, match: Mapping[str, Any], change: Callable[[Event], Event | None]
    ) -> None:
        super()._edit(start, end, {"account": "default", **match}, change)

    def _fixture(self, account: str, day: date, now: datetime) -> Events:
        del now  # future events are left out when they are read
        events, late = self._fixtures.day(account, day), self._late.get((account, day))
        return _in_order([*events, *late]) if late else [*events]

    def _empty(self) -> Events:
        return []

    def _edited(self, day: date, used: Events, edits: Sequence[Edit[Event]]) -> Events:
        del day
        return _in_order([new for one in used if (new := edited(edits, one.timestamp, one, one)) is not None])


def _day(event: Event) -> date:
    return event.timestamp.astimezone(UTC).date()


def _in_order(events: Events) -> Events:
    return sorted(events, key=lambda event: (event.timestamp, event.id))
