"""Reads the activity feed: newest first, from now back to where the window begins.

A page is named by a cursor, so that events which arrive meanwhile shift nothing; what comes twice all the same is taken
once. A feed that does not get on is an error, and not an endless loop or a short answer.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window, utc_now

from .constants import ACTIVITY, DAYS_IN_REACH, LONGEST_RANGE
from .errors import flat


def read_activity(
    window: Window, *, client: Client, filters: Mapping[str, str], timezone: str, page_size: int, table: Table
) -> FetchResult:
    """The events of the window, and the part of it that the feed reaches back to, if it reaches into it at all.

    Events that are dated after the window are left to the run whose window holds them.

    Raises:
        SourceError: see `sources._core.http`; IncompleteResponse where the feed does not get on.
    """
    question: dict[str, str | int] = {"range": LONGEST_RANGE, "timezone": timezone, "limit": page_size, **filters}
    pages = [_page([], table)]
    seen: set[str] = set()
    cursor: str | None = None
    cursors: set[str] = set()
    ended = False
    while not ended:
        payload = client.get(ACTIVITY, question | ({"cursor": cursor} if cursor else {}))
        page = _page(payload["data"], table)
        ids = page.column("id").to_pylist()
        new = [not (name in seen or seen.add(name)) for name in ids]  # type: ignore[func-returns-value]
        pages.append(page.filter(pa.array(new, pa.bool_())))
        cursor = payload["pagination"]["next"]
        if not cursor:
            ended = True
        elif _reaches_back(page, window):
            break
        elif cursor in cursors or not any(new):
            raise IncompleteResponse(
                f"after {len(seen)} events the feed repeats itself",
                provider=client.provider,
                endpoint=ACTIVITY,
                hint="Run again later; if it stays so, the provider's answer has changed: please report it.",
            )
        else:
            cursors.add(cursor)
    events = pa.concat_tables(pages, promote_options="default")
    start = _start_of_feed(events, window, timezone) if ended else window.start
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
        raise table.unexpected("the answer is no list of events")
    return table.rows(flat(item, table) if isinstance(item, dict) else item for item in items)


def _reaches_back(page: pa.Table, window: Window) -> bool:
    """Whether the page goes beyond the window's start; one that is not newest first, as documented, proves nothing."""
    times = page.column("timestamp").to_pylist()
    return bool(times) and times == sorted(times, reverse=True) and times[-1] < window.start


def _start_of_feed(events: pa.Table, window: Window, timezone: str) -> DateTime:
    """Where the window begins that a feed read to its end stands for.

    It has the documented days, whose first may be a day earlier than the count tells, and certainly its own oldest event.
    """
    first_day = utc_now().in_timezone(timezone).start_of("day").subtract(days=DAYS_IN_REACH - 1).in_timezone("UTC")
    oldest = pc.min(events.column("timestamp")).as_py()
    start = min(first_day, oldest) if oldest is not None else first_day
    return max(window.start, start)
