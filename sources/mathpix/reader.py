"""Reads one window of `GET /v3/ocr-usage` completely.

The reference page does not mention paging. The vendor's client mpxpy does (`page` 1–100, `per_page` 1–1000, default 100),
and no response states whether more rows follow. So the reader draws no conclusion from a length alone:

- A page is the last one only if it is empty, or shorter than another page.
- A server that ignores `page` repeats its rows. The reader then requests both halves of the window; if they have more rows
  together, the window is read in halves.
- A window that cannot be read completely is split in two, down to a single bucket. Only then is it an error.

A row that is withdrawn or added while pages are read moves other rows from one page to the next, and the reader would skip
them or read them twice. So each page begins with the last rows of the page before (see `_core.pagination`). If they differ,
the window is read again, and finally in halves, which have fewer pages.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.sources._core.errors import IncompleteResponse, RequestRejected, Unsupported
from meterhouse.sources._core.pagination import overlapping_page
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table, first_duplicate
from meterhouse.sources._core.windows import Unit, Window, after, floor

from .client import MathpixClient
from .constants import MAX_PAGE

ATTEMPTS = 3
"""How many times a window is read if rows move between its pages."""


class _PageIgnored(Exception):
    """The server ignores `page`; its only page may or may not have all rows."""

    def __init__(self, items: list[Any], rows: pa.Table) -> None:
        super().__init__(f"the server returns the same {len(items)} rows for every page")
        self.items, self.rows = items, rows


class _RowsMoved(Exception):
    """Rows were added or removed while the pages were read."""


class _DoesNotFit(Exception):
    """The window has too many rows, or changes too often, to be read in one piece."""


def read_window(
    client: MathpixClient, window: Window, *, table: Table, group_by: Sequence[str], unit: Unit, page_size: int
) -> FetchResult:
    """All rows of the window.

    Raises:
        SourceError: a request failed; IncompleteResponse if even one bucket cannot be read completely; Unsupported if the
            server refuses to group by several dimensions, which only the vendor's clients document.
    """
    try:
        return FetchResult(_read(client, window, table, group_by, unit, page_size), window)
    except RequestRejected as error:
        if len(group_by) == 1:
            raise
        # If anything else is wrong with the request, the tables of one dimension fail.
        raise Unsupported(error.problem, hint=error.hint, provider=table.provider, endpoint=table.endpoint) from None


def _read(
    client: MathpixClient, window: Window, table: Table, group_by: Sequence[str], unit: Unit, page_size: int
) -> pa.Table:
    try:
        return _read_until_stable(client, window, table, group_by, unit, page_size)
    except (_DoesNotFit, _PageIgnored) as reason:
        halves = window.halves(unit)
        if halves is None and isinstance(reason, _PageIgnored) and not _looks_capped(reason.rows.num_rows, page_size):
            return _require_distinct_keys(reason.rows, window, table)
        if halves is None:
            raise IncompleteResponse(
                f"the rows of {window} cannot all be read: {reason}",
                provider=table.provider,
                endpoint=table.endpoint,
                hint="Use a shorter timespan; if it is hour already, please report it.",
            ) from None
        if isinstance(reason, _PageIgnored) and _is_complete(client, reason, halves, group_by, unit, page_size):
            return _require_distinct_keys(reason.rows, window, table)
        return pa.concat_tables(
            [_read(client, half, table, group_by, unit, page_size) for half in halves], promote_options="default"
        )


def _is_complete(
    client: MathpixClient,
    only_page: _PageIgnored,
    halves: tuple[Window, Window],
    group_by: Sequence[str],
    unit: Unit,
    page_size: int,
) -> bool:
    """Whether the only page of a server that ignores `page` has all rows: the halves of its window have no more.

    A half with all of the rows proves nothing, because the server may cap it at the same length. A server that returns the
    same rows for any window has no others; `_core.windowed_resource` checks whether those rows lie in the window.
    """
    first, second = (client.usage(half, group_by=group_by, timespan=unit, page=1, per_page=page_size) for half in halves)
    if first == second == only_page.items:
        return not _looks_capped(len(only_page.items), page_size)
    rows = len(only_page.items)
    return len(first) + len(second) == rows and rows not in {len(first), len(second)}


def _looks_capped(rows: int, page_size: int) -> bool:
    """Whether a server may have cut the response at this number of rows: the page size, or a round number."""
    return rows == page_size or rows % 50 == 0 or (rows >= 64 and rows & (rows - 1) == 0)


def _read_until_stable(
    client: MathpixClient, window: Window, table: Table, group_by: Sequence[str], unit: Unit, page_size: int
) -> pa.Table:
    """Reads the window again until no row moves between pages and no key comes twice."""
    rows: pa.Table | None = None
    for _ in range(ATTEMPTS):
        with suppress(_RowsMoved):
            rows = _read_pages(client, window, table, group_by, unit, page_size)
            if first_duplicate(rows, table.key) is None:
                return rows
    if rows is not None:
        return _require_distinct_keys(rows, window, table)
    raise _DoesNotFit(f"rows moved between pages in each of {ATTEMPTS} attempts")


def _require_distinct_keys(rows: pa.Table, window: Window, table: Table) -> pa.Table:
    if (duplicate := first_duplicate(rows, table.key)) is None:
        return rows
    raise IncompleteResponse(
        f"two rows of {window} have the same key {duplicate} in every attempt",
        provider=table.provider,
        endpoint=table.endpoint,
        hint="Run again later; if the error stays, the API has changed: please report it.",
    )


def _read_pages(
    client: MathpixClient, window: Window, table: Table, group_by: Sequence[str], unit: Unit, page_size: int
) -> pa.Table:
    def request(page: int, per_page: int) -> list[Any]:
        return client.usage(window, group_by=group_by, timespan=unit, page=page, per_page=per_page)

    items = request(1, page_size)
    first = table.rows(items, timespan=unit)
    if _estimated_pages(first, window, unit) > MAX_PAGE:
        raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
    pages, keys = [first], first.select(table.key)
    # No response states the length of a full page, and the server may have its own limit. So the first page is always
    # followed by a second one, and no later request is for more rows than the first page had: a shorter page is the last.
    is_last = not first.num_rows
    while not is_last:
        next_page = overlapping_page(keys.num_rows, min(first.num_rows, page_size), MAX_PAGE)
        if next_page is None:
            raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
        number, size = next_page
        page = table.rows(request(number, size), timespan=unit)
        found, start = page.select(table.key), (number - 1) * size
        if start and found.num_rows and found.slice(0, 1).equals(keys.slice(0, 1)):
            raise _PageIgnored(items, first)
        known = keys.slice(start)
        if not found.slice(0, known.num_rows).equals(known):
            raise _RowsMoved
        pages.append(page.slice(known.num_rows))
        is_last = found.num_rows < size or found.num_rows == known.num_rows
        keys = pa.concat_tables([keys, found.slice(known.num_rows)])
    return pa.concat_tables(pages, promote_options="default")


def _estimated_pages(page: pa.Table, window: Window, unit: Unit) -> float:
    """The number of pages in the window, extrapolated from the share of its time that this first page covers.

    The documentation does not say that rows are in order of time. If they are, a window that does not fit costs one request
    instead of a hundred. If they are not, the first page spans the window, and only the hundredth page shows the problem.
    """
    if not page.num_rows:
        return 0.0
    times = pc.min_max(page.column("bucket_start")).as_py()
    begins_at_start = times["min"] < window.start + (window.end - window.start) / 2
    covered = after(floor(times["max"], unit), unit) - times["min"]
    return (window.end - window.start) / covered if begins_at_start else 1.0
