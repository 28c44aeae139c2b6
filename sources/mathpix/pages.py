"""Reads one window of `GET /v3/ocr-usage` whole.

The reference page does not mention paging. The vendor's client does (`page` 1–100, `per_page` 1–1000, default 100), and no
answer says whether there is more. So nothing here trusts a length: a page is the last one only if it is empty, or shorter
than the first of several; a server that ignores `page` is noticed by its repeating itself, and asked for both halves of the
window, which must not be more rows; rows that shift between pages are noticed by their keys; and a window that cannot be
read whole is cut in two, down to a single bucket, before it is an error.

A row that is withdrawn while later pages are read moves another one past us. So the last page but one is asked for again
at the end, and if other rows are on it then, the window is read again.

What is not noticed: a row withdrawn and one added further back in the time between two pages, which move only what lies
between them. The next run's lookback reads it.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pendulum import DateTime

from sources._core.http import Client, IncompleteAnswer, Params
from sources._core.replace import Reading
from sources._core.tables import Table, duplicates
from sources._core.windows import Unit, Window, after, floor
from sources.mathpix.settings import ENDPOINT, MAX_PAGE

READS = 3
"""How often a window is read again whose rows moved from one page to another meanwhile."""


class _Repeats(Exception):
    """The server ignores `page`; whether its one answer is whole is to be found out."""

    def __init__(self, items: list[Any], rows: pa.Table) -> None:
        super().__init__(f"the server answers every page with the same {len(items)} rows")
        self.items, self.rows = items, rows


class _DoesNotFit(Exception):
    """The window cannot be read whole as it is."""


def read_window(client: Client, window: Window, *, table: Table, group_by: str, unit: Unit, page_size: int) -> Reading:
    """All rows of the window, as `table` declares them.

    Raises:
        SourceError: see `sources._core.http`; IncompleteAnswer where even one bucket cannot be read whole.
    """
    return Reading(_read(client, window, table, group_by, unit, page_size), window)


def _read(client: Client, window: Window, table: Table, group_by: str, unit: Unit, page_size: int) -> pa.Table:
    try:
        return _read_steadily(client, window, table, group_by, unit, page_size)
    except (_DoesNotFit, _Repeats) as reason:
        halves = window.halves(unit)
        if halves is None and isinstance(reason, _Repeats) and not _looks_cut(reason.rows.num_rows, page_size):
            return _told_apart(client, reason.rows, window, table)
        if halves is None:
            raise IncompleteAnswer(
                f"the rows of {window} cannot all be read: {reason}",
                provider=client.provider,
                endpoint=ENDPOINT,
                way_out="Use a shorter timespan; if it is hour already, please report it.",
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
    """Reads until nothing has moved: a row that arrives while pages are read pushes another onto the next page, where it
    comes a second time; one that is withdrawn pulls another onto the page before, where it is missed.
    """
    for _ in range(READS):
        rows, moved = _read_pages(client, window, table, group_by, unit, page_size)
        if not moved and duplicates(rows, table.key) is None:
            return rows
    rows = _told_apart(client, rows, window, table)
    raise IncompleteAnswer(
        f"rows of {window} moved from page to page each of {READS} times that they were read",
        provider=client.provider,
        endpoint=ENDPOINT,
        way_out="Run again later.",
    )


def _told_apart(client: Client, rows: pa.Table, window: Window, table: Table) -> pa.Table:
    if (twice := duplicates(rows, table.key)) is None:
        return rows
    raise IncompleteAnswer(
        f"two rows of {window} have the same key {twice}, however often they are read",
        provider=client.provider,
        endpoint=ENDPOINT,
        way_out="Run again later; if it stays so, the provider's answer has changed: please report it.",
    )


def _read_pages(
    client: Client, window: Window, table: Table, group_by: str, unit: Unit, page_size: int
) -> tuple[pa.Table, bool]:
    """The rows of all pages, and whether another look at the last page but one finds other rows there."""
    pages: list[pa.Table] = []
    previous: list[Any] = []
    for number in range(1, MAX_PAGE + 1):
        payload = client.get(ENDPOINT, page_params(window, group_by, unit, number, page_size))
        items: list[Any] = payload["ocr_usage"]
        if number > 1 and items and items == previous:
            raise _Repeats(items, pages[0])
        page = table.rows(items, timespan=unit)
        pages.append(page)
        # No answer says how long a full page is: the server may have a cap of its own. So the first page is followed by a
        # second unless it is empty, and after that whatever is shorter than the first is the last.
        if not items or (number > 1 and len(items) < pages[0].num_rows):
            break
        if number == 1 and _pages_to_expect(page, window, unit) > MAX_PAGE:
            raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
        previous = items
    else:
        raise _DoesNotFit(f"it takes more than {MAX_PAGE} pages of {page_size} rows")
    moved = False
    if number > 2 or (number == 2 and (pages[1].num_rows or _looks_cut(pages[0].num_rows, page_size))):
        again = client.get(ENDPOINT, page_params(window, group_by, unit, number - 1, page_size))["ocr_usage"]
        moved = _keys(table.rows(again, timespan=unit), table) != _keys(pages[-2], table)
    return pa.concat_tables(pages, promote_options="default"), moved


def _keys(page: pa.Table, table: Table) -> set[tuple[Any, ...]]:
    return set(zip(*(page.column(name).to_pylist() for name in table.key), strict=True))


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
    times = pc.min_max(page.column("bucket_start")).as_py()
    from_the_start = times["min"] < window.start + (window.end - window.start) / 2
    covered = after(floor(times["max"], unit), unit) - times["min"]
    return (window.end - window.start) / covered if from_the_start else 1.0


def _text(moment: DateTime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
