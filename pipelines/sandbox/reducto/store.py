"""The usage of Reducto: credits and requests for each day, product, feature, API key and file type."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from meterhouse.pipelines.sandbox.dates import Moment, midnight, moment
from meterhouse.pipelines.sandbox.reducto.fixtures import CREDENTIALS, Day, Figures, Series, UsageFixtures
from meterhouse.pipelines.sandbox.store import Edit, UsageStore, edited, matches

DEFAULT = CREDENTIALS[0].org_ids[0]
"""The organisation of the default key."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one organisation used on one day; `credits` is a decimal, its text, or None where the export returns none."""

    date: Moment
    product: str = "parse"
    feature: str = "standard_page"
    api_key: str = "production"
    file_type: str = "pdf"
    credits: Decimal | int | str | None = 1
    requests: int = 1
    org_id: str = DEFAULT


class CreditStore(UsageStore[Day, Figures]):
    """The usage of every organisation; today counts as far as it has run, to the minute. An account is an organisation."""

    account_name = "org_id"
    dimensions = Series._fields

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._fixtures = UsageFixtures(seed)

    def set(self, rows: Iterable[Usage | Mapping[str, Any]]) -> None:
        """Replaces the fixtures with exactly these rows, until `reset`.

        Args:
            rows: `Usage`, or mappings with its fields. Rows of one organisation, day and series add up.

        Raises:
            ValueError: a date is invalid.
        """
        days: dict[tuple[str, date], Day] = {}
        for given in rows:
            row = given if isinstance(given, Usage) else Usage(**given)
            used = days.setdefault((row.org_id, _day(row.date)), {})
            series = Series(row.product, row.feature, row.api_key, row.file_type)
            figures = Figures(None if row.credits is None else Decimal(row.credits), row.requests)
            used[series] = added(used[series], figures) if series in used else figures
        self._replace(days)

    def restate(
        self,
        start: Moment,
        end: Moment | None = None,
        *,
        factor: Decimal | float | str | None = None,
        credits: Decimal | float | str | None = None,  # noqa: A002 - as the API names it
        requests: int | None = None,
        **match: str,
    ) -> None:
        """Changes the usage that matches in [start, end).

        Args:
            start: first day.
            end: the day after the last; None for the one day `start`.
            factor: multiplies the old figures, and rounds requests down; or
            credits: the new credits of every matching day and series;
            requests: the new number of requests of each.
            **match: only usage of this `org_id`, `product`, `feature`, `api_key` or `file_type`.

        Raises:
            ValueError: `factor` is given together with new figures, nothing is given, the window is empty, or a dimension is
                unknown.
        """
        if (factor is None) == (credits is None and requests is None):
            raise ValueError("restate takes either a factor or credits and requests")
        by, new = (None if number is None else Decimal(str(number)) for number in (factor, credits))

        def change(old: Figures) -> Figures:
            if by is not None:
                return Figures(None if old.credits is None else old.credits * by, int(old.requests * by))
            return Figures(old.credits if new is None else new, old.requests if requests is None else requests)

        self._edit(start, end, match, change)

    def total(
        self, start: Moment | None = None, end: Moment | None = None, *, org_id: str = DEFAULT, **match: str
    ) -> Figures:
        """Credits and requests of one organisation that match in [start, end), up to now; None for no bound."""
        days = self.days(org_id, start, end)
        found = [figures for _, used in days for series, figures in used.items() if matches(series, match)]
        return Figures(sum((one.credits or Decimal(0) for one in found), Decimal(0)), sum(one.requests for one in found))

    def rows(self, start: Moment | None = None, end: Moment | None = None, *, org_id: str = DEFAULT) -> list[Usage]:
        """Every day and series of one organisation in [start, end), up to now, as `set` takes them."""
        return [
            Usage(day, *series, *figures, org_id=org_id)
            for day, used in self.days(org_id, start, end)
            for series, figures in sorted(used.items())
        ]

    def days(self, org_id: str, start: Moment | None, end: Moment | None) -> list[tuple[date, Day]]:
        """The days in [start, end) that hold usage, in order, none of them after today."""
        first, stop = (None if day is None else _day(day) for day in (start, end))
        return [(day, used) for day, used in self._days(org_id, *self._window(first, stop)) if used]

    def _edit(
        self, start: Moment, end: Moment | None, match: Mapping[str, Any], change: Callable[[Figures], Figures | None]
    ) -> None:
        super()._edit(_day(start), _day(end) if end is not None else None, match, change)

    def _fixture(self, account: str, day: date, now: datetime) -> Day:
        minutes = now.hour * 60 + now.minute if day == now.date() else 24 * 60
        return self._fixtures.day(account, day, minutes)

    def _empty(self) -> Day:
        return {}

    def _edited(self, day: date, used: Day, edits: Sequence[Edit[Figures]]) -> Day:
        return {
            series: new
            for series, figures in used.items()
            if (new := edited(edits, midnight(day), series, figures)) is not None
        }


def added(one: Figures, other: Figures) -> Figures:
    """The sum of both; its credits are None only where both are."""
    known = [figures.credits for figures in (one, other) if figures.credits is not None]
    return Figures(sum(known, Decimal(0)) if known else None, one.requests + other.requests)


def _day(value: Moment) -> date:
    """The UTC day of a moment: usage has no time of day."""
    return moment(value).date()
