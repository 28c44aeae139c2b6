"""The table `meterhouse.runs`: what each run did for each table, in the destination, beside what it loaded.

It is written by dlt like everything else, which every destination takes and which costs a tenth of a second a run. The other
way, statements of our own, would cost a third of that and would have to know each database's types and its `create table`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.sources import DltSource

from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.sources._core.schema import TIMESTAMP

SCHEMA = "meterhouse"
RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("started_at", TIMESTAMP, nullable=False),
        pa.field("provider", pa.string(), nullable=False),
        pa.field("account", pa.string(), nullable=False),
        pa.field("resource", pa.string(), nullable=False),
        pa.field("window_start", TIMESTAMP),
        pa.field("window_end", TIMESTAMP),
        pa.field("requests", pa.int64(), nullable=False),
        pa.field("retries", pa.int64(), nullable=False),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_changed", pa.int64()),
        pa.field("rows_gone", pa.int64()),
        pa.field("seconds", pa.decimal128(12, 3), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)
OK, PARTIAL, FAILED = "ok", "partial", "failed"
MODELS = "models"
LONGEST_ERROR = 1000
"""Characters of the errors of one row."""

Key = tuple[str, str, str]
"""Provider, account and table."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows a table has of an account, and how many of them were written since a time."""

    rows: int = 0
    written: int = 0


Counts = Mapping[Key, Count]


def count_rows(destination: Destination, sources: Mapping[str, DltSource], since: datetime) -> Counts | None:
    """Of all tables that the sources load; None where the destination cannot be asked."""
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return {}  # asking would make the file
    keys = [(provider, table) for provider, source in sources.items() for table in source.selected_resources]
    try:
        with destination.pipeline(SCHEMA).sql_client() as client:
            try:
                return _counted(client, keys, since)
            except DatabaseUndefinedRelation:  # a table that was never loaded; one question for each finds out which
                counts: dict[Key, Count] = {}
                for key in keys:
                    with suppress(DatabaseUndefinedRelation):
                        counts |= _counted(client, [key], since)
                return counts
    except Exception:  # noqa: BLE001 - what is not known is null; the run itself says whether the destination is there
        return None


def _counted(client: Any, keys: Sequence[tuple[str, str]], since: datetime) -> dict[Key, Count]:
    selects = []
    for provider, table in keys:
        with client.with_alternative_dataset_name(provider):
            name = client.make_qualified_table_name(table)
        selects.append(
            f"select '{provider}', account, '{table}', count(*), count(case when fetched_at >= %s then 1 end)"  # noqa: S608
            f" from {name} group by account"
        )
    answer = client.execute_sql(" union all ".join(selects), *[since] * len(keys)) if keys else ()
    return {(provider, account, table): Count(rows, written) for provider, account, table, rows, written in answer or ()}


def run_rows(record: RunState, before: Counts | None, after: Counts | None) -> list[dict[str, Any]]:
    """A row for each table of each account that was asked for, or kept from it, and one for each table of billing."""
    whole = {failure.provider: failure for failure in record.failures if not failure.table}
    errors: dict[Key, list[str]] = {}
    for failure in record.failures:
        if failure.table:
            errors.setdefault((failure.provider, failure.account, failure.table), []).append(str(failure.error))
    keys = dict.fromkeys(key for key in (*record.asked, *errors) if key[2])
    keys |= dict.fromkeys(("billing", "", table) for table in record.billing)
    named = {provider for provider, _, _ in keys}
    keys |= dict.fromkeys((provider, "", "") for provider in whole if provider not in named)
    rows = []
    for key in keys:
        fetched = [entry.rows for entry in record.fetched if (entry.provider, entry.account, entry.table) == key]
        said = [str(whole[key[0]].error)] if key[0] in whole else errors.get(key, [])
        outcome = OK if not said else PARTIAL if fetched and key[0] not in whole else FAILED
        row = _row(record, key, outcome, said)
        if tally := record.asked.get(key):
            row |= {"requests": tally.requests, "retries": tally.retries, "seconds": _seconds(tally.seconds)}
            row |= {"window_start": tally.start, "window_end": tally.end, "rows_in": sum(fetched)}
            if before is not None and after is not None:
                was, now = before.get(key, Count()), after.get(key, Count())
                row |= {"rows_changed": now.written, "rows_gone": was.rows + now.written - now.rows}
        rows.append(row)
    return rows


def models_row(record: RunState, failures: Sequence[str], seconds: float) -> dict[str, Any]:
    """The row of the SQL models, which are no provider's."""
    row = _row(record, ("", "", MODELS), FAILED if failures else OK, failures)
    return row | {"seconds": _seconds(seconds)}


def _row(record: RunState, key: Key, outcome: str, errors: Iterable[str]) -> dict[str, Any]:
    provider, account, table = key
    return {
        "run_id": record.run_id,
        "started_at": record.started_at,
        "provider": provider,
        "account": account,
        "resource": table,
        "requests": 0,
        "retries": 0,
        "seconds": _seconds(0),
        "outcome": outcome,
        "error": "; ".join(dict.fromkeys(errors))[:LONGEST_ERROR] or None,
    }


def _seconds(seconds: float) -> Decimal:
    return Decimal(round(seconds * 1000)).scaleb(-3)


def write(destination: Destination, tables: Mapping[str, pa.Table]) -> None:
    """Adds rows to tables of the schema `meterhouse`; whatever the destination raises is raised."""
    pipeline = _pipeline(destination).drop()  # what a killed run has left behind is not this run's
    pipeline.config.restore_from_destination = False  # it keeps no state
    pipeline.run(
        [dlt.resource([rows], name=name, write_disposition="append") for name, rows in tables.items() if rows.num_rows]
    )


def read(destination: Destination, table: str, column: str, since: tuple[str, datetime]) -> list[Any]:
    """A column of a table of the schema `meterhouse`, of the rows whose time is not before; [] where there is no table."""
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return []
    with _pipeline(destination).sql_client() as client:
        name, (time, moment) = client.make_qualified_table_name(table), since
        try:
            answer = client.execute_sql(f"select {column} from {name} where {time} >= %s", moment)  # noqa: S608
        except DatabaseUndefinedRelation:
            return []
        return [value for (value,) in answer or ()]


def _pipeline(destination: Destination) -> dlt.Pipeline:
    # In a DuckDB file called meterhouse.duckdb, `meterhouse.runs` is the table runs of the schema `main`: the file's name
    # goes before that of a schema, and with both DuckDB refuses to choose. So it is found by that name in every database.
    is_main = destination.type == "duckdb" and Path(destination.location).stem.lower() == SCHEMA
    return destination.pipeline(SCHEMA, dataset="main" if is_main else SCHEMA)
