"""The counts of Mathpix: one for each hour, app, usage type and set of request arguments."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from meterhouse.pipelines.sandbox.dates import Moment, midnight, moment
from meterhouse.pipelines.sandbox.mathpix.fixtures import Hours, Series, UsageFixtures
from meterhouse.pipelines.sandbox.store import Edit, UsageStore, edited, matches

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Usage:
    """The count of one app in one hour; `hour` is any moment of it, `account` the sandbox's own name of an account."""

    hour: Moment
    app_id: str
    usage_type: str
    request_args_hash: str = ""
    count: int = 1
    account: str = "default"


class CountStore(UsageStore[Hours, int]):
    """The counts of every account; the running hour counts as far as it has run, to the minute."""

    dimensions = Series._fields

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._fixtures = UsageFixtures(seed)

    def set(self, rows: Iterable[Usage | Mapping[str, Any]]) -> None:
        """Replaces the fixtures with exactly these rows, until `reset`.

        Args:
            rows: `Usage`, or mappings with its fields. Rows of one hour and series add up; the API returns the count of the
                running hour in full.

        Raises:
            ValueError: a count is not positive, or a time is invalid.
        """
        days: dict[tuple[str, date], Hours] = {}
        for given in rows:
            row = given if isinstance(given, Usage) else Usage(**given)
            if row.count < 1:
                raise ValueError(f"a count must be at least 1, not {row.count}: the vendor sends no empty rows")
            hour = moment(row.hour)
            counts = days.setdefault((row.account, hour.date()), self._empty())[hour.hour]
            series = Series(row.app_id, row.usage_type, row.request_args_hash)
            counts[series] = counts.get(series, 0) + row.count
        self._replace(days)

    def restate(
        self,
        start: Moment,
        end: Moment | None = None,
        *,
        count: int | None = None,
        factor: float | None = None,
        **match: str,
    ) -> None:
        """Changes the counts that match in [start, end).

        Args:
            start: first hour.
            end: the hour after the last; None for the one UTC day that holds `start`.
            count: the new count of every matching hour and series; or
            factor: multiplies the old counts; results are rounded down. A count of 0 removes its row.
            **match: only counts of this `account`, `app_id`, `usage_type` or `request_args_hash`.

        Raises:
            ValueError: both or neither of `count` and `factor`, a negative one, an empty window, or an unknown dimension.
        """
        if (count is None) == (factor is None):
            raise ValueError("restate takes either count or factor")
        if (count or 0) < 0 or (factor or 0) < 0:
            raise ValueError("a restated count is never negative")

        def change(old: int) -> int | None:
            return (count if count is not None else int(old * (factor or 0))) or None

        self._edit(start, end, match, change)

    def total(
        self, start: Moment | None = None, end: Moment | None = None, *, account: str = "default", **match: str
    ) -> int:
        """The sum of the counts of one account that match in [start, end), up to now; None for no bound."""
        return sum(
            count
            for _, counts in self.hours(account, start, end)
            for series, count in counts.items()
            if matches(series, match)
        )

    def rows(self, start: Moment | None = None, end: Moment | None = None, *, account: str = "default") -> list[Usage]:
        """Every hour and series of one account in [start, end), up to now, as `set` takes them."""
        return [
            Usage(hour, *series, count=count, account=account)
            for hour, counts in self.hours(account, start, end)
            for series, count in sorted(counts.items())
        ]

    def hours(self, account: str, start: Moment | None, end: Moment | None) -> list[tuple[datetime, Mapping[Series, int]]]:
        """The hours that start in [start, end) and hold usage, in order, none of them after now."""
        begin, stop = self._window(start, end)
        return [
            (hour, counts)
            for day, hours in self._days(account, begin, stop)
            for number, counts in enumerate(hours)
            if counts and begin <= (hour := midnight(day) + number * _HOUR) < stop
        ]

    def _fixture(self, account: str, day: date, now: datetime) -> Hours:
        hours = self._fixtures.day(account, day)
        if day == now.date():
            running = hours[now.hour].items()
            hours[now.hour] = {series: count for series, whole in running if (count := whole * now.minute // 60)}
        return hours

    def _empty(self) -> Hours:
        return [{} for _ in range(24)]

    def _edited(self, day: date, used: Hours, edits: Sequence[Edit[int]]) -> Hours:
        return [
            {
                series: new
                for series, count in counts.items()
                if (new := edited(edits, midnight(day) + number * _HOUR, series, count)) is not None
            }
            for number, counts in enumerate(used)
        ]
