"""UTC times and days, by which the vendors count usage."""

from datetime import UTC, date, datetime, time, timedelta

DAY = timedelta(days=1)

Moment = datetime | date | str
"""A UTC time: a datetime (naive is UTC), a date (its midnight) or ISO 8601 text of either."""


def moment(value: Moment) -> datetime:
    """The UTC time that `value` means.

    Raises:
        ValueError: the text is not an ISO 8601 date or time, or the time lies outside the years 1 to 9999.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = midnight(value)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value} lies outside the years 1 to 9999 in UTC") from error


def midnight(day: date) -> datetime:
    """The start of a UTC day."""
    return datetime.combine(day, time(), UTC)


def next_month(day: date) -> date:
    """The first day of the month after that of `day`."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def just_after(time_: datetime) -> datetime:
    """The end of a half-open window that includes this time."""
    return time_ + timedelta(microseconds=1)


def iso_text(time_: datetime) -> str:
    """A UTC time as ISO 8601 text with a Z."""
    return time_.isoformat().replace("+00:00", "Z")
