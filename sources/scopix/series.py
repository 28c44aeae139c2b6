"""The tables that Scopix answers by date: days of usage and tokens, months of tokens, buckets of `by-period`, activity."""

from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse, RequestRejected
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table, first_duplicate
from meterhouse.sources._core.windows import Unit, Window, after, ceil, floor, from_date, utc_now

from .client import Ask, Asker, end_text, start_text
from .constants import BY_PERIOD, DASHBOARD, DASHBOARD_DAYS, SUMMARY, TOKENS
from .errors import flattened, moment

LONG_AGO = DateTime(2000, 1, 1)
"""A day on which nobody can have used Scopix."""


def buckets(window: Window, unit: Unit) -> Iterator[DateTime]:
    """The starts of the window's buckets."""
    start = window.start
    while start < window.end:
        yield start
        start = after(start, unit)


def read_usage_daily(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The summary of each day: a request a day."""
    rows = []
    for day in buckets(window, "day"):
        params = {"start_date": start_text(day), "end_date": end_text(after(day, "day")), "period": "day"}
        payload = ask.asker.get(SUMMARY, params | {"api_key_id": ask.of("api_key_id")})
        period = payload.get("period")
        period = period if isinstance(period, dict) else {}
        start, end = moment(table, "period.start", period.get("start")), moment(table, "period.end", period.get("end"))
        if start != day or not day < end <= after(day, "day"):
            raise table.unexpected(f"the summary of {day.to_date_string()} is one from {start} to {end}")
        # What is left of the month and of the plan is of today, whatever day is asked for.
        counted = {name: value for name, value in payload.items() if name not in {"period", "limits", "plan"}}
        if ask.of("api_key_id") and _requests(counted):
            ask.asker.require_keys(table, params, _requests)
        rows.append(
            table.rows(
                [flattened(counted, {"usage": "", "performance": ""})], date=day.date(), api_key_id=ask.of("api_key_id")
            )
        )
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _requests(summary: dict[str, Any]) -> bool:
    usage = summary.get("usage")
    return isinstance(usage, dict) and bool(usage.get("total_requests"))


def read_by_period(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """One answer with all buckets of the window, or of the part of it that the server says it is about."""
    params = {
        "period_type": ask.of("period_type"),
        "start_date": start_text(window.start),
        "end_date": end_text(window.end),
    }
    payload = ask.asker.get(BY_PERIOD, params | {"api_key_id": ask.of("api_key_id")}, answers="data")
    rows = table.rows(payload["data"], period_type=ask.of("period_type"), api_key_id=ask.of("api_key_id"))
    if twice := first_duplicate(rows, table.key):
        raise table.unexpected(f"two points have the same key {twice}")
    if ask.of("api_key_id") and any(rows.column("value").to_pylist()):
        ask.asker.require_keys(table, params, _points)
    covered = _covered(table, payload, window, cast("Unit", ask.of("period_type")))
    if window.start == ask.begins and (covered is None or covered.start > window.start):
        # Later runs compare with what is loaded; the first has nothing to compare with.
        ask.asker.journal.gap(table.name, ask.asker.account, Window(window.start, covered.start if covered else window.end))
    return FetchResult(_within(rows, table, covered), covered)


def _points(payload: dict[str, Any]) -> bool:
    data = payload.get("data")
    return isinstance(data, list) and any(isinstance(point, dict) and point.get("value") for point in data)


def _covered(table: Table, payload: dict[str, Any], window: Window, unit: Unit) -> Window | None:
    """The whole buckets of `window` between the bounds that the answer names, where it names any.

    A server that knows hours of the last week only would say so here, and what it leaves out must not be deleted.
    """
    start, end = window.start, window.end
    if payload.get("start_date"):
        start = max(start, ceil(moment(table, "start_date", payload["start_date"]), unit))
    if payload.get("end_date"):
        # The last second or the last microsecond of a bucket is its end, and so is a bare date; and so is now.
        told = moment(table, "end_date", payload["end_date"])
        told = told.add(days=1) if len(payload["end_date"]) == len("2026-01-31") else told.add(seconds=1)
        if told < min(end, utc_now().subtract(minutes=5)):
            end = floor(told, unit)
    return Window(start, end) if start < end else None


def _within(rows: pa.Table, table: Table, window: Window | None) -> pa.Table:
    """The rows of `window`: a bucket that is cut by the bounds of an answer is not whole, and so is not loaded."""
    times = (from_date(time) for time in rows.column(table.time).to_pylist())
    kept = [window is not None and window.start <= time < window.end for time in times]
    return rows.filter(pa.array(kept, pa.bool_()))


def read_daily_activity(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The days of the shortest dashboard period that reaches back to the window's start."""
    needed = (floor(utc_now(), "day") - window.start).days + 1
    periods = [period for period, reach in DASHBOARD_DAYS.items() if reach >= needed] or [max(DASHBOARD_DAYS)]
    covered: Window | None = None
    for period in periods:
        payload = ask.asker.dashboard(period, table)
        if not isinstance(payload.get("daily_activity"), list):  # the totals could do without
            payload = ask.asker.get(DASHBOARD, {"period": period}, answers="daily_activity")
        rows = table.rows(payload["daily_activity"])
        covered = _covered(table, payload, window, "day")
        if not payload.get("start_date"):  # how far back it looks shows only in the days that it lists
            covered = _since_the_first(rows, table, covered)
        if covered is not None and covered.start == window.start:
            break
    if twice := first_duplicate(rows, table.key):
        raise table.unexpected(f"two entries are of the same day {twice}")
    return FetchResult(_within(rows, table, covered), covered)


def _since_the_first(rows: pa.Table, table: Table, window: Window | None) -> Window | None:
    days = [from_date(day) for day in rows.column(table.time).to_pylist()]
    if window is None or not days or min(days) >= window.end:
        return None
    return Window(max(window.start, min(days)), window.end)


def read_tokens_daily(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The tokens of each day: a request a day, and a few more where the answers cannot show that days are looked at."""
    rows, used = [], False
    for day in buckets(window, "day"):
        payload = ask.asker.get(TOKENS, _days(day, day))
        _require_month(table, payload, day)
        if payload.get("month") is not None and day.month != utc_now().month:
            ask.asker.looks_at_dates = True  # the older server would have answered of the running month
        rows.append(table.rows([_without_month(payload)], date=day.date()))
        used = used or bool(payload.get("total_tokens"))
    covered = _proven(ask.asker, table, window, used=used)
    return FetchResult(_within(pa.concat_tables(rows, promote_options="default"), table, covered), covered)


def _proven(asker: Asker, table: Table, window: Window, *, used: bool) -> Window | None:
    """The days of `window` whose answers are known to be of these days; `used` says whether any of them is not zero.

    Zeros prove nothing: a server whose end_date is excluded has no day to tell of, and one that passes over dates tells of
    the running month, in which there may be nothing yet.

    Raises:
        IncompleteResponse: the server answers of other times than it is asked for.
    """
    last = window.end.subtract(days=1)
    if used and not asker.looks_at_dates:
        if spent := _spent(asker, LONG_AGO, LONG_AGO):
            raise _no_dates(table, f"asked for {LONG_AGO.to_date_string()}, it answers {spent} tokens")
        asker.looks_at_dates = True
    if not used and not asker.includes_end and last > window.start and (spent := _spent(asker, window.start, last)):
        raise _no_dates(table, f"it answers 0 tokens for each day of {window}, and {spent} for all of them")
    asker.includes_end = asker.includes_end or used
    if asker.looks_at_dates is None:
        asker.looks_at_dates = bool(_spent(asker, LONG_AGO, utc_now()))
    if asker.looks_at_dates:
        return window
    # Nothing was ever used, or nothing yet in a month that all answers are of: then only its own days are zero for sure.
    start = max(window.start, floor(utc_now(), "month"))
    return Window(start, window.end) if start < window.end else None


def _spent(asker: Asker, first: DateTime, last: DateTime) -> int:
    try:
        payload = asker.get(TOKENS, _days(first, last))
    except RequestRejected:
        return 0  # it looked at the dates, and does not like them
    return int(payload.get("total_tokens") or 0)


def _days(first: DateTime, last: DateTime) -> Params:
    return {"start_date": first.to_date_string(), "end_date": last.to_date_string()}


def read_tokens_monthly(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The tokens of each month: a request a month, with the newer and the older parameters, which say the same."""
    rows = []
    for month in buckets(window, "month"):
        last = after(month, "month").subtract(days=1)
        payload = ask.asker.get(TOKENS, {**_days(month, last), "year": month.year, "month": month.month})
        _require_month(table, payload, month)
        rows.append(table.rows([_without_month(payload)], bucket_start=month))
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _without_month(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in {"year", "month", "start_date", "end_date"}}


def _require_month(table: Table, payload: dict[str, Any], asked: DateTime) -> None:
    """An older server passes over the dates and answers of the running month."""
    told = payload.get("year"), payload.get("month")
    if told not in ((None, None), (asked.year, asked.month)):
        raise _no_dates(table, f"asked for {asked.to_date_string()}, it answers of {told[0]}-{told[1]}")


def _no_dates(table: Table, problem: str) -> IncompleteResponse:
    return IncompleteResponse(
        f"the server does not look at start_date and end_date as documented: {problem}",
        provider=table.provider,
        endpoint=table.endpoint,
        hint=f"{table.name} cannot be loaded from it; name the other tables in `run`, or ask Scopix for the newer API.",
    )
