"""Reads CSV files and existing tables into rows of typed values, and collects an error for each cell it cannot read."""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from meterhouse.sources._core.schema import Column

from .columns import TABLES, name_in_file
from .errors import RowError
from .rows import Row

ReadTable = Callable[[str], tuple[Sequence[str], Sequence[Sequence[Any]]]]
"""Returns the column names and rows of an existing table `schema.table`; raises LookupError if the table does not exist."""

LOADED_SCHEMA = "billing"

LOADER_PREFIXES = "_dlt_", "_fivetran_", "_airbyte_", "_sdc_"
"""Prefixes of the columns that dlt, Fivetran, Airbyte and Stitch add to the tables that they load."""

INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""Soft hyphens, zero-width spaces and direction marks, which copied text can contain. Some scripts need joiners."""

TEXT_FORMULA = re.compile('="([^"]*)"')
"""How spreadsheets keep the leading zeros of a text: ="00123"."""

NumberedCells = tuple[int, list[str]]
"""A row number and the cells of that row."""


class Unreadable(Exception):
    """A whole file or table cannot be read; the message is the reason."""


def read_tables(configured: Mapping[str, str], read_table: ReadTable | None) -> tuple[dict[str, list[Row]], list[RowError]]:
    """The rows of each readable table, and the errors in files and cells."""
    tables: dict[str, list[Row]] = {}
    errors: list[RowError] = []
    for table, setting in configured.items():
        try:
            header, lines = _read(setting, read_table)
        except Unreadable as reason:
            source = setting if is_path_or_table(setting) else f"sources.billing.{table}"  # it may hold a misplaced key
            errors.append(RowError(table, source, None, "", str(reason)))
        else:
            tables[table] = list(_rows(table, setting, header, lines, errors))
    return tables, errors


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


def is_path_or_table(setting: str) -> bool:
    """Whether a setting is the path of a CSV file, or the name of a table with its schema."""
    table = re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", setting, re.ASCII)
    return setting.isprintable() and (setting.lower().endswith(".csv") or bool(table))


def _read(setting: str, read_table: ReadTable | None) -> tuple[list[str], Iterable[NumberedCells]]:
    if setting.lower().endswith(".csv"):
        return _read_csv(Path(setting))
    if not is_path_or_table(setting):
        raise Unreadable("it must be a path that ends in .csv, or schema.table")
    if setting.split(".")[0].lower() == LOADED_SCHEMA:
        raise Unreadable(f"the schema {LOADED_SCHEMA} holds the loaded tables; name a table in another schema")
    if read_table is None:
        raise Unreadable("no function to read a table with; pass read_table=table_reader(pipeline)")
    try:
        names, rows = read_table(setting)
    except LookupError:
        raise Unreadable("the destination has no such table; if it is a file, its name must end in .csv") from None
    kept = [index for index, name in enumerate(names) if not name.lower().startswith(LOADER_PREFIXES)]
    texts = sorted([_text_of(row[index], names[index]) for index in kept] for row in rows)  # a table has no row order
    return [names[index] for index in kept], enumerate(texts, 1)


def _text_of(value: Any, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        raise Unreadable(f"column {column} holds floating-point numbers, which are not exact; cast it to numeric(28,9)")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def _read_csv(path: Path) -> tuple[list[str], Iterable[NumberedCells]]:
    """The header, and the rows with the line number on which each starts; blank lines are left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Unreadable(f"there is no file {path.absolute()}") from None
    except OSError as error:
        raise Unreadable(f"the file cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"line {line} is not UTF-8; save the file as CSV in UTF-8") from None
    lines = list(_parse_csv(text))
    if lines and re.fullmatch("sep=.?", "".join(lines[0][1]).strip()):  # Excel's hint to itself
        del lines[0]
    if not lines:
        raise Unreadable("the file is empty; its first line must hold the column names")
    (_, header), *rows = lines
    names = _strip_blank_cells(header, 0)
    for separator, plural in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise Unreadable(
                f"columns are separated by {plural}; save the file with commas, and numbers with decimal points"
            )
    return names, [(number, _strip_blank_cells(cells, len(names))) for number, cells in rows]


def _strip_blank_cells(cells: list[str], min_width: int) -> list[str]:
    """Drops blank cells at the end, but keeps `min_width`: spreadsheets write empty columns beside a table."""
    width = max((number for number, cell in enumerate(cells, 1) if cell.strip()), default=0)
    return cells[: max(width, min_width)]


def _parse_csv(text: str) -> Iterator[NumberedCells]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(f"the row that starts on line {start} is not valid CSV ({error})") from None
        if any(cell.strip() for cell in cells):
            yield start, cells


def _rows(
    table: str, source: str, header: Sequence[str], lines: Iterable[NumberedCells], errors: list[RowError]
) -> Iterator[Row]:
    columns, optional = TABLES[table].columns, TABLES[table].optional
    names = [INVISIBLE.sub("", _content(name)).lower() for name in header]
    errors += [
        RowError(table, source, 1, name, reason)
        for name, reason in _header_errors(names, [name_in_file(column) for column in columns], optional)
    ]
    for number, cells in lines:
        row = Row(table, source, number, {name: _content(cell) for name, cell in zip(names, cells, strict=False)}, {})
        if len(cells) == len(names):
            errors += _parse_row(row, columns, optional)
        else:  # every cell may be in the wrong column, so that an error about a single cell could mislead
            fix = "put quotes around text that contains commas"
            errors.append(row.error("", f"has {len(cells)} values, but the header has {len(names)}; {fix}"))
        yield row


def _content(cell: str) -> str:
    text = cell.strip()
    formula = TEXT_FORMULA.fullmatch(text)
    return formula[1].strip() if formula else text


def _parse_row(row: Row, columns: Sequence[Column], optional: Sequence[str]) -> Iterator[RowError]:
    """Fills the row's values. A cell that cannot be parsed is left out; a missing optional column counts as blank."""
    for column in columns:
        name = name_in_file(column)
        try:
            if name in row.texts or name in optional:
                row.values[column.name] = column.parse(_require_visible(row.texts.get(name, "")))
        except ValueError as reason:
            yield row.error(name, str(reason))


def _require_visible(text: str) -> str:
    if hidden := INVISIBLE.search(text):
        raise ValueError(
            f"{text!r} contains an invisible character ({unicodedata.name(hidden[0]).lower()}); type the text again"
        )
    return text


def _header_errors(names: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(names):
        if name not in columns:
            yield name, f"is not a column of this table; its columns are {', '.join(columns)}"
        elif names.count(name) > 1:
            yield name, "appears more than once"
    for name in columns:
        if name not in names and name not in optional:
            yield name, "is missing; add the column and leave its cells blank if you have no values"
