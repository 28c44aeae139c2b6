"""Date windows: half-open, in UTC, on bucket edges.

A source requests windows, a fetched window replaces a window (see `merge`), and the cursor is the time up to which all
buckets had ended when they were fetched.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

import pendulum
from pendulum import DateTime

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


def from_date(value: date) -> DateTime:
    """The UTC midnight of a date; a moment stays unchanged."""
    if isinstance(value, datetime):
        return pendulum.instance(value, tz="UTC")
    return pendulum.datetime(value.year, value.month, value.day)


def after(start: DateTime, unit: Unit, count: int = 1) -> DateTime:
    """The bucket edge `count` buckets after `start`."""
    return start.add(**{f"{unit}s": count})


def ceil(moment: datetime, unit: Unit) -> DateTime:
    """The first bucket edge at or after `moment`."""
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
        """Two adjoining windows of whole buckets that together are this one; None for a single bucket."""
        middle = floor(self.start + (self.end - self.start) / 2, unit)
        if middle <= self.start:
            middle = after(floor(self.start, unit), unit)
        if middle >= self.end:
            return None
        return Window(self.start, middle), Window(middle, self.end)

    def whole_buckets(self, unit: Unit) -> "Window | None":
        """The whole buckets of `unit` in this window; None if it has none."""
        start, end = ceil(self.start, unit), floor(self.end, unit)
        return Window(start, end) if start < end else None

    def __str__(self) -> str:
        return f"[{self.start.to_iso8601_string()}, {self.end.to_iso8601_string()})"
