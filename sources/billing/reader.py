"""From a CSV file or an existing table to rows of typed values, with a fault for whatever cannot be read."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from meterhouse.sources._core.schema import Column

from .columns import TABLES, Fault, Row

ReadTable = Callable[[str], tuple[Sequence[str], Sequence[Sequence[Any]]]]
"""Column names and rows of an existing table, by its name `schema.table`; LookupError where there is none."""

OWN_SCHEMA = "billing"

Line = tuple[int, list[str]]


class Unreadable(Exception):
    """A file or table as a whole; the message is the reason."""


def read(configured: Mapping[str, str], read_table: ReadTable | None) -> tuple[dict[str, list[Row]], list[Fault]]:
    """The rows of the tables that could be read at all, and what is wrong with each by itself."""
    tables: dict[str, list[Row]] = {}
    faults: list[Fault] = []
    for table, setting in configured.items():
        try:
            names, lines = _lines_of(table, setting, read_table)
        except Unreadable as reason:
            faults.append(Fault(table, setting, None, "", str(reason)))
        else:
            tables[table] = list(_rows(table, setting, names, lines, faults))
    return tables, faults


def table_reader(pipeline: dlt.Pipeline) -> ReadTable:
    """Reads tables of the destination that `pipeline` loads into."""

    def read_table(name: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        with pipeline.sql_client() as client:
            quoted = ".".join(map(client.escape_column_name, name.split(".")))
            try:
                with client.execute_query(f"SELECT * FROM {quoted}") as cursor:  # noqa: S608 - two checked identifiers
                    return [column[0] for column in cursor.description], cursor.fetchall()
            except DatabaseUndefinedRelation:
                raise LookupError(name) from None

    return read_table


def _lines_of(table: str, setting: str, read_table: ReadTable | None) -> tuple[list[str], Iterable[Line]]:
    if setting.lower().endswith(".csv"):
        return _file(Path(setting))
    if not re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", setting, re.ASCII):
        raise Unreadable(f"sources.billing.{table} is neither a path that ends in .csv nor schema.table")
    if setting.split(".")[0].lower() == OWN_SCHEMA:
        raise Unreadable(f"the schema {OWN_SCHEMA} is loaded into, so that nothing can be read from it; use another one")
    if read_table is None:
        raise Unreadable("nothing was given to read a table with; pass read_table=table_reader(pipeline)")
    try:
        names, rows = read_table(setting)
    except LookupError:
        raise Unreadable("the destination has no such table (and a file has to end in .csv)") from None
    # What dlt itself adds to the tables that it loads is no column of the user's.
    kept = [index for index, name in enumerate(names) if not name.lower().startswith("_dlt_")]
    texts = sorted([_text_of(row[index], names[index]) for index in kept] for row in rows)  # it has no order of its own
    return [names[index] for index in kept], enumerate(texts, 1)


def _text_of(value: Any, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        raise Unreadable(f"its column {column} is of floating-point numbers, which are not exact; cast it to numeric(28,9)")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def _file(path: Path) -> tuple[list[str], Iterable[Line]]:
    """The header and the rows, each with the line in which it starts; blank lines are left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Unreadable(f"there is no file {path.absolute()}") from None
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"line {line} is not UTF-8; save the file as CSV in UTF-8") from None
    lines = _parsed(text)
    first, names = next(lines, (0, []))
    if not first:
        raise Unreadable("it is empty; its first line has the names of the columns")
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise Unreadable(f"its columns are separated by {called}; save it with commas (and decimal points)")
    return names, list(lines)


def _parsed(text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(f"the row that starts in line {start} is no CSV ({error})") from None
        if any(cell.strip() for cell in cells):
            yield start, cells


def _rows(table: str, source: str, header: Sequence[str], lines: Iterable[Line], faults: list[Fault]) -> Iterator[Row]:
    columns = TABLES[table].columns
    names = [name.strip().lower() for name in header]
    faults += [
        Fault(table, source, 1, name, reason) for name, reason in _misnamed(names, [column.name for column in columns])
    ]
    for number, cells in lines:
        row = Row(table, source, number, {name: cell.strip() for name, cell in zip(names, cells, strict=False)}, {})
        if len(cells) == len(names):
            faults += _filled(row, columns)
        else:  # they may all have shifted, so that nothing is said of any
            fix = "put quotes around a text with commas"
            faults.append(row.fault("", f"it has {len(cells)} values, and the header {len(names)}; {fix}"))
        yield row


def _filled(row: Row, columns: Sequence[Column]) -> Iterator[Fault]:
    """Puts the values into the row; what cannot be read is left out of it."""
    for column in columns:
        try:
            if column.name in row.texts:
                row.values[column.name] = column.parse(row.texts[column.name])
        except ValueError as reason:
            yield row.fault(column.name, str(reason))


def _misnamed(names: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(names):
        if name not in columns:
            yield name, f"is no column of this table, which has {', '.join(columns)}"
        elif names.count(name) > 1:
            yield name, "is there more than once"
    for name in columns:
        if name not in names:
            yield name, "is missing; leave its cells blank where there is nothing to say"
