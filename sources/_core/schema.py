"""Typed tables: the declared columns of a raw table, and the conversion of JSON objects to them.

A page of JSON objects becomes one Arrow table with an explicit schema: counts are bigint, money and credits decimal, times
UTC microseconds. A value of another type is an error that names endpoint, field and value. A field that the table does not
declare, because the provider added it later, becomes a text column: nothing is lost, and no later change of its type can
stop a run.
"""

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.sources._core.dlt_compat import active_destination
from meterhouse.sources._core.errors import UnexpectedValue

STAMPED = frozenset({"account", "is_complete", "fetched_at", "row_version", "run_id"})
"""The columns that `merge` adds to every table."""

DECIMAL = pa.decimal128(28, 9)
TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `field` is its name in the API, None for a column that the source computes.

    `parse` converts one JSON value to the column's Python value, or raises ValueError with the reason. If all values of a
    page have one of the types in `plain`, Arrow converts them together, in a tenth of the time; values that Arrow refuses
    are parsed one by one.
    """

    name: str
    type: pa.DataType
    parse: Callable[[Any], Any]
    field: str | None
    description: str
    nullable: bool = False
    plain: frozenset[Any] = frozenset()


def dimension(name: str, description: str, *, field: str | None = None) -> Column:
    """A text that distinguishes rows: '' if the response lacks it.

    Some APIs return a list for a dimension that they did not group by. A list becomes its only value, or a JSON array of all
    values in sorted order, so that the order in the response does not change a key.
    """
    return Column(name, pa.string(), _dimension, field or name, description, plain=frozenset({str}))


def count(name: str, description: str, *, field: str | None = None, nullable: bool = False) -> Column:
    """A whole number."""
    parse = _optional(_whole_number) if nullable else _whole_number
    return Column(name, pa.int64(), parse, field or name, description, nullable, frozenset({int}))


def instant(name: str, description: str, *, field: str | None = None, nullable: bool = False) -> Column:
    """A point in time; one without a zone is in UTC."""
    parse = _optional(_instant) if nullable else _instant
    return Column(name, TIMESTAMP, parse, field or name, description, nullable, frozenset({str}))


def decimal(name: str, description: str, *, field: str | None = None, nullable: bool = False) -> Column:
    """An exact decimal with nine digits after the point, for credits, shares and money: parsed from text, never a float.

    Providers that add in binary floating point send 0.30000000000000004; the value is rounded half to even after the ninth
    digit.
    """
    parse = _optional(_decimal) if nullable else _decimal
    return Column(name, DECIMAL, parse, field or name, description, nullable, frozenset({int, Decimal}))


def day(name: str, description: str, *, field: str | None = None) -> Column:
    """A calendar date, written 2026-01-31; a time of day after it must be midnight."""
    return Column(name, pa.date32(), _day, field or name, description, plain=frozenset({str}))


def text(name: str, description: str, *, field: str | None = None, nullable: bool = True) -> Column:
    """A text outside of the key: null if the response lacks it."""
    parse = _optional(_text) if nullable else _text
    return Column(name, pa.string(), parse, field or name, description, nullable, frozenset({str}))


def flag(name: str, description: str, *, field: str | None = None, nullable: bool = True) -> Column:
    """True or false; null if the response lacks it."""
    parse = _optional(_flag) if nullable else _flag
    return Column(name, pa.bool_(), parse, field or name, description, nullable, frozenset({bool}))


def document(name: str, description: str, *, field: str | None = None) -> Column:
    """A nested value as JSON text with sorted keys; null if the response lacks it."""
    return Column(name, pa.string(), _as_text, field or name, description, nullable=True)


def computed(name: str, type_: pa.DataType, description: str, *, nullable: bool = False) -> Column:
    """A column that the source computes."""
    return Column(name, type_, lambda value: value, None, description, nullable)


@dataclass(frozen=True)
class Table:
    """A raw table: its columns, its key, and the time column that windows refer to.

    `is_utc` is false if the days are local to a time zone that the user chose. `is_event` is true if a row stands for a
    moment instead of a bucket: such a row is always complete.

    `identity` names the columns of the organisation or app that a row's usage belongs to.
    `owner` is the column of the organisation that an account's key belongs to. See `identities`.

    Every table also has `account`, `is_complete`, `fetched_at`, `row_version` and `run_id`, which `merge` adds.
    """

    provider: str
    endpoint: str
    name: str
    columns: Sequence[Column]
    key: Sequence[str]
    time: str
    is_utc: bool = True
    is_event: bool = False
    identity: Sequence[str] = ()
    owner: str = ""
    _known: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(column.field for column in self.columns if column.field))

    def rows(self, objects: Iterable[Any], **filled: Any) -> pa.Table:
        """One page of JSON objects as a typed table; `filled` holds the computed columns, each as an array or one value.

        Raises:
            UnexpectedValue: an item is not an object, or a field does not have the type of its column.
        """
        items = list(objects)
        for item in items:
            if not isinstance(item, dict):
                raise self.unexpected(f"an item is {_shown(item)}, not an object")
        arrays: dict[str, pa.Array] = {}
        for column in self.columns:
            if column.field is not None:
                arrays[column.name] = self._array(column, [item.get(column.field) for item in items])
        for name, value in filled.items():
            arrays[name] = value if isinstance(value, pa.Array) else pa.array([value] * len(items), self.type_of(name))
        for unknown in sorted(set().union(*items) - self._known):
            arrays[self._column_for(unknown, arrays)] = pa.array(
                [_as_text(item.get(unknown)) for item in items], pa.string()
            )
        if not _stores_nul():
            arrays = {name: _without_nul(array) for name, array in arrays.items()}
        declared = [column.name for column in self.columns if column.name in arrays]
        added = [name for name in arrays if name not in declared]
        return pa.table({name: arrays[name] for name in declared + added})

    def _column_for(self, unknown: str, taken: Container[str]) -> str:
        """The column of an undeclared field: its name in dlt's spelling, with the prefix `vendor_` if that column exists.

        dlt would replace every character outside of ASCII by the same one, so that two names become one column, which fails
        the table. So they are escaped, as in `gr_xf6_xdfe` for größe.
        """
        ascii_name = unknown.encode("ascii", "backslashreplace").decode()
        name = re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_name)).strip("_").lower()
        ours = {column.name for column in self.columns} | STAMPED
        while not name or name in ours or name in taken or name.startswith("dlt_"):
            name = f"vendor_{name}"
        return name

    def unexpected(self, problem: str) -> UnexpectedValue:
        """The error for a response that the endpoint does not document."""
        return UnexpectedValue(
            problem,
            provider=self.provider,
            endpoint=self.endpoint,
            hint=f"The response differs from the documentation, so {self.name} is unchanged; please report it.",
        )

    def _array(self, column: Column, values: list[Any]) -> pa.Array:
        if (array := parse_vectorized(column, values)) is not None:
            return array
        parsed = []
        for value in values:
            try:
                parsed.append(column.parse(value))
            except (ValueError, TypeError, ArithmeticError) as reason:
                raise self.unexpected(f"field {column.field} holds {_shown(value)}, {reason}") from None
        return pa.array(parsed, column.type)

    def type_of(self, name: str) -> pa.DataType:
        """The type of a declared column."""
        return next(column.type for column in self.columns if column.name == name)


def _stores_nul() -> bool:
    """Whether the destination of the running pipeline stores U+0000 in texts."""
    destination = active_destination()
    return destination is None or not destination.destination_type.endswith((".postgres", ".redshift"))


def _without_nul(array: pa.Array) -> pa.Array:
    return pc.replace_substring(array, "\0", "") if pa.types.is_string(array.type) else array


def parse_vectorized(column: Column, values: list[Any]) -> pa.Array | None:
    """All values converted by Arrow at once; None if they must be parsed one by one."""
    types = set(map(type, values))
    if not types or not types <= (column.plain | {type(None)} if column.nullable else column.plain):
        return None
    try:
        array = pa.array(values)
        return array if array.type == column.type else array.cast(column.type)
    except (pa.ArrowException, OverflowError, TypeError):
        return None


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of `columns`, from which dlt derives the table's."""
    return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in columns])


def _dimension(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        distinct = sorted(set(value))
        return distinct[0] if len(distinct) == 1 else json.dumps(distinct, ensure_ascii=False) if distinct else ""
    raise ValueError("not a text or a list of texts")


def _whole_number(value: Any) -> int:
    # Python takes a bool for an int, and some JSON writers write 5 as 5.0 or "5".
    is_whole = (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, Decimal) and value.adjusted() <= 18 and value == value.to_integral_value())
        or (isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII))
    )
    if not is_whole:
        raise ValueError("not a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("out of range for a 64-bit integer")
    return number


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a time")  # noqa: TRY004 - every parser raises ValueError
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # Arrow converts other zones


def _optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else parse(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("not a number")  # noqa: TRY004 - as above
    try:
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError("not a finite number")
        return number.quantize(_NINE_DIGITS)
    except InvalidOperation:
        raise ValueError("not a number of at most 19 digits before the point") from None


_NINE_DIGITS = Decimal("1e-9")


def _day(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("not a date")  # noqa: TRY004 - as above
    moment = datetime.fromisoformat(value)
    if moment.time() != time():
        raise ValueError("a time, not a date")
    return moment.date()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - as above
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")  # noqa: TRY004 - as above
    return value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):  # a bare number needs no quotes
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)


def _shown(value: Any) -> str:
    text = repr(value) if value is not None else "nothing"
    return text if len(text) <= 80 else text[:77] + "..."


def row_versions(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """A text for each row that changes when one of `columns` changes, computed for the whole table at once."""
    texts = [_text_of(table.column(name)) for name in columns]
    # A control character stands for null, so that null differs from an empty text. PostgreSQL cannot store U+0000.
    return pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="\x1e").combine_chunks()


def _text_of(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(values.type):  # formatting with a time zone is slower than the number
        values = values.cast(pa.int64())
    return values.cast(pa.string())


def first_duplicate(table: pa.Table, key: Sequence[str]) -> Mapping[str, Any] | None:
    """A key that two rows share, or None."""
    counted = table.select(list(key)).group_by(list(key)).aggregate([([], "count_all")])
    shared = counted.filter(pc.greater(counted["count_all"], 1)).slice(0, 1).to_pylist()
    return {name: shared[0][name] for name in key} if shared else None
