"""Tables for people, and values in them."""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from meterhouse.pipelines.export.spreadsheet import escape_formula
from meterhouse.pipelines.output.json_lines import json_text
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.errors import ConfigurationError

NUMBERS = {"rows", "quantity", "billed", "requests", "rate limit left", "time left"}

MAX_VALUES = 20_000
"""The most values that `query` prints in a table: the layout of more takes minutes."""

Rows = Sequence[Sequence[Any]]


def make_table(title: str, *columns: str) -> Table:
    """An empty table without borders; columns of numbers are aligned to the right."""
    heading = Text(title, no_wrap=True, overflow="ignore") if title else None  # a narrow table would wrap it
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        is_number = name in NUMBERS
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    return table


def cell(text: str) -> str:
    """A name as a table's cell, without effect on the table or the terminal."""
    return escape(escape_control_characters(text))


def display_value(value: Any) -> str:
    """A value in a table; a decimal without the trailing zeros of its column's scale."""
    text = json_text(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in text else text


def _decimal_places(value: Any) -> int:
    if not isinstance(value, Decimal) or not value.is_finite():
        return 0
    return len(f"{value:f}".partition(".")[2].rstrip("0"))


def _aligned(value: Any, decimal_places: int) -> str:
    """A value in a column whose decimals all have this many digits after the point."""
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:.{decimal_places}f}"
    return "–" if value is None else display_value(value)


def query_table(names: Sequence[str], rows: Rows, width: int) -> Table:
    """The result of a query as a table or, if its rows are wider than `width`, with one line per value."""
    places = [max((_decimal_places(row[position]) for row in rows), default=0) for position in range(len(names))]
    texts = [[cell(_aligned(value, digits)) for value, digits in zip(row, places, strict=True)] for row in rows]
    heads = [cell(name) for name in names]
    lines = [heads, *texts]
    if sum(max(len(line[position]) for line in lines) + 2 for position in range(len(heads))) <= width + 2:
        return _one_line_per_row(heads, rows, texts)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, row in enumerate(texts):
        if number:
            table.add_row()
        for name, text in zip(heads, row, strict=True):
            table.add_row(name, text)
    return table


def _one_line_per_row(heads: Sequence[str], rows: Rows, texts: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for position, head in enumerate(heads):
        values = (row[position] for row in rows if row[position] is not None)
        is_number = isinstance(next(values, None), int | float | Decimal)
        table.add_column(head, justify="right" if is_number else "left", overflow="fold")
    for row in texts:
        table.add_row(*row)
    return table


def query_csv(names: Sequence[str], rows: Rows) -> str:
    """The result of a query as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow(None if value is None else escape_formula(value, display_value(value)) for value in row)
    return text.getvalue()


def query_json(names: Sequence[str], rows: Rows) -> str:
    """The result of a query as a JSON list of objects.

    Raises:
        ConfigurationError: two columns have the same name.
    """
    if len(set(names)) < len(names):
        raise ConfigurationError("two columns have the same name", hint="Rename one, with as.")
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=json_text)
