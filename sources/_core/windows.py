"""Date windows: half-open, in UTC, on bucket edges.

A source asks for windows, a window replaces a window (see `replace`), and the cursor says up to where all buckets had ended
when they were fetched.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import pendulum
from pendulum import DateTime

from sources._core.http import ConfigurationError

Unit = Literal["hour", "day", "week", "month"]
UNITS: tuple[Unit, ...] = get_args(Unit)


def utc_now() -> DateTime:
    """This moment in UTC."""
    return pendulum.now("UTC")


def floor(moment: datetime, unit: Unit) -> DateTime:
    """The start of the UTC bucket that holds `moment`; weeks start on Monday."""
    start = pendulum.instance(moment, tz="UTC").in_timezone("UTC").start_of("day" if unit == "week" else unit)
    # pendulum's own start_of("week") follows a process-wide setting.
    return start.subtract(days=start.isoweekday() - 1) if unit == "week" else start


def after(start: DateTime, unit: Unit, count: int = 1) -> DateTime:
    """The bucket edge `count` buckets after `start`."""
    return start.add(**{f"{unit}s": count})


def ceil(moment: datetime, unit: Unit) -> DateTime:
    """The first bucket edge that is not before `moment`."""
    start = floor(moment, unit)
    return start if start == moment else after(start, unit)


@dataclass(frozen=True, slots=True)
class Window:
    """The time [start, end) in UTC; never empty."""

    start: DateTime
    end: DateTime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"the window from {self.start} to {self.end} is empty")

    def halves(self, unit: Unit) -> "tuple[Window, Window] | None":
        """Two windows of whole buckets that are this one together, or None where it is a single bucket."""
        middle = floor(self.start + (self.end - self.start) / 2, unit)
        if middle <= self.start:
            middle = after(floor(self.start, unit), unit)
        if middle >= self.end:
            return None
        return Window(self.start, middle), Window(middle, self.end)

    def __str__(self) -> str:
        return f"[{self.start.to_iso8601_string()}, {self.end.to_iso8601_string()})"


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is loaded of one account's table: everything from `since`, and up to `until` only buckets that had ended."""

    since: DateTime
    until: DateTime

    @classmethod
    def from_state(cls, state: dict[str, str]) -> "Cursor":
        """Reads what `to_state` wrote."""
        return cls(_instant(state["since"]), _instant(state["until"]))

    def to_state(self) -> dict[str, str]:
        """As dlt's state keeps it."""
        return {"since": self.since.to_iso8601_string(), "until": self.until.to_iso8601_string()}


def _instant(text: str) -> DateTime:
    moment = pendulum.parse(text, tz="UTC")
    assert isinstance(moment, DateTime)  # noqa: S101 - written by to_state, never by a user
    return moment


@dataclass(frozen=True, slots=True)
class Plan:
    """Which windows a run asks for.

    `backfill` is exactly what it says and moves no cursor. Without it, a run begins where the cursor stands less
    `lookback`, because providers restate the past; without a cursor it begins at `initial_date`. It ends with the bucket
    that is still running. No window is longer than `longest`. `restart` forgets the cursor, but no row: what the provider no
    longer tells and is older than `initial_date` stays.
    """

    unit: Unit
    initial_date: DateTime
    lookback: timedelta
    longest: timedelta
    backfill: Window | None = None
    restart: bool = False

    def __post_init__(self) -> None:
        for edge in (self.backfill.start, self.backfill.end) if self.backfill else ():
            if floor(edge, self.unit) != edge:
                before, behind = floor(edge, self.unit), ceil(edge, self.unit)
                raise ConfigurationError(
                    f"{edge.to_iso8601_string()} is inside a {self.unit}, so a backfill from or to it would cut one in two",
                    way_out=f"Use {before.to_iso8601_string()} or {behind.to_iso8601_string()}.",
                )

    def windows(self, cursor: Cursor | None, now: DateTime) -> Iterator[Window]:
        """The windows to fetch, oldest first and adjoining."""
        whole = self._whole(cursor, now)
        if whole is None:
            return
        start = whole.start
        while start < whole.end:
            end = min(floor(start + self.longest, self.unit), whole.end)
            yield Window(start, end)
            start = end

    def moved(self, cursor: Cursor | None, done: Window, now: DateTime) -> Cursor | None:
        """The cursor after `done` was fetched at `now`; as it was after a backfill."""
        if self.backfill is not None:
            return cursor
        until = min(done.end, floor(now, self.unit))
        if cursor is None or done.start < cursor.since:
            return Cursor(done.start, max(until, done.start))
        return Cursor(cursor.since, max(until, done.start))

    def _whole(self, cursor: Cursor | None, now: DateTime) -> Window | None:
        end = ceil(now, self.unit)
        if self.backfill is not None:
            end = min(self.backfill.end, end)
            return Window(self.backfill.start, end) if self.backfill.start < end else None
        start = floor(self.initial_date, self.unit)
        # An `initial_date` set to an earlier day than the first run's asks for the older history, too.
        if cursor is not None and cursor.since <= start and not self.restart:
            # A cursor in the future (a clock that ran ahead) is worth no more than now.
            start = max(cursor.since, floor(min(cursor.until, now) - self.lookback, self.unit))
        return Window(start, end) if start < end else None


def parse_moment(text: str, *, setting: str) -> DateTime:
    """A day (`2026-01-31`) or a time (`2026-01-31T10:00:00Z`) as a UTC moment; without a zone it is read as UTC.

    Raises:
        ConfigurationError: `text` is neither; it names `setting`.
    """
    stated = str(text).strip()
    try:
        # pendulum also reads durations, weeks and ordinal days; a bound of money is better read from a date only.
        moment = pendulum.parse(stated, tz="UTC") if re.match(r"\d{4}-\d{2}-\d{2}(?!\d)", stated) else None
    except ValueError:
        moment = None
    if not isinstance(moment, DateTime):
        raise ConfigurationError(
            f"{setting} is {stated!r}, which is not a date",
            way_out="Write it as 2026-01-31 or 2026-01-31T10:00:00Z.",
        )
    return moment.in_timezone("UTC")


_SPAN = re.compile(r"(\d+)\s*(h|hours?|d|days?|w|weeks?)?", re.IGNORECASE)


def parse_span(text: str | int | timedelta, *, setting: str) -> timedelta:
    """A length of time: `7 days`, `36 hours`, `2 weeks`, short `7d`, ISO 8601 `P7D`; a bare number is days.

    Raises:
        ConfigurationError: `text` is none of these; it names `setting`.
    """
    if isinstance(text, timedelta):
        return text
    stated = str(text).strip()
    if match := _SPAN.fullmatch(stated):
        amount, unit = int(match[1]), (match[2] or "d")[0].lower()
        return timedelta(hours=amount) if unit == "h" else timedelta(days=amount * (7 if unit == "w" else 1))
    if stated.upper().startswith("P"):
        try:
            span = pendulum.parse(stated)
        except ValueError:
            span = None
        if isinstance(span, pendulum.Duration) and not span.years and not span.months:
            return timedelta(seconds=span.total_seconds())
    raise ConfigurationError(
        f"{setting} is {stated!r}, which is not a length of time", way_out="Write it as '7 days', '36 hours' or 'P7D'."
    )


def parse_unit(text: str, *, setting: str) -> Unit:
    """One of hour, day, week and month.

    Raises:
        ConfigurationError: `text` is none of them; it names `setting`.
    """
    for unit in UNITS:
        if unit == text:
            return unit
    raise ConfigurationError(f"{setting} is {text!r}", way_out=f"Use {', '.join(UNITS[:-1])} or {UNITS[-1]}.")


def backfill_window(since: str | None, until: str | None, unit: Unit) -> Window | None:
    """The window of a backfill, [since, until); with the running bucket where only `since` is given, None without both.

    Raises:
        ConfigurationError: a bound is no date, `until` stands alone, or the window is empty or still to come.
    """
    if not since and not until:
        return None
    if not since:
        raise ConfigurationError("until is given without since", way_out="Give the start of the backfill, too.")
    now = utc_now()
    start = parse_moment(since, setting="since")
    end = parse_moment(until, setting="until") if until else ceil(now, unit)
    if start >= now:
        raise ConfigurationError(f"since is {since}, which is still to come", way_out="Give a day that has begun.")
    if start >= end:
        raise ConfigurationError(
            f"since {since} is not before until {until}",
            way_out="until is excluded: to load one day, give the next one.",
        )
    return Window(start, end)
