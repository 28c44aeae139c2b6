"""Who uses Reducto in the sandbox: three organisations, and their usage on each day.

The first is an insurer that reads claims and policies: mostly PDF, a few spreadsheets, and text files at half a credit per
page. The second is its legal department, an organisation of its own with the same key as a member. The third is a law firm,
whose key does not see the others. Credits follow the rates before 2026-09-01.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from meterhouse.pipelines.sandbox.seasonality import FIRST_DAY, NIGHTLY, OFFICE, Seasonality, day_of_counts, draws

SPIKE = {date(2025, 5, 14): 6, date(2025, 5, 15): 3}
"""A storm: the claims of `org_harbour` that are parsed on these days, as a factor."""

EXAMPLE = "org_abc123"
"""The organisation of the vendor's printed examples. The default key is a member, so that the examples work as printed."""

PRICING_CHANGE = date(2026, 9, 1)
"""The day of the new pricing; from then on the export may lack credits."""


class Series(NamedTuple):
    """The dimensions of one figure."""

    product: str
    feature: str
    api_key: str
    file_type: str


class Figures(NamedTuple):
    """Credits, None if the export shows none, and requests."""

    credits: Decimal | None
    requests: int


Day = dict[Series, Figures]
"""The usage of one organisation on one UTC day; a series without usage is absent."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A personal key: it belongs to the first organisation and is a member of all of them."""

    account: str
    api_key: str
    org_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Meter:
    """`monthly` requests of about `units` pages each (or thousand cells), at `rate` credits."""

    series: Series
    monthly: float
    units: float
    rate: str
    seasonality: Seasonality = OFFICE
    since: date = FIRST_DAY


CREDENTIALS = (
    Credential("default", "sandbox-key-of-harbour", ("org_harbour", "org_harbour_legal", EXAMPLE)),
    Credential("firm", "sandbox-key-of-quill", ("org_quill",)),
)


def _meter(
    product: str,
    feature: str,
    api_key: str,
    file_type: str,
    monthly: float,
    units: float,
    rate: str,
    seasonality: Seasonality = OFFICE,
    since: date = FIRST_DAY,
) -> _Meter:
    return _Meter(Series(product, feature, api_key, file_type), monthly, units, rate, seasonality, since)


_METERS = {
    "org_harbour": (
        _meter("parse", "standard_page", "claims-production", "pdf", 9_000, 4.2, "1"),
        _meter("parse", "complex_page", "claims-production", "pdf", 2_600, 3.1, "2"),
        _meter("parse", "standard_page", "claims-production", "png", 3_100, 1, "1"),
        _meter("parse", "text_page", "mail-intake", "html", 4_800, 1.5, "0.5"),
        _meter("parse", "spreadsheet_cells", "mail-intake", "xlsx", 700, 3.7, "1"),
        _meter("parse", "agentic_page", "archive-batch", "pdf", 500, 11, "2", NIGHTLY, date(2025, 2, 3)),
        _meter("extract", "extract_page", "claims-production", "pdf", 5_200, 3.8, "2"),
        _meter("extract", "extract_page", "claims-staging", "pdf", 160, 2, "2"),
        # A job that continues a parsed one has no file of its own.
        _meter("split", "split_page", "mail-intake", "", 900, 9, "2"),
        _meter("classify", "classify_page", "mail-intake", "pdf", 3_900, 2.4, "0.5", OFFICE, date(2025, 10, 6)),
        _meter("edit", "edit_page", "claims-staging", "docx", 60, 2, "4", OFFICE, date(2026, 1, 12)),
    ),
    "org_harbour_legal": (
        _meter("parse", "standard_page", "contracts", "docx", 800, 7, "1"),
        _meter("parse", "complex_page", "contracts", "pdf", 450, 12, "2"),
        _meter("extract", "extract_page", "contracts", "pdf", 300, 12, "2"),
    ),
    EXAMPLE: (
        _meter("parse", "standard_page", "example", "pdf", 1_500, 2, "1"),
        _meter("extract", "extract_page", "example", "pdf", 400, 2, "2"),
    ),
    "org_quill": (
        _meter("parse", "standard_page", "discovery", "pdf", 2_400, 15, "1", NIGHTLY),
        _meter("parse", "text_page", "discovery", "rtf", 350, 3, "0.5", NIGHTLY),
    ),
}


class UsageFixtures:
    """The usage of all organisations, a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def day(self, org_id: str, day: date, minutes: int = 24 * 60) -> Day:
        """What an organisation used in the first `minutes` of a UTC day; nothing before `FIRST_DAY`."""
        used: Day = {}
        for meter in _METERS.get(org_id, ()):
            if day < meter.since:
                continue
            spike = SPIKE.get(day, 1) if meter.series[:3] == ("parse", "standard_page", "claims-production") else 1
            hours = day_of_counts(meter.monthly * spike, meter.seasonality, day, self.seed, org_id, *meter.series)
            requests = sum(hours[: minutes // 60])
            if minutes % 60:
                requests += hours[minutes // 60] * (minutes % 60) // 60
            if requests:
                used[meter.series] = Figures(self._credits(meter, org_id, day, requests), requests)
        return used

    def _credits(self, meter: _Meter, org_id: str, day: date, requests: int) -> Decimal:
        per_request = meter.units * (0.9 + 0.2 * draws(self.seed, org_id, *meter.series, day, "units")[0])
        if meter.series.feature == "spreadsheet_cells":
            return Decimal(int(requests * per_request * 1000)) / 1000 * Decimal(meter.rate)
        return max(requests, int(requests * per_request)) * Decimal(meter.rate)
