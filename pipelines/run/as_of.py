"""A build of the models as of an earlier moment, and whether the histories reach back to it."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import dlt

from meterhouse.pipelines.run.events import ModelFinished, ModelsBuilt, Waiting
from meterhouse.pipelines.run.history import DATASET, RUN, pruned_before
from meterhouse.pipelines.run.orchestrate import warn_of_missing_rates, with_costs
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform import DataTestMode
from meterhouse.pipelines.transform.as_of import AsOf, claim_schemas, record_moment
from meterhouse.pipelines.transform.build import build, require_models
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt
from meterhouse.pipelines.warehouse.query import Row
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.history import ALL
from meterhouse.sources.billing import configured_reporting_currency
from meterhouse.sources.registry import PROVIDERS


def build_as_of(
    destination: Destination, state: RunState, as_of: AsOf, *, tests: DataTestMode, wait: timedelta | None = None
) -> RunResult:
    """Builds the models as they would have been built at a moment, in schemas of their own, and reads the cost from them.

    It loads nothing, sends no alert, and leaves no record in `meterhouse.runs`.

    Raises:
        ConfigurationError: the figures would be wrong, see `require_histories`, or the schemas have tables of others.
        LoadError: a run is still at work, or the destination does not exist or is not available.
    """
    require_models(destination)
    if not destination.exists():
        raise NotBuilt(f"there is no database {destination.location}")
    with destination.exclusive_run(wait, on_wait=lambda: state.observe(Waiting(destination.location))):
        require_histories(destination, as_of.moment)
        claim_schemas(destination, as_of)
        state.warnings += [
            *incomplete_history_warnings(destination, as_of.moment),
            *running_bucket_warnings(_loaded(destination)),
        ]
        currency = configured_reporting_currency()
        built = build(
            destination,
            tests,
            reporting_currency=currency,
            as_of=as_of,
            on_node=lambda name: state.observe(ModelFinished(name)),
        )
        state.observe(ModelsBuilt(built))
        if not built.failures:
            record_moment(destination, as_of)
        destination.schema = as_of.schema
        result = with_costs(RunResult(destination, state, models=built))
        warn_of_missing_rates(result, currency)
        return result


def require_histories(destination: Destination, moment: datetime) -> None:
    """Checks that data was loaded by `moment`, and that no load has pruned rows that were valid then.

    Raises:
        ConfigurationError: a build as of the moment would be empty or wrong.
    """
    (first,) = _runs(destination, "min(started_at) as first_run") or ({"first_run": None},)
    if first["first_run"] is not None and moment < first["first_run"]:
        raise ConfigurationError(
            f"--as-of {moment:%Y-%m-%d %H:%M:%S} UTC is before the first run, at {first['first_run']:%Y-%m-%d %H:%M:%S} UTC",
            hint="Name a later moment.",
        )
    recorded = [row["pruned_before"] for row in _runs(destination, "max(pruned_before) as pruned_before")]
    pruned = max((time for time in (*recorded, pruned_before()) if time is not None), default=None)
    if pruned is not None and moment < pruned:
        raise ConfigurationError(
            f"the histories lack what was superseded before {pruned:%Y-%m-%d %H:%M} UTC, because of history_retention. A"
            " build as of an earlier moment would be wrong",
            hint="Name a later moment, or build on a backup of that time.",
        )


def incomplete_history_warnings(destination: Destination, moment: datetime) -> Iterator[str]:
    """A warning if an earlier version, which kept no histories, loaded the database at `moment`."""
    columns = f"min(started_at) as first_run, min(case when resource = '{RUN}' then started_at end) as first_kept"
    for row in _runs(destination, columns):
        kept = row["first_kept"]
        if row["first_run"] != kept and (kept is None or moment < kept):
            begin = f"begin on {kept:%Y-%m-%d %H:%M} UTC" if kept else "will begin"
            yield (
                f"histories {begin}, with the first run of this version. Of earlier moments, they lack restated usage and"
                " all billing rows"
            )


def running_bucket_warnings(providers: Iterable[str]) -> Iterator[str]:
    """A warning that usage of buckets still running at the moment is left out; none if all histories keep it."""
    if all(dlt.config.get(f"sources.{provider}.history", str) == ALL for provider in providers):
        return
    yield (
        "the usage of hours and days that were still running at that moment is left out: histories keep it only with"
        f' history = "{ALL}"'
    )


def _loaded(destination: Destination) -> list[str]:
    return [row["provider"] for row in _runs(destination, "distinct provider") if row["provider"] in PROVIDERS]


def _runs(destination: Destination, columns: str) -> list[Row]:
    with destination.reader(DATASET) as reader:
        try:
            return reader.rows_if_built(f"select {columns} from {reader.table_name(DATASET, 'runs')}")  # noqa: S608
        except LoadError:  # a table of an earlier version, without the column
            return []
