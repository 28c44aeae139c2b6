"""How a fetched window replaces what the table held: promise 1, "a window replaces a window".

Three ways were measured on dlt 1.31 with 350,000 rows on DuckDB 2.0, the same window loaded twice:

    delete-insert with `destination_scope`   0.5 s   exact, but writes every row again on every run
    cdc with `destination_scope`             0.5 s   exact, and leaves a row that has not changed as it is
    hard-delete rows                         needs the table's present keys in the source, which a source cannot see

So the strategy is `cdc`: one MERGE that inserts new rows, updates those whose `row_version` differs, and deletes the rows of
the scope that the answer no longer holds. A second run of the same window changes no row, and `fetched_at` says when a row
came to read as it does; when a window was last asked for stands in `fetched_windows`.

The scope is a resource's last word, not its first: it names, for each account, exactly the windows that were read whole.
An account that failed is not in it, so nothing of it is deleted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.sources import DltResource
from pendulum import DateTime

from sources._core.http import SourceError
from sources._core.journal import Journal
from sources._core.tables import TIMESTAMP, Table, computed, count, instant, schema_of, version_of
from sources._core.windows import Cursor, Plan, Unit, Window, after, floor, utc_now

C = TypeVar("C")

ACCOUNT = computed("account", pa.string(), "the configured name of the account")
STAMPS = (
    computed("is_complete", pa.bool_(), "false while the bucket was still running when it was fetched"),
    instant("fetched_at", "when the row was fetched as it reads now"),
    computed("row_version", pa.string(), "changes when anything of the row but fetched_at changes"),
)
FETCHED_WINDOWS = schema_of(
    [
        computed("resource", pa.string(), "the table that was asked for"),
        ACCOUNT,
        instant("window_start", "start of the window, included"),
        instant("window_end", "end of the window, excluded"),
        instant("complete_until", "all buckets up to here had ended when they were fetched"),
        count("row_count", "rows that the window held"),
        instant("fetched_at", "when the window was fetched"),
    ]
)


def replaced_by_window(
    table: Table,
    *,
    clients: Mapping[str, C],
    plan: Plan,
    fetch: Callable[[C, Window], pa.Table],
    journal: Journal,
) -> DltResource:
    """A dlt resource that keeps `table` equal to what the provider says of each window.

    Args:
        table: name, columns, key and time column.
        clients: by account name, whatever `fetch` asks with.
        plan: which windows to ask for, by each account's cursor.
        fetch: reads one window whole, as a table of the declared columns without the stamps, or raises SourceError.
        journal: hears of windows and failures.
    """
    key = [ACCOUNT.name, *table.key]

    def windows() -> Iterator[Any]:
        cursors: dict[str, dict[str, str]] = dlt.current.resource_state().setdefault("cursors", {})
        replaced: list[tuple[str, Window, int, DateTime]] = []
        for account, client in clients.items():
            cursor = Cursor.from_state(cursors[account]) if account in cursors else None
            try:
                for window in plan.windows(cursor, utc_now()):
                    journal.fetching(table.name, account, window)
                    asked_at = utc_now()
                    rows = fetch(client, window)
                    _require_inside(rows, table, window)
                    journal.fetched(table.name, account, window, rows.num_rows)
                    yield _stamped(rows, table, account, plan.unit, asked_at)
                    replaced.append((account, window, rows.num_rows, asked_at))
                    cursor = plan.moved(cursor, window, asked_at)
                    if cursor is not None:
                        cursors[account] = cursor.to_state()
            except SourceError as error:
                # What was read before stays, with a scope and a cursor that end where the reading ended.
                journal.failed(table.name, account, error)
        if replaced:
            yield dlt.mark.with_hints(
                _schema(table).empty_table(),
                dlt.mark.make_hints(write_disposition=_merge(_scope(table.time, replaced))),
            )
            yield dlt.mark.with_hints(
                _log(table.name, replaced, plan.unit),
                dlt.mark.make_hints(table_name="fetched_windows", write_disposition="append", primary_key=[]),
                create_table_variant=True,
            )

    return dlt.resource(windows, name=table.name, primary_key=key, write_disposition=_merge(None))


def _merge(scope: str | None) -> Any:
    disposition: dict[str, Any] = {
        "disposition": "merge",
        "strategy": "cdc",
        "skip_unchanged_rows": True,
        "row_version_column_name": "row_version",
    }
    return disposition | ({"destination_scope": scope} if scope else {})


def _scope(time: str, replaced: Sequence[tuple[str, Window, int, DateTime]]) -> str:
    """The rows that the answers stand for, as SQL. It holds account names and bounds, nothing that a provider sent."""
    spans: dict[str, Window] = {}
    for account, window, _, _ in replaced:  # the windows of an account adjoin, oldest first
        spans[account] = Window(spans[account].start if account in spans else window.start, window.end)
    return " OR ".join(
        f"(account = {_literal(account)} AND {time} >= '{span.start.to_iso8601_string()}'"
        f" AND {time} < '{span.end.to_iso8601_string()}')"
        for account, span in spans.items()
    )


def _literal(text: str) -> str:
    # Account names have neither quotes nor braces (see accounts); dlt formats the scope, so that a brace would be its own.
    if any(character in text for character in "'\\{}"):
        raise ValueError(f"{text!r} cannot stand in SQL")
    return f"'{text}'"


def _schema(table: Table) -> pa.Schema:
    return schema_of([ACCOUNT, *table.columns, *STAMPS])


def _stamped(rows: pa.Table, table: Table, account: str, unit: Unit, asked_at: DateTime) -> pa.Table:
    """The rows with account, bucket end, completeness, fetch time and version, in the declared order and types."""
    ends = _bucket_ends(rows.column(table.time), unit)
    if any(column.name == "bucket_end" for column in table.columns):
        rows = rows.append_column("bucket_end", ends)
    content = [name for name in rows.column_names if name not in table.key]
    rows = rows.append_column(ACCOUNT.name, pa.repeat(pa.scalar(account), rows.num_rows))
    rows = rows.append_column("is_complete", pc.less_equal(ends, pa.scalar(asked_at, TIMESTAMP)))
    rows = rows.append_column("fetched_at", pa.repeat(pa.scalar(asked_at, TIMESTAMP), rows.num_rows))
    rows = rows.append_column("row_version", version_of(rows, [*content, "is_complete"]))
    declared = _schema(table)
    added = [rows.schema.field(name) for name in rows.column_names if name not in declared.names]
    whole = pa.schema([*declared, *added])
    return rows.select(whole.names).cast(whole)


def _bucket_ends(starts: pa.ChunkedArray, unit: Unit) -> pa.Array:
    encoded = starts.combine_chunks().dictionary_encode()
    ends = [after(floor(start, unit), unit) for start in encoded.dictionary.to_pylist()]
    return pa.array(ends, TIMESTAMP).take(encoded.indices)


def _require_inside(rows: pa.Table, table: Table, window: Window) -> None:
    """A row of another time would be written outside the scope, where nothing would ever take it away again."""
    for start in pc.unique(rows.column(table.time)).to_pylist():
        if not window.start <= start < window.end:
            raise table.unexpected(f"a row is of {start.isoformat()}, outside the window {window} that was asked for")


def _log(resource: str, replaced: Sequence[tuple[str, Window, int, DateTime]], unit: Unit) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "resource": resource,
                "account": account,
                "window_start": window.start,
                "window_end": window.end,
                "complete_until": max(window.start, min(window.end, floor(asked_at, unit))),
                "row_count": row_count,
                "fetched_at": asked_at,
            }
            for account, window, row_count, asked_at in replaced
        ],
        FETCHED_WINDOWS,
    )
