"""Reads one window of `GET /api/v1/usage/export` completely.

The reference page does not say whether `endDate` is included, nor in which time zone a day begins; its sample and its
defaults suggest that both bounds are included. The reader works in either case: it requests one day more than the window on
each side, and drops the rows of those two days. So each day of the window lies inside the requested range, and is complete.

One assumption remains: that a day in the export is a day in UTC.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.sources._core.errors import IncompleteResponse, RequestRejected
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table, day, first_duplicate
from meterhouse.sources._core.windows import Window, floor, from_date, utc_now

from .client import ReductoClient
from .constants import FILTERS

MARGIN = timedelta(days=1)
_parse_day = day("date", "").parse


def organisation_partition(account: str, plan: Plan, client: ReductoClient, table: Table, grouping: str) -> Partition:
    """The rows of one organisation in the table of a grouping."""
    filters = {setting: sorted(client.filters[name]) for setting, name in FILTERS.items() if name in client.filters}
    return Partition(
        account,
        replace(plan, filters="; ".join(f"{setting} = {', '.join(values)}" for setting, values in filters.items())),
        partial(read_window, client, table=table, grouping=grouping),
        {"org_id": client.org_id} if client.org_id else {},
        resolve_columns=None if client.org_id else client.own_organisation,
        limited_to=client.filters.get(FILTERS["products"], ()),
    )


def read_window(client: ReductoClient, window: Window, *, table: Table, grouping: str) -> FetchResult:
    """All rows of the window.

    Raises:
        SourceError: a request failed; IncompleteResponse if the response does not cover the window.
    """
    with client.naming_organisation():
        return _read(client, window, table, grouping)


def _read(client: ReductoClient, window: Window, table: Table, grouping: str) -> FetchResult:
    first, last = (window.start - MARGIN).date(), window.end.date()
    today = floor(utc_now(), "day").date()
    try:
        response = client.usage(first, last, grouping)
    except RequestRejected as refused:
        if refused.status != 400 or last <= today:
            raise
        # A server may refuse a day that has not begun; then the request ends with today.
        response = client.usage(first, today, grouping)
    returned_from = _echoed_day(client, response, "startDate")
    returned_to = _echoed_day(client, response, "endDate")
    if not first <= returned_from <= window.start.date():
        raise _incomplete(
            table,
            f"the response begins with {returned_from}, but the request began with {first}",
            f"If the API has no older days, set sources.reducto.initial_date to {returned_from}.",
        )
    # A server may leave out days in the future, as long as it covers those that have begun in its own time zone.
    if not min(last, today - MARGIN) <= returned_to <= last:
        raise _incomplete(
            table,
            f"the response ends with {returned_to}, but the request ended with {last}",
            "Load shorter times with --since and --until; please report it.",
        )
    rows = _rows(response, table, returned_from, returned_to)
    return _inside(rows, _covered(rows, window, returned_to))


def _echoed_day(client: ReductoClient, response: Mapping[str, Any], name: str) -> date:
    try:
        echoed: date = _parse_day(response.get(name))
    except ValueError as reason:
        raise client.unexpected(f"field {name} holds {response.get(name)!r}, {reason}") from None
    return echoed


def _rows(response: Mapping[str, Any], table: Table, first: date, last: date) -> pa.Table:
    rows = table.rows(response["data"], org_id=response["orgId"])
    for found in pc.unique(rows.column("date")).to_pylist():
        if not first <= found <= last:
            raise table.unexpected(f"a row is dated {found}, but the response covers {first} to {last}")
    if duplicate := first_duplicate(rows, table.key):
        raise table.unexpected(f"two rows have the same key {duplicate}")
    unrated = pc.and_(pc.equal(pc.fill_null(rows.column("credits"), 0), 0), pc.greater(rows.column("request_count"), 0))
    return rows.append_column("is_unrated", unrated)


def _covered(rows: pa.Table, window: Window, returned_to: date) -> Window | None:
    """The part of the window that the response covers, if it ends early.

    The server may or may not include the last day, so the day is covered only if the response has rows of it.
    """
    last = from_date(returned_to)
    if returned_to in pc.unique(rows.column("date")).to_pylist():
        last += MARGIN
    end = min(window.end, last)
    return Window(window.start, end) if window.start < end else None


def _inside(rows: pa.Table, window: Window | None) -> FetchResult:
    if window is None:
        return FetchResult(rows.slice(0, 0), None)
    first, end = pa.scalar(window.start.date(), pa.date32()), pa.scalar(window.end.date(), pa.date32())
    dates = rows.column("date")
    return FetchResult(rows.filter(pc.and_(pc.greater_equal(dates, first), pc.less(dates, end))), window)


def _incomplete(table: Table, problem: str, hint: str) -> IncompleteResponse:
    return IncompleteResponse(problem, provider=table.provider, endpoint=table.endpoint, hint=hint)
