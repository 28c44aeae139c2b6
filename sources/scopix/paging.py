"""Reads a list completely even if it changes meanwhile: events, and the tokens of files and of conversations.

The lists are newest first and paged by position. A row that arrives while pages are read pushes another row onto the next
page, and a row that vanishes pulls another one past the reader. The total in the response shows one or the other, but not
both at once. So each page begins with the last row of the page before. If a page does not, if the total has changed, or if
a row comes twice, the list has moved and is read again. Pages of the older style overlap because their sizes differ (see
`_core.pagination`).

Scopix has two styles of paging, and documents neither fully: `limit` and `offset` are the newer parameters, `page` and
`page_size` the older ones. The first response shows which style a server has, and the second one proves it: a server that
ignores the parameters returns its first page again.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from meterhouse.sources._core.errors import IncompleteResponse, MalformedResponse
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.pagination import overlapping_page
from meterhouse.sources._core.schema import Table

from .client import Json, ScopixClient

ATTEMPTS = 4
"""How many times a list that moves is read."""

OFFSET, PAGE = "offset", "page"

Rows = list[Json]


class _ListMoved(Exception):
    """Rows arrived or vanished while the list was read."""


class _PagingIgnored(Exception):
    """The server ignores the parameters that request a page."""


@dataclass(frozen=True)
class _Page:
    items: Rows
    total: int | None
    page_size: int | None
    """The page size in the response; None for the newer style, 0 if a response of the older style has none."""
    is_full: bool
    """Whether the page has as many rows as a page can have."""
    has_more: bool
    """Whether the response states that rows follow."""


@dataclass(frozen=True)
class PagedList:
    """A list to read.

    Args:
        client: the account.
        table: the table of the rows; its first key column identifies a row.
        field: the field of the response that holds the rows.
        params: all parameters except those of the paging.
        page_size: rows per page.
        is_enough: whether the rows so far include all that are needed; by default the whole list is read.
        remaining_pages: from the rows of the first page and the number of pages after it, how many of those are needed; by
            default all.
    """

    client: ScopixClient
    table: Table
    field: str
    params: Params
    page_size: int
    is_enough: Callable[[Rows], bool] | None = None
    remaining_pages: Callable[[Rows, int], int] | None = None

    @property
    def identity(self) -> str:
        """The field that identifies a row."""
        return self.table.key[0]

    def request(self, style: str, position: int, page_size: int | None = None) -> _Page:
        """The page at an offset from 0, or with a number from 1."""
        paging: dict[str, str | int | Sequence[str]] = (
            {"limit": self.page_size, "offset": position}
            if style == OFFSET
            else {"page": position, "page_size": page_size or self.page_size}
        )
        payload = self.client.get(self.table.endpoint, {**self.params, **paging}, list_field=self.field)
        items = payload[self.field]
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get(self.identity), str):
                raise self.table.unexpected(f"an item of {self.field} has no {self.identity}")
        stated_size = _stated_page_size(payload)
        sizes = self.page_size, stated_size or self.page_size, _number(payload, "limit") or self.page_size
        return _Page(
            items,
            _total(payload),
            stated_size,
            is_full=len(items) >= min(sizes),
            has_more=any(section.get(name) is True for section in _sections(payload) for name in ("has_more", "has_next")),
        )

    def ids(self, rows: Rows) -> list[str]:
        """The identifiers of the rows."""
        return [row[self.identity] for row in rows]

    def has_enough(self, rows: Rows) -> bool:
        """Whether no further page is needed."""
        return self.is_enough is not None and self.is_enough(rows)

    def add_to_estimate(self, first: _Page) -> None:
        """Adds the pages after the first one to the estimate, unless `count_rows` has."""
        if first.total is None or not first.items or self.table.name in self.client.counted_tables:
            return
        pages = ceil(max(0, first.total - len(first.items)) / max(1, len(first.items) - 1))
        needed = self.remaining_pages(first.items, pages) if self.remaining_pages else pages
        self.client.estimate.add(self.table, needed)

    def incomplete(self, problem: str) -> IncompleteResponse:
        """The error for a list that cannot be read completely."""
        return IncompleteResponse(
            problem,
            provider=self.table.provider,
            endpoint=self.table.endpoint,
            hint="Run again later; if the error stays, the paging of the API has changed: please report it.",
        )


def count_rows(client: ScopixClient, table: Table, params: Params) -> int:
    """Requests the length of a list for the estimate, before any table fetches; 0 if the response does not state it."""
    client.counted_tables.add(table.name)
    client.estimate.add(table, 1)
    return _total(client.get(table.endpoint, {**params, "limit": 1, "offset": 0}, announce=False)) or 0


def read_list(paged: PagedList) -> Rows:
    """All rows that are needed, newest first, each once.

    Raises:
        SourceError: a request failed; IncompleteResponse if the list moves in each attempt, or cannot be paged.
    """
    reason: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return _read_once(paged)
        except _ListMoved as moved:
            reason = moved
    raise paged.incomplete(f"the list moved in each of {ATTEMPTS} attempts: {reason}")


def _read_once(paged: PagedList) -> Rows:
    """Reads the list in the style that the server has."""
    styles = paged.client.server.paging_styles
    for _ in (OFFSET, PAGE):
        style = styles.get(paged.table.endpoint, OFFSET)
        try:
            return _read_by_offset(paged) if style == OFFSET else _read_by_page(paged)
        except _PagingIgnored:
            styles[paged.table.endpoint] = PAGE if style == OFFSET else OFFSET
    raise paged.incomplete("the server returns the first page for every page")


def _read_by_offset(paged: PagedList) -> Rows:
    first = page = paged.request(OFFSET, 0)
    if first.page_size not in (None, paged.page_size):
        raise _PagingIgnored  # the server has a page size of its own, which it states in the older style
    paged.add_to_estimate(first)
    rows = list(first.items)
    while not _is_complete(rows, first, page) and not paged.has_enough(rows) and rows:
        page = paged.request(OFFSET, len(rows) - 1)
        _require_same_total(first, page)
        if not page.items:
            raise _ListMoved("rows vanished")
        if page.items[0][paged.identity] != rows[-1][paged.identity]:
            if paged.ids(page.items) == paged.ids(first.items):
                raise _PagingIgnored
            raise _ListMoved("a page did not begin with the last row of the page before")
        if len(page.items) == 1:
            break  # only the row that is known: no other row follows
        rows += page.items[1:]
    return _checked(paged, rows, first, page)


def _read_by_page(paged: PagedList) -> Rows:
    first = page = paged.request(PAGE, 1)
    if first.total is None:
        raise MalformedResponse(
            "the response does not state the total number of rows",
            provider=paged.table.provider,
            endpoint=paged.table.endpoint,
            hint="Run again later; if the error stays, please report it.",
        )
    paged.add_to_estimate(first)
    rows = list(first.items)
    while not _is_complete(rows, first, page) and not paged.has_enough(rows):
        next_page = overlapping_page(len(rows), max(1, len(first.items)), sys.maxsize)
        assert next_page is not None  # noqa: S101 - only a page behind the last one is None
        number, size = next_page
        page = paged.request(PAGE, number, size)
        _require_same_total(first, page)
        start = (number - 1) * size
        if start and page.items and page.items[0][paged.identity] == rows[0][paged.identity]:
            raise _PagingIgnored
        known, found = paged.ids(rows[start:]), paged.ids(page.items)
        if found[: len(known)] != known:
            raise _ListMoved("a page did not begin with the last rows of the page before")
        if len(found) == len(known):
            break
        rows += page.items[len(known) :]
    return _checked(paged, rows, first, page)


def _is_complete(rows: Rows, first: _Page, page: _Page) -> bool:
    """Whether there are as many rows as the total, and nothing indicates more.

    If the first page is full and has as many rows as the total, the total may count that page only. The next page shows
    whether it does.
    """
    if first.total is None or len(rows) < first.total or page.has_more:
        return False
    return len(rows) > len(first.items) or not first.is_full


def _require_same_total(first: _Page, page: _Page) -> None:
    if page.total != first.total:
        raise _ListMoved(f"the total changed from {first.total} to {page.total}")


def _checked(paged: PagedList, rows: Rows, first: _Page, last: _Page) -> Rows:
    ids = paged.ids(rows)
    if len(set(ids)) != len(ids):
        raise _ListMoved("a row came twice")
    if paged.has_enough(rows):
        return rows
    if last.has_more or (first.total is not None and len(rows) > first.total == len(first.items)):
        raise paged.incomplete(f"the response states a total of {first.total} rows, but there are more")
    if first.total is not None and len(rows) != first.total:
        raise _ListMoved(f"the total is {first.total}, but {len(rows)} rows came")
    return rows


def _total(payload: Json) -> int | None:
    """The number of rows in all pages, if the response states it."""
    total = _number(payload, "total_count")
    return total if total is not None else _number(payload, "total")


def _number(payload: Json, name: str) -> int | None:
    """A whole number of the response, or of its section about paging."""
    for section in _sections(payload):
        if isinstance(section.get(name), int) and not isinstance(section[name], bool):
            return int(section[name])
    return None


def _sections(payload: Json) -> tuple[Json, ...]:
    pagination = payload.get("pagination")
    return (payload, pagination) if isinstance(pagination, dict) else (payload,)


def _stated_page_size(payload: Json) -> int | None:
    """The page size of the older style; 0 if the response is of that style but states none."""
    pagination = payload.get("pagination")
    if isinstance(pagination, dict) and "page" in pagination and "offset" not in pagination:
        return pagination["page_size"] if isinstance(pagination.get("page_size"), int) else 0
    return None
