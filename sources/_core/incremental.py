"""Which windows a run asks for: the cursor and the plan."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import pendulum
from pendulum import DateTime

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import Unit, Window, after, ceil, floor


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is loaded of one account's table in buckets of `unit`: all from `since`, and that had ended up to `until`."""

    since: DateTime
    until: DateTime
    unit: Unit

    @classmethod
    def from_state(cls, state: dict[str, str]) -> "Cursor":
        """Reads what `to_state` wrote."""
        return cls(_instant(state["since"]), _instant(state["until"]), cast("Unit", state["unit"]))

    def to_state(self) -> dict[str, str]:
        """As dlt's state keeps it."""
        return {"since": self.since.to_iso8601_string(), "until": self.until.to_iso8601_string(), "unit": self.unit}


def _instant(text: str) -> DateTime:
    moment = pendulum.parse(text, tz="UTC")
    assert isinstance(moment, DateTime)  # noqa: S101 - written by to_state, never by a user
    return moment


@dataclass(frozen=True, slots=True)
class Plan:
    """Which windows a run asks for.

    A run begins where the cursor stands less `lookback`, because providers restate the past; without a cursor it begins at
    `initial_date`. It ends with the bucket that is still running. No window is longer than `longest`.

    `backfill` is exactly what it says and moves no cursor. `restart` forgets the cursor, but no row: what the provider no
    longer tells and is older than `initial_date` stays. `reach` is the number of buckets, with the running one, that the
    provider can be asked for at all, where that is limited: 1 for a snapshot of the present. `timezone` is the calendar of
    tables whose days are local; a local day is written as the UTC midnight of its date.
    """

    unit: Unit
    initial_date: DateTime
    lookback: timedelta
    longest: timedelta
    backfill: Window | None = None
    restart: bool = False
    reach: int | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for edge in (self.backfill.start, self.backfill.end) if self.backfill else ():
            if floor(edge, self.unit) != edge:
                before, behind = floor(edge, self.unit), ceil(edge, self.unit)
                raise ConfigurationError(
                    f"{edge.to_iso8601_string()} is inside a {self.unit}, so a backfill from or to it would cut one in two",
                    hint=f"Use {before.to_iso8601_string()} or {behind.to_iso8601_string()}.",
                )

    def windows(self, cursor: Cursor | None, now: DateTime) -> Iterator[Window]:
        """The windows to fetch at `now` (UTC), oldest first and adjoining; none where a snapshot is asked for the past."""
        if self.reach == 1 and self.backfill is not None:
            return
        if self.backfill is not None and cursor is not None and cursor.unit != self.unit:
            raise ConfigurationError(
                f"the table is loaded by the {cursor.unit}; by the {self.unit} this would count twice what lies in both",
                hint=f"Backfill by the {cursor.unit}, or run once without a backfill to load all by the {self.unit}.",
            )
        start, end = self._start(cursor, now), self._end(now)
        if (earliest := self._earliest(now)) is not None:
            start = max(start, earliest)
        while start < end:
            stop = min(floor(start + self.longest, self.unit), end)
            yield Window(start, stop)
            start = stop

    def gap(self, cursor: Cursor | None, told_from: DateTime, read_until: DateTime | None = None) -> Window | None:
        """The time before `told_from`, where the provider's answer begins, that no regular run has loaded, if there is any.

        It begins where the cursor stands, or in a backfill where that has been read up to, and at first where it begins.
        """
        if self.reach == 1:
            return None  # a snapshot that nobody took is not there, but nothing that it would have counted is lost
        if self.backfill is None:
            start, end = cursor.until if cursor is not None else told_from, told_from
        else:
            start, end = read_until or self.backfill.start, told_from
            if cursor is not None and cursor.since <= start:
                start = max(start, cursor.until)
            elif cursor is not None and cursor.until >= end:
                end = min(end, cursor.since)
        return Window(start, end) if start < end else None

    def may_be_late(self, moment: DateTime, now: DateTime) -> bool:
        """Whether what begins at `moment` may not be told yet at `now` (UTC): a provider has a day to count it."""
        return moment >= floor(self.wall_time(now) - timedelta(days=1), self.unit)

    def moved(self, cursor: Cursor | None, done: Window, now: DateTime) -> Cursor | None:
        """The cursor after `done` was fetched at `now` (UTC); as it was after a backfill.

        `done` begins where the provider was asked, even if it could answer only from a later time on: nobody asks it twice
        for what it does not have.
        """
        if self.backfill is not None:
            return cursor
        goes_on = cursor is not None and cursor.unit == self.unit and cursor.since <= done.start
        return Cursor(cursor.since if cursor and goes_on else done.start, self.complete_until(done, now), self.unit)

    def complete_until(self, done: Window, now: DateTime) -> DateTime:
        """Up to where the buckets of `done` had ended when it was fetched at `now` (UTC)."""
        return max(done.start, min(done.end, floor(self.wall_time(now), self.unit)))

    def wall_time(self, moment: DateTime) -> DateTime:
        """What a clock in `timezone` shows at `moment`, written as if it were UTC."""
        return moment.in_timezone(self.timezone).naive().replace(tzinfo=pendulum.UTC)

    def _start(self, cursor: Cursor | None, now: DateTime) -> DateTime:
        if self.backfill is not None:
            return self.backfill.start
        start = floor(self.initial_date, self.unit)
        if (earliest := self._earliest(now)) is not None:
            start = max(start, earliest)
        # An `initial_date` set to an earlier day than the first run's asks for the older history, too; and a change of unit
        # asks for everything, so that hours and days of the same time never stand side by side.
        if cursor is not None and cursor.unit != self.unit:
            return min(start, floor(cursor.since, self.unit))
        if cursor is None or cursor.since > start or self.restart:
            return start
        # A cursor in the future (a clock that ran ahead) is worth no more than now.
        return max(cursor.since, floor(min(cursor.until, self.wall_time(now)) - self.lookback, self.unit))

    def _end(self, now: DateTime) -> DateTime:
        end = ceil(self.wall_time(now), self.unit)
        return min(self.backfill.end, end) if self.backfill is not None else end

    def _earliest(self, now: DateTime) -> DateTime | None:
        if self.reach is None:
            return None
        return after(floor(self.wall_time(now), self.unit), self.unit, 1 - self.reach)
