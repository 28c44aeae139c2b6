"""Parses settings: each function returns a value, or raises an error that names the setting and shows how to write it.

Errors name a setting instead of showing its value: a misplaced key would be printed, logged and posted.
"""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dlt
import pendulum
from pendulum import DateTime

from meterhouse.sources._core.config.secrets import looks_like_key
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import UNITS, Unit, Window, ceil, utc_now

YEARS = range(2000, 2100)
"""The years that a setting can mean. Others are typos, or stand for no limit, and arithmetic with them overflows."""

MAX_DURATION = timedelta(days=36_525)


def parse_moment(text: str, *, setting: str) -> DateTime:
    """A day (`2026-01-31`) or a time (`2026-01-31T10:00:00Z`) as a UTC moment; a time without a zone is UTC.

    Raises:
        ConfigurationError: `text` is neither, or in another year than `YEARS`; the message names `setting`.
    """
    stated = str(text).strip()
    try:
        # pendulum also accepts durations, weeks and ordinal days, which would be typing errors here.
        moment = pendulum.parse(stated, tz="UTC") if re.match(r"\d{4}-\d{2}-\d{2}(?!\d)", stated) else None
    except ValueError:
        moment = None
    if not isinstance(moment, DateTime):
        raise ConfigurationError(f"{setting} is not a date", hint="Write it as 2026-01-31 or 2026-01-31T10:00:00Z.")
    if moment.year not in YEARS:
        raise ConfigurationError(
            f"{setting} is not between {YEARS[0]} and {YEARS[-1]}",
            hint="Correct it, or remove it; a backfill without until ends now.",
        )
    return moment.in_timezone("UTC")


_SPAN = re.compile(r"(\d{1,5})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)?", re.IGNORECASE)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_duration(text: str | int | timedelta, *, setting: str) -> timedelta:
    """A duration: `7 days`, `36 hours`, `2 weeks`, `10 minutes`, short `7d`, ISO 8601 `P7D`; a bare number is days.

    Raises:
        ConfigurationError: `text` is none of these, or longer than a century; the message names `setting`.
    """
    if isinstance(text, timedelta):
        return text
    stated, duration = str(text).strip(), None
    if match := _SPAN.fullmatch(stated):
        duration = int(match[1]) * _UNITS[(match[2] or "d")[0].lower()]
    elif stated.upper().startswith("P"):
        with suppress(ValueError, OverflowError):
            span = pendulum.parse(stated)
            if isinstance(span, pendulum.Duration) and not span.years and not span.months:
                duration = timedelta(seconds=span.total_seconds())
    if duration is not None and duration <= MAX_DURATION:
        return duration
    if duration is not None:
        raise ConfigurationError(f"{setting} is longer than a century", hint="Write a shorter duration, such as '7 days'.")
    raise ConfigurationError(f"{setting} is not a duration", hint="Write it as '7 days', '36 hours', '10m' or 'P7D'.")


def parse_unit(text: str, *, setting: str) -> Unit:
    """One of hour, day, week and month.

    Raises:
        ConfigurationError: `text` is none of them; the message names `setting`.
    """
    for unit in UNITS:
        if unit == text:
            return unit
    raise ConfigurationError(f"{setting} is not a unit of time", hint=f"Use {', '.join(UNITS[:-1])} or {UNITS[-1]}.")


def parse_timezone(name: str, *, setting: str) -> str:
    """An IANA time zone, such as `Europe/Berlin`.

    Raises:
        ConfigurationError: `name` is not a time zone; the message names `setting`.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ConfigurationError(
            f"{setting} is not an IANA time zone", hint="Write it as UTC, Europe/Berlin or America/New_York."
        ) from None
    return name


def backfill_window(since: str | None, until: str | None, unit: Unit) -> Window | None:
    """The window of a backfill, [since, until); with `since` alone it ends with the running bucket, without both it is None.

    Without both, a scheduler's interval applies: DLT_INTERVAL_START and DLT_INTERVAL_END, and with
    DLT_ALLOW_EXTERNAL_SCHEDULERS also Airflow's data interval. Airflow's needs the switch, because every Airflow task has a
    data interval.

    Raises:
        ConfigurationError: a bound is not a date, `until` is given without `since`, only one bound of the interval is set,
            or the window is empty or lies in the future.
    """
    if since is None and until is None:
        since, until = _scheduled()
    if since is None and until is None:
        return None
    if since is None:
        raise ConfigurationError("until is given without since", hint="Give the start of the backfill, too.")
    now = utc_now()
    start = parse_moment(since, setting="since")
    end = parse_moment(until, setting="until") if until is not None else ceil(now, unit)
    if start >= now:
        raise ConfigurationError(f"since is {since}, which lies in the future", hint="Give a day that has begun.")
    if start >= end:
        raise ConfigurationError(
            f"since {since} is not before until {until}",
            hint="until is excluded: to load one day, give the next day.",
        )
    return Window(start, end)


INTERVAL = ("DLT_INTERVAL_START", "DLT_INTERVAL_END")


def _scheduled() -> tuple[str | None, str | None]:
    named = [os.environ.get(name, "") for name in INTERVAL]
    if all(named) or os.environ.get("DLT_ALLOW_EXTERNAL_SCHEDULERS", "").lower() in {"true", "1"}:
        try:
            interval = dlt.current.interval()
        except ValueError:
            raise ConfigurationError(
                f"{' or '.join(INTERVAL)} is not a time", hint="Write both as 2026-01-31T00:00:00Z."
            ) from None
        if interval is not None:
            return interval.start.isoformat(), interval.end.isoformat()
    elif any(named):
        raise ConfigurationError(f"only one of {' and '.join(INTERVAL)} is set", hint="Set both, or neither.")
    return None, None


def parse_number(value: int, *, setting: str, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` to `most`.

    Raises:
        ConfigurationError: `value` is outside; the message names `setting`.
    """
    if value < least or (most is not None and value > most):
        allowed = f"from {least} to {most}" if most is not None else f"{least} or more"
        raise ConfigurationError(f"{setting} must be {allowed}", hint="Correct it, or remove it to use the default.")
    return value


def is_json(text: str) -> bool:
    """Whether a text can only be meant as JSON: it begins with a brace or a bracket."""
    return text.lstrip().startswith(("{", "["))


def require_unquoted(text: str, *, setting: str) -> None:
    """Checks that a text is not in quotation marks: `docker --env-file` makes them part of the value.

    Raises:
        ConfigurationError: it is; the message names `setting`.
    """
    if re.fullmatch(r"""(["']).*\1""", text.strip(), re.DOTALL):
        raise ConfigurationError(
            f"{setting} has quotation marks around its value",
            hint="Remove them. A file for docker --env-file has NAME=value without quotation marks.",
        )


def parse_json(text: str, *, setting: str) -> Any:
    """The value of a text in JSON, as environment variables hold lists and tables.

    Raises:
        ConfigurationError: `text` is not JSON, for example because of a trailing comma or single quotes.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f", at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigurationError(
            f"{setting} is not valid JSON{place}",
            hint="Use double quotes, and no comma after the last value.",
        ) from None


def parse_names(value: Any, *, setting: str) -> tuple[str, ...]:
    """The texts of a list, or of one text with commas (for environment variables), in order and without duplicates.

    A text that contains a comma needs a list, which in an environment variable is JSON (`["one, two"]`).

    Raises:
        ConfigurationError: `value` is neither, or a text looks like a key; the message names `setting`.
    """
    if isinstance(value, str):
        names = parse_json(value, setting=setting) if is_json(value) else value.split(",")
    else:
        names = () if value is None else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{setting} is not a list of strings", hint='Write it as ["one", "two"] or "one,two".')
    if any(looks_like_key(name) for name in names):
        raise ConfigurationError(
            f"{setting} contains a value that looks like a key",
            hint="Write names or identifiers there; they are stored in rows.",
        )
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def parse_choices(value: Any, allowed: Sequence[str], *, setting: str) -> tuple[str, ...]:
    """The texts of a list, as `parse_names`, each of which is in `allowed`.

    Raises:
        ConfigurationError: `value` is not a list, or has a text that is not in `allowed`; the message names `setting`.
    """
    names = parse_names(value, setting=setting)
    for name in names:
        if name not in allowed:
            raise ConfigurationError(f"{setting} has an unknown value", hint=f"Use {', '.join(allowed)}.")
    return names
