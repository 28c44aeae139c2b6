"""Extract, load, transform: all enabled providers at once, each on its own, then the SQL models.

A provider that fails does not stop or undo the others; an account that fails does not stop or undo the other accounts.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from dlt.sources import DltSource

from meterhouse.pipelines.output.json_log import ERROR, INFO, tell
from meterhouse.pipelines.run import history as runs
from meterhouse.pipelines.run.alerts import ALERTS, Alerts
from meterhouse.pipelines.run.billing import configured_billing, load_billing
from meterhouse.pipelines.run.load import load, root_cause
from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.run.result import COST_MONTHLY, UNPRICED_USAGE, RunResult
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform import Outcome, build, built_already, require_models
from meterhouse.pipelines.warehouse.destination import Destination, describe_error, query_rows
from meterhouse.pipelines.warehouse.duckdb import create_database, hold_open, require_open
from meterhouse.pipelines.warehouse.locking import exclusive_run


def run_all(
    sources: Mapping[str, DltSource],
    destination: Destination,
    record: RunState,
    *,
    models: bool,
    billing: Mapping[str, str] | None = None,
    rebuild: bool = False,
    alerts: Alerts | None = None,
) -> RunResult:
    """Loads all sources, then builds the models on whatever is loaded, and reads from them what it costs.

    Models that a build would not change are left as they are, except with `rebuild`. The user's own prices, credits and
    invoices are loaded first, whatever else is: those that are configured, or those of `billing`. What was done is
    kept in `meterhouse.runs`, and what somebody should know is told to `alerts`.
    """
    if models:
        require_models(destination)
    with exclusive_run(destination):
        require_open(destination)
        create_database(destination)
        with hold_open(destination):
            before = runs.count_rows(destination, sources, record.started_at)
            load_billing(destination, record, configured_billing() if billing is None else billing)
        if sources:
            load(sources, destination, record)
        rows = runs.run_rows(record, before, runs.count_rows(destination, sources, record.started_at))
        report = RunResult(destination, record, None, None, None)
        if models:
            began = time.monotonic()
            report = _report(destination, record, _models(destination, record, rebuild=rebuild))
            rows.append(runs.models_row(record, report.failed_models, time.monotonic() - began))
        _keep(report, rows, alerts)
        return report


def _models(destination: Destination, record: RunState, *, rebuild: bool) -> Outcome:
    outcome = None if rebuild else built_already(destination)
    outcome = outcome or build(destination, on_node=record.note_model)
    level = ERROR if outcome.failures else INFO
    said = {"failures": outcome.failures, "warnings": outcome.warnings, "up_to_date": outcome.up_to_date}
    tell("models", level, built=outcome.built, tests_passed=outcome.tested, **said)
    return outcome


def _keep(report: RunResult, rows: Sequence[Mapping[str, Any]], alerts: Alerts | None) -> None:
    """Sends alerts, and writes what the run did and what was told; failing in that is a warning, and no failed run."""
    told = (
        alerts.send(report.destination, report.record, report.failed_models, models=report.outcome is not None)
        if alerts
        else []
    )
    tables = {"runs": pa.Table.from_pylist(list(rows), runs.RUNS), "alerts": pa.Table.from_pylist(told, ALERTS)}
    try:
        with hold_open(report.destination):
            runs.write(report.destination, tables)
    except Exception as error:  # noqa: BLE001 - whatever the destination has against it
        said = describe_error(root_cause(error), report.destination)
        report.record.warn(f"what this run did could not be written into {runs.SCHEMA}.runs: {said}")


def _report(destination: Destination, record: RunState, outcome: Outcome) -> RunResult:
    with destination.pipeline(next(iter(PROVIDERS))).sql_client() as client:
        return RunResult(destination, record, outcome, query_rows(client, COST_MONTHLY), query_rows(client, UNPRICED_USAGE))
