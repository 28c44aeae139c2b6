"""Closed periods and their frozen quantities as a CSV file: the only data that neither a vendor nor a build can restore.

A row of the file is a row of the table `int_usage__frozen`, an append-only log. The last line has the number of rows, so
that an import can refuse a truncated file. The events of a bucket or period form one history. An import may continue a
history; it never merges two different ones.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import NotBuilt
from meterhouse.pipelines.warehouse.files import replacing, require_replaceable
from meterhouse.pipelines.warehouse.query import insert_statement
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.registry import PROVIDERS

SCHEMA, TABLE = "usage_intermediate", "usage_intermediate.int_usage__frozen"
ROWS_PER_INSERT = 500
"""Rows of one INSERT statement."""

END = "end of export"
"""The first value of the last line; the second one is the number of rows above it."""

TIMESPANS = ("hour", "day", "week", "month", "period")
EVENTS = ("closed", "open", "differs", "restated", "reopened")

_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,9})?", re.ASCII)

Row = tuple[Any, ...]
"""The values of `COLUMNS`; times are in UTC, without a zone, as in the table."""


class Column(NamedTuple):
    """A column: its SQL type, and how to read its text."""

    type: str
    parse: Callable[[str], Any]


def _text(text: str) -> str:
    if not text:
        raise ValueError("is blank")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return parse


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise ValueError(f"{text!r} is not a time with a zone, such as 2026-03-01T00:00:00Z")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        raise ValueError(f"{text!r} is not a date, such as 2026-03-01") from None


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a decimal number with at most nine digits after the point")
    return Decimal(text).quantize(Decimal("1e-9"))


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: parse(text) if text else None


COLUMNS: Mapping[str, Column] = {
    "provider": Column("text", _one_of(*PROVIDERS)),
    "account": Column("text", _text),
    "meter": Column("text", str),
    "timespan": Column("text", _one_of(*TIMESPANS)),
    "bucket_start": Column("timestamp", _time),
    "bucket_end": Column("timestamp", _time),
    "period_start": Column("date", _optional(_date)),
    "period_end": Column("date", _optional(_date)),
    "quantity": Column("numeric(28, 9)", _number),
    "event": Column("text", _one_of(*EVENTS)),
    "closed_at": Column("timestamp", _time),
    "invoice_id": Column("text", _optional(str)),
}
"""The columns of the table; the macro `frozen_columns` has the same ones."""

FORMER_COLUMNS = frozenset({"corrected_on"})
"""Columns that only files of earlier versions have. An import ignores them."""

EVENT = list(COLUMNS).index("event")
"""The position of the event in a row."""

BUCKET_COLUMNS = slice(0, 6)
"""The columns that identify a bucket or period."""


def export_closed(destination: Destination, file: Path) -> int:
    """Writes all rows, and returns their number. `file` is replaced once the new content is complete.

    Raises:
        ConfigurationError: `file` cannot be a file.
        NotBuilt: the models were never built.
        LoadError: the destination cannot be read, or the file cannot be written.
    """
    require_replaceable(file, destination.file)
    rows = _stored(destination)
    with replacing(file) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(map(_as_texts, rows))
        writer.writerow((END, len(rows)))
    return len(rows)


def import_closed(destination: Destination, file: Path) -> int:
    """Adds the rows that the destination lacks, in one transaction, and returns their number.

    Raises:
        ConfigurationError: the file is not an export, or it contradicts what the destination has closed.
        LoadError: the destination cannot be read or written, or a run is using it.
    """
    if not destination.supports_atomic_changes:
        raise ConfigurationError(
            f"import closed does not work on {destination.type}", hint="It works on duckdb and postgres."
        )
    given = _read(file)
    with destination.exclusive_run():
        destination.create()
        with destination.hold_open():
            try:
                stored = _stored(destination)
            except NotBuilt:
                stored = []
            missing = _missing(file, given, stored, destination.location)
            destination.execute_in_transaction(_inserts(missing))
    return len(missing)


def _stored(destination: Destination) -> list[Row]:
    order = "closed_at, provider, account, meter, timespan, bucket_start, event"
    with destination.reader() as reader:
        _, rows = reader.tuples(f"select {', '.join(COLUMNS)} from {TABLE} order by {order}")  # noqa: S608
    return [tuple(row) for row in rows]


def _as_texts(row: Row) -> Iterator[str]:
    for value in row:
        match value:
            case None:
                yield ""
            case Decimal():
                yield f"{value:f}"  # str() would write 0E-9
            case datetime():
                yield f"{value.isoformat()}Z"
            case _:
                yield str(value)


def _read(file: Path) -> dict[Row, int]:
    """The rows of the file, each with its line."""
    rows: dict[Row, int] = {}
    number, stated = 0, None
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if sorted(set(header) - FORMER_COLUMNS) != sorted(COLUMNS) or len(set(header)) < len(header):
                raise ConfigurationError(
                    f"{file} does not have the columns {', '.join(COLUMNS)}", hint="Import what `export closed` has written."
                )
            for texts in reader:
                if stated is not None:
                    raise _wrong(file, reader.line_num, f"follows the line `{END}`")
                if texts[:1] == [END]:
                    stated = ",".join(texts[1:])
                    continue
                number += 1
                rows.setdefault(_parsed(file, reader.line_num, header, texts), reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{file} cannot be read ({error})", hint="Name a file of `export closed`.") from None
    if stated != str(number):
        problem = f"its last line says {stated}" if stated else f"its last line is not `{END}`"
        raise ConfigurationError(
            f"{file} is truncated or was edited: it has {number} rows, but {problem}",
            hint="Nothing was imported. Copy the whole file.",
        )
    return rows


def _parsed(file: Path, line: int, header: Sequence[str], texts: Sequence[str]) -> Row:
    if len(texts) != len(header):
        raise _wrong(file, line, f"has {len(texts)} values, but the header has {len(header)}")
    values = dict(zip(header, texts, strict=True))
    row = []
    for name, column in COLUMNS.items():
        try:
            row.append(column.parse(values[name]))
        except ValueError as reason:
            raise _wrong(file, line, f"{name} {reason}") from None
    if (values["timespan"] == "period") != bool(values["period_start"] and values["period_end"]):
        raise _wrong(file, line, "period_start and period_end must be set if the timespan is `period`, and only then")
    return tuple(row)


def _wrong(file: Path, line: int, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file}, line {line}: {problem}", hint="Nothing was imported. Correct the line, or export again."
    )


def _by_bucket(rows: Sequence[Row]) -> dict[Row, set[Row]]:
    found: dict[Row, set[Row]] = {}
    for row in rows:
        found.setdefault(row[BUCKET_COLUMNS], set()).add(row)
    return found


def _missing(file: Path, given: Mapping[Row, int], stored: Sequence[Row], location: str) -> list[Row]:
    """The given rows that are not stored. The events of a bucket must continue those that are stored, or be among them.

    That an invoice differs closes nothing, so such a stored event contradicts no file.
    """
    known = _by_bucket([row for row in stored if row[EVENT] != "differs"])
    for bucket, rows in _by_bucket(list(given)).items():
        there = known.get(bucket, set())
        if (new := rows - there) and there - rows:
            provider, account, meter, timespan, start, _ = bucket
            raise ConfigurationError(
                f"{file}, line {min(given[row] for row in new)}: {location} has closed the {timespan} {start:%Y-%m-%d %H:%M}"
                f" of {provider} {account}{' ' if meter else ''}{meter} otherwise; nothing was imported",
                hint=f"Import before the first build. If this database was built anew, drop its table {TABLE}, import again,"
                " and run `meterhouse models`.",
            )
    present = set(stored)
    return [row for row in given if row not in present]


def _inserts(rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Any]]]:
    yield f"create schema if not exists {SCHEMA}", ()
    columns = ", ".join(f"{name} {column.type}" for name, column in COLUMNS.items())
    yield f"create table if not exists {TABLE} ({columns})", ()
    for first in range(0, len(rows), ROWS_PER_INSERT):
        yield insert_statement(TABLE, list(COLUMNS), rows[first : first + ROWS_PER_INSERT])
