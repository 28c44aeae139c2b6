"""Who uses Mathpix in the sandbox: two accounts with six apps, and their usage in each hour.

The first account is a learning platform whose bill is some thousand USD a month. In busy months its images cross the tier
bound of 1,000,000; its strokes sessions cross the bounds of 1,000 and 100,000. The second is a small publisher. Mathpix has
no price for `conversion`, so a little of it is included. Option sets (`request_args_hash`) come and go, as with new releases
of an application.
"""

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import NamedTuple

from meterhouse.pipelines.sandbox.seasonality import FIRST_DAY, NIGHTLY, OFFICE, SCHOOL, Seasonality, day_of_counts

NO_END = date.max
SPIKE = {date(2025, 5, 14): 7.0, date(2025, 5, 15): 3.0}
"""An exam board uploads its archive of answers: `image` of `lyceum_grader` on these days, as a factor."""


class Series(NamedTuple):
    """The dimensions of one count."""

    app_id: str
    usage_type: str
    request_args_hash: str


Hours = list[dict[Series, int]]
"""One UTC day: the counts of each of its 24 hours; a series without usage is absent."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One app of an account: `group_id` is the vendor's name of the account, `account` ours."""

    account: str
    group_id: str
    app_id: str
    app_key: str


@dataclass(frozen=True, slots=True)
class _Options:
    """A set of request arguments that takes `share` of its meter in [since, until); without a name its hash is ''."""

    name: str
    share: float = 1.0
    since: date = FIRST_DAY
    until: date = NO_END


@dataclass(frozen=True, slots=True)
class _Meter:
    app_id: str
    usage_type: str
    monthly: float
    seasonality: Seasonality
    options: tuple[_Options, ...] = (_Options(""),)


def request_args_hash(name: str) -> str:
    """Forty hexadecimal digits for a set of request arguments; '' for none, as the vendor's own sample has it."""
    return blake2b(name.encode(), digest_size=20).hexdigest() if name else ""


def _credentials(account: str, group_id: str, *app_ids: str) -> tuple[Credential, ...]:
    return tuple(Credential(account, group_id, app_id, f"sandbox-key-of-{app_id}") for app_id in app_ids)


CREDENTIALS = (
    *_credentials("default", "lyceum", "lyceum_notes", "lyceum_grader", "lyceum_archive", "lyceum_search"),
    *_credentials("press", "quarto", "quarto_intake", "quarto_proofs"),
)

_METERS = {
    "default": (
        _Meter("lyceum_notes", "strokes-session", 130_000, SCHOOL),
        _Meter(
            "lyceum_notes",
            "image",
            420_000,
            SCHOOL,
            (
                _Options("notes 1", until=date(2025, 1, 13)),
                _Options("notes 2", 0.8, since=date(2025, 1, 13)),
                _Options("notes 2 with line data", 0.2, since=date(2025, 1, 13)),
            ),
        ),
        _Meter(
            "lyceum_grader",
            "image",
            470_000,
            SCHOOL,
            (
                _Options("grader 1", until=date(2024, 9, 2)),
                _Options("grader 2", 0.7, since=date(2024, 9, 2), until=date(2025, 8, 25)),
                _Options("grader 3", 0.7, since=date(2025, 8, 25)),
                _Options("grader handwriting", 0.3, since=date(2024, 9, 2)),
            ),
        ),
        _Meter("lyceum_grader", "image-async", 90_000, SCHOOL, (_Options("grader batch"),)),
        _Meter(
            "lyceum_archive",
            "pdf-page",
            210_000,
            NIGHTLY,
            (_Options("archive 1", until=date(2025, 3, 3)), _Options("archive 2", since=date(2025, 3, 3))),
        ),
        _Meter("lyceum_archive", "conversion", 900, OFFICE),
        _Meter("lyceum_search", "image", 190_000, OFFICE, (_Options("", since=date(2024, 9, 16)),)),
        _Meter("lyceum_search", "pdf-page", 60_000, OFFICE, (_Options("search", since=date(2024, 9, 16)),)),
    ),
    "press": (
        _Meter("quarto_intake", "pdf-page", 95_000, OFFICE, (_Options("intake"),)),
        _Meter("quarto_intake", "conversion", 120, OFFICE),
        _Meter("quarto_proofs", "image", 60_000, OFFICE, (_Options("proofs", 0.6), _Options("proofs in colour", 0.4))),
    ),
}


class UsageFixtures:
    """The usage of both accounts, a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def day(self, account: str, day: date) -> Hours:
        """What `account` used on the UTC day `day`, which is `FIRST_DAY` or later; nothing for an unknown account."""
        hours: Hours = [{} for _ in range(24)]
        for meter in _METERS.get(account, ()):
            spike = SPIKE.get(day, 1.0) if (meter.app_id, meter.usage_type) == ("lyceum_grader", "image") else 1.0
            for options in meter.options:
                if not options.since <= day < options.until:
                    continue
                series = Series(meter.app_id, meter.usage_type, request_args_hash(options.name))
                monthly = meter.monthly * options.share * spike
                for hour, count in enumerate(day_of_counts(monthly, meter.seasonality, day, self.seed, *series)):
                    if count:
                        hours[hour][series] = count
        return hours
