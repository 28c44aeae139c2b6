"""Extract, load, transform: all providers at the same time, then the SQL models.

A provider or account that fails neither stops nor undoes the others.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from dlt.sources import DltSource

from meterhouse.pipelines.run import history
from meterhouse.pipelines.run.alerts import ALERTS, Alerts
from meterhouse.pipelines.run.billing import configured_billing, load_billing, require_billing_configured
from meterhouse.pipelines.run.closing import late_closings
from meterhouse.pipelines.run.events import ModelFinished, ModelsBuilt, Waiting, Warned
from meterhouse.pipelines.run.load import load, restored_pipelines, root_cause
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform import DataTestMode
from meterhouse.pipelines.transform.build import BuildResult, build, cached_build, require_models
from meterhouse.pipelines.transform.exchange import missing_rates
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import describe_error
from meterhouse.pipelines.warehouse.query import queries
from meterhouse.sources.billing import configured_reporting_currency


def run_all(
    sources: Mapping[str, DltSource],
    destination: Destination,
    state: RunState,
    *,
    models: bool,
    tests: DataTestMode = DataTestMode.ALL,
    billing: Mapping[str, str] | None = None,
    clear_billing: bool = False,
    rebuild: bool = False,
    wait: timedelta | None = None,
    alerts: Alerts | None = None,
) -> RunResult:
    """Loads the billing data and all sources, builds the models on the loaded data, and reads the cost from them.

    If nothing has changed since the last build, the models are not built, except with `rebuild`. `tests` says when a build
    runs the data tests. `billing` replaces the configured billing data; `clear_billing` empties the billing tables without a
    setting. If another run is at work, this one waits for at most `wait`. The run is recorded in `meterhouse.runs`, and
    `alerts` sends the new alerts.

    Raises:
        ConfigurationError: a billing table without a setting has rows, and `clear_billing` is false.
        LoadError: another run is still at work, or the destination is not available.
    """
    configured = configured_billing() if billing is None else billing
    currency = configured_reporting_currency() if billing is None else None
    if models:
        require_models(destination)
    lock = destination.exclusive_run(wait, on_wait=lambda: state.observe(Waiting(destination.location)))
    with lock, _errors_recorded(destination, state):
        began_at = time.monotonic()
        state.started_at = datetime.now(UTC)  # what another run has written until now is not ours
        destination.create()
        with destination.hold_open():
            destination.require_available()
            if not clear_billing:
                require_billing_configured(destination, configured)
            with suppress(Exception):  # reported when the run is recorded at its end
                history.begin(destination, state)
            before = history.count_rows(destination, sources, state.started_at)
            load_billing(destination, state, configured, sources if billing is None else None, clear=clear_billing)
            pipelines = restored_pipelines(sources, destination, state)
        load(sources, pipelines, destination, state)
        rows = history.run_rows(state, before, history.count_rows(destination, sources, state.started_at))
        result = RunResult(destination, state)
        if models:
            began = time.monotonic()
            result = with_costs(replace(result, models=_build(destination, state, tests, currency, rebuild=rebuild)))
            rows.append(history.models_row(state, result.failed_models, time.monotonic() - began))
            is_demo = billing is not None  # its invoices close a whole year at once
            if not is_demo and (warning := late_closings(destination, state.started_at)):
                state.observe(Warned(warning))
            warn_of_missing_rates(result, currency)
        _record(result, rows, began_at, alerts)
        return result


@contextmanager
def _errors_recorded(destination: Destination, state: RunState) -> Iterator[None]:
    """Records an error that ends the run, and raises it again."""
    began_at = time.monotonic()
    try:
        yield
    except Exception as error:
        reason = destination.explain(describe_error(root_cause(error), destination.location))
        with suppress(Exception):  # the run stays `running`, and the next one sets it to `killed`
            history.fail(destination, state, reason, time.monotonic() - began_at)
        raise


def _build(
    destination: Destination, state: RunState, tests: DataTestMode, currency: str | None, *, rebuild: bool
) -> BuildResult:
    result = None if rebuild else cached_build(destination, tests, reporting_currency=currency)
    result = result or build(
        destination, tests, reporting_currency=currency, on_node=lambda name: state.observe(ModelFinished(name))
    )
    state.observe(ModelsBuilt(result))
    return result


def with_costs(result: RunResult) -> RunResult:
    """The result with the costs in the marts."""
    with result.destination.reader() as reader:
        cost_monthly, unpriced_usage = (reader.rows_if_built(queries()[name]) for name in ("cost_monthly", "unpriced_usage"))
    return replace(result, cost_monthly=cost_monthly, unpriced_usage=unpriced_usage)


def warn_of_missing_rates(result: RunResult, reporting_currency: str | None) -> None:
    """A warning for each currency of a cost that has no exchange rate into the reporting currency."""
    if reporting_currency:
        with result.destination.reader() as reader:
            for missing in missing_rates(reader.rows):
                result.state.observe(Warned(f"{missing}; add it to fx_rates"))


def _record(result: RunResult, rows: Sequence[Mapping[str, Any]], began_at: float, alerts: Alerts | None) -> None:
    """Sends the alerts, and records the run and the alerts sent. A failure here is a warning."""
    sent = []
    if alerts:
        sent = alerts.send(result.destination, result.state, result.failed_models, models=result.models is not None)
    outcome = history.FAILED if result.exit_status else history.OK
    run = history.run_row(result.state, outcome, time.monotonic() - began_at)
    try:
        with result.destination.hold_open():
            history.complete(result.destination, result.state, [run, *rows], pa.Table.from_pylist(sent, ALERTS))
    except Exception as error:  # noqa: BLE001 - dlt and the destination raise errors of many kinds
        reason = result.destination.explain(describe_error(root_cause(error), result.destination.location))
        result.state.observe(Warned(f"this run could not be recorded in {history.DATASET}.runs: {reason}"))
