"""How a fetched window replaces what the table held: promise 1, "a window replaces a window".

Three ways were measured on dlt 1.31 with 350,000 rows on DuckDB 2.0, the same window loaded twice:

    delete-insert with `destination_scope`   0.5 s   exact, but writes every row again on every run
    cdc with `destination_scope`             0.5 s   exact, and leaves a row that has not changed as it is
    hard-delete rows                         needs the table's present keys in the source, which a source cannot see

So the strategy is `cdc`: one MERGE that inserts new rows, updates those whose `row_version` differs, and deletes the rows of
the scope that the answer no longer holds. A second run of the same window changes no row, and `fetched_at` says when a row
came to read as it does; when a window was last asked for stands in `fetched_windows`.
Redshift, ClickHouse and some others have no such MERGE in dlt: there it is delete-insert, with the same totals, which writes
every row of the window again.

The scope is a resource's last word, not its first: it names, for each part of the table, exactly the windows that were read
whole. A part that failed is not in it, so nothing of it is deleted; a window that the provider answered only from a later
time on is in it from that time on, and one that it answered only up to a time is asked for again from there.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.pipeline import current_pipeline
from pendulum import DateTime

from meterhouse.sources._core.partition import UNSAFE, Partition, _Replaced
from meterhouse.sources._core.schema import TIMESTAMP, Table, arrow_schema, computed, instant, row_versions
from meterhouse.sources._core.windows import Unit, Window, after, from_date

ACCOUNT = computed("account", pa.string(), "the configured name of the account")


STAMPS = (
    computed("is_complete", pa.bool_(), "false while the bucket was still running when it was fetched"),
    instant("fetched_at", "when the row was fetched as it reads now"),
    computed("row_version", pa.string(), "changes when anything of the row but fetched_at changes"),
)


def _merge(table: Table, replaced: Sequence[_Replaced]) -> Any:
    destination = getattr(current_pipeline(), "destination", None)
    if destination is None:
        scope, strategies = _scope(table, replaced), ["cdc"]
    else:
        # Delta's MERGE has the columns of two tables in view, so that each has to say whose it is; elsewhere the scope is
        # part of a DELETE, where not every engine takes the name of the table before that of a column.
        whose = "{table}." if destination.destination_type.endswith(".filesystem") else ""
        scope, strategies = _scope(table, replaced, whose), destination.capabilities().supported_merge_strategies
    if "cdc" not in strategies and "delete-insert" in strategies:
        return {"disposition": "merge", "strategy": "delete-insert", "destination_scope": scope}
    return {
        "disposition": "merge",
        "strategy": "cdc",
        "destination_scope": scope,
        "skip_unchanged_rows": True,
        "row_version_column_name": "row_version",
    }


def _scope(table: Table, replaced: Sequence[_Replaced], whose: str = "") -> str:
    """The rows that the answers stand for, as SQL. It holds account names and bounds, nothing that a provider sent."""
    spans: list[tuple[Partition[Any], Window]] = []
    for done in replaced:
        if spans and spans[-1][0] is done.part and spans[-1][1].end == done.window.start:
            spans[-1] = done.part, Window(spans[-1][1].start, done.window.end)
        else:
            spans.append((done.part, done.window))
    # dlt joins the scope to other conditions with AND, which binds more strongly than OR.
    return "(" + " OR ".join(f"({_condition(table, part, span, whose)})" for part, span in spans) + ")"


def _condition(table: Table, part: Partition[Any], span: Window, whose: str) -> str:
    fixed = {ACCOUNT.name: part.account, **part.where}
    start, end = (
        (span.start.to_date_string(), span.end.to_date_string())
        if pa.types.is_date(table.type_of(table.time))
        else (span.start.to_iso8601_string(), span.end.to_iso8601_string())
    )
    equal = " AND ".join(f"{whose}{name} = {_literal(value)}" for name, value in fixed.items())
    return f"{equal} AND {whose}{table.time} >= '{start}' AND {whose}{table.time} < '{end}'"


def _literal(text: str) -> str:
    if any(character in text for character in UNSAFE):  # accounts and parts have been checked where they are made
        raise ValueError(f"{text!r} cannot stand in SQL")
    return f"'{text}'"


def _schema(table: Table) -> pa.Schema:
    return arrow_schema([ACCOUNT, *table.columns, *STAMPS])


def _stamped(rows: pa.Table, table: Table, part: Partition[Any], asked_at: DateTime) -> pa.Table:
    """The rows with account, bucket end, completeness, fetch time and version, in the declared order and types."""
    if table.is_event:
        complete = pa.repeat(pa.scalar(value=True), rows.num_rows)
    else:
        if "bucket_end" in rows.column_names:
            ends = rows.column("bucket_end")
        else:
            ends = _bucket_ends(rows.column(table.time), part.plan.unit)
            if any(column.name == "bucket_end" for column in table.columns):
                rows = rows.append_column("bucket_end", ends)
        now = asked_at if table.is_utc else part.plan.wall_time(asked_at)
        complete = pc.less_equal(ends, pa.scalar(now, TIMESTAMP))
    content = [name for name in rows.column_names if name not in table.key]
    rows = rows.append_column(ACCOUNT.name, pa.repeat(pa.scalar(part.account), rows.num_rows))
    rows = rows.append_column("is_complete", complete)
    rows = rows.append_column("fetched_at", pa.repeat(pa.scalar(asked_at, TIMESTAMP), rows.num_rows))
    rows = rows.append_column("row_version", row_versions(rows, [*content, "is_complete"]))
    declared = _schema(table)
    added = [rows.schema.field(name) for name in rows.column_names if name not in declared.names]
    whole = pa.schema([*declared, *added])
    return rows.select(whole.names).cast(whole)


def _bucket_ends(starts: pa.ChunkedArray, unit: Unit) -> pa.Array:
    encoded = starts.cast(TIMESTAMP).combine_chunks().dictionary_encode()
    begun = _floors(encoded.dictionary, unit)
    if unit == "month":  # the one that has no length of its own
        ends = pa.array([after(from_date(start), unit) for start in begun.to_pylist()], TIMESTAMP)
    else:
        ends = pc.add(begun, pa.scalar(timedelta(**{f"{unit}s": 1}), pa.duration("us")))
    return ends.take(encoded.indices)


def _floors(starts: pa.Array, unit: Unit) -> pa.Array:
    """The starts of the UTC buckets that hold these times; `windows.floor` for a whole column."""
    return pc.floor_temporal(starts, unit=unit, week_starts_monday=True)
