"""How usage varies: growth, season, weekday, hour and chance. The fixtures of all vendors are computed from it.

Everything here is a pure function of its arguments: no state, no clock, the same result in every process and order of calls.
"""

import math
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from struct import Struct

FIRST_DAY = date(2024, 6, 1)
"""The first day with usage. It lies before Mathpix's price changes of 2024-12-01 and 2025-03-01: bills cross both."""

HOURS_IN_A_MONTH = 730.5
_DRAWS = Struct("<32H")


@dataclass(frozen=True, slots=True)
class Seasonality:
    """When a kind of customer is at work, as factors around 1.

    `months` starts in January (each value holds in the middle of its month), `weekdays` on Monday, `hours` at midnight UTC.
    """

    months: tuple[float, ...]
    weekdays: tuple[float, ...]
    hours: tuple[float, ...]

    def day(self, day: date) -> float:
        """The factor of a day: season times weekday."""
        middle = (day.month - 1) + (day.day - 1) / 30 - 0.5
        month = math.floor(middle)
        share = middle - month
        season = self.months[month % 12] * (1 - share) + self.months[(month + 1) % 12] * share
        return season * self.weekdays[day.weekday()]


def _around_one(*values: float) -> tuple[float, ...]:
    mean = sum(values) / len(values)
    return tuple(value / mean for value in values)


SCHOOL = Seasonality(
    months=(0.85, 1.05, 1.15, 1.2, 1.2, 0.8, 0.5, 0.6, 1.15, 1.35, 1.25, 0.8),
    weekdays=_around_one(1.15, 1.25, 1.25, 1.2, 0.9, 0.5, 0.75),
    hours=_around_one(5, 3, 2, 1, 1, 1, 2, 4, 7, 9, 10, 9, 9, 12, 15, 18, 19, 19, 18, 17, 17, 15, 12, 8),
)
OFFICE = Seasonality(
    months=(1.0, 1.05, 1.1, 1.0, 1.0, 1.0, 0.85, 0.8, 1.05, 1.1, 1.1, 0.8),
    weekdays=_around_one(1.25, 1.35, 1.35, 1.3, 1.15, 0.3, 0.25),
    hours=_around_one(1, 1, 1, 1, 1, 2, 6, 14, 22, 26, 27, 24, 20, 24, 26, 24, 18, 10, 6, 4, 3, 2, 2, 1),
)
NIGHTLY = Seasonality(
    months=OFFICE.months,
    weekdays=_around_one(1.1, 1.2, 1.2, 1.2, 1.2, 0.7, 0.6),
    hours=_around_one(14, 30, 32, 28, 16, 5, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 6),
)


def growth(day: date) -> float:
    """The growth factor of a day: 0.6 on the first day, 0.88 after a year, never more than 1."""
    return 1 - 0.4 * math.exp(-(day - FIRST_DAY).days / 300)


def draws(*names: object) -> tuple[float, ...]:
    """Thirty-two uniform draws from [0, 1), a function of the names alone (unlike Python's salted `hash`)."""
    digest = blake2b("\x1f".join(map(str, names)).encode(), digest_size=_DRAWS.size).digest()
    return tuple(number / 65536 for number in _DRAWS.unpack(digest))


def day_of_counts(monthly: float, seasonality: Seasonality, day: date, *names: object) -> list[int]:
    """The counts of the 24 hours of a day.

    Args:
        monthly: units in an average month once growth has saturated.
        seasonality: of the customer.
        day: the UTC day.
        *names: seed and series; the same names always give the same counts.
    """
    chance = draws(*names, day.isoformat())
    expected = monthly / HOURS_IN_A_MONTH * growth(day) * seasonality.day(day) * (0.92 + 0.16 * chance[24])
    # The second draw rounds up or down by chance: rare usage then gives few rows instead of none.
    return [int(expected * seasonality.hours[hour] * (0.85 + 0.3 * chance[hour]) + chance[23 - hour]) for hour in range(24)]
