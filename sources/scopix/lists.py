"""Reads one window of the lists of Scopix: events, files and conversations."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window, utc_now

from .client import ScopixClient, end_text, start_text
from .fields import parse_time
from .paging import Rows, ScopixList, total_of


def read_events(
    client: ScopixClient, window: Window, *, table: Table, page_size: int, filters: Mapping[str, str]
) -> FetchResult:
    """All events of the past part of the window, for one API key or operation if `filters` name them.

    Raises:
        SourceError: a request failed; IncompleteResponse if the list changes in each attempt.
    """
    end = min(window.end, utc_now().start_of("second"))
    if end <= window.start:
        return FetchResult(table.rows([]), None)
    past = Window(window.start, end)
    rows = ScopixList(client, table, "events", _event_params(filters, past), page_size).read()
    if rows and filters.get("api_key_id"):
        one: Params = {**_event_params({}, past), "limit": 1, "offset": 0}
        client.require_key_filter(table, one, lambda payload: bool(payload.get("events")))
    if filters:  # an event that lacks the filtered field has the value of the filter
        rows = [row | {name: row.get(name) or value for name, value in filters.items()} for row in rows]
    return FetchResult(table.rows(rows), past)


def estimate_events(
    client: ScopixClient,
    windows: Sequence[Window],
    *,
    table: Table,
    page_size: int,
    filters: Mapping[str, str],
    partitions: int,
) -> None:
    """Estimates the pages of the windows, with one request an account if there are several windows.

    `partitions` is the number of the account's partitions, such as API keys: they share the pages of these windows.
    """
    client.estimate.add(table.name, len(windows))
    if len(windows) < 2 or client.is_counted(table):
        return  # the first pages show it
    span = Window(windows[0].start, windows[-1].end)
    params = _event_params(filters if partitions == 1 else {}, span)
    total = total_of(client.count_list(table, {**params, "limit": 1, "offset": 0})) or 0
    client.estimate.add(table.name, max(0, ceil(total / (page_size - 1)) - (len(windows) - len(windows) // 2)))


def _event_params(filters: Mapping[str, str], window: Window) -> Params:
    return {"start_date": start_text(window.start), "end_date": end_text(window.end), **filters}


def read_created(client: ScopixClient, window: Window, *, table: Table, field: str, page_size: int) -> FetchResult:
    """The rows of a list without dates that were created in the window: read from the top, back to the window's start.

    Raises:
        SourceError: a request failed; IncompleteResponse if the list changes in each attempt.
    """
    start = window.start
    parsed = cache(lambda text: parse_time(table, "created_at", text))

    def created(row: dict[str, Any]) -> DateTime:
        return parsed(str(row.get("created_at") or ""))

    def is_enough(rows: Rows) -> bool:
        # One old row means that all further ones are old only if the list is newest first.
        moments = [created(row) for row in rows]
        return bool(moments) and moments[-1] < start and moments == sorted(moments, reverse=True)

    def remaining_pages(rows: Rows, pages: int) -> int:
        newest, oldest = created(rows[0]), created(rows[-1])
        if is_enough(rows) or newest <= oldest:
            return 0 if is_enough(rows) else pages
        return min(pages, ceil((oldest - start) / (newest - oldest)))

    rows = ScopixList(client, table, field, {}, page_size, is_enough, remaining_pages).read()
    kept = [row for row in rows if window.start <= created(row) < window.end]
    return FetchResult(table.rows(kept), window)
