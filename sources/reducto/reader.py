"""Reads one window of `GET /api/v1/usage/export` whole.

The reference page does not say whether `endDate` is included, nor by which clock a day begins; its sample and its defaults
suggest that both bounds are included. Nothing here depends on it: one day more than the window is asked for on either side,
and those two days are thrown away. Whether a bound is included or not, and by whatever time zone the bounds are cut, each
day of the window is inside what was asked for, and whole.

Not guaranteed: that a day of Reducto's is a day in UTC.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from threading import Lock
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.sources._core.errors import IncompleteResponse, RequestRejected, SourceError, UnexpectedValue
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import Table, day, first_duplicate
from meterhouse.sources._core.windows import Window, floor, from_date, utc_now

from .constants import ENDPOINT

MARGIN = timedelta(days=1)
_ORG_ID = re.compile(r"[\w.:@-]{1,128}")
_day = day("date", "").parse


@dataclass
class Export:
    """One organisation's usage: `org_id` as configured, '' for the one that the key belongs to."""

    client: Client
    org_id: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    _own: str = field(default="", init=False)
    _learning: Lock = field(default_factory=Lock, init=False)

    def own_organisation(self) -> Mapping[str, str]:
        """The organisation that the key belongs to, which only an answer tells; asked for once.

        Without its name the rows of another one would be taken for withdrawn, if ever the key moves or `org_ids` changes.

        Raises:
            SourceError: see `sources._core.http`.
        """
        with self._learning:
            if not self._own:
                own = self.probe()["orgId"]
                if not _ORG_ID.fullmatch(own):  # it becomes SQL
                    raise self._unexpected(f"orgId is {own!r}, which is no identifier")
                self._own = own
        return {"org_id": self._own}

    def probe(self) -> dict[str, Any]:
        """The cheapest answer that there is: two days by product.

        Raises:
            SourceError: see `sources._core.http`.
        """
        today = utc_now().date()
        with self._naming_the_organisation():
            return self._ask(today - MARGIN, today, "product")

    def read(self, window: Window, *, table: Table, grouping: str) -> FetchResult:
        """All rows of the window, as `table` declares them.

        Raises:
            SourceError: see `sources._core.http`.
        """
        with self._naming_the_organisation():
            return self._read(window, table, grouping)

    def _read(self, window: Window, table: Table, grouping: str) -> FetchResult:
        first, last = (window.start - MARGIN).date(), window.end.date()
        today = floor(utc_now(), "day").date()
        try:
            answer = self._ask(first, last, grouping)
        except RequestRejected as refused:
            if refused.status != 400 or last <= today:
                raise
            # A server may refuse a day that has not begun; then today is the last to ask for.
            answer = self._ask(first, today, grouping)
        answered_from, answered_to = self._echoed_day(answer, "startDate"), self._echoed_day(answer, "endDate")
        if not first <= answered_from <= window.start.date():
            raise self._incomplete(
                f"the answer begins with {answered_from}, and {first} was asked for",
                f"If older days are not to be had, set sources.reducto.initial_date to {answered_from}.",
            )
        # What a server does not take of days to come is no loss, as long as it took what has begun in its own time zone.
        if not min(last, today - MARGIN) <= answered_to <= last:
            raise self._incomplete(
                f"the answer ends with {answered_to}, and {last} was asked for",
                "Load shorter times with --since and --until; please report it.",
            )
        rows = self._rows(answer, table, answered_from, answered_to)
        return _within(rows, _held(rows, window, answered_to))

    def _ask(self, first: date, last: date, grouping: str) -> dict[str, Any]:
        params: dict[str, str | Sequence[str]] = {
            "startDate": first.isoformat(),
            "endDate": last.isoformat(),
            "groupBy": grouping,
            **({"orgId": self.org_id} if self.org_id else {}),
            **self.filters,
        }
        answer: dict[str, Any] = self.client.get(ENDPOINT, params)
        for name, asked in (("groupBy", grouping), ("orgId", self.org_id or self._own)):
            said = answer.get(name)
            if not isinstance(said, str) or (asked and said != asked):
                raise self._unexpected(f"field {name} holds {said!r}, and {asked or 'a text'!r} was asked for")
        return answer

    def _echoed_day(self, answer: Mapping[str, Any], name: str) -> date:
        try:
            echoed: date = _day(answer.get(name))
        except ValueError as reason:
            raise self._unexpected(f"field {name} holds {answer.get(name)!r}, {reason}") from None
        return echoed

    def _rows(self, answer: Mapping[str, Any], table: Table, first: date, last: date) -> pa.Table:
        rows = table.rows(answer["data"], org_id=answer["orgId"])
        for found in pc.unique(rows.column("date")).to_pylist():
            if not first <= found <= last:
                raise table.unexpected(f"a row is of {found}, and {first} to {last} was asked for")
        if twice := first_duplicate(rows, table.key):
            raise table.unexpected(f"two rows have the same key {twice}")
        unrated = pc.and_(pc.equal(pc.fill_null(rows.column("credits"), 0), 0), pc.greater(rows.column("request_count"), 0))
        return rows.append_column("is_unrated", unrated)

    @contextmanager
    def _naming_the_organisation(self) -> Iterator[None]:
        """An account may have many organisations, and an error is of one."""
        try:
            yield
        except SourceError as error:
            if not self.org_id:
                raise
            raise type(error)(
                f"organisation {self.org_id}: {error.problem}",
                hint=error.hint,
                provider=error.provider,
                endpoint=error.endpoint,
                status=error.status,
            ) from None

    def _unexpected(self, problem: str) -> UnexpectedValue:
        return UnexpectedValue(
            problem,
            provider=self.client.provider,
            endpoint=ENDPOINT,
            hint="The answer is not as documented, so nothing was changed; please report it.",
        )

    def _incomplete(self, problem: str, hint: str) -> IncompleteResponse:
        return IncompleteResponse(problem, provider=self.client.provider, endpoint=ENDPOINT, hint=hint)


def _held(rows: pa.Table, window: Window, answered_to: date) -> Window | None:
    """The part of the window that the answer is about, where the server did not take its last days.

    A last day without rows says nothing, because it may have been excluded; one with rows was included.
    """
    last = from_date(answered_to)
    if answered_to in pc.unique(rows.column("date")).to_pylist():
        last += MARGIN
    end = min(window.end, last)
    return Window(window.start, end) if window.start < end else None


def _within(rows: pa.Table, window: Window | None) -> FetchResult:
    if window is None:
        return FetchResult(rows.slice(0, 0), None)
    first, end = pa.scalar(window.start.date(), pa.date32()), pa.scalar(window.end.date(), pa.date32())
    dates = rows.column("date")
    return FetchResult(rows.filter(pc.and_(pc.greater_equal(dates, first), pc.less(dates, end))), window)
