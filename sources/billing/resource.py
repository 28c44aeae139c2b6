"""A billing table as a dlt resource that writes only what has changed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources import DltResource

from meterhouse.sources._core.dlt_compat.extract import declared_columns, with_write_disposition
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.history import HistorySettings, history_items, store_history
from meterhouse.sources._core.merge import merge_disposition, merge_strategy
from meterhouse.sources._core.run_id import current_run_id
from meterhouse.sources._core.schema import TIMESTAMP, arrow_schema, row_versions
from meterhouse.sources._core.windows import utc_now

from .columns import TABLES

ORIGIN = [pa.field("source", pa.string(), nullable=False), pa.field("row_number", pa.int64(), nullable=False)]
STAMPS = [
    pa.field("loaded_at", TIMESTAMP, nullable=False),
    # Nullable, because a database cannot add a non-nullable column to a table that already has rows.
    pa.field("row_version", pa.string()),
    pa.field("run_id", pa.string()),
]

CONTENT = "content"
"""In the state of a resource: a digest of the rows that its table has."""

ALL_ROWS = "1 = 1"
KEEP_ALL = HistorySettings(only_complete=False)


def billing_resource(name: str, rows: Sequence[Mapping[str, Any]]) -> DltResource:
    """The resource that makes the table `name` equal to `rows`: the values of its columns, `source` and `row_number`.

    A row that did not change keeps its `loaded_at`; a row that was changed or removed goes to the history of the table. If
    no row changed since the last load, the resource yields nothing. The table is replaced, without a history, if the
    destination cannot merge, or if an earlier version loaded it, without `row_version`.
    """

    def items() -> Iterator[Any]:
        table = TABLES[name]
        columns = arrow_schema([*table.columns, *table.computed])
        content = pa.Table.from_pylist(list(rows), pa.schema([*columns, *ORIGIN]))
        state = dlt.current.resource_state()
        if state.get(CONTENT) == (digest := _digest(content)):
            return
        loaded_at, run_id = utc_now(), current_run_id()
        version = row_versions(content, [column for column in content.column_names if column not in table.key])
        stamps = (pa.scalar(loaded_at, TIMESTAMP), version, pa.scalar(run_id, pa.string()))
        stamped = content
        for field, value in zip(STAMPS, stamps, strict=True):
            column = value if isinstance(value, pa.Array) else pa.repeat(value, content.num_rows)
            stamped = stamped.append_column(field, column)
        disposition: Any = "replace"
        known = declared_columns(name)
        if not known or "row_version" in known:
            with suppress(ConfigurationError):  # the destination cannot merge
                disposition = merge_disposition(merge_strategy(name), ALL_ROWS)
        if disposition != "replace" and run_id:
            yield from history_items(name, stamped.schema)
            times = [(ALL_ROWS, loaded_at.to_iso8601_string())]
            store_history(name, run_id, ALL_ROWS, times, KEEP_ALL, is_within_scope=True, time_column="loaded_at")
        yield with_write_disposition(stamped, disposition)
        state[CONTENT] = digest

    return dlt.resource(items, name=name, primary_key=list(TABLES[name].key), write_disposition="merge")


def _digest(content: pa.Table) -> str:
    rows = repr((content.column_names, content.to_pylist()))
    return hashlib.sha256(rows.encode()).hexdigest()
