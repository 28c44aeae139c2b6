"""Which windows a run requests: the cursor and the plan."""

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
    """The loaded time of one partition, in buckets of `unit`: from `since` on, and complete up to `until`.

    `filters` as in `Plan`; None if an earlier version has loaded it.
    """

    since: DateTime
    until: DateTime
    unit: Unit
    filters: str | None = None

    @classmethod
    def from_state(cls, state: dict[str, str]) -> "Cursor":
        """Reads what `to_state` wrote."""
        return cls(_moment(state["since"]), _moment(state["until"]), cast("Unit", state["unit"]), state.get("filters"))

    def to_state(self) -> dict[str, str]:
        """The form that dlt's state keeps."""
        state = {"since": self.since.to_iso8601_string(), "until": self.until.to_iso8601_string(), "unit": self.unit}
        return state if self.filters is None else {**state, "filters": self.filters}


def _moment(text: str) -> DateTime:
    moment = pendulum.parse(text, tz="UTC")
    assert isinstance(moment, DateTime)  # noqa: S101 - written by to_state, never by a user
    return moment


@dataclass(frozen=True, slots=True)
class Plan:
    """Which windows a run requests.

    A run begins at the cursor less `lookback`, because providers restate the past; without a cursor it begins at
    `initial_date`. It ends with the bucket that is still running. No window is longer than `longest`.

    A `backfill` requests exactly its window and moves no cursor. `restart` ignores the cursor but deletes no row: rows that
    the provider no longer returns and that are older than `initial_date` stay. `reach` is the number of buckets, the running
    one included, that the API can return: None for no limit, 1 for a snapshot of the present. `timezone` is the calendar
    of tables whose days are local; a local day is written as the UTC midnight of its date. `filters` describes which
    usage the settings select, where no column shows it; '' for all usage, None for a table without such settings.

    Raises:
        ConfigurationError: the backfill begins or ends inside a bucket.
    """

    unit: Unit
    initial_date: DateTime
    lookback: timedelta
    longest: timedelta
    backfill: Window | None = None
    restart: bool = False
    reach: int | None = None
    timezone: str = "UTC"
    filters: str | None = None

    def __post_init__(self) -> None:
        for edge in (self.backfill.start, self.backfill.end) if self.backfill else ():
            if floor(edge, self.unit) != edge:
                before, behind = floor(edge, self.unit), ceil(edge, self.unit)
                raise ConfigurationError(
                    f"{edge.to_iso8601_string()} is inside a {self.unit}, so a backfill from or to it would split a bucket",
                    hint=f"Use {before.to_iso8601_string()} or {behind.to_iso8601_string()}.",
                )

    def windows(self, cursor: Cursor | None, now: DateTime) -> Iterator[Window]:
        """The windows to fetch at `now` (UTC), oldest first, without holes between them; none for a backfill of a snapshot.

        Raises:
            ConfigurationError: the backfill has another unit than the loaded rows, or the filters are others.
        """
        if cursor is not None and not self.restart and self._has_other_filters(cursor):
            raise ConfigurationError(
                f"the filters are now {self.filters or 'none'}, but the loaded rows have {cursor.filters or 'none'}; a run"
                " would replace the days of the lookback alone",
                hint="Restore the settings, or load everything with the new ones: meterhouse run --full-refresh.",
            )
        if self.reach == 1 and self.backfill is not None:
            return
        if self.backfill is not None and cursor is not None and cursor.unit != self.unit:
            raise ConfigurationError(
                f"the table is loaded by the {cursor.unit}; a backfill by the {self.unit} would count the same usage twice",
                hint=f"Backfill by the {cursor.unit}, or run once without a backfill to load all by the {self.unit}.",
            )
        start, end = self._start(cursor, now), self._end(now)
        if (earliest := self._earliest(now)) is not None:
            start = max(start, earliest)
        while start < end:
            stop = min(floor(start + self.longest, self.unit), end)
            yield Window(start, stop)
            start = stop

    def missed(self, cursor: Cursor | None, returned_from: DateTime, read_until: DateTime | None = None) -> Window | None:
        """The time that the API no longer returns and that no regular run has loaded; None if there is none.

        It ends at `returned_from`, the start of the response, and begins at the cursor; in a backfill, at `read_until` (the
        end of the windows read so far) or at the start of the backfill.
        """
        if self.reach == 1:
            return None  # a snapshot that was not taken loses no usage
        if self.backfill is None:
            start, end = cursor.until if cursor is not None else returned_from, returned_from
        else:
            start, end = read_until or self.backfill.start, returned_from
            if cursor is not None and cursor.since <= start:
                start = max(start, cursor.until)
            elif cursor is not None and cursor.until >= end:
                end = min(end, cursor.since)
        return Window(start, end) if start < end else None

    def may_be_late(self, moment: DateTime, now: DateTime) -> bool:
        """Whether the API may not return the bucket that begins at `moment` yet: a provider has a day to count it."""
        return moment >= floor(self.wall_time(now) - timedelta(days=1), self.unit)

    def cursor_after(self, cursor: Cursor | None, done: Window, now: DateTime) -> Cursor | None:
        """The cursor after `done` was fetched at `now` (UTC); unchanged after a backfill.

        `done` begins where the request began, even if the response begins later, so that no run requests again what the API
        does not have.
        """
        if self.backfill is not None:
            return cursor
        continues = cursor is not None and cursor.unit == self.unit and cursor.since <= done.start
        since = cursor.since if cursor and continues and not self._has_other_filters(cursor) else done.start
        return Cursor(since, self.complete_until(done, now), self.unit, self.filters)

    def _has_other_filters(self, cursor: Cursor) -> bool:
        return None not in (cursor.filters, self.filters) and cursor.filters != self.filters

    def complete_until(self, done: Window, now: DateTime) -> DateTime:
        """The end of the last bucket of `done` that had ended when it was fetched at `now` (UTC)."""
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
        # If `initial_date` is earlier than in the first run, the older history is requested, too. A change of unit requests
        # everything, so that the table never has hours and days of the same time.
        if cursor is not None and cursor.unit != self.unit:
            return min(start, floor(cursor.since, self.unit))
        if cursor is None or cursor.since > start or self.restart:
            return start
        # A cursor in the future comes from a clock that ran ahead; it counts as now.
        return max(cursor.since, floor(min(cursor.until, self.wall_time(now)) - self.lookback, self.unit))

    def _end(self, now: DateTime) -> DateTime:
        end = ceil(self.wall_time(now), self.unit)
        return min(self.backfill.end, end) if self.backfill is not None else end

    def _earliest(self, now: DateTime) -> DateTime | None:
        if self.reach is None:
            return None
        return after(floor(self.wall_time(now), self.unit), self.unit, 1 - self.reach)
