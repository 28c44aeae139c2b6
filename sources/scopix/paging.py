"""Reads lists that may change while they are read: events, and the tokens of files and of conversations.

The lists are newest first and paged by position. A row that is added while pages are read pushes another one onto the next
page, and a row that is removed pulls another one past the reader. The count in the responses shows the first case, and
hardly both at once. So each page begins with the last row of the page before. If it does not, or if the count has changed,
or if a row comes twice, the list has changed and is read again. Pages of the older envelope overlap because their sizes
differ (see `_core.pagination`).

There are two envelopes, and neither is documented completely: `limit` and `offset` are the newer parameters, `page` and
`page_size` the older ones. The first response suggests which of them a server accepts, and the second one proves it: a
server that ignores the parameters returns its first page again.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from meterhouse.sources._core.errors import IncompleteResponse, MalformedResponse
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.pagination import overlapping_page
from meterhouse.sources._core.schema import Table

from .client import ScopixClient

ATTEMPTS = 4
"""How often a list is read that changes each time."""

OFFSET, PAGE = "offset", "page"

Rows = list[dict[str, Any]]


class _Changed(Exception):
    """Rows were added or removed while the list was read."""


class _PagingIgnored(Exception):
    """The server ignores the parameters that request a page."""


@dataclass(frozen=True)
class _Page:
    items: Rows
    total: int | None
    size: int | None
    """Rows a page as the response states it, in the older envelope."""
    is_full: bool
    """Whether it has as many rows as a page can have."""
    has_more: bool
    """Whether the response says explicitly that rows follow."""


@dataclass(frozen=True)
class ScopixList:
    """A list to read.

    `is_enough` decides from the rows so far whether no further page is needed. `remaining_pages` estimates, from the rows of
    the first page, how many of the remaining pages are needed.
    """

    client: ScopixClient
    table: Table
    field: str
    params: Params
    page_size: int
    is_enough: Callable[[Rows], bool] = lambda rows: False  # noqa: ARG005
    remaining_pages: Callable[[Rows, int], int] = lambda rows, pages: pages  # noqa: ARG005

    def read(self) -> Rows:
        """All rows, or as many as are enough.

        Raises:
            SourceError: a request failed; IncompleteResponse if the list changes in each attempt.
        """
        reason: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                return self._read_in_style()
            except _Changed as changed:
                reason = changed
        raise self._incomplete(f"the list changed in each of {ATTEMPTS} attempts: {reason}")

    def _read_in_style(self) -> Rows:
        """Reads the list once, with the parameters that its server accepts."""
        styles = self.client.paging_styles
        for _ in (OFFSET, PAGE):
            style = styles.get(self.table.endpoint, OFFSET)
            try:
                return self._read_by_offset() if style == OFFSET else self._read_by_page()
            except _PagingIgnored:
                styles[self.table.endpoint] = PAGE if style == OFFSET else OFFSET
        raise self._incomplete("the server returns the first page for every page")

    def _read_by_offset(self) -> Rows:
        first = page = self._request(OFFSET, 0)
        if first.size not in (None, self.page_size):
            raise _PagingIgnored  # it has a page size of its own, and states it in the older envelope
        self._estimate_pages(first)
        rows = list(first.items)
        while not _is_complete(rows, first, page) and not self.is_enough(rows) and rows:
            page = self._request(OFFSET, len(rows) - 1)
            _require_same_total(first, page)
            if not page.items:
                raise _Changed("rows vanished")
            if page.items[0][self._id] != rows[-1][self._id]:
                if self._ids(page.items) == self._ids(first.items):
                    raise _PagingIgnored
                raise _Changed("a page did not begin with the last row of the page before")
            if len(page.items) == 1:
                break  # only the known row: no other follows
            rows += page.items[1:]
        return self._checked(rows, first, page)

    def _read_by_page(self) -> Rows:
        first = page = self._request(PAGE, 1)
        if first.total is None:
            raise MalformedResponse(
                "the response does not say how many rows there are",
                provider=self.table.provider,
                endpoint=self.table.endpoint,
                hint="Run again later; if the error stays, please report it.",
            )
        self._estimate_pages(first)
        rows = list(first.items)
        while not _is_complete(rows, first, page) and not self.is_enough(rows):
            next_page = overlapping_page(len(rows), max(1, len(first.items)), sys.maxsize)
            assert next_page is not None  # noqa: S101 - no page lies behind the last one
            number, size = next_page
            page = self._request(PAGE, number, size)
            _require_same_total(first, page)
            start = (number - 1) * size
            if start and page.items and page.items[0][self._id] == rows[0][self._id]:
                raise _PagingIgnored
            known, returned = self._ids(rows[start:]), self._ids(page.items)
            if returned[: len(known)] != known:
                raise _Changed("a page did not begin with the last rows of the page before")
            if len(returned) == len(known):
                break
            rows += page.items[len(known) :]
        return self._checked(rows, first, page)

    def _request(self, style: str, position: int, size: int | None = None) -> _Page:
        """The page at an offset, or of a number from 1 on, with `page_size` rows or fewer."""
        paging: dict[str, str | int | Sequence[str]] = (
            {"limit": self.page_size, "offset": position}
            if style == OFFSET
            else {"page": position, "page_size": size or self.page_size}
        )
        payload = self.client.get(self.table.endpoint, {**self.params, **paging}, list_field=self.field)
        items = payload[self.field]
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get(self._id), str):
                raise self.table.unexpected(f"an item of {self.field} has no {self._id}")
        stated = _page_size(payload)
        return _Page(
            items,
            total_of(payload),
            stated,
            len(items) >= min(self.page_size, stated or self.page_size, _number(payload, "limit") or self.page_size),
            any(section.get(name) is True for section in _sections(payload) for name in ("has_more", "has_next")),
        )

    def _estimate_pages(self, first: _Page) -> None:
        if first.total is not None and first.items:
            pages = ceil(max(0, first.total - len(first.items)) / max(1, len(first.items) - 1))
            self.client.add_pages(self.table, self.remaining_pages(first.items, pages))

    def _checked(self, rows: Rows, first: _Page, last: _Page) -> Rows:
        ids = self._ids(rows)
        if len(set(ids)) != len(ids):
            raise _Changed("a row came twice")
        if self.is_enough(rows):
            return rows
        if last.has_more or (first.total is not None and len(rows) > first.total == len(first.items)):
            raise self._incomplete(f"the response counts {first.total} rows in total, but there are more")
        if first.total is not None and len(rows) != first.total:
            raise _Changed(f"{len(rows)} rows came, but the response counts {first.total}")
        return rows

    @property
    def _id(self) -> str:
        return self.table.key[0]

    def _ids(self, rows: Rows) -> list[str]:
        return [row[self._id] for row in rows]

    def _incomplete(self, problem: str) -> IncompleteResponse:
        return IncompleteResponse(
            problem,
            provider=self.table.provider,
            endpoint=self.table.endpoint,
            hint="Run again later; if the error stays, the API's paging has changed: please report it.",
        )


def total_of(payload: dict[str, Any]) -> int | None:
    """The number of rows in all pages, if the response states it."""
    total = _number(payload, "total_count")
    return total if total is not None else _number(payload, "total")


def _is_complete(rows: Rows, first: _Page, page: _Page) -> bool:
    """Whether no further page is needed: the rows are as many as the response counts, and nothing says that more follow.

    If a full first page has all rows of the count, the server may have counted only that page; one more page shows it.
    """
    if first.total is None or len(rows) < first.total or page.has_more:
        return False
    return len(rows) > len(first.items) or not first.is_full


def _require_same_total(first: _Page, page: _Page) -> None:
    if page.total != first.total:
        raise _Changed(f"the count of rows went from {first.total} to {page.total}")


def _number(payload: dict[str, Any], name: str) -> int | None:
    """A whole number of the response, or of its section about paging."""
    for section in _sections(payload):
        if isinstance(section.get(name), int) and not isinstance(section[name], bool):
            return int(section[name])
    return None


def _sections(payload: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    pagination = payload.get("pagination")
    return (payload, pagination) if isinstance(pagination, dict) else (payload,)


def _page_size(payload: dict[str, Any]) -> int | None:
    """Rows a page in the older envelope, 0 if it lacks the number; None in the newer one."""
    pagination = payload.get("pagination")
    if isinstance(pagination, dict) and "page" in pagination and "offset" not in pagination:
        return pagination["page_size"] if isinstance(pagination.get("page_size"), int) else 0
    return None
