"""Flattens Onepin's nested objects to the columns of a table."""

from collections.abc import Collection, Mapping
from typing import Any

from meterhouse.sources._core.schema import Table


def flatten(item: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """Nested objects as one level: `credits.used` if the table declares that path, else `credits_used`.

    An undeclared field without a value is left out, so that `audio: null` adds no column.

    Raises:
        UnexpectedValue: the response has another value where the table declares an object; its columns would be null.
    """
    known = {column.field for column in table.columns if column.field}
    fields: dict[str, Any] = {}
    for path, value in _paths(item, "", known):
        if path in known:
            fields[path] = value
        elif value is not None:
            if any(name.startswith(f"{path}.") for name in known):
                raise table.unexpected(f"field {path} holds {value!r:.80}, not an object")
            fields[path.replace(".", "_")] = value
    return fields


def _paths(item: Mapping[str, Any], prefix: str, known: Collection[str]) -> list[tuple[str, Any]]:
    paths: list[tuple[str, Any]] = []
    for name, value in item.items():
        path = f"{prefix}{name}"
        paths += _paths(value, f"{path}.", known) if isinstance(value, dict) and path not in known else [(path, value)]
    return paths
