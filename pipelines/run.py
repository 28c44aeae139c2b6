"""Extract, load, transform: all enabled providers at once, each on its own, then the SQL models.

A provider that fails does not stop or undo the others; an account that fails does not stop or undo the other accounts.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.sources import DltSource

from pipelines.destination import Destination, LoadError, first_line, in_words, make_database, only_run, require_open
from pipelines.lookups import make_quick
from pipelines.transform import Outcome, build, built_already, known_skus, require_models
from sources._core import check
from sources._core.configured import require_known, require_known_sections
from sources._core.http import ConfigurationError, Limits, NotConfigured, SourceError
from sources._core.journal import Journal
from sources._core.windows import Window
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
class Fetched:
    """One window that was read whole: `rows` of one account's table."""

    provider: str
    table: str
    account: str
    window: Window
    rows: int


@dataclass(frozen=True, slots=True)
class Failure:
    """What kept a table, or with table '' a whole provider, from being loaded."""

    provider: str
    table: str
    account: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Gap:
    """Time that a provider does not tell any more and that no regular run has loaded."""

    provider: str
    table: str
    account: str
    window: Window


@dataclass(frozen=True, slots=True)
class Expectation:
    """A table that takes its time: how many requests are to come, and how many seconds they take at the allowed pace."""

    provider: str
    table: str
    account: str
    requests: int
    seconds: float


@dataclass
class Record:
    """What a run has done so far. Several providers write to it at once."""

    fetched: list[Fetched] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    billing: dict[str, str] = field(default_factory=dict)
    """The tables of billing that were loaded, and what from."""
    on_change: Callable[["Record"], None] = lambda record: None  # noqa: ARG005
    on_expectation: Callable[["Expectation"], None] = lambda expected: None  # noqa: ARG005
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, entry: Fetched | Failure | Gap | Expectation) -> None:
        """Notes what happened."""
        with self._lock:
            match entry:
                case Fetched():
                    self.fetched.append(entry)
                case Failure():
                    self.failures.append(entry)
                case Gap():
                    self.gaps.append(entry)
                case Expectation():
                    self.expectations.append(entry)
                    self.on_expectation(entry)
            self.on_change(self)

    def count_request(self, provider: str) -> None:
        """Notes an answer of `provider`."""
        with self._lock:
            self.requests[provider] = self.requests.get(provider, 0) + 1
            self.on_change(self)

    def note_model(self, name: str) -> None:
        """Notes a model or test that dbt has finished."""
        with self._lock:
            self.models.append(name)
            self.on_change(self)


class RecordingJournal(Journal):
    """Writes what a source tells into the run's record, and lets it go on after a failure."""

    def __init__(self, provider: str, record: Record) -> None:
        self._provider, self._record = provider, record

    def answered(self) -> None:
        """Counts an answer."""
        self._record.count_request(self._provider)

    def fetched(self, table: str, account: str, window: Window, rows: int) -> None:
        """Notes a window."""
        self._record.add(Fetched(self._provider, table, account, window, rows))

    def gap(self, table: str, account: str, window: Window) -> None:
        """Notes a gap."""
        self._record.add(Gap(self._provider, table, account, window))

    def expecting(self, table: str, account: str, requests: int, seconds: float) -> None:
        """Notes how long a table will take."""
        self._record.add(Expectation(self._provider, table, account, requests, seconds))

    def failed(self, table: str, account: str, error: SourceError) -> None:
        """Notes a failure and returns, so that the other accounts are loaded."""
        self._record.add(Failure(self._provider, table, account, error))


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
        try:
            _load_one(destination.pipeline(provider), sources[provider], one_at_a_time)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must neither stop nor hide the other providers
            record.add(Failure(provider, "", "", _as_load_error(provider, error, destination)))

    # Daemons, because a pool's threads keep Ctrl-C waiting for the provider that they wait for.
    threads = [Thread(target=load_one, args=(provider,), name=f"load {provider}", daemon=True) for provider in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _load_one(pipeline: dlt.Pipeline, source: DltSource, one_at_a_time: Lock) -> None:
    """Waiting for a provider is done side by side, writing one after the other: DuckDB has one writer, and it is quick."""
    with one_at_a_time:
        # The destination is the only truth. dlt would prefer a newer state in the working directory, whose cursors are of
        # rows that a database restored from a backup no longer has; and a package that a killed run left behind would be
        # loaded although the windows that it stands for are asked for again.
        pipeline = pipeline.drop()
        pipeline.sync_destination()
    pipeline.extract(source)
    with one_at_a_time:
        if pipeline.has_pending_data:
            pipeline.normalize()
            pipeline.load(raise_on_failed_jobs=True)


def _as_load_error(provider: str, error: BaseException, destination: Destination) -> Exception:
    """The first cause that says something, in one line; dlt wraps it in several exceptions with long explanations.

    What goes wrong before anything is written is no fault of the destination.
    """
    cause: BaseException = error
    while (inner := cause.__cause__ or getattr(cause, "exception", None)) is not None and inner is not cause:
        cause = inner
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


def open_billing(destination: Destination) -> DltSource:
    """The user's money facts, read and checked.

    Raises:
        Faults: the files or tables are wrong.
    """

    def read_table(name: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if destination.type == "duckdb" and not Path(destination.location).exists():
            raise LookupError(name)  # asking would make the file
        return table_reader(destination.pipeline(BILLING))(name)

    with _without_bare_names(billing_source):
        source: DltSource = billing_source(known_skus=known_skus(), read_table=read_table)
    return source


def billing_faults(destination: Destination) -> tuple[Fault, ...]:
    """What is wrong with the files and tables of [sources.billing], without loading anything.

    Raises:
        LoadError: the destination cannot be asked for a table.
    """
    if configured_billing():
        try:
            open_billing(destination)
        except Faults as faults:
            return faults.faults
        except Exception as error:  # noqa: BLE001 - a table of the destination is read, which may fail in any way of its own
            raise LoadError(f"{BILLING}: {in_words(error, destination)}") from None
    return ()


def load_billing(destination: Destination, record: Record) -> None:
    """Replaces the user's money facts by what is configured now; on a fault, which is on record, they stay as they were."""
    configured = configured_billing()
    try:
        pipeline = destination.pipeline(BILLING)
        if not configured and not _was_loaded(pipeline, destination):
            return
        _load_one(pipeline, open_billing(destination), Lock())
        record.billing.update(configured)
    except Faults as faults:
        for fault in faults.faults:
            error: Exception = ConfigurationError(f"{BILLING}: {fault}", way_out="Nothing of billing was loaded.")
            record.add(Failure(BILLING, fault.table, "", error))
    except Exception as error:  # noqa: BLE001 - as for a provider: it must not keep the others from being loaded
        record.add(Failure(BILLING, "", "", _as_load_error(BILLING, error, destination)))


def _was_loaded(pipeline: dlt.Pipeline, destination: Destination) -> bool:
    """Whether the destination has the tables: those of a user who has taken the configuration away are to be emptied."""
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return False
    pipeline = pipeline.drop()
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
        """The windows whose provider was loaded; what could not be written is not there, however well it was read."""
        lost = {failure.provider for failure in self.record.failures if not failure.table}
        return [entry for entry in self.record.fetched if entry.provider not in lost]

    @property
    def exit_status(self) -> int:
        """0 all done, 1 a provider, model or test failed."""
        return 1 if self.record.failures or (self.outcome and self.outcome.failures) else 0


def run_all(
    sources: Mapping[str, DltSource],
    destination: Destination,
    record: Record,
    *,
    models: bool,
    billing: bool = True,
    rebuild: bool = False,
) -> Report:
    """Loads all sources, then builds the models on whatever is loaded, and reads from them what it costs.

    Models that a build would not change are left as they are, except with `rebuild`. With `billing`, the user's own prices,
    credits and invoices are loaded first, whatever else is.
    """
    if models:
        require_models(destination)
    with only_run(destination):
        require_open(destination)
        make_database(destination)
        if billing:
            load_billing(destination, record)
        if sources:
            load(sources, destination, record)
        if not models:
            return Report(destination, record, None, None, None)
        outcome = None if rebuild else built_already(destination)
        return _report(destination, record, outcome or build(destination, on_node=record.note_model))


def _report(destination: Destination, record: Record, outcome: Outcome) -> Report:
    with destination.pipeline(next(iter(PROVIDERS))).sql_client() as client:
        return Report(destination, record, outcome, _rows(client, COST_MONTHLY), _rows(client, UNPRICED_USAGE))


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


def _rows(client: Any, query: str) -> list[dict[str, Any]]:
    try:
        with client.execute_query(query) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except DatabaseUndefinedRelation:
        return []  # dbt failed before it built the mart; its outcome says so
