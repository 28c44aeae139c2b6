"""The table `meterhouse.runs`: what each run did to each table. It is in the destination, next to the data.

When a run begins, it writes a row for itself with the outcome `running`. At its end, it replaces the row. If an error ends
the run early, its row gets the error. If it is killed, the row stays, and the next run sets the outcome to `killed`: no
other run is active then, because that run has the lock.

dlt creates the table, because it knows each database's types. One statement inserts later rows, which saves an eighth of a
run that loads nothing new. Delta tables accept no SQL statements: dlt merges the rows, and a run that does not reach its end
keeps the outcome `running`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources import DltSource

from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt
from meterhouse.pipelines.warehouse.query import insert_statement, queries
from meterhouse.sources._core.config.parse import parse_duration
from meterhouse.sources._core.dlt_compat.merge import SUFFIX
from meterhouse.sources._core.events import Place
from meterhouse.sources._core.schema import TIMESTAMP
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS

DATASET = "meterhouse"
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
        pa.field("pruned_before", TIMESTAMP),
    ]
)
RUN_KEY = ("run_id", "provider", "account", "resource")
OK, PARTIAL, FAILED = "ok", "partial", "failed"
RUNNING, KILLED = "running", "killed"
RUN, MODELS = "run", "models"
"""The resources of the rows that belong to no table: that of the whole run, and that of the models."""
LONGEST_RUN = timedelta(days=1)
"""A run may prune until it ends; this is assumed of one that cannot record its end."""
MAX_ERROR_LENGTH = 1000
"""Characters of the errors of one row."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of an account a table has, and how many of them were written since a time."""

    rows: int = 0
    written: int = 0


Counts = Mapping[Place, Count]


def count_rows(destination: Destination, sources: Mapping[str, DltSource], since: datetime) -> Counts | None:
    """The counts of all tables that the sources load; None if the destination cannot be read."""
    try:
        with destination.reader(DATASET) as reader:
            selects = [
                f"select '{provider}', account, '{table}', count(*), count(case when fetched_at >= %s then 1 end)"  # noqa: S608
                f" from {reader.table_name(provider, table)} group by account"
                for provider, source in sources.items()
                for table in source.selected_resources
            ]
            return {
                Place(provider, account, table): Count(count, written)
                for provider, account, table, count, written in reader.tuples_of_built(selects, since)
            }
    except NotBuilt:
        return {}
    except Exception:  # noqa: BLE001 - unknown counts are null; the load itself reports an unavailable destination
        return None


def run_rows(state: RunState, before: Counts | None, after: Counts | None) -> list[dict[str, Any]]:
    """A row for each account's table that was requested or failed, and one for each billing table."""
    provider_errors = {failure.place.provider: failure.error for failure in state.failures if not failure.place.table}
    table_errors: dict[Place, list[str]] = {}
    for failure in state.failures:
        if failure.place.table:
            table_errors.setdefault(failure.place, []).append(str(failure.error))
    places = dict.fromkeys(place for place in (*state.tables, *table_errors) if place.table)
    places |= dict.fromkeys(Place("billing", table=table) for table in state.billing)
    named = {place.provider for place in places}
    places |= dict.fromkeys(Place(provider) for provider in provider_errors if provider not in named)
    rows = []
    for place in places:
        fetched = [window.rows for window in state.fetched if window.place == place]
        if place.provider in provider_errors:
            row = _row(state, place, FAILED, [str(provider_errors[place.provider])])
        elif errors := table_errors.get(place):
            row = _row(state, place, PARTIAL if fetched else FAILED, errors)
        else:
            row = _row(state, place, OK, ())
        if progress := state.tables.get(place):
            row |= {"requests": progress.requests, "retries": progress.retries, "seconds": _seconds(progress.seconds)}
            row |= {"window_start": progress.start, "window_end": progress.end, "rows_in": sum(fetched)}
            if before is not None and after is not None:
                old, new = before.get(place, Count()), after.get(place, Count())
                row |= {"rows_changed": new.written, "rows_gone": old.rows + new.written - new.rows}
        rows.append(row)
    return rows


def pruned_before() -> datetime | None:
    """Loads remove rows superseded before this time from the histories of a provider; None without a `history_retention`."""
    stated = {
        name: dlt.config.get(name, str) for name in (f"sources.{provider}.history_retention" for provider in PROVIDERS)
    }
    retentions = [parse_duration(text, setting=name) for name, text in stated.items() if text]
    return utc_now() - min(retentions) if retentions else None


def models_row(state: RunState, failures: Sequence[str], seconds: float) -> dict[str, Any]:
    """The row of the SQL models, which belong to no provider."""
    row = _row(state, Place("", table=MODELS), FAILED if failures else OK, failures)
    return row | {"seconds": _seconds(seconds)}


def _row(state: RunState, place: Place, outcome: str, errors: Iterable[str]) -> dict[str, Any]:
    return {
        "run_id": state.run_id,
        "started_at": state.started_at,
        "provider": place.provider,
        "account": place.account,
        "resource": place.table,
        "requests": 0,
        "retries": 0,
        "seconds": _seconds(0),
        "outcome": outcome,
        "error": "; ".join(dict.fromkeys(errors))[:MAX_ERROR_LENGTH] or None,
    }


def _seconds(seconds: float) -> Decimal:
    return Decimal(round(seconds * 1000)).scaleb(-3)


def run_row(state: RunState, outcome: str, seconds: float = 0.0) -> dict[str, Any]:
    """The row of the whole run."""
    row = _row(state, Place("", table=RUN), outcome, (str(failure.error) for failure in state.failures))
    requests, retries = (sum(getattr(done, name) for done in state.tables.values()) for name in ("requests", "retries"))
    pruned = pruned_before()
    if pruned and outcome == RUNNING:
        pruned += LONGEST_RUN
    return row | {"seconds": _seconds(seconds), "requests": requests, "retries": retries, "pruned_before": pruned}


def begin(destination: Destination, state: RunState) -> None:
    """Records this run as `running`, and each earlier run that is still `running` as `killed`; errors propagate."""
    _replace(destination, [run_row(state, RUNNING)], "update {} set outcome = %s where outcome = %s", KILLED, RUNNING)


def complete(destination: Destination, state: RunState, rows: Sequence[Mapping[str, Any]], alerts: pa.Table) -> None:
    """Replaces what `begin` recorded with the rows of the whole run and its tables; errors of the destination propagate."""
    _replace(destination, rows, "delete from {} where run_id = %s", state.run_id)
    if alerts.num_rows:
        try:
            destination.insert(DATASET, "alerts", alerts)
        except LoadError:  # the table, or a new column of it, does not exist yet
            _load(destination, "alerts", alerts, "append")


def fail(destination: Destination, state: RunState, error: str, seconds: float) -> None:
    """Records the error that ended this run, if `begin` has recorded the run; errors of the destination propagate."""
    with destination.reader(DATASET) as reader:
        name = reader.table_name(DATASET, "runs")
    change = f"update {name} set outcome = %s, error = %s, seconds = %s where run_id = %s and outcome = %s"  # noqa: S608
    destination.execute(change, FAILED, error[:MAX_ERROR_LENGTH], _seconds(seconds), state.run_id, RUNNING)


def _replace(destination: Destination, rows: Sequence[Mapping[str, Any]], change: str, *parameters: Any) -> None:
    """Runs the statement `change` on the table `runs`, then inserts `rows`."""
    table = pa.Table.from_pylist(list(rows), RUNS)
    if not destination.supports_sql:
        _load(destination, "runs", table, {"disposition": "merge", "strategy": "upsert"})
        return
    try:
        with destination.reader(DATASET) as reader:
            name = reader.table_name(DATASET, "runs")
        values = [tuple(row.values()) for row in table.to_pylist()]
        insert, inserted = insert_statement(name, table.column_names, values)
        destination.execute_all([(change.format(name), parameters), (insert, inserted)])
    except LoadError:  # the table, or a new column of it, does not exist yet
        _load(destination, "runs", table, "append")


def _load(destination: Destination, name: str, rows: pa.Table, disposition: Any) -> None:
    pipeline = destination.pipeline(DATASET).drop()  # a package that a killed run left behind belongs to that run
    pipeline.config.restore_from_destination = False  # the pipeline keeps no state
    key = RUN_KEY if name == "runs" else ()
    loaded = pipeline.run(dlt.resource([rows], name=name, write_disposition=disposition, primary_key=key))
    if loaded is not None:
        destination.require_loaded(pipeline, loaded.loads_ids)


def alerted_subjects(destination: Destination, since: datetime) -> set[str]:
    """The subjects of the alerts sent since a time, from the table `meterhouse.alerts`."""
    try:
        with destination.reader(DATASET) as reader:
            table = reader.table_name(DATASET, "alerts")
            _, rows = reader.tuples(f"select subject from {table} where told_at >= %s", since)  # noqa: S608
            return {subject for (subject,) in rows}
    except NotBuilt:
        return set()


@dataclass(frozen=True, slots=True)
class HistorySize:
    """The number of rows in the history of a table, and the time at which the first of them was superseded."""

    provider: str
    table: str
    rows: int
    since: datetime


def history_sizes(destination: Destination) -> list[HistorySize]:
    """The size of each history with rows, of providers and billing; empty if information_schema does not list the tables.

    Raises:
        LoadError: the destination cannot be read.
    """
    datasets = {destination.dataset(name): name for name in (*PROVIDERS, "billing")}
    try:
        with destination.reader() as reader:
            _, tables = reader.tuples(queries()["history_tables"])
            selects = [
                f"select '{datasets[schema]}', '{table}', count(*), min(superseded_at)"  # noqa: S608
                f" from {reader.table_name(datasets[schema], table)}"
                for schema, table in tables
                if schema in datasets
            ]
            found = reader.tuples_of_built(selects)
    except NotBuilt:
        return []
    return [HistorySize(name, table.removesuffix(SUFFIX), rows, since) for name, table, rows, since in sorted(found) if rows]
