"""Errors in billing files and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from meterhouse.sources._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RowError:
    """One error in a billing file or table. `row` is the line of the file (the header is 1), or None for the whole file."""

    table: str
    source: str
    row: int | None
    column: str
    reason: str

    def __str__(self) -> str:
        row = f" row {self.row}" if self.row is not None else ""
        return f"{self.source}{row}{f', {self.column}' if self.column else ''}: {self.reason}"


class InvalidBillingFiles(ConfigurationError):
    """Billing files or tables contain errors, all of them in `errors`; none of the billing data was loaded."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "; ".join(map(str, self.errors)),
            provider="billing",
            hint="Correct the files and run again; no billing data was loaded.",
        )
