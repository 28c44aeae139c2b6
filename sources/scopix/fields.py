"""Fields of Scopix' responses: nested sections and times."""

from collections.abc import Mapping
from typing import Any

import pendulum
from pendulum import DateTime

from meterhouse.sources._core.schema import Table


def flatten(payload: Mapping[str, Any], sections: Mapping[str, str]) -> dict[str, Any]:
    """The object with the fields of its sections on its own level, each after the prefix of its section.

    A section that is null has no fields: Scopix leaves out what a plan does not include.
    """
    flat: dict[str, Any] = {}
    for name, value in payload.items():
        if name in sections and (value is None or isinstance(value, dict)):
            flat |= {f"{sections[name]}{field}": held for field, held in (value or {}).items()}
        else:
            flat[name] = value
    return flat


def parse_time(table: Table, name: str, text: Any) -> DateTime:
    """The UTC time in the field `name` of a response.

    Raises:
        UnexpectedValue: `text` is not a time.
    """
    try:
        parsed = pendulum.parse(text, tz="UTC") if isinstance(text, str) else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, DateTime):
        raise table.unexpected(f"field {name} holds {text!r}, not a time")
    return parsed.in_timezone("UTC")
