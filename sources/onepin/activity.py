"""Reads one window of the activity feed: newest first, from now back to the start of the window.

A cursor names each page, so new events shift no rows; an event that appears twice is loaded once. If a feed repeats itself,
the reader raises an error: it would otherwise loop for ever, or return too few events.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window, utc_now

from .client import OnepinClient
from .constants import DAYS_IN_REACH
from .fields import flatten


def read_activity(
    client: OnepinClient, window: Window, *, filters: Mapping[str, str], page_size: int, table: Table
) -> FetchResult:
    """The events of the window, and the part of the window that the feed covers, if any.

    Events after the window are left to the run whose window holds them.

    Raises:
        SourceError: a request failed; IncompleteResponse if the feed repeats itself.
    """
    pages = [_page([], table)]
    seen: set[str] = set()
    cursor: str | None = None
    cursors: set[str] = set()
    ended = False
    while not ended:
        payload = client.activity(filters, page_size=page_size, cursor=cursor)
        page = _page(payload["data"], table)
        is_new = []
        for name in page.column("id").to_pylist():
            is_new.append(name not in seen)
            seen.add(name)
        pages.append(page.filter(pa.array(is_new, pa.bool_())))
        cursor = payload["pagination"]["next"]
        if not cursor:
            ended = True
        elif _reaches_back(page, window):
            break
        elif cursor in cursors or not any(is_new):
            raise IncompleteResponse(
                f"after {len(seen)} events the feed repeats itself",
                provider=table.provider,
                endpoint=table.endpoint,
                hint="Run again later; if the error stays, the API has changed: please report it.",
            )
        else:
            cursors.add(cursor)
    events = pa.concat_tables(pages, promote_options="default")
    start = _start_of_feed(events, window, client.timezone) if ended else window.start
    if start >= window.end:
        return FetchResult(events.slice(0, 0), None)
    covered = Window(start, window.end)
    times = events.column("timestamp")
    inside = pc.and_(
        pc.greater_equal(times, pa.scalar(covered.start, times.type)), pc.less(times, pa.scalar(covered.end, times.type))
    )
    return FetchResult(events.filter(inside), covered)


def _page(items: Any, table: Table) -> pa.Table:
    if not isinstance(items, list):
        raise table.unexpected("the response is not a list of events")
    return table.rows(flatten(item, table) if isinstance(item, dict) else item for item in items)


def _reaches_back(page: pa.Table, window: Window) -> bool:
    """Whether the page ends before the window's start, which only a page in the documented order (newest first) proves."""
    times = page.column("timestamp").to_pylist()
    return bool(times) and times == sorted(times, reverse=True) and times[-1] < window.start


def _start_of_feed(events: pa.Table, window: Window, timezone: str) -> DateTime:
    """The start of the time covered by a feed that was read to its last page.

    It covers the documented days, and any older event: the first day may be one earlier than the documentation suggests.
    """
    first_day = utc_now().in_timezone(timezone).start_of("day").subtract(days=DAYS_IN_REACH - 1).in_timezone("UTC")
    oldest = pc.min(events.column("timestamp")).as_py()
    start = min(first_day, oldest) if oldest is not None else first_day
    return max(window.start, start)
