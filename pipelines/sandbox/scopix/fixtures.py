"""Who uses Scopix in the sandbox: a property agency with three API keys and people in the console, and a small studio.

Some 5,000 requests a month; files are described, searched and discussed in chats. The vendor shows credits and tokens only
as sums; here each event has its own, so that all endpoints agree on a day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from typing import NamedTuple
from uuid import UUID

from meterhouse.pipelines.sandbox.seasonality import NIGHTLY, OFFICE, Seasonality, day_of_counts


@dataclass(frozen=True, slots=True)
class Credential:
    """One API key: `account` is the sandbox's own name of the tenant behind it."""

    account: str
    tenant_id: str
    api_key: str
    api_key_id: str


class Event(NamedTuple):
    """One request to the vendor. The vendor does not list the fields from `credits` on."""

    id: str
    timestamp: datetime
    operation_type: str = "describe"
    endpoint: str = "/api/v2/user-files/upload"
    method: str = "POST"
    status_code: int = 200
    response_time_ms: int = 850
    error_code: str | None = None
    api_key_id: str | None = None
    credits: float = 2.0
    input_tokens: int = 0
    output_tokens: int = 0
    session: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the request described a file."""
        return self.operation_type == "describe" and self.status_code < 400


class _Meter(NamedTuple):
    operation: str
    method: str
    endpoint: str
    monthly: float
    seasonality: Seasonality
    credits: float
    key: int | None
    until: date = date.max


def _credential(account: str, number: int) -> Credential:
    tenant = {"default": 1, "studio": 2}[account]
    return Credential(
        account,
        f"tenant-{account}",
        f"scopix_sandbox_{account}_{number}",
        str(UUID(int=tenant << 64 | 4 << 76 | 1 << 63 | number)),
    )


CREDENTIALS = (
    *(_credential("default", number) for number in (1, 2, 3)),
    _credential("studio", 1),
)
UPLOAD, CHAT, SEARCH = "/api/v2/user-files/upload", "/api/v2/chat/sessions/messages", "/api/v2/agent/search"
_METERS = {
    "default": (
        _Meter("describe", "POST", UPLOAD, 1_900, NIGHTLY, 2.0, 0),
        _Meter("describe", "POST", UPLOAD, 700, OFFICE, 2.0, 1),
        _Meter("verify", "POST", "/api/v2/verification/verify", 300, OFFICE, 1.25, 1, until=date(2025, 9, 1)),
        _Meter("search", "POST", SEARCH, 1_100, OFFICE, 0.25, 2),
        _Meter("chat", "POST", CHAT, 900, OFFICE, 0.5, None),
        _Meter("batch", "POST", "/api/v2/batch/describe", 40, NIGHTLY, 20.0, 0),
    ),
    "studio": (
        _Meter("describe", "POST", UPLOAD, 260, OFFICE, 2.0, 0),
        _Meter("chat", "POST", CHAT, 120, OFFICE, 0.5, None),
    ),
}
_FAILURES = ((500, "INTERNAL_ERROR"), (422, "VALIDATION_ERROR"), (413, "FILE_TOO_LARGE"))


class UsageFixtures:
    """The events of both accounts, a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def day(self, account: str, day: date) -> tuple[Event, ...]:
        """The events of the UTC day `day`, which is `FIRST_DAY` or later, oldest first."""
        return _day(self.seed, account, day)


@lru_cache(maxsize=8192)
def _day(seed: int, account: str, day: date) -> tuple[Event, ...]:
    keys = [credential.api_key_id for credential in CREDENTIALS if credential.account == account]
    midnight = datetime.combine(day, time(), UTC)
    events: list[Event] = []
    for number, meter in enumerate(_METERS.get(account, ())):
        if day >= meter.until:
            continue
        chance = Random(f"{seed}|{account}|{day}|{number}")  # noqa: S311 - believable, not secret
        counts = day_of_counts(meter.monthly, meter.seasonality, day, seed, account, number)
        for hour, count in enumerate(counts):
            for _ in range(count):
                moment = midnight + timedelta(hours=hour, milliseconds=chance.randrange(3_600_000))
                key = keys[meter.key] if meter.key is not None else None
                events.append(_event(chance, meter, moment, key, len(events)))
    return tuple(sorted(events, key=lambda event: (event.timestamp, event.id)))


def _event(chance: Random, meter: _Meter, moment: datetime, key: str | None, number: int) -> Event:
    status, error = chance.choice(_FAILURES) if chance.random() < 0.02 else (200, None)
    failed = error is not None
    # A fifth of the messages belong to one conversation that a team keeps open for a week.
    session = f"session-{moment:%G-%V}" if chance.random() < 0.2 else f"session-{moment:%Y-%m-%d}-{number // 3}"
    reads = meter.operation != "search" and not failed
    return Event(
        id=str(UUID(int=chance.getrandbits(128), version=4)),
        timestamp=moment,
        operation_type=meter.operation,
        endpoint=meter.endpoint,
        method=meter.method,
        status_code=status,
        response_time_ms=chance.randrange(80, 4_000),
        error_code=error,
        api_key_id=key,
        credits=0.0 if failed else meter.credits,
        input_tokens=chance.randrange(700, 1_900) if reads else 0,
        output_tokens=chance.randrange(80, 420) if reads else 0,
        session=session if meter.operation == "chat" else None,
    )
