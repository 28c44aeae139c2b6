"""The parameters of `/api/v1/usage/*`, and the error for a bad one: 422, for a bad cursor 400."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from meterhouse.pipelines.sandbox.onepin.errors import error_body
from meterhouse.pipelines.sandbox.responses import ErrorResponse

Range = Literal["30d", "60d", "90d"]
View = Literal["daily", "weekly", "monthly"]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Local days of one time zone."""

    name: str
    zone: ZoneInfo

    def midnight(self, day: date) -> datetime:
        """The start of the local day, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def day(self, moment: datetime) -> date:
        """The local day that holds a moment."""
        return moment.astimezone(self.zone).date()


def read_calendar(query: QueryParams) -> Calendar:
    """The calendar of `timezone`, an IANA name."""
    name = query.get("timezone", "UTC")
    try:
        return Calendar(name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        raise _invalid("timezone", f"Unknown IANA timezone: {name}") from None


def read_choice(query: QueryParams, name: str, kind: Any, default: str) -> Any:
    """One of the values of a Literal."""
    value = query.get(name, default)
    if value not in get_args(kind):
        raise _invalid(name, f"{name} should be one of {', '.join(get_args(kind))}")
    return value


def read_limit(query: QueryParams) -> int:
    """The size of a page."""
    text = query.get("limit", "20")
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    raise _invalid("limit", "limit should be a whole number from 1 to 100")


def write_cursor(timestamp: str, event_id: str) -> str:
    """The cursor that names an event, the last one of its page."""
    return base64.urlsafe_b64encode(f"{timestamp} {event_id}".encode()).decode()


def read_cursor(text: str) -> tuple[str, str]:
    """Timestamp and id of the event that a cursor names."""
    try:
        timestamp, _, event_id = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
    except (binascii.Error, ValueError):
        timestamp, event_id = "", ""
    if not event_id:
        raise ErrorResponse(400, error_body("BAD_REQUEST", "Invalid cursor", "cursor"))
    return timestamp, event_id


def _invalid(field: str, message: str) -> ErrorResponse:
    return ErrorResponse(422, error_body("VALIDATION_ERROR", message, field))
