"""Times in Scopix's parameters and responses."""

from collections.abc import Iterator, Mapping
from typing import Any

import pendulum
import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Unit, Window, after, ceil, floor, from_date, utc_now


def time_params(window: Window) -> Params:
    """The window as parameters: its first moment, and the last microsecond in it.

    In the samples, a period ends with the last second of a month, so the end seems to be included. Then the last microsecond
    is exact. If the end is excluded after all, one microsecond is missing.
    """
    return {
        "start_date": window.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end_date": window.end.subtract(microseconds=1).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def date_params(first: DateTime, last: DateTime) -> Params:
    """The days from `first` to `last`, both included, as parameters."""
    return {"start_date": first.to_date_string(), "end_date": last.to_date_string()}


def parse_time(table: Table, name: str, text: Any) -> DateTime:
    """The UTC time in the field `name` of a response.

    Raises:
        UnexpectedValue: the field does not hold a time.
    """
    try:
        parsed = pendulum.parse(text, tz="UTC") if isinstance(text, str) else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, DateTime):
        raise table.unexpected(f"field {name} holds {text!r}, not a time")
    return parsed.in_timezone("UTC")


def bucket_starts(window: Window, unit: Unit) -> Iterator[DateTime]:
    """The starts of the buckets in the window."""
    start = window.start
    while start < window.end:
        yield start
        start = after(start, unit)


def covered_window(table: Table, payload: Mapping[str, Any], window: Window, unit: Unit) -> Window | None:
    """The whole buckets of the window between the bounds in the response, if it has any.

    If a server keeps hourly data for one week, only these bounds reveal it; rows outside them must not be deleted.
    """
    start, end = window.start, window.end
    if payload.get("start_date"):
        start = max(start, ceil(parse_time(table, "start_date", payload["start_date"]), unit))
    if payload.get("end_date"):
        # The bound may be the last second or microsecond of a bucket, its last day as a bare date, or the present.
        stated = parse_time(table, "end_date", payload["end_date"])
        stated = stated.add(days=1) if len(payload["end_date"]) == len("2026-01-31") else stated.add(seconds=1)
        if stated < min(end, utc_now().subtract(minutes=5)):
            end = floor(stated, unit)
    return Window(start, end) if start < end else None


def rows_in(rows: pa.Table, table: Table, window: Window | None) -> pa.Table:
    """The rows of the window. A bucket that lies only partly within the bounds of the response is not loaded."""
    times = (from_date(time) for time in rows.column(table.time).to_pylist())
    kept = [window is not None and window.start <= time < window.end for time in times]
    return rows.filter(pa.array(kept, pa.bool_()))


def from_first_day(rows: pa.Table, table: Table, window: Window | None) -> Window | None:
    """The part of the window from the first day of the rows on: what a response without bounds covers."""
    days = [from_date(day) for day in rows.column(table.time).to_pylist()]
    if window is None or not days or min(days) >= window.end:
        return None
    return Window(max(window.start, min(days)), window.end)
