"""The row as it was: `<table>__history` keeps each row that a load replaces or withdraws.

Three ways were considered on dlt 1.31:

    scd2                      keeps all versions in the raw table itself, so every query of it needs a condition; it says
                              neither which run replaced a row nor whether it was withdrawn; Delta tables do not have it
    rows in their own job      the source cannot see the rows that it replaces, and dlt commits each table's job by itself
    before-image statement    an INSERT INTO … SELECT in front of the merge, in the transaction of the merge

meterhouse uses the last one. At any moment, a row is either in the table or in its history, never in both or neither. The
statement joins the table with dlt's staging table, as the merge itself does. `tests/benchmarks/README.md` has its cost.
`dlt_compat.merge` puts it into the merge job of every SQL destination. Where that job has no transaction, as on ClickHouse,
a load that is killed between two statements leaves a row in both, and the next one adds it to the history again. Delta
tables have no transaction over two tables: the rows are merged into the history before the table changes, by key and
`fetched_at`, so that loading a killed package again, or the windows of a killed run, stores no row twice.

A destination with the strategy delete-insert (see `merge`) gets the same history, but rewrites unchanged rows with a new
`fetched_at` in every run, so an unchanged row counts as known only since it was last fetched.

The columns of a history table are in dlt's schema, and follow those of its table: a load that adds a column to either
yields an empty item for the history table. No other load has a job for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dlt
import pyarrow as pa

from meterhouse.sources._core.config.parse import parse_choices, parse_duration
from meterhouse.sources._core.dlt_compat.extract import declared_columns, normalized_columns
from meterhouse.sources._core.dlt_compat.merge import SUFFIX, keep_history
from meterhouse.sources._core.schema import TIMESTAMP, arrow_schema, computed
from meterhouse.sources._core.windows import utc_now

COLUMNS = (
    computed("superseded_at", TIMESTAMP, "when its replacement was fetched; if withdrawn, when its window was fetched"),
    computed("superseded_by", pa.string(), "the run that replaced or withdrew it"),
    computed("is_withdrawn", pa.bool_(), "true if the vendor no longer returns the row, false if it returned other values"),
)
"""The columns that a history table has besides those of its table."""

COMPLETE, ALL = "complete", "all"


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Which rows of a provider's tables go to history, and for how long they stay; None means for ever.

    `only_complete` leaves out a row whose bucket was still running when it was fetched: it changes by nature.
    """

    only_complete: bool = True
    retention: timedelta | None = None

    @classmethod
    def parse(cls, history: str, retention: str | None, setting: Callable[[str], str]) -> "HistorySettings":
        """The settings `history` and `history_retention`; `setting` gives their full names.

        Raises:
            ConfigurationError: one of them is wrong.
        """
        kept = parse_choices([history], (COMPLETE, ALL), setting=setting("history"))
        limit = None if retention is None else parse_duration(retention, setting=setting("history_retention"))
        return cls(only_complete=kept[0] == COMPLETE, retention=limit)


def history_items(table: str, columns: pa.Schema) -> Iterator[Any]:
    """Creates the history of `table`, or adds the columns that it lacks; nothing if it has them all.

    `columns` are those of this load's rows. Columns that only earlier loads had come from dlt's schema; their type is text.
    """
    name = table + SUFFIX
    loaded = normalized_columns(columns.names)
    names = {*loaded, *(column for column in declared_columns(table) if not column.startswith("_dlt_"))}
    if names <= declared_columns(name):
        return
    earlier = [pa.field(column, pa.string()) for column in sorted(names - loaded)]
    schema = pa.schema([*(field.with_nullable(True) for field in (*columns, *earlier)), *arrow_schema(COLUMNS)])  # noqa: FBT003
    yield dlt.mark.with_hints(
        schema.empty_table(),
        dlt.mark.make_hints(table_name=name, write_disposition="append", primary_key=[]),
        create_table_variant=True,
    )


def store_history(
    table: str,
    run: str,
    scope: str,
    withdrawn_at: Sequence[tuple[str, str]],
    settings: HistorySettings,
    *,
    is_within_scope: bool,
    time_column: str = "fetched_at",
) -> None:
    """Tells the load of this package to keep the rows of `table` that it replaces.

    Args:
        table: the table that is merged.
        run: the run that replaces the rows.
        scope: a SQL condition for the rows `d` of the table that are deleted if the load does not have them.
        withdrawn_at: SQL conditions for parts of `scope`, each with the ISO time at which its rows were found missing.
        settings: which rows are kept.
        is_within_scope: whether all rows that the load replaces are in `scope`, so that the query reads no other rows.
        time_column: the column with the time at which a row took its values.
    """
    keep: dict[str, Any] = {
        "run": run,
        "scope": scope,
        "is_within_scope": is_within_scope,
        "withdrawn_at": withdrawn_at,
        "time_column": time_column,
    }
    if settings.only_complete:
        keep["condition"] = "is_complete"
    if settings.retention is not None:
        keep["prune"] = (utc_now() - settings.retention).to_iso8601_string()
    keep_history(table, keep)
