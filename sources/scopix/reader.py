"""Reads one window of the tables that Scopix returns by date: days of usage, buckets of `by-period`, activity and tokens."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse, RequestRejected
from meterhouse.sources._core.events import WindowMissed, current_place
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table, first_duplicate
from meterhouse.sources._core.windows import Unit, Window, after, ceil, floor, from_date, utc_now

from .client import ScopixClient, end_text, start_text
from .constants import BY_PERIOD, DASHBOARD, DASHBOARD_DAYS, SUMMARY, TOKENS
from .fields import flatten, parse_time

BEFORE_SCOPIX = DateTime(2000, 1, 1)
"""A day before Scopix existed, on which there can be no usage."""


def bucket_starts(window: Window, unit: Unit) -> Iterator[DateTime]:
    """The starts of the buckets in the window."""
    start = window.start
    while start < window.end:
        yield start
        start = after(start, unit)


def read_usage_daily(client: ScopixClient, window: Window, *, table: Table, api_key_id: str) -> FetchResult:
    """The summary of each day: one request a day."""
    rows = []
    for day in bucket_starts(window, "day"):
        params = {"start_date": start_text(day), "end_date": end_text(after(day, "day")), "period": "day"}
        payload = client.get(SUMMARY, params | {"api_key_id": api_key_id})
        period = payload.get("period")
        period = period if isinstance(period, dict) else {}
        start = parse_time(table, "period.start", period.get("start"))
        end = parse_time(table, "period.end", period.get("end"))
        if start != day or not day < end <= after(day, "day"):
            raise table.unexpected(f"the summary of {day.to_date_string()} covers {start} to {end}")
        # `limits` and `plan` are those of today, whatever the day of the request.
        counted = {name: value for name, value in payload.items() if name not in {"period", "limits", "plan"}}
        if api_key_id and _requests(counted):
            client.require_key_filter(table, params, _requests)
        flat = flatten(counted, {"usage": "", "performance": ""})
        rows.append(table.rows([flat], date=day.date(), api_key_id=api_key_id))
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _requests(summary: dict[str, Any]) -> bool:
    usage = summary.get("usage")
    return isinstance(usage, dict) and bool(usage.get("total_requests"))


def read_by_period(
    client: ScopixClient, window: Window, *, table: Table, period_type: Unit, api_key_id: str, initial_date: DateTime
) -> FetchResult:
    """All buckets of the window, or of the part of it that the response says it covers, in one request."""
    params = {
        "period_type": period_type,
        "start_date": start_text(window.start),
        "end_date": end_text(window.end),
    }
    payload = client.get(BY_PERIOD, params | {"api_key_id": api_key_id}, list_field="data")
    rows = table.rows(payload["data"], period_type=period_type, api_key_id=api_key_id)
    if duplicate := first_duplicate(rows, table.key):
        raise table.unexpected(f"two points have the same key {duplicate}")
    if api_key_id and any(rows.column("value").to_pylist()):
        client.require_key_filter(table, params, _points)
    covered = _covered(table, payload, window, period_type)
    if window.start == floor(initial_date, period_type) and (covered is None or covered.start > window.start):
        # Later runs compare with the loaded windows; the first has none, so it reports the missing time itself.
        missed = Window(window.start, covered.start if covered else window.end)
        client.estimate.observer(WindowMissed(current_place(table.provider), missed))
    return FetchResult(_inside(rows, table, covered), covered)


def _points(payload: dict[str, Any]) -> bool:
    data = payload.get("data")
    return isinstance(data, list) and any(isinstance(point, dict) and point.get("value") for point in data)


def _covered(table: Table, payload: dict[str, Any], window: Window, unit: Unit) -> Window | None:
    """The whole buckets of `window` between the bounds in the response, if it has any.

    A server that only keeps the hours of the last week would say so here, and what it leaves out must not be deleted.
    """
    start, end = window.start, window.end
    if payload.get("start_date"):
        start = max(start, ceil(parse_time(table, "start_date", payload["start_date"]), unit))
    if payload.get("end_date"):
        # A bucket's end may be written as its last second, as its last microsecond, as a bare date, or as the present.
        stated = parse_time(table, "end_date", payload["end_date"])
        stated = stated.add(days=1) if len(payload["end_date"]) == len("2026-01-31") else stated.add(seconds=1)
        if stated < min(end, utc_now().subtract(minutes=5)):
            end = floor(stated, unit)
    return Window(start, end) if start < end else None


def _inside(rows: pa.Table, table: Table, window: Window | None) -> pa.Table:
    """The rows in `window`: a bucket that the bounds of a response cut is incomplete, and so is not loaded."""
    times = (from_date(time) for time in rows.column(table.time).to_pylist())
    kept = [window is not None and window.start <= time < window.end for time in times]
    return rows.filter(pa.array(kept, pa.bool_()))


def read_daily_activity(client: ScopixClient, window: Window, *, table: Table) -> FetchResult:
    """The days of the shortest dashboard period that reaches back to the window's start."""
    needed = (floor(utc_now(), "day") - window.start).days + 1
    periods = [period for period, days in DASHBOARD_DAYS.items() if days >= needed] or [max(DASHBOARD_DAYS)]
    covered: Window | None = None
    for period in periods:
        payload = client.dashboard(period, table)
        if not isinstance(payload.get("daily_activity"), list):  # the totals do not need the list
            payload = client.get(DASHBOARD, {"period": period}, list_field="daily_activity")
        rows = table.rows(payload["daily_activity"])
        covered = _covered(table, payload, window, "day")
        if not payload.get("start_date"):  # only the listed days show how far back it reaches
            covered = _from_first_day(rows, table, covered)
        if covered is not None and covered.start == window.start:
            break
    if duplicate := first_duplicate(rows, table.key):
        raise table.unexpected(f"two entries are of the same day {duplicate}")
    return FetchResult(_inside(rows, table, covered), covered)


def _from_first_day(rows: pa.Table, table: Table, window: Window | None) -> Window | None:
    days = [from_date(day) for day in rows.column(table.time).to_pylist()]
    if window is None or not days or min(days) >= window.end:
        return None
    return Window(max(window.start, min(days)), window.end)


def read_tokens_daily(client: ScopixClient, window: Window, *, table: Table) -> FetchResult:
    """The tokens of each day: one request a day, and a few more if the responses cannot show that the dates work."""
    rows, used = [], False
    for day in bucket_starts(window, "day"):
        payload = client.get(TOKENS, _days(day, day))
        _require_month(table, payload, day)
        if payload.get("month") is not None and day.month != utc_now().month:
            client.token_dates_work = True  # the older server would have returned the running month
        rows.append(table.rows([_without_dates(payload)], date=day.date()))
        used = used or bool(payload.get("total_tokens"))
    covered = _proven(client, table, window, used=used)
    return FetchResult(_inside(pa.concat_tables(rows, promote_options="default"), table, covered), covered)


def _proven(client: ScopixClient, table: Table, window: Window, *, used: bool) -> Window | None:
    """The days of `window` whose responses are proven to cover these days; `used` says whether one of them is not zero.

    Zeros prove nothing: a server that excludes end_date covers no day at all, and one that ignores dates returns the running
    month, which may have no usage yet.

    Raises:
        IncompleteResponse: the server returns usage of other times than requested.
    """
    last = window.end.subtract(days=1)
    if used and not client.token_dates_work:
        if tokens := _tokens(client, BEFORE_SCOPIX, BEFORE_SCOPIX):
            raise _dates_ignored(table, f"for {BEFORE_SCOPIX.to_date_string()} it returns {tokens} tokens")
        client.token_dates_work = True
    if (
        not used
        and not client.token_end_is_included
        and last > window.start
        and (tokens := _tokens(client, window.start, last))
    ):
        raise _dates_ignored(table, f"it returns 0 tokens for each day of {window}, and {tokens} for all of them")
    client.token_end_is_included = client.token_end_is_included or used
    if client.token_dates_work is None:
        client.token_dates_work = bool(_tokens(client, BEFORE_SCOPIX, utc_now()))
    if client.token_dates_work:
        return window
    # There was never usage, or none yet in the month that all responses cover: then only the days of that month are proven.
    start = max(window.start, floor(utc_now(), "month"))
    return Window(start, window.end) if start < window.end else None


def _tokens(client: ScopixClient, first: DateTime, last: DateTime) -> int:
    try:
        payload = client.get(TOKENS, _days(first, last))
    except RequestRejected:
        return 0  # the server reads the dates, and refuses them
    return int(payload.get("total_tokens") or 0)


def _days(first: DateTime, last: DateTime) -> Params:
    return {"start_date": first.to_date_string(), "end_date": last.to_date_string()}


def read_tokens_monthly(client: ScopixClient, window: Window, *, table: Table) -> FetchResult:
    """The tokens of each month: one request a month, with the newer and the older parameters, which mean the same."""
    rows = []
    for month in bucket_starts(window, "month"):
        last = after(month, "month").subtract(days=1)
        payload = client.get(TOKENS, {**_days(month, last), "year": month.year, "month": month.month})
        _require_month(table, payload, month)
        rows.append(table.rows([_without_dates(payload)], bucket_start=month))
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _without_dates(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in {"year", "month", "start_date", "end_date"}}


def _require_month(table: Table, payload: dict[str, Any], requested: DateTime) -> None:
    """An older server ignores the dates and returns the running month."""
    returned = payload.get("year"), payload.get("month")
    if returned not in ((None, None), (requested.year, requested.month)):
        raise _dates_ignored(table, f"for {requested.to_date_string()} it returns {returned[0]}-{returned[1]}")


def _dates_ignored(table: Table, problem: str) -> IncompleteResponse:
    return IncompleteResponse(
        f"the server does not apply start_date and end_date as documented: {problem}",
        provider=table.provider,
        endpoint=table.endpoint,
        hint=f"{table.name} cannot be loaded from it; name the other tables in `run`, or ask Scopix for the newer API.",
    )
