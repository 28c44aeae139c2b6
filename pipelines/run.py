"""Extract, load, transform: all enabled providers at once, each on its own, then the SQL models.

A provider that fails does not stop or undo the others; an account that fails does not stop or undo the other accounts.
"""

import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources import DltSource

from pipelines import runs
from pipelines.alerts import ALERTS, Alerts
from pipelines.destination import (
    Destination,
    LoadError,
    first_line,
    in_words,
    kept_open,
    make_database,
    only_run,
    query_rows,
    require_open,
)
from pipelines.logs import ERROR, INFO, tell
from pipelines.lookups import make_quick
from pipelines.record import Failure, Fetched, Record, RecordingJournal
from pipelines.transform import Outcome, build, built_already, known_skus, require_models
from sources._core import check
from sources._core.configured import require_known, require_known_sections
from sources._core.http import ConfigurationError, Limits, NotConfigured, SourceError
from sources.billing import TABLES, Fault, Faults, billing_source, table_reader

PROVIDERS: Mapping[str, str] = {
    "mathpix": "mathpix_source",
    "reducto": "reducto_source",
    "onepin": "onepin_source",
    "scopix": "scopix_source",
}
"""Each provider's folder in `sources`, and the name of its source function."""

BILLING = "billing"
"""The user's own money facts, which are loaded before the providers and never asked of anyone."""

HTTP = "http"
"""The section of the limits of all providers' requests."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Selection:
    """A provider and the tables of it to run; all of them where `tables` is empty."""

    provider: str
    tables: tuple[str, ...] = ()


def select(names: Sequence[str]) -> list[Selection]:
    """What `run [PROVIDER or PROVIDER.RESOURCE …]` names, in order; an empty list where nothing is named.

    Raises:
        ConfigurationError: there is no such provider.
    """
    chosen: dict[str, list[str] | None] = {}
    for name in names:
        provider, _, table = name.partition(".")
        if provider not in PROVIDERS:
            raise ConfigurationError(f"there is no provider {provider!r}", way_out=f"Known: {', '.join(PROVIDERS)}.")
        if not table:
            chosen[provider] = None
        elif (tables := chosen.setdefault(provider, [])) is not None and table not in tables:
            tables.append(table)
    return [Selection(provider, tuple(tables or ())) for provider, tables in chosen.items()]


def open_sources(
    selected: Sequence[Selection],
    record: Record,
    *,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,
    settings: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> dict[str, DltSource]:
    """The sources of the selected providers, or of all whose credentials resolve, before anything is asked of them.

    `settings` holds, by provider, what goes before all configuration; a provider that it does not name is left out then.

    Raises:
        ConfigurationError: a setting cannot be used, a named provider has no credentials, or none has (NotConfigured).
    """
    make_quick()
    if not settings:
        require_known_settings([choice.provider for choice in selected] or PROVIDERS)
    sources: dict[str, DltSource] = {}
    for choice in selected or [Selection(provider) for provider in settings or PROVIDERS]:
        factory = getattr(import_module(f"sources.{choice.provider}"), PROVIDERS[choice.provider])
        try:
            with _without_bare_names(factory):
                source: DltSource = factory(
                    since=since,
                    until=until,
                    full_refresh=full_refresh,
                    journal=RecordingJournal(choice.provider, record),
                    **settings.get(choice.provider, {}),
                )
        except NotConfigured:
            if selected:
                raise
            continue
        except ConfigurationException as error:  # dlt could not make of a setting what the source declares
            raise ConfigurationError(
                f"{choice.provider}: {first_line(error)}",
                way_out=f"Correct it in [sources.{choice.provider}] or in the environment.",
            ) from None
        unknown = set(choice.tables) - set(source.selected_resources)
        if unknown:
            raise ConfigurationError(
                f"{choice.provider} has no table {', '.join(sorted(unknown))}",
                way_out=f"Known: {', '.join(source.selected_resources)}.",
            )
        sources[choice.provider] = source.with_resources(*choice.tables) if choice.tables else source
    if not sources:
        raise NotConfigured(
            "no provider has credentials",
            way_out=f"Set those of {', '.join(PROVIDERS)} in .dlt/secrets.toml or in the environment, as their READMEs say.",
        )
    return sources


def require_known_settings(providers: Iterable[str]) -> None:
    """Looks for settings of these providers, of billing and of HTTP that nothing asks for.

    Raises:
        ConfigurationError: there is one; it names the nearest that is known.
    """
    require_known_sections("sources", [*PROVIDERS, BILLING, HTTP])
    require_known(f"sources.{HTTP}", (item.name for item in fields(Limits)))
    require_known(f"sources.{BILLING}", TABLES)
    for provider in providers:
        factory = getattr(import_module(f"sources.{provider}"), PROVIDERS[provider])
        known = inspect.signature(factory).parameters.keys() - {"journal"}
        require_known(f"sources.{provider}", known, tables=("accounts", PROVIDERS[provider]))


@contextmanager
def _without_bare_names(factory: Callable[..., DltSource]) -> Iterator[None]:
    """Hides variables such as `API_KEY` and `BASE_URL`, which dlt falls back to where no section has the setting.

    They are other programs': one's key must not be sent to our providers, nor our keys to another's address.
    """
    bare = [name for name in map(str.upper, inspect.signature(factory).parameters) if name in os.environ]
    hidden = {name: os.environ.pop(name) for name in bare}
    try:
        yield
    finally:
        os.environ.update(hidden)


def load(sources: Mapping[str, DltSource], destination: Destination, record: Record) -> None:
    """Extracts and loads all sources at the same time; what fails is in the record, the others are loaded."""
    one_at_a_time = Lock()

    def load_one(provider: str) -> None:
        began = time.monotonic()
        try:
            _load_one(destination, provider, sources[provider], one_at_a_time)
            tell("loaded", provider=provider, seconds=round(time.monotonic() - began, 3))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must neither stop nor hide the other providers
            record.add(Failure(provider, "", "", _as_load_error(provider, error, destination)))

    # Daemons, because a pool's threads keep Ctrl-C waiting for the provider that they wait for.
    threads = [Thread(target=load_one, args=(provider,), name=f"load {provider}", daemon=True) for provider in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _load_one(destination: Destination, name: str, source: DltSource, one_at_a_time: Lock) -> None:
    """Waiting for a provider is done side by side, writing one after the other: DuckDB has one writer, and it is quick."""
    with one_at_a_time, kept_open(destination):
        # The destination is the only truth. dlt would prefer a newer state in the working directory, whose cursors are of
        # rows that a database restored from a backup no longer has; and a package that a killed run left behind would be
        # loaded although the windows that it stands for are asked for again.
        pipeline = destination.pipeline(name).drop()
        pipeline.sync_destination()
    pipeline.extract(source)
    with one_at_a_time, kept_open(destination):
        if pipeline.has_pending_data:
            pipeline.normalize()
            pipeline.load(raise_on_failed_jobs=True)


def root_of(error: BaseException) -> BaseException:
    """The first cause of an error, or the first of a source's own."""
    cause = error
    while (inner := cause.__cause__ or getattr(cause, "exception", None)) is not None and inner is not cause:
        cause = inner
        if isinstance(cause, SourceError):
            break
    return cause


def _as_load_error(provider: str, error: BaseException, destination: Destination) -> Exception:
    """The first cause that says something, in one line; dlt wraps it in several exceptions with long explanations.

    What goes wrong before anything is written is no fault of the destination.
    """
    cause = root_of(error)
    if isinstance(cause, SourceError):
        return cause
    if isinstance(error, PipelineStepFailed) and error.step in {"extract", "normalize"}:
        said = " ".join(f"{type(cause).__name__} {cause}".split())[:300]
        return LoadError(f"{provider}: what it answered could not be made into tables ({said}). Please report it")
    return LoadError(f"{provider}: {in_words(cause, destination)}")


def configured_billing() -> dict[str, str]:
    """The tables of [sources.billing] that are configured: a path or a `schema.table` each."""
    settings: dict[str, Any] = {table: dlt.config.get(f"sources.{BILLING}.{table}") for table in TABLES}
    return {table: str(setting) for table, setting in settings.items() if setting}


def open_billing(destination: Destination, configured: Mapping[str, str]) -> DltSource:
    """The user's money facts, read and checked: by table a path or a `schema.table`.

    Raises:
        Faults: the files or tables are wrong.
    """

    def read_table(name: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if destination.type == "duckdb" and not Path(destination.location).exists():
            raise LookupError(name)  # asking would make the file
        return table_reader(destination.pipeline(BILLING))(name)

    with _without_bare_names(billing_source):
        source: DltSource = billing_source(**configured, known_skus=known_skus(), read_table=read_table)
    return source


def billing_faults(destination: Destination) -> tuple[Fault, ...]:
    """What is wrong with the files and tables of [sources.billing], without loading anything.

    Raises:
        LoadError: the destination cannot be asked for a table.
    """
    if configured := configured_billing():
        try:
            open_billing(destination, configured)
        except Faults as faults:
            return faults.faults
        except Exception as error:  # noqa: BLE001 - a table of the destination is read, which may fail in any way of its own
            raise LoadError(f"{BILLING}: {in_words(error, destination)}") from None
    return ()


def load_billing(destination: Destination, record: Record, configured: Mapping[str, str]) -> None:
    """Replaces the user's money facts by what is configured; on a fault, which is on record, they stay as they were."""
    try:
        if not configured and not _was_loaded(destination, BILLING):
            return
        _load_one(destination, BILLING, open_billing(destination, configured), Lock())
        record.billing.update(configured)
    except Faults as faults:
        for fault in faults.faults:
            error: Exception = ConfigurationError(f"{BILLING}: {fault}", way_out="Nothing of billing was loaded.")
            record.add(Failure(BILLING, fault.table, "", error))
    except Exception as error:  # noqa: BLE001 - as for a provider: it must not keep the others from being loaded
        record.add(Failure(BILLING, "", "", _as_load_error(BILLING, error, destination)))


def _was_loaded(destination: Destination, name: str) -> bool:
    """Whether the destination has the tables: those of a user who has taken the configuration away are to be emptied."""
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return False
    pipeline = destination.pipeline(name).drop()
    pipeline.sync_destination()
    return bool(pipeline.schema_names)


def check_credentials(sources: Mapping[str, DltSource]) -> Iterable[tuple[str, str, SourceError | None]]:
    """Provider, account, and what one cheap call of each said: None where the key works."""
    for provider, source in sources.items():
        for row in source.with_resources(check.NAME):
            yield provider, row["account"], row["error"]


def missing_providers(sources: Mapping[str, DltSource]) -> list[str]:
    """The providers that have no credentials."""
    return [provider for provider in PROVIDERS if provider not in sources]


@dataclass(frozen=True)
class Report:
    """What a run did: windows and failures, the models, and what the marts say now (rows as dicts, money as Decimal)."""

    destination: Destination
    record: Record
    outcome: Outcome | None
    cost_monthly: list[dict[str, Any]] | None
    unpriced_usage: list[dict[str, Any]] | None

    @property
    def loaded(self) -> list[Fetched]:
        """The windows whose provider was loaded; what could not be written is not there, however well it was read.

        They came in side by side, and stand by provider and table here; those of a table as they came.
        """
        lost = {failure.provider for failure in self.record.failures if not failure.table}
        loaded = (entry for entry in self.record.fetched if entry.provider not in lost)
        return sorted(loaded, key=lambda entry: (entry.provider, entry.table))

    @property
    def failed_models(self) -> tuple[str, ...]:
        """A line for each model or test that failed."""
        return self.outcome.failures if self.outcome else ()

    @property
    def exit_status(self) -> int:
        """0 all done, 1 a provider, model or test failed."""
        return 1 if self.record.failures or self.failed_models else 0


def run_all(
    sources: Mapping[str, DltSource],
    destination: Destination,
    record: Record,
    *,
    models: bool,
    billing: Mapping[str, str] | None = None,
    rebuild: bool = False,
    alerts: Alerts | None = None,
) -> Report:
    """Loads all sources, then builds the models on whatever is loaded, and reads from them what it costs.

    Models that a build would not change are left as they are, except with `rebuild`. The user's own prices, credits and
    invoices are loaded first, whatever else is: those that are configured, or those of `billing`. What was done is
    kept in `meterhouse.runs`, and what somebody should know is told to `alerts`.
    """
    if models:
        require_models(destination)
    with only_run(destination):
        require_open(destination)
        make_database(destination)
        with kept_open(destination):
            before = runs.count_rows(destination, sources, record.started_at)
            load_billing(destination, record, configured_billing() if billing is None else billing)
        if sources:
            load(sources, destination, record)
        rows = runs.run_rows(record, before, runs.count_rows(destination, sources, record.started_at))
        report = Report(destination, record, None, None, None)
        if models:
            began = time.monotonic()
            report = _report(destination, record, _models(destination, record, rebuild=rebuild))
            rows.append(runs.models_row(record, report.failed_models, time.monotonic() - began))
        _keep(report, rows, alerts)
        return report


def _models(destination: Destination, record: Record, *, rebuild: bool) -> Outcome:
    outcome = None if rebuild else built_already(destination)
    outcome = outcome or build(destination, on_node=record.note_model)
    level = ERROR if outcome.failures else INFO
    said = {"failures": outcome.failures, "warnings": outcome.warnings, "up_to_date": outcome.up_to_date}
    tell("models", level, built=outcome.built, tests_passed=outcome.tested, **said)
    return outcome


def _keep(report: Report, rows: Sequence[Mapping[str, Any]], alerts: Alerts | None) -> None:
    """Sends alerts, and writes what the run did and what was told; failing in that is a warning, and no failed run."""
    told = (
        alerts.send(report.destination, report.record, report.failed_models, models=report.outcome is not None)
        if alerts
        else []
    )
    tables = {"runs": pa.Table.from_pylist(list(rows), runs.RUNS), "alerts": pa.Table.from_pylist(told, ALERTS)}
    try:
        with kept_open(report.destination):
            runs.write(report.destination, tables)
    except Exception as error:  # noqa: BLE001 - whatever the destination has against it
        said = in_words(root_of(error), report.destination)
        report.record.warn(f"what this run did could not be written into {runs.SCHEMA}.runs: {said}")


def _report(destination: Destination, record: Record, outcome: Outcome) -> Report:
    with destination.pipeline(next(iter(PROVIDERS))).sql_client() as client:
        return Report(destination, record, outcome, query_rows(client, COST_MONTHLY), query_rows(client, UNPRICED_USAGE))


COST_MONTHLY = """
    select billing_month, provider, account, sku_id, quantity, unit, billed_cost, currency, is_complete
    from usage.cost_monthly
    order by billing_month, provider, account, sku_id
"""
UNPRICED_USAGE = """
    select provider, account, meter, unit, reason, sum(quantity) as quantity, min(date) as first_date, max(date) as last_date
    from usage.unpriced_usage
    group by provider, account, meter, unit, reason
    order by provider, account, meter, reason
"""
