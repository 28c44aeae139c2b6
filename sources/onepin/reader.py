"""Reads one window of the tables that Onepin's summaries hold: days, buckets, totals and languages."""

from datetime import date
from typing import Any

import pendulum
import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Unit, Window, after, floor, from_date

from .client import OnepinClient
from .constants import BUCKET_VIEWS, LONGEST_RANGE, VIEW_OF, Range, View
from .fields import flatten


def read_daily(client: OnepinClient, window: Window, *, table: Table) -> FetchResult:
    """The days of the longest range that lie in `window`."""
    response = client.summary(LONGEST_RANGE, table)
    rows = table.rows(_objects(response, "daily", table), timezone=client.timezone)
    return _inside(rows, "day", window, _period(response.get("period"), client.timezone))


def read_buckets(client: OnepinClient, window: Window, *, view: View, table: Table) -> FetchResult:
    """The weeks or months that lie in `window`."""
    range_, unit = BUCKET_VIEWS[view]
    activity = client.summary(range_, table).get("activity")
    if not isinstance(activity, dict) or activity.get("view") != view:
        raise table.unexpected(f"the response has no activity of the view {view}, which was requested")
    items = _objects(activity, "buckets", table)
    dates = [_first_day(item.get("start"), unit, client.timezone, table) for item in items]
    starts = [_midnight(from_date(day), client.timezone) for day in dates]
    ends = [_midnight(after(from_date(day), unit), client.timezone) for day in dates]
    rows = table.rows(
        # The documentation describes `end` as exclusive and shows it as inclusive, so the calendar decides.
        [{name: value for name, value in item.items() if name not in {"start", "end"}} for item in items],
        view=view,
        timezone=client.timezone,
        date=pa.array(dates, table.type_of("date")),
        bucket_start=pa.array(starts, table.type_of("bucket_start")),
        bucket_end=pa.array(ends, table.type_of("bucket_end")),
    )
    return _inside(rows, unit, window)


def read_summary(client: OnepinClient, window: Window, *, range_: Range, table: Table) -> FetchResult:
    """The present totals of a range."""
    totals = {name: value for name, value in client.summary(range_, table).items() if name != "daily"}
    if isinstance(activity := totals.get("activity"), dict):
        totals["activity"] = {name: value for name, value in activity.items() if name != "buckets"}
    rows = table.rows([flatten(totals, table)], snapshot_date=window.start.date(), range=range_, timezone=client.timezone)
    return FetchResult(rows, window)


def read_languages(client: OnepinClient, window: Window, *, period: Range | View, table: Table) -> FetchResult:
    """The present totals of each language in a range, or in the period of a view."""
    is_range = period in VIEW_OF
    response = client.by_language({"range" if is_range else "activity_view": period}, table)
    shared = flatten({name: value for name, value in response.items() if name != "languages"}, table)
    items = [shared | flatten(item, table) for item in _objects(response, "languages", table)]
    all_tagged = all(item.get("locale_code") for item in items)
    total, untagged = shared.get("total_credits"), shared.get("untagged_credits")
    if all_tagged and (untagged or (total and not items)):  # else no row would have the credits without a language
        items.append(shared | {"credits": total if untagged is None else untagged})
    rows = table.rows(
        items,
        snapshot_date=window.start.date(),
        range=period if is_range else "",
        activity_view="" if is_range else period,
        timezone=client.timezone,
    )
    return FetchResult(rows, window)


def _first_day(start: Any, unit: Unit, timezone: str, table: Table) -> date:
    """The local date on which a bucket begins.

    The documentation describes `start` as the UTC moment of local midnight. The reference's own sample has midnight UTC of
    the local date, which is another day west of Greenwich. Only one of the two can be the first day of a week or month.
    """
    try:
        moment = pendulum.parse(start, tz="UTC")
    except (ValueError, TypeError):
        moment = None
    if isinstance(moment, DateTime):
        for day in (moment.in_timezone(timezone).date(), moment.in_timezone("UTC").date()):
            if floor(from_date(day), unit) == from_date(day):
                return day
    raise table.unexpected(f"a bucket's start is {start!r}, not the first day of a {unit} in {timezone}")


def _midnight(day: DateTime, timezone: str) -> DateTime:
    return pendulum.datetime(day.year, day.month, day.day, tz=timezone).in_timezone("UTC")


def _period(period: Any, timezone: str) -> Window | None:
    """The local days of a period; None if a bound is missing or not a day's.

    The documentation describes the bounds as UTC moments, the end excluded. The reference's own sample has the days of UTC
    and the last second.
    """
    try:
        start, end = (pendulum.parse(period[edge], tz="UTC") for edge in ("start", "end"))
    except (ValueError, TypeError, LookupError):
        return None
    if not isinstance(start, DateTime) or not isinstance(end, DateTime):
        return None
    for zone in (timezone, "UTC"):
        first, last = start.in_timezone(zone), end.in_timezone(zone).subtract(microseconds=1)
        if first == first.start_of("day") and first < last:
            return Window(from_date(first.date()), from_date(last.date()).add(days=1))
    return None


def _objects(response: dict[str, Any], name: str, table: Table) -> list[dict[str, Any]]:
    """The list of objects `name`; a missing list is an error, an empty one is not."""
    items = response.get(name)
    if not isinstance(items, list):
        raise table.unexpected(f"the response has no list {name}")
    for item in items:
        if not isinstance(item, dict):
            raise table.unexpected(f"an item of {name} is {item!r}, not an object")
    return items


def _inside(rows: pa.Table, unit: Unit, requested: Window, period: Window | None = None) -> FetchResult:
    """The rows in the requested window, and the part of the window that the response covers.

    The response covers its `period`, unless it has rows outside of it. Without a period it covers the time from the first
    row to the last. An older bucket stays unchanged, because it may merely have left the range.
    """
    starts = [from_date(day) for day in rows.column("date").to_pylist()]
    inside = rows.filter(pa.array([requested.start <= start < requested.end for start in starts], pa.bool_()))
    if period is None or not all(period.start <= start < period.end for start in starts):
        period = Window(min(starts), after(max(starts), unit)) if starts else None
    if period is None:
        return FetchResult(inside, None)
    start, end = max(requested.start, period.start), min(requested.end, period.end)
    return FetchResult(inside, Window(start, end) if start < end else None)
