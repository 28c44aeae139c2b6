"""Reads one window of `GET /v3/ocr-usage` whole.

The reference page does not mention paging. The vendor's client does (`page` 1–100, `per_page` 1–1000, default 100), and no
answer says whether there is more. So nothing here trusts a length: a page is the last one only if it is empty, or shorter
than another one was; a server that ignores `page` is noticed by its repeating itself, and asked for both halves of the
window, which must not be more rows; and a window that cannot be read whole is cut in two, down to a single bucket, before it
is an error.

A row that is withdrawn or arrives while pages are read moves others from one page to another, and so past us or to us twice.
So each page begins with rows that the one before had ended with (see `sources._core.pages`): if they are others, the window
is read again, and at last in halves, which fit into fewer pages.
"""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse
from meterhouse.sources._core.http.client import Client, Params
from meterhouse.sources._core.pagination import overlapping_page
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table, first_duplicate
from meterhouse.sources._core.windows import Unit, Window, after, floor

from .constants import ENDPOINT, MAX_PAGE

READS = 3
"""How often a window is read again whose rows moved from one page to another meanwhile."""


class _Repeats(Exception):
    """The server ignores `page`; whether its one answer is whole is to be found out."""

    def __init__(self, items: list[Any], rows: pa.Table) -> None:
        super().__init__(f"the server answers every page with the same {len(items)} rows")
        self.items, self.rows = items, rows


class _Moved(Exception):
    """Rows came or went while the pages were read."""


class _DoesNotFit(Exception):
    """The window cannot be read whole as it is."""


def read_window(client: Client, window: Window, *, table: Table, group_by: str, unit: Unit, page_size: int) -> FetchResult:
    """All rows of the window, as `table` declares them.

    Raises:
        SourceError: see `sources._core.http`; IncompleteResponse where even one bucket cannot be read whole.
    """
    return FetchResult(_read(client, window, table, group_by, unit, page_size), window)


def _read(client: Client, window: Window, table: Table, group_by: str, unit: Unit, page_size: int) -> pa.Table:
    try:
        return _read_steadily(client, window, table, group_by, unit, page_size)
    except (_DoesNotFit, _Repeats) as reason:
        halves = window.halves(unit)
        if halves is None and isinstance(reason, _Repeats) and not _looks_cut(reason.rows.num_rows, page_size):
            return _told_apart(client, reason.rows, window, table)
        if halves is None:
            raise IncompleteResponse(
                f"the rows of {window} cannot all be read: {reason}",
                provider=client.provider,
                endpoint=ENDPOINT,
                hint="Use a shorter timespan; if it is hour already, please report it.",
            ) from None
        if isinstance(reason, _Repeats) and _is_whole(client, reason, halves, group_by, unit, page_size):
            return _told_apart(client, reason.rows, window, table)
        return pa.concat_tables(
            [_read(client, half, table, group_by, unit, page_size) for half in halves], promote_options="default"
        )


def _is_whole(
    client: Client, said: _Repeats, halves: tuple[Window, Window], group_by: str, unit: Unit, page_size: int
) -> bool:
    """Whether an answer that cannot be paged is not cut: the halves of its window, asked for, are no more rows.

    A half that has all of the rows proves nothing, because it may be cut at the same length. A server that answers the same
    whatever it is asked has no more to say; whether that is of the window at all is looked at where the rows are stored.
    """
    first, second = (client.get(ENDPOINT, page_params(half, group_by, unit, 1, page_size))["ocr_usage"] for half in halves)
    if first == second == said.items:
        return not _looks_cut(len(said.items), page_size)
    return len(first) + len(second) == len(said.items) and len(said.items) not in {len(first), len(second)}


def _looks_cut(rows: int, page_size: int) -> bool:
    """Whether so many rows are as many as a server would cut an answer at: what was asked for, or a round number."""
    return rows == page_size or rows % 50 == 0 or (rows >= 64 and rows & (rows - 1) == 0)


def _read_steadily(client: Client, window: Window, table: Table, group_by: str, unit: Unit, page_size: int) -> pa.Table:
    """Reads until nothing has moved and no key came twice."""
    rows: pa.Table | None = None
    for _ in range(READS):
        with suppress(_Moved):
            rows = _read_pages(client, window, table, group_by, unit, page_size)
            if first_duplicate(rows, table.key) is None:
                return rows
    if rows is not None:
        return _told_apart(client, rows, window, table)
    raise _DoesNotFit(f"rows moved from page to page each of {READS} times that they were read")


def _told_apart(client: Client, rows: pa.Table, window: Window, table: Table) -> pa.Table:
    if (twice := first_duplicate(rows, table.key)) is None:
        return rows
    raise IncompleteResponse(
        f"two rows of {window} have the same key {twice}, however often they are read",
        provider=client.provider,
        endpoint=ENDPOINT,
        hint="Run again later; if it stays so, the provider's answer has changed: please report it.",
    )


def _read_pages(client: Client, window: Window, table: Table, group_by: str, unit: Unit, page_size: int) -> pa.Table:
    def ask(page: int, per_page: int) -> list[Any]:
        items: list[Any] = client.get(ENDPOINT, page_params(window, group_by, unit, page, per_page))["ocr_usage"]
        return items

    items = ask(1, page_size)
    first = table.rows(items, timespan=unit)
    if _pages_to_expect(first, window, unit) > MAX_PAGE:
        raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
    pages, keys = [first], first.select(table.key)
    # No answer says how long a full page is: the server may have a cap of its own. So the first page is always followed by
    # a second, and no further one asks for more rows than the first had: one that is shorter is the last.
    is_last = not first.num_rows
    while not is_last:
        asked = overlapping_page(keys.num_rows, min(first.num_rows, page_size), MAX_PAGE)
        if asked is None:
            raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
        page = table.rows(ask(*asked), timespan=unit)
        found, start = page.select(table.key), (asked[0] - 1) * asked[1]
        if start and found.num_rows and found.slice(0, 1).equals(keys.slice(0, 1)):
            raise _Repeats(items, first)
        known = keys.slice(start)
        if not found.slice(0, known.num_rows).equals(known):
            raise _Moved
        pages.append(page.slice(known.num_rows))
        is_last = found.num_rows < asked[1] or found.num_rows == known.num_rows
        keys = pa.concat_tables([keys, found.slice(known.num_rows)])
    return pa.concat_tables(pages, promote_options="default")


def page_params(window: Window, group_by: str, unit: Unit, page: int, per_page: int) -> Params:
    """The query of one page: `from_date` is included, `to_date` excluded (docs.mathpix.com/reference/ocr-usage)."""
    return {
        "from_date": _text(window.start),
        "to_date": _text(window.end),
        "group_by": group_by,
        "timespan": unit,
        "page": page,
        "per_page": per_page,
    }


def _pages_to_expect(page: pa.Table, window: Window, unit: Unit) -> float:
    """Pages in the window if the rows go on as on this first page, by the share of time that it covers.

    That rows come in order of time is not documented. If they do, a window that would not fit costs one request instead
    of a hundred; if they do not, the first page spans the window and the hundredth page tells.
    """
    if not page.num_rows:
        return 0.0
    times = pc.min_max(page.column("bucket_start")).as_py()
    from_the_start = times["min"] < window.start + (window.end - window.start) / 2
    covered = after(floor(times["max"], unit), unit) - times["min"]
    return (window.end - window.start) / covered if from_the_start else 1.0


def _text(moment: DateTime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
