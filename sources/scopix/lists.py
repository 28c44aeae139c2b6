"""Reads the lists of Scopix whole: events, and the tokens of files and of conversations.

They are newest first and paged by position, so that a row that arrives while pages are read pushes another onto the next
page, and one that vanishes pulls another past us. The answer's own count tells of the first and hardly of both at once.
So each page begins with the last row of the page before: if it does not, or if the count has changed, or if a row came
twice, the list has moved and is read again. Pages of the older envelope overlap by being of unequal sizes (see
`sources._core.pages`).

There are two envelopes, and neither is documented whole: `limit` and `offset` are the newer parameters, `page` and
`page_size` the older ones. Which of them a server takes shows in its first answer, and for certain in its second: one that
passes over the parameters sends its first page again.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse, MalformedResponse
from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.pagination import overlapping_page
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window, utc_now

from .client import Ask, Asker, end_text, start_text
from .errors import moment

READS = 4
"""How often a list is read that moves each time: once, and three times again."""

OFFSET, PAGE = "offset", "page"

Rows = list[dict[str, Any]]


class _Moved(Exception):
    """Rows arrived or vanished while the list was read."""


class _Ignored(Exception):
    """The server passes over the parameters by which a page is asked for."""


@dataclass(frozen=True)
class _Page:
    items: Rows
    total: int | None
    size: int | None
    """Rows a page as the answer states it, where it is of the older form."""
    is_full: bool
    """Whether it has as many rows as a page can have."""
    has_more: bool
    """Whether the answer says in so many words that rows follow."""


@dataclass(frozen=True)
class _List:
    """A list to read: `enough` says of the rows so far that no further page is needed, `remaining` how many to expect."""

    asker: Asker
    table: Table
    field: str
    params: Params
    page_size: int
    enough: Callable[[Rows], bool] = lambda rows: False  # noqa: ARG005
    remaining: Callable[[Rows, int], int] = lambda rows, pages: pages  # noqa: ARG005

    @property
    def identity(self) -> str:
        return self.table.key[0]

    def ask(self, style: str, position: int, size: int | None = None) -> _Page:
        """The page at an offset, or of a number from 1 on, of `page_size` rows or of a smaller size."""
        paging: dict[str, str | int | Sequence[str]] = (
            {"limit": self.page_size, "offset": position}
            if style == OFFSET
            else {"page": position, "page_size": size or self.page_size}
        )
        payload = self.asker.get(self.table.endpoint, {**self.params, **paging}, answers=self.field)
        items = payload[self.field]
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get(self.identity), str):
                raise self.table.unexpected(f"an item of {self.field} has no {self.identity}")
        stated = _page_size_of(payload)
        return _Page(
            items,
            total_of(payload),
            stated,
            len(items) >= min(self.page_size, stated or self.page_size, _stated(payload, "limit") or self.page_size),
            any(where.get(name) is True for where in _where(payload) for name in ("has_more", "has_next")),
        )

    def ids(self, rows: Rows) -> list[str]:
        return [row[self.identity] for row in rows]

    def expect(self, first: _Page) -> None:
        """Tells how many pages are to come."""
        if first.total is not None and first.items:
            pages = ceil(max(0, first.total - len(first.items)) / max(1, len(first.items) - 1))
            self.asker.discover(self.table, self.remaining(first.items, pages))

    def incomplete(self, problem: str) -> IncompleteResponse:
        return IncompleteResponse(
            problem,
            provider=self.table.provider,
            endpoint=self.table.endpoint,
            hint="Run again later; if it stays so, the provider's paging has changed: please report it.",
        )


def read_events(ask: Ask, window: Window, *, table: Table, page_size: int) -> FetchResult:
    """All events of the window, as far as it has passed.

    Raises:
        SourceError: see `sources._core.http`; IncompleteResponse where the list moves each time that it is read.
    """
    end = min(window.end, utc_now().start_of("second"))
    if end <= window.start:
        return FetchResult(table.rows([]), None)
    past = Window(window.start, end)
    rows = _read(_List(ask.asker, table, "events", _event_params(ask.where, past), page_size))
    if rows and ask.of("api_key_id"):
        one: Params = {**_event_params({}, past), "limit": 1, "offset": 0}
        ask.asker.require_keys(table, one, lambda payload: bool(payload.get("events")))
    if ask.where:  # an event that leaves out what it was asked for by is one of those that were asked for
        rows = [row | {name: row.get(name) or asked for name, asked in ask.where.items()} for row in rows]
    return FetchResult(table.rows(rows), past)


def foresee_events(ask: Ask, windows: Sequence[Window], *, table: Table, page_size: int, parts: Mapping[str, int]) -> None:
    """Finds out how many pages the windows have: one request an account, where there is more than one window to read.

    `parts` says of each account how many parts, such as keys, ask for these windows: they share the pages that there are.
    """
    asker = ask.asker
    asker.foresee(table.name, len(windows))
    if len(windows) < 2 or asker.is_counted(table):
        return  # the first pages tell
    span = Window(windows[0].start, windows[-1].end)
    where = ask.where if parts[asker.account] == 1 else {}
    total = total_of(asker.peek(table, {**_event_params(where, span), "limit": 1, "offset": 0})) or 0
    asker.foresee(table.name, max(0, ceil(total / (page_size - 1)) - (len(windows) - len(windows) // 2)))


def _event_params(where: Mapping[str, str], window: Window) -> Params:
    return {"start_date": start_text(window.start), "end_date": end_text(window.end), **where}


def read_created(ask: Ask, window: Window, *, table: Table, items: str, page_size: int) -> FetchResult:
    """The rows of a list without dates that were created in the window: read from the top, back to its start."""
    start = window.start
    parsed = cache(lambda text: moment(table, "created_at", text))

    def created(row: dict[str, Any]) -> DateTime:
        return parsed(str(row.get("created_at") or ""))

    def enough(rows: Rows) -> bool:
        # Only a list that is newest first says by one old row that all further ones are old.
        moments = [created(row) for row in rows]
        return bool(moments) and moments[-1] < start and moments == sorted(moments, reverse=True)

    def remaining(rows: Rows, pages: int) -> int:
        newest, oldest = created(rows[0]), created(rows[-1])
        if enough(rows) or newest <= oldest:
            return 0 if enough(rows) else pages
        return min(pages, ceil((oldest - start) / (newest - oldest)))

    rows = _read(_List(ask.asker, table, items, {}, page_size, enough, remaining))
    kept = [row for row in rows if window.start <= created(row) < window.end]
    return FetchResult(table.rows(kept), window)


def _read(listed: _List) -> Rows:
    reason: Exception | None = None
    for _ in range(READS):
        try:
            return _read_in_style(listed)
        except _Moved as moved:
            reason = moved
    raise listed.incomplete(f"the list moved each of {READS} times that it was read: {reason}")


def _read_in_style(listed: _List) -> Rows:
    """Reads the list once, in the style that its server takes."""
    styles = listed.asker.styles
    for _ in (OFFSET, PAGE):
        style = styles.get(listed.table.endpoint, OFFSET)
        try:
            return _read_by_offset(listed) if style == OFFSET else _read_by_page(listed)
        except _Ignored:
            styles[listed.table.endpoint] = PAGE if style == OFFSET else OFFSET
    raise listed.incomplete("the server answers every page with the first one")


def _read_by_offset(listed: _List) -> Rows:
    first = page = listed.ask(OFFSET, 0)
    if first.size not in (None, listed.page_size):
        raise _Ignored  # it pages by a size of its own, and says so in the older form
    listed.expect(first)
    rows = list(first.items)
    while not _is_whole(rows, first, page) and not listed.enough(rows) and rows:
        page = listed.ask(OFFSET, len(rows) - 1)
        _require_same_total(first, page)
        if not page.items:
            raise _Moved("rows vanished")
        if page.items[0][listed.identity] != rows[-1][listed.identity]:
            if listed.ids(page.items) == listed.ids(first.items):
                raise _Ignored
            raise _Moved("a page did not begin where the one before had ended")
        if len(page.items) == 1:
            break  # the row that is known: there is no other behind it
        rows += page.items[1:]
    return _checked(listed, rows, first, page)


def _read_by_page(listed: _List) -> Rows:
    first = page = listed.ask(PAGE, 1)
    if first.total is None:
        raise MalformedResponse(
            "the answer does not say how many rows there are",
            provider=listed.table.provider,
            endpoint=listed.table.endpoint,
            hint="Run again later; if it stays so, please report it.",
        )
    listed.expect(first)
    rows = list(first.items)
    while not _is_whole(rows, first, page) and not listed.enough(rows):
        asked = overlapping_page(len(rows), max(1, len(first.items)), sys.maxsize)
        assert asked is not None  # noqa: S101 - no page is behind the last one
        number, size = asked
        page = listed.ask(PAGE, number, size)
        _require_same_total(first, page)
        start = (number - 1) * size
        if start and page.items and page.items[0][listed.identity] == rows[0][listed.identity]:
            raise _Ignored
        known, told = listed.ids(rows[start:]), listed.ids(page.items)
        if told[: len(known)] != known:
            raise _Moved("a page did not begin where the one before had ended")
        if len(told) == len(known):
            break
        rows += page.items[len(known) :]
    return _checked(listed, rows, first, page)


def _is_whole(rows: Rows, first: _Page, page: _Page) -> bool:
    """Whether no page needs to follow: as many rows as the answer counts, and nothing says that there are more.

    A first page that is full and has all rows that are counted may have counted itself: one more page tells.
    """
    if first.total is None or len(rows) < first.total or page.has_more:
        return False
    return len(rows) > len(first.items) or not first.is_full


def _require_same_total(first: _Page, page: _Page) -> None:
    if page.total != first.total:
        raise _Moved(f"the count of rows went from {first.total} to {page.total}")


def _checked(listed: _List, rows: Rows, first: _Page, last: _Page) -> Rows:
    ids = listed.ids(rows)
    if len(set(ids)) != len(ids):
        raise _Moved("a row came twice")
    if listed.enough(rows):
        return rows
    if last.has_more or (first.total is not None and len(rows) > first.total == len(first.items)):
        raise listed.incomplete(f"the answer counts {first.total} rows in all, and says or shows that there are more")
    if first.total is not None and len(rows) != first.total:
        raise _Moved(f"{len(rows)} rows came where {first.total} were counted")
    return rows


def total_of(payload: dict[str, Any]) -> int | None:
    """How many rows there are in all pages, where the answer says so."""
    total = _stated(payload, "total_count")
    return total if total is not None else _stated(payload, "total")


def _stated(payload: dict[str, Any], name: str) -> int | None:
    """A whole number of the answer, or of its section about paging."""
    for where in _where(payload):
        if isinstance(where.get(name), int) and not isinstance(where[name], bool):
            return int(where[name])
    return None


def _where(payload: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    pagination = payload.get("pagination")
    return (payload, pagination) if isinstance(pagination, dict) else (payload,)


def _page_size_of(payload: dict[str, Any]) -> int | None:
    pagination = payload.get("pagination")
    if isinstance(pagination, dict) and "page" in pagination and "offset" not in pagination:
        return pagination["page_size"] if isinstance(pagination.get("page_size"), int) else 0
    return None
