"""One workspace: what is asked of it, and each answer asked for once.

A summary holds totals of a range, its days, and the buckets of a view, which are three of our tables: they share it, unless
the local day changes meanwhile.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from threading import Lock
from typing import Any

import pendulum
import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.errors import UnexpectedValue
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.response_cache import ResponseCache
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Unit, Window, after, floor, from_date, utc_now

from .constants import BUCKET_VIEWS, BY_LANGUAGE, LONGEST_RANGE, SUMMARY, VIEW_OF, WHOAMI, Range, View
from .errors import flat

_IDENTIFIER = re.compile(r"[\w.:@-]{1,128}")


@dataclass
class Workspace:
    """An API key's workspace, seen on the calendar of `timezone`."""

    client: Client
    timezone: str
    _summaries: ResponseCache[dict[str, Any]] = field(default_factory=ResponseCache, init=False)
    _id: str = field(default="", init=False)
    _identifying: Lock = field(default_factory=Lock, init=False)

    def identity(self) -> Mapping[str, str]:
        """The workspace that the key is bound to, which only the provider can tell; asked for once.

        Without it the history of one workspace would be overwritten if ever the account gets a key of another.

        Raises:
            SourceError: see `sources._core.http`.
        """
        with self._identifying:
            self._id = self._id or self._identify()
        return {"workspace_id": self._id}

    def _identify(self) -> str:
        told = self.client.get(WHOAMI, {})["data"]
        own = told.get("workspace_id") if isinstance(told, dict) else None
        if not isinstance(own, str) or not _IDENTIFIER.fullmatch(own):  # it becomes SQL
            raise UnexpectedValue(
                f"workspace_id is {own!r}, which is no identifier",
                provider=self.client.provider,
                endpoint=WHOAMI,
                hint="Use an API key, which is bound to a workspace, and not a session's token.",
            )
        return own

    def daily(self, window: Window, *, table: Table) -> FetchResult:
        """The days of the longest range that lie in `window`."""
        answer = self._summary(LONGEST_RANGE, table)
        items = _objects(answer, "daily", table)
        rows = table.rows(items, timezone=self.timezone)
        return _within(rows, "day", window, self._period(answer.get("period")))

    def buckets(self, window: Window, *, view: View, table: Table) -> FetchResult:
        """The weeks or months that lie in `window`."""
        range_, unit = BUCKET_VIEWS[view]
        answer = self._summary(range_, table)
        activity = answer.get("activity")
        if not isinstance(activity, dict) or activity.get("view") != view:
            raise table.unexpected(f"the answer has no activity of the view {view}, which was asked for")
        items = _objects(activity, "buckets", table)
        dates = [self._first_day(item.get("start"), unit, table) for item in items]
        rows = table.rows(
            # `end` is documented as exclusive and shown as inclusive; the calendar says it without doubt.
            [{name: value for name, value in item.items() if name not in {"start", "end"}} for item in items],
            view=view,
            timezone=self.timezone,
            date=pa.array(dates, table.type_of("date")),
            bucket_start=pa.array([self._midnight(from_date(day)) for day in dates], table.type_of("bucket_start")),
            bucket_end=pa.array([self._midnight(after(from_date(day), unit)) for day in dates], table.type_of("bucket_end")),
        )
        return _within(rows, unit, window)

    def snapshot(self, window: Window, *, range_: Range, table: Table) -> FetchResult:
        """The totals of a range as they are now."""
        answer = self._summary(range_, table)
        activity = answer.get("activity")
        if isinstance(activity, dict):
            answer = answer | {"activity": {name: value for name, value in activity.items() if name != "buckets"}}
        totals = {name: value for name, value in answer.items() if name != "daily"}
        rows = table.rows([flat(totals, table)], snapshot_date=window.start.date(), range=range_, timezone=self.timezone)
        return FetchResult(rows, window)

    def languages(self, window: Window, *, period: Range | View, table: Table) -> FetchResult:
        """The totals of each language in a range, or in the period of a view, as they are now."""
        of_range = period in VIEW_OF
        asked = {"range" if of_range else "activity_view": period}
        answer = self._ask(BY_LANGUAGE, asked, table)
        shared = flat({name: value for name, value in answer.items() if name != "languages"}, table)
        items = [shared | flat(item, table) for item in _objects(answer, "languages", table)]
        tagged = all(item.get("locale_code") for item in items)
        total, untagged = shared.get("total_credits"), shared.get("untagged_credits")
        if tagged and (untagged or (total and not items)):  # else what is of no language would be in no row
            items.append(shared | {"credits": total if untagged is None else untagged})
        rows = table.rows(
            items,
            snapshot_date=window.start.date(),
            range=period if of_range else "",
            activity_view="" if of_range else period,
            timezone=self.timezone,
        )
        return FetchResult(rows, window)

    def probe(self) -> Any:
        """The cheapest request that needs all that a run needs."""
        return self.client.get(SUMMARY, {"range": "30d", "activity_view": "daily", "timezone": self.timezone})

    def _summary(self, range_: Range, table: Table) -> dict[str, Any]:
        today = utc_now().in_timezone(self.timezone).date()
        asked = {"range": range_, "activity_view": VIEW_OF[range_]}
        return self._summaries.take(range_, table.name, today, lambda: self._ask(SUMMARY, asked, table))

    def _ask(self, endpoint: str, asked: Mapping[str, str], table: Table) -> dict[str, Any]:
        """The `data` of an answer that says it is to the question that was asked."""
        question = {**asked, "timezone": self.timezone}
        answer = self.client.get(endpoint, question)["data"]
        if not isinstance(answer, dict):
            raise table.unexpected("the answer is a list")
        for name, value in question.items():
            if answer.get(name) != value:
                raise UnexpectedValue(
                    f"asked for {name} {value}, the answer is of {name} {answer.get(name)!r}",
                    provider=self.client.provider,
                    endpoint=endpoint,
                    hint="If it is another name of the same time zone, set sources.onepin.timezone to it."
                    if name == "timezone"
                    else "The answer is not as documented; please report it.",
                )
        return answer

    def _first_day(self, start: Any, unit: Unit, table: Table) -> date:
        """The local date on which a bucket begins.

        Documented is the UTC moment of local midnight. The reference's own sample has midnight UTC of the local date, which
        is another day west of Greenwich; only one of the two can be the first day of a week or month.
        """
        try:
            moment = pendulum.parse(start, tz="UTC")
        except (ValueError, TypeError):
            moment = None
        if isinstance(moment, DateTime):
            for day in (moment.in_timezone(self.timezone).date(), moment.in_timezone("UTC").date()):
                if floor(from_date(day), unit) == from_date(day):
                    return day
        raise table.unexpected(f"a bucket's start is {start!r}, not the first day of a {unit} in {self.timezone}")

    def _midnight(self, day: DateTime) -> DateTime:
        return pendulum.datetime(day.year, day.month, day.day, tz=self.timezone).in_timezone("UTC")

    def _period(self, period: Any) -> Window | None:
        """The local days of a period, where both its bounds are told; None where they are no days.

        Documented are UTC moments, the end excluded. The reference's own sample has the days of UTC and the last second.
        """
        try:
            start, end = (pendulum.parse(period[edge], tz="UTC") for edge in ("start", "end"))
        except (ValueError, TypeError, LookupError):
            return None
        if not isinstance(start, DateTime) or not isinstance(end, DateTime):
            return None
        for zone in (self.timezone, "UTC"):
            first, last = start.in_timezone(zone), end.in_timezone(zone).subtract(microseconds=1)
            if first == first.start_of("day") and first < last:
                return Window(from_date(first.date()), from_date(last.date()).add(days=1))
        return None


def _objects(answer: dict[str, Any], name: str, table: Table) -> list[dict[str, Any]]:
    """The list of objects `name`; that it is missing is an error, that it is empty is not."""
    items = answer.get(name)
    if not isinstance(items, list):
        raise table.unexpected(f"the answer has no list {name}")
    for item in items:
        if not isinstance(item, dict):
            raise table.unexpected(f"an item of {name} is {item!r}, not an object")
    return items


def _within(rows: pa.Table, unit: Unit, asked: Window, period: Window | None = None) -> FetchResult:
    """The rows of the window, and as much of the window as the answer is about.

    That is its `period`, unless there are rows outside of it. Where it states none, it is the time between the first and
    the last row: a bucket beyond is left as it was, because it may only have left the range.
    """
    starts = [from_date(day) for day in rows.column("date").to_pylist()]
    inside = rows.filter(pa.array([asked.start <= start < asked.end for start in starts], pa.bool_()))
    if period is None or not all(period.start <= start < period.end for start in starts):
        period = Window(min(starts), after(max(starts), unit)) if starts else None
    if period is None:
        return FetchResult(inside, None)
    start, end = max(asked.start, period.start), min(asked.end, period.end)
    return FetchResult(inside, Window(start, end) if start < end else None)
