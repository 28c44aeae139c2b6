"""The tables that Scopix answers by date: days of usage and tokens, months of tokens, buckets of `by-period`, activity."""

from collections.abc import Iterator
from typing import Any

import pendulum
import pyarrow as pa
from pendulum import DateTime

from sources._core.http import IncompleteAnswer, Params, RequestRejected
from sources._core.replace import Reading
from sources._core.tables import Table, duplicates
from sources._core.windows import Unit, Window, after, ceil, floor, utc_now
from sources.scopix.answers import flattened
from sources.scopix.asker import Ask, Asker, end_text, start_text
from sources.scopix.settings import BY_PERIOD, DASHBOARD, DASHBOARD_DAYS, SUMMARY, TOKENS

LONG_AGO = "2000-01-01"
"""A day on which nobody can have used Scopix."""


def buckets(window: Window, unit: Unit) -> Iterator[DateTime]:
    """The starts of the window's buckets."""
    start = window.start
    while start < window.end:
        yield start
        start = after(start, unit)


def read_usage_daily(ask: Ask, window: Window, *, table: Table) -> Reading:
    """The summary of each day: a request a day."""
    rows = []
    for day in buckets(window, "day"):
        payload = ask.asker.get(
            SUMMARY,
            {
                "start_date": start_text(day),
                "end_date": end_text(after(day, "day")),
                "period": "day",
                "api_key_id": ask.of("api_key_id"),
            },
        )
        period = payload.get("period")
        period = period if isinstance(period, dict) else {}
        start, end = _moment(table, "period.start", period.get("start")), _moment(table, "period.end", period.get("end"))
        if start != day or not day < end <= after(day, "day"):
            raise table.unexpected(f"the summary of {day.to_date_string()} is one from {start} to {end}")
        # What is left of the month and of the plan is of today, whatever day is asked for.
        counted = {name: value for name, value in payload.items() if name not in {"period", "limits", "plan"}}
        rows.append(
            table.rows(
                [flattened(counted, {"usage": "", "performance": ""})], date=day.date(), api_key_id=ask.of("api_key_id")
            )
        )
    return Reading(pa.concat_tables(rows, promote_options="default"), window)


def read_by_period(ask: Ask, window: Window, *, table: Table) -> Reading:
    """One answer with all buckets of the window, or of the part of it that the server says it is about."""
    payload = ask.asker.get(
        BY_PERIOD,
        {
            "period_type": ask.of("period_type"),
            "start_date": start_text(window.start),
            "end_date": end_text(window.end),
            "api_key_id": ask.of("api_key_id"),
        },
        answers="data",
    )
    rows = table.rows(payload["data"], period_type=ask.of("period_type"), api_key_id=ask.of("api_key_id"))
    unit: Unit = "hour" if ask.of("period_type") == "hour" else "day" if ask.of("period_type") == "day" else "month"
    for start in rows.column("bucket_start").to_pylist():
        if floor(start, unit) != start:
            raise table.unexpected(f"field timestamp holds {start.isoformat()}, not the start of a {unit}")
    if twice := duplicates(rows, table.key):
        raise table.unexpected(f"two points have the same key {twice}")
    return Reading(rows, _told(table, payload, window, unit))


def _told(table: Table, payload: dict[str, Any], window: Window, unit: Unit) -> Window | None:
    """The whole buckets of `window` between the bounds that the answer names, where it names any.

    A server that knows hours of the last week only would say so here, and what it leaves out must not be deleted.
    """
    start, end = window.start, window.end
    if payload.get("start_date"):
        start = max(start, ceil(_moment(table, "start_date", payload["start_date"]), unit))
    if payload.get("end_date"):
        # The last second or the last microsecond of a bucket is its end, and so is a bare date; and so is now.
        told = _moment(table, "end_date", payload["end_date"])
        told = told.add(days=1) if len(payload["end_date"]) == len("2026-01-31") else told.add(seconds=1)
        if told < min(end, utc_now().subtract(minutes=5)):
            end = floor(told, unit)
    return Window(start, end) if start < end else None


def read_daily_activity(ask: Ask, window: Window, *, table: Table) -> Reading:
    """The days of the shortest dashboard period that reaches back to the window's start."""
    needed = (floor(utc_now(), "day") - window.start).days + 1
    periods = [period for period, reach in DASHBOARD_DAYS.items() if reach >= needed] or [max(DASHBOARD_DAYS)]
    told: Window | None = None
    for period in periods:
        payload = ask.asker.get(DASHBOARD, {"period": period}, answers="daily_activity")
        told = _told(table, payload, window, "day")
        if told is not None and told.start == window.start:
            break
    rows = table.rows(payload["daily_activity"])
    if twice := duplicates(rows, table.key):
        raise table.unexpected(f"two entries are of the same day {twice}")
    if told is not None:
        kept = [told.start.date() <= day < told.end.date() for day in rows.column("date").to_pylist()]
        rows = rows.filter(pa.array(kept, pa.bool_()))
    return Reading(rows, told)


def read_tokens_daily(ask: Ask, window: Window, *, table: Table) -> Reading:
    """The tokens of each day: a request a day, and one more where the answers cannot show that days are looked at."""
    rows = []
    for day in buckets(window, "day"):
        payload = ask.asker.get(TOKENS, {"start_date": day.to_date_string(), "end_date": day.to_date_string()})
        _require_month(table, payload, day)
        if payload.get("month") is not None and day.month != utc_now().month:
            ask.asker.takes_dates = True  # the older server would have answered of the running month
        rows.append(table.rows([_without_month(payload)], date=day.date()))
    _require_dates(ask.asker, table)
    return Reading(pa.concat_tables(rows, promote_options="default"), window)


def read_tokens_monthly(ask: Ask, window: Window, *, table: Table) -> Reading:
    """The tokens of each month: a request a month, with the newer and the older parameters, which say the same."""
    rows = []
    for month in buckets(window, "month"):
        last = after(month, "month").subtract(days=1)
        params: Params = {
            "start_date": month.to_date_string(),
            "end_date": last.to_date_string(),
            "year": month.year,
            "month": month.month,
        }
        payload = ask.asker.get(TOKENS, params)
        _require_month(table, payload, month)
        rows.append(table.rows([_without_month(payload)], bucket_start=month))
    return Reading(pa.concat_tables(rows, promote_options="default"), window)


def _without_month(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in {"year", "month", "start_date", "end_date"}}


def _require_month(table: Table, payload: dict[str, Any], asked: DateTime) -> None:
    """An older server passes over the dates and answers of the running month."""
    told = payload.get("year"), payload.get("month")
    if told not in ((None, None), (asked.year, asked.month)):
        raise _no_dates(table, f"asked for {asked.to_date_string()}, it answers of {told[0]}-{told[1]}")


def _require_dates(asker: Asker, table: Table) -> None:
    """Asks for a day without usage: a server that passes over dates has the running month's to show.

    If that month has none, its days have none either, and all zeros are right.
    """
    if asker.takes_dates:
        return
    try:
        payload = asker.get(TOKENS, {"start_date": LONG_AGO, "end_date": LONG_AGO})
    except RequestRejected:
        payload = {}  # it looked at the dates, and does not like them
    if payload.get("total_tokens"):
        raise _no_dates(table, f"asked for {LONG_AGO}, it answers {payload['total_tokens']} tokens")
    asker.takes_dates = True


def _no_dates(table: Table, problem: str) -> IncompleteAnswer:
    return IncompleteAnswer(
        f"the server does not look at start_date and end_date: {problem}",
        provider=table.provider,
        endpoint=table.endpoint,
        way_out=f"{table.name} cannot be loaded from it; name the other tables in `run`, or ask Scopix for the newer API.",
    )


def _moment(table: Table, name: str, text: Any) -> DateTime:
    try:
        moment = pendulum.parse(text, tz="UTC") if isinstance(text, str) else None
    except ValueError:
        moment = None
    if not isinstance(moment, DateTime):
        raise table.unexpected(f"field {name} holds {text!r}, not a time")
    return moment.in_timezone("UTC")
