"""A row of a billing file or table: its texts, and the values read from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .columns import TABLES
from .errors import RowError


@dataclass(frozen=True, slots=True)
class Row:
    """`texts` holds each cell as written; `values` holds the typed values and leaves out cells that could not be read."""

    table: str
    source: str
    number: int
    texts: Mapping[str, str]
    values: dict[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether every column could be read."""
        return len(self.values) == len(TABLES[self.table].columns)

    def text_key(self, *columns: str) -> tuple[str, ...]:
        """The texts of `columns`, which exist even where the value could not be read."""
        return tuple(self.texts.get(column, "") for column in columns)

    def error(self, column: str, reason: str) -> RowError:
        """An error in this row."""
        return RowError(self.table, self.source, self.number, column, reason)
