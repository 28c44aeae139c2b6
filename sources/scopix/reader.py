"""Reads one window of a Scopix table: each function maps a window to a FetchResult.

Tables are of three kinds. Series are requested by date. Lists are read page by page (see `paging`). Snapshots show the
present only: each run requests them once, and the last run of a day replaces the earlier ones.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache, partial
from math import ceil
from typing import Any

import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.errors import RequestRejected
from meterhouse.sources._core.events import WindowMissed, current_place
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import TIMESTAMP, Table, first_duplicate
from meterhouse.sources._core.windows import Unit, Window, after, floor, utc_now

from . import tables
from .client import Json, ScopixClient
from .constants import DASHBOARD_DAYS
from .paging import PagedList, Rows, count_rows, read_list
from .probes import proven_token_days, require_key_filter, require_month
from .times import bucket_starts, covered_window, from_first_day, parse_time, rows_in, time_params

IDENTIFYING_PERIOD = timedelta(days=30)
"""How far back the events that identify an account may lie."""


def read_events(
    client: ScopixClient, window: Window, *, page_size: int, api_key_id: str = "", operation_type: str = ""
) -> FetchResult:
    """All events of the window up to now.

    Raises:
        SourceError: a request failed; IncompleteResponse if the list moves in every attempt.
    """
    table = tables.USAGE_EVENTS
    end = min(window.end, utc_now().start_of("second"))
    if end <= window.start:
        return FetchResult(table.rows([]), None)
    past = Window(window.start, end)
    filters = {"api_key_id": api_key_id, "operation_type": operation_type}
    rows = read_list(PagedList(client, table, "events", {**time_params(past), **filters}, page_size))
    if rows and api_key_id:
        first_event: Params = {**time_params(past), "limit": 1, "offset": 0}
        require_key_filter(
            client,
            table,
            lambda key: client.get(table.endpoint, {**first_event, "api_key_id": key}),
            lambda payload: bool(payload.get("events")),
        )
    # An event without the field that the request filters by has the requested value.
    requested = {name: value for name, value in filters.items() if value}
    if requested:
        rows = [row | {name: row.get(name) or value for name, value in requested.items()} for row in rows]
    return FetchResult(table.rows(rows), past)


def identify(client: ScopixClient, *, tenant_id: str) -> Mapping[str, Collection[str]]:
    """The configured tenant, and the API keys of its newest events; requested once for all tables.

    No response names the tenant. But an API key belongs to one tenant, and any key of a tenant sees the events of all.

    Raises:
        SourceError: the request failed, or the key is not accepted. If the endpoint refuses the request otherwise, the
            account reports only its tenant.
    """
    with client.identifying:
        if client.seen_keys is None:
            now = utc_now()
            newest: Params = {**time_params(Window(now - IDENTIFYING_PERIOD, now)), "limit": 100, "offset": 0}
            client.estimate.add(tables.USAGE_EVENTS, 1)
            try:
                events = client.get(tables.USAGE_EVENTS.endpoint, newest, list_field="events", announce=False)["events"]
            except RequestRejected:
                events = []
            client.seen_keys = {str(event.get("api_key_id") or "") for event in events if isinstance(event, dict)}
    return {"api_key_id": client.seen_keys, "tenant_id": [tenant_id]}


def estimate_windows(
    client: ScopixClient,
    windows: Sequence[Window],
    *,
    table: Table,
    request_unit: Unit | None,
) -> None:
    """Adds a request for each bucket of `request_unit` in the windows to the estimate; with None, one for each window."""
    if request_unit is None:
        client.estimate.add(table, len(windows))
    else:
        client.estimate.add(table, sum(1 for window in windows for _ in bucket_starts(window, request_unit)))


def estimate_events(
    client: ScopixClient,
    windows: Sequence[Window],
    *,
    table: Table,
    page_size: int,
    filters: Mapping[str, Mapping[str, str]],
) -> None:
    """Adds the pages of the windows to the estimate; one request per account counts their events.

    The partitions of an account, such as keys, share that request; so `filters`, by account, is empty for an account with
    several partitions. A single window needs no such request, because its first page shows the length of the list.
    """
    client.estimate.add(table, len(windows))
    if len(windows) < 2 or table.name in client.counted_tables:
        return
    span = Window(windows[0].start, windows[-1].end)
    events = count_rows(client, table, {**time_params(span), **filters[client.account]})
    # The first page of each window is already part of the estimate, and on average its last page is half empty.
    client.estimate.add(table, max(0, ceil(events / (page_size - 1)) - (len(windows) - len(windows) // 2)))


def read_files(client: ScopixClient, window: Window, *, page_size: int) -> FetchResult:
    """The files that were uploaded in the window."""
    return _read_created(client, window, tables.FILE_TOKENS, "files", page_size)


def read_conversations(client: ScopixClient, window: Window, *, page_size: int) -> FetchResult:
    """The conversations that began in the window."""
    return _read_created(client, window, tables.CONVERSATION_TOKENS, "conversations", page_size)


def _read_created(client: ScopixClient, window: Window, table: Table, field: str, page_size: int) -> FetchResult:
    """The rows that were created in the window, from a list without date parameters: read from the top to its start."""
    parsed = cache(lambda text: parse_time(table, "created_at", text))

    def created(row: Json) -> DateTime:
        return parsed(str(row.get("created_at") or ""))

    def is_enough(rows: Rows) -> bool:
        # After an old row, all further rows are old only if the list is in order, newest first.
        times = [created(row) for row in rows]
        return bool(times) and times[-1] < window.start and times == sorted(times, reverse=True)

    def remaining_pages(rows: Rows, pages: int) -> int:
        newest, oldest = created(rows[0]), created(rows[-1])
        if is_enough(rows) or newest <= oldest:
            return 0 if is_enough(rows) else pages
        return min(pages, ceil((oldest - window.start) / (newest - oldest)))

    rows = read_list(PagedList(client, table, field, {}, page_size, is_enough, remaining_pages))
    return FetchResult(table.rows([row for row in rows if window.start <= created(row) < window.end]), window)


def read_usage_daily(client: ScopixClient, window: Window, *, api_key_id: str) -> FetchResult:
    """The summary of each day: one request per day."""
    table = tables.USAGE_DAILY
    rows = []
    for start in bucket_starts(window, "day"):
        day = Window(start, after(start, "day"))
        payload = client.day_summary(day, api_key_id)
        period = payload.get("period")
        period = period if isinstance(period, dict) else {}
        first = parse_time(table, "period.start", period.get("start"))
        last = parse_time(table, "period.end", period.get("end"))
        if first != day.start or not day.start < last <= day.end:
            raise table.unexpected(f"the summary of {start.to_date_string()} covers {first} to {last}")
        # The limits and the plan are always those of today, not of the requested day.
        usage = {name: value for name, value in payload.items() if name not in {"period", "limits", "plan"}}
        if api_key_id and _has_requests(usage):
            require_key_filter(client, table, partial(client.day_summary, day), _has_requests)
        rows.append(
            table.rows([_flatten(usage, {"usage": "", "performance": ""})], date=start.date(), api_key_id=api_key_id)
        )
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _has_requests(summary: Json) -> bool:
    usage = summary.get("usage")
    return isinstance(usage, dict) and bool(usage.get("total_requests"))


def read_by_period(
    client: ScopixClient, window: Window, *, period_type: Unit, api_key_id: str, first_starts: Mapping[Unit, DateTime]
) -> FetchResult:
    """All buckets of the window in one response, or those of the part that the response says it covers.

    `first_starts` has the start of the first run by `period_type`. This function reports time that is missing there, because
    only later runs can compare the response with loaded rows.
    """
    table = tables.USAGE_BY_PERIOD
    payload = client.by_period(period_type, window, api_key_id)
    rows = table.rows(payload["data"], period_type=period_type, api_key_id=api_key_id)
    if duplicate := first_duplicate(rows, table.key):
        raise table.unexpected(f"two points have the same key {duplicate}")
    if api_key_id and any(rows.column("value").to_pylist()):
        require_key_filter(client, table, partial(client.by_period, period_type, window), _has_values)
    covered = covered_window(table, payload, window, period_type)
    if window.start == first_starts[period_type] and (covered is None or covered.start > window.start):
        missed = Window(window.start, covered.start if covered else window.end)
        client.http.observer(WindowMissed(current_place(table.provider), missed))
    return FetchResult(rows_in(rows, table, covered), covered)


def _has_values(payload: Json) -> bool:
    data = payload.get("data")
    return isinstance(data, list) and any(isinstance(point, dict) and point.get("value") for point in data)


def read_daily_activity(client: ScopixClient, window: Window) -> FetchResult:
    """The days of the shortest dashboard period that reaches back to the start of the window."""
    table = tables.DASHBOARD_DAILY_ACTIVITY
    needed = (floor(utc_now(), "day") - window.start).days + 1
    periods = [period for period, days in DASHBOARD_DAYS.items() if days >= needed] or [max(DASHBOARD_DAYS)]
    covered: Window | None = None
    for period in periods:
        payload = client.dashboard_with_days(period, table.name)
        rows = table.rows(payload["daily_activity"])
        covered = covered_window(table, payload, window, "day")
        if not payload.get("start_date"):  # then only its first day shows how far the response reaches back
            covered = from_first_day(rows, table, covered)
        if covered is not None and covered.start == window.start:
            break
    if duplicate := first_duplicate(rows, table.key):
        raise table.unexpected(f"two entries have the same day {duplicate}")
    return FetchResult(rows_in(rows, table, covered), covered)


def read_tokens_daily(client: ScopixClient, window: Window) -> FetchResult:
    """The tokens of each day: one request per day, and a few more if the responses do not prove that dates are applied."""
    table = tables.TOKENS_DAILY
    rows, has_tokens = [], False
    for day in bucket_starts(window, "day"):
        payload = client.tokens(day, day)
        require_month(table, payload, day)
        if payload.get("month") is not None and day.month != utc_now().month:
            client.server.applies_token_dates = True  # an older server would have returned the running month
        rows.append(table.rows([_without_dates(payload)], date=day.date()))
        has_tokens = has_tokens or bool(payload.get("total_tokens"))
    covered = proven_token_days(client, table, window, has_tokens=has_tokens)
    return FetchResult(rows_in(pa.concat_tables(rows, promote_options="default"), table, covered), covered)


def read_tokens_monthly(client: ScopixClient, window: Window) -> FetchResult:
    """The tokens of each month: one request per month."""
    table = tables.TOKENS_MONTHLY
    rows = []
    for month in bucket_starts(window, "month"):
        payload = client.tokens_of_month(month, after(month, "month").subtract(days=1))
        require_month(table, payload, month)
        rows.append(table.rows([_without_dates(payload)], bucket_start=month))
    return FetchResult(pa.concat_tables(rows, promote_options="default"), window)


def _without_dates(payload: Json) -> Json:
    return {name: value for name, value in payload.items() if name not in {"year", "month", "start_date", "end_date"}}


def read_summary(client: ScopixClient, window: Window, *, period: str) -> FetchResult:
    """The summary of the running day, week or month."""
    sections = {"period": "period_", "usage": "", "performance": "", "limits": "limits_", "plan": "plan_"}
    return _snapshot(tables.USAGE_SUMMARY, window, _flatten(client.summary(period), sections), period=period)


def read_breakdown(client: ScopixClient, window: Window) -> FetchResult:
    """The credits of the running billing period."""
    return _snapshot(tables.USAGE_BREAKDOWN, window, client.breakdown())


def read_check(client: ScopixClient, window: Window, *, operation: Mapping[str, Any]) -> FetchResult:
    """Whether Scopix would allow the configured operation."""
    return _snapshot(tables.USAGE_CHECKS, window, client.check(operation), **operation)


def read_top_endpoints(client: ScopixClient, window: Window, *, limit: int) -> FetchResult:
    """The endpoints with most requests in the calendar month; the last snapshot of a month covers the whole month."""
    month = floor(window.start, "month")
    endpoints = client.top_endpoints(Window(month, window.end), limit)
    ranks = pa.array(range(1, len(endpoints) + 1), pa.int64())
    starts = pa.array([month] * len(endpoints), TIMESTAMP)
    rows = tables.TOP_ENDPOINTS.rows(endpoints, snapshot_date=window.start.date(), rank=ranks, period_start=starts)
    return FetchResult(rows, window)


def read_dashboard(client: ScopixClient, window: Window, *, period: str) -> FetchResult:
    """The totals of the dashboard; its days are the table `dashboard_daily_activity`."""
    table = tables.DASHBOARD_ANALYTICS
    payload = client.dashboard(period, table.name)
    totals = {name: value for name, value in payload.items() if name != "daily_activity"}
    return _snapshot(table, window, totals, period=period)


def read_plan(client: ScopixClient, window: Window, *, period: str, include_projections: bool) -> FetchResult:
    """The plan, its use, and the vendor's own forecast."""
    payload = client.plan(period, include_projections=include_projections)
    sections = {"billing_period": "billing_", "plan_details": "", "projections": "", "optimization_recommendations": ""}
    return _snapshot(tables.PLAN_UTILIZATION, window, _flatten(payload, sections), period=period)


def _snapshot(table: Table, window: Window, row: Json, **computed: Any) -> FetchResult:
    return FetchResult(table.rows([row], snapshot_date=window.start.date(), **computed), window)


def _flatten(payload: Json, sections: Mapping[str, str]) -> Json:
    """The object with the fields of its sections beside its own fields; each section has a prefix for their names.

    A section that is null has no fields: Scopix leaves out what a plan does not include.
    """
    flat: Json = {}
    for name, value in payload.items():
        if name in sections and (value is None or isinstance(value, dict)):
            flat |= {f"{sections[name]}{inner}": held for inner, held in (value or {}).items()}
        else:
            flat[name] = value
    return flat
