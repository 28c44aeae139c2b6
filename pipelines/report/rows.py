"""From rows of a query to the structs of the report."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from meterhouse.pipelines.warehouse.query import Row

S = TypeVar("S", bound=msgspec.Struct)


def exact(value: Any) -> Any:
    """A Decimal without the trailing zeros of its column's scale; any other value unchanged."""
    if not isinstance(value, Decimal):
        return value
    text = f"{value:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def structs(struct: type[S], rows: Iterable[Row]) -> list[S]:
    """A struct per row, filled by column name."""
    names = struct.__struct_fields__
    return [struct(*(exact(row[name]) for name in names)) for row in rows]


def scoped_structs(struct: type[S], rows: Iterable[Row], providers_with_several_accounts: set[str]) -> list[S]:
    """As `structs`, without the rows of a provider's only account, which repeat the rows of the provider."""
    return structs(
        struct,
        (row for row in rows if row["account"] is None or row["provider"] in providers_with_several_accounts),
    )


def grouped(rows: Iterable[Row], *names: str) -> Iterable[tuple[tuple[Any, ...], list[Row]]]:
    """Consecutive rows with the same values in `names`."""
    key: Callable[[Row], tuple[Any, ...]] = lambda row: tuple(row[name] for name in names)  # noqa: E731 - the type is the point
    return ((found, list(group)) for found, group in groupby(rows, key))


def by_day(rows: Sequence[Row], name: str) -> list[Any]:
    """The values of a column for each day from the first row's on; None for a day without a row."""
    start = rows[0]["date"]
    days: list[Any] = [None] * ((rows[-1]["date"] - start).days + 1)
    for row in rows:
        days[(row["date"] - start).days] = exact(row[name])
    return days


def single(rows: Sequence[Row]) -> Any:
    """The column `value` of a query's only row."""
    return rows[0]["value"]
