"""The workloads: what each loads, and the sums that every contender must have loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
PAGE = 1000
MATHPIX = ("usage_type", "request_args_hash", "app_id", "usage_type_and_app_id")
REDUCTO = ("product", "feature", "api_key", "file_type")
LONGEST = timedelta(days=366)
"""Of one request to Mathpix, whose response has at most 100 pages."""

SUMS = {
    **{f"ocr_usage_by_{grouping}": "sum(count)" for grouping in MATHPIX},
    **{f"usage_by_{grouping}": "sum(credits)" for grouping in REDUCTO},
    "usage_events": "sum(response_time_ms)",
}
"""By table, the sum that shows that every contender has loaded the same."""


@dataclass(frozen=True)
class Workload:
    """Usage of [start, start + days); `days_of_counts` and `events` replace the usage of the seed."""

    title: str
    of: Sequence[str]
    whole_days: int
    start: datetime = FIRST_DAY
    days_of_counts: bool = False
    events: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    def days(self, scale: float) -> int:
        """The number of days, at least one."""
        return max(1, round(self.whole_days * scale))

    def events_of(self, scale: float) -> int:
        """The number of events."""
        return round(self.events * scale)

    def tables(self) -> list[str]:
        """The tables that are loaded."""
        named = {
            "mathpix": [f"ocr_usage_by_{name}" for name in MATHPIX],
            "reducto": [f"usage_by_{name}" for name in REDUCTO],
        }
        return [table for provider in self.of for table in named.get(provider.partition(".")[0], ["usage_events"])]

    def windows(self, scale: float) -> list[tuple[datetime, datetime]]:
        """Windows that Mathpix can return in one series of pages."""
        start, end = self.start, self.start + timedelta(days=self.days(scale))
        edges = [start]
        while edges[-1] < end:
            edges.append(min(end, edges[-1] + LONGEST))
        return list(pairwise(edges))


_PAGES = {"SOURCES__SCOPIX__PAGE_SIZE": str(PAGE)}

WORKLOADS: Mapping[str, Workload] = {
    "day": Workload(
        "one new day, Mathpix 3 groupings + Reducto 4 + Scopix events",
        ("mathpix", "reducto", "scopix.usage_events"),
        1,
        datetime(2026, 3, 10, tzinfo=UTC),
    ),
    "years": Workload("two years of hourly Mathpix usage, 3 groupings", ("mathpix",), 731, days_of_counts=True),
    "events": Workload(
        "200,000 Scopix events, pages of 1,000", ("scopix.usage_events",), 28, events=200_000, environment=_PAGES
    ),
    "million": Workload("1,000,000 Scopix events", ("scopix.usage_events",), 140, events=1_000_000, environment=_PAGES),
}
