"""Every use of what dlt and httpx do not document, each with its reason.

The project pins dlt to 1.31 because of this module. `tests/sources/_core/test_dlt_compat.py` has a test for each function
here, which fails when the library changes what the function relies on.
"""
# ruff: noqa: SLF001 - this is the only module that may use private names

import copy
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any, cast

import dlt
import httpcore
import httpx
import pyarrow as pa
from dlt.common import validation
from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigFieldMissingException, LookupTraces
from dlt.common.configuration.providers import ConfigTomlProvider, EnvironProvider, SecretsTomlProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs.base_configuration import is_hint_not_resolvable
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.configuration.utils import TraceLogContext
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.pipeline import current_pipeline
from dlt.common.runtime.run_context import RunContext
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.extract.utils import wrap_parallel_iterator
from dlt.pipeline.state_sync import bump_pipeline_state_version_if_modified

OWN_SECTIONS = frozenset({"sources", "destination", "alerts", "runtime", "providers", "extract"})
"""The top sections whose settings have an effect on meterhouse. `extract` has the number of tables to request at a time."""

NOT_OF_SOURCES = frozenset({"schema", "normalize", "load", "data_writer", "destination"})
"""Sections that dlt also looks up below `sources`; they decide which tables rows land in, and how."""


def is_own(sections: Sequence[str]) -> bool:
    """Whether a setting in these sections is meant for meterhouse."""
    if not sections or sections[0] not in OWN_SECTIONS or sections == ("sources",):
        return False
    return sections[0] == "destination" or "accounts" in sections or NOT_OF_SOURCES.isdisjoint(sections)


class OwnSettings(ConfigProvider):
    """A provider of settings that finds only meterhouse's own.

    dlt falls back from each section to the one above it, and at last to none. So `DEV_MODE`, `CREDENTIALS` and `WORKERS` in
    the environment, which may belong to any program, and `[pipelines]` of another dlt project would decide where rows land;
    an `api_key` in `[sources]` would reach every vendor. A section with the pipeline's name would decide, too, although the
    destination that a run prints belongs to no pipeline.
    """

    def get_value(self, key: str, hint: Any, pipeline_name: Any, *sections: str) -> tuple[Any | None, str]:
        """The result of dlt's own provider for meterhouse's sections; None for all others."""
        if pipeline_name or not is_own(sections):
            return None, key
        result: tuple[Any | None, str] = super().get_value(key, hint, pipeline_name, *sections)  # type: ignore[safe-super]
        return result


class Environment(OwnSettings, EnvironProvider):
    """dlt's environment provider, without the work for variables that are not set.

    dlt 1.31 resolves a configuration some 650 times in a run of three providers. Each time it looks for each setting under
    up to ten names, and analyses the setting's type for each name, to find out whether a Docker secrets file may hold it.
    Measured, these lookups took half of a run without new data.
    """

    has_files = Path("/run/secrets").is_dir()

    def get_value(self, key: str, hint: Any, pipeline_name: Any, *sections: str) -> tuple[Any | None, str]:
        """The result of dlt's own provider; immediate if neither a variable nor a secrets file can hold the setting."""
        name = self.get_key_name(key, pipeline_name, *sections)
        if not self.has_files and name not in os.environ:
            return None, name
        return super().get_value(key, hint, pipeline_name, *sections)


class Secrets(OwnSettings, SecretsTomlProvider):
    """dlt's secrets.toml."""


class Config(OwnSettings, ConfigTomlProvider):
    """dlt's config.toml."""


class OwnContext(RunContext):
    """dlt's plain context, whose settings are meterhouse's own.

    In a dlt workspace, or with DLT_LOCAL_DIR, dlt would look for a relative path such as meterhouse.duckdb elsewhere.
    """

    @property
    def local_dir(self) -> str:
        """The working directory."""
        return self._init_run_dir

    def initial_providers(self) -> list[ConfigProvider]:
        """The environment and dlt's two files."""
        folders = self.settings_dir, self.global_dir
        return [Environment(), Secrets(*folders), Config(*folders)]


def use_own_settings() -> None:
    """Makes `OwnContext` the context of this process; a second call changes nothing.

    A source in a dlt pipeline of the user's own keeps dlt's context: only meterhouse's command calls this. dlt's `reload`
    would initialize the runtime twice, which takes 20 ms, and lose providers such as a vault of secrets.

    dlt also writes the settings that it resolved to trace.pickle, except those typed as secrets. A misplaced key has another
    type, so this is turned off.
    """
    TraceLogContext.logging_enabled = False
    active = Container()[PluggableRunContext]
    if type(active.context) is not OwnContext:
        runtime = active.context._runtime_config if type(active.context) is RunContext else None
        active.context = context = OwnContext(".")
        context._runtime_config = cast("Any", runtime)
        own = {provider.name: provider for provider in context.initial_providers()}
        providers = active.providers.providers
        providers[:] = [own.get(provider.name, provider) for provider in providers]


def cache_type_hints() -> None:
    """Makes dlt read the type hints of each class once; a second call changes nothing.

    dlt evaluates them anew for every object of every schema that it validates: a tenth of a run of one provider.
    """
    evaluate = validation.get_type_hints  # type: ignore[attr-defined]
    if not isinstance(evaluate, partial):
        validation.get_type_hints = partial(_type_hints, evaluate, {})  # type: ignore[attr-defined]


def _type_hints(evaluate: Callable[..., Any], known: dict[type, Any], spec: type, globalns: Any = None) -> Any:
    if spec not in known:
        known[spec] = evaluate(spec, globalns=globalns)
    return known[spec]


def cache_capabilities(destination: Any) -> Any:
    """The same destination, which computes the capabilities of its own configuration only once.

    dlt resolves the destination's configuration each time it reads the capabilities.
    """
    compute: Callable[..., Any] = destination.capabilities
    known: dict[Any, Any] = {}

    def capabilities(config: Any = None, naming: Any = None) -> Any:
        if config is not None:
            return compute(config, naming)
        name = naming and (type(naming), naming.max_length)
        if name not in known:
            known[name] = compute(config, naming)
        return copy.copy(known[name])  # dlt changes the object that it gets

    destination.capabilities = update_wrapper(partial(capabilities), compute)
    return destination


def destination_configuration(dlt_destination: Any, name: str) -> Any:
    """The resolved configuration of the destination called `name`, credentials included.

    dlt resolves a destination only for a dataset, inside a pipeline. `_bind_dataset_name` gives it one without a pipeline.
    """
    initial: Any = dlt_destination.spec()
    initial._bind_dataset_name(dataset_name=name)
    return dlt_destination.configuration(initial)


def missing_credentials(dlt_destination: Any, name: str) -> frozenset[str]:
    """The required credentials of the destination called `name` that are not configured.

    dlt's error for missing credentials names the spec only; its traces have the fields.
    """
    try:
        destination_configuration(dlt_destination, name)
    except ConfigFieldMissingException as error:
        traces = [trace for trace in error.traces.get("credentials", ()) if isinstance(trace, LookupTraces)]
        return frozenset(field for trace in traces for field in trace.traces)
    return frozenset()


def settings_of(spec: Any) -> frozenset[str]:
    """The settings that dlt looks for in the configuration, for a destination or for its credentials."""
    return frozenset(name for name, hint in spec.get_resolvable_fields().items() if not is_hint_not_resolvable(hint))


def settings_folders() -> list[Path]:
    """The folders whose config.toml and secrets.toml dlt reads: `.dlt` of the working directory, then the user's.

    dlt's active run context would read the files, and fail on an unreadable one without naming its line; a new
    `RunContext` only knows the folders.
    """
    context = RunContext(".")
    return list(dict.fromkeys((Path(context.settings_dir), Path(context.global_dir))))


def stored_state(pipeline: dlt.Pipeline) -> tuple[str, dict[str, Any]] | None:
    """The load id and the content of the pipeline's state in its destination; None if the destination has none.

    dlt restores the state of the newest whole load. It has no way to change a state together with rows.
    """
    client: Any
    with pipeline.destination_client() as client:
        try:
            stored = client.get_stored_state(pipeline.pipeline_name)
        except DestinationUndefinedEntity:
            return None
    return (stored._dlt_load_id, decompress_state(stored.state)) if stored else None


def state_columns(state: dict[str, Any]) -> dict[str, Any]:
    """The columns of dlt's state table for a changed state, which gets the next version."""
    content = cast("Any", state)
    version, version_hash, _ = bump_pipeline_state_version_if_modified(content)
    return {"version": version, "version_hash": version_hash, "state": compress_state(content)}


def active_destination() -> Any | None:
    """The destination of the running pipeline; None outside of one.

    `dlt.current.pipeline()` is public, but creates a pipeline where none runs.
    """
    return getattr(current_pipeline(), "destination", None)


def merge_strategies_of(destination: Any, resource: str) -> Sequence[str]:
    """The merge strategies that `destination` has for the table of `resource`, which the running pipeline extracts.

    The format of the table decides. dlt asks for the strategies when it loads, and appends the rows if there are none.
    """
    capabilities = destination.capabilities()
    strategies: Sequence[str] = capabilities.supported_merge_strategies or ()
    if capabilities.merge_strategies_selector is None:
        return strategies
    table = dlt.current.source().resources[resource].compute_table_schema()
    table.setdefault("table_format", capabilities.preferred_table_format)
    return cast("Sequence[str]", capabilities.merge_strategies_selector(strategies, table_schema=table))


class _ClosableSteps:
    """A generator whose `close` ignores a step that is still running in another thread."""

    def __init__(self, steps: Generator[Any, None, None]) -> None:
        self._steps = steps

    def __iter__(self) -> "_ClosableSteps":
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    def close(self) -> None:
        with suppress(ValueError):  # "generator already executing"
            self._steps.close()


def in_thread_pool(steps: Generator[Any, None, None]) -> Iterator[Any]:
    """Runs each step of a generator in a thread of dlt's pool, one after the other, while other resources have their turns.

    It works like dlt's `parallelized=True`, with two differences. A resource can use it for only some of its steps: the
    estimates must come before the first request of any table, and the write disposition after the last. And dlt closes the
    generators when a resource fails: with `parallelized=True`, a step that is still running then raises "generator already
    executing", which hides the failure.
    """
    iterator: Iterator[Any] = wrap_parallel_iterator(cast("Any", _ClosableSteps(steps)))
    return iterator


NEXT_RESOURCE: None = None
"""The item by which a resource passes its turn to the next one: dlt neither stores it nor ends the resource."""


def with_write_disposition(empty: pa.Table, disposition: Any) -> Any:
    """The last item of a resource: sets the write disposition of all rows that the resource has yielded.

    dlt documents hints on an item, but not that the hint on the last item applies to the whole load.
    """
    return dlt.mark.with_hints(empty, dlt.mark.make_hints(write_disposition=disposition))


def into_table(rows: pa.Table, name: str) -> Iterator[Any]:
    """Appends `rows` to the table `name`, which several resources of a source share.

    dlt's schema records for each table the resource that wrote to it last. If several resources share a table, that depends
    on timing, and dlt stores every changed schema in the destination again. So each write is followed by setting the
    resource to the first one of the source by name. dlt needs a resource of the source there, because it adds up the
    metrics of each resource by its tables.
    """
    yield dlt.mark.with_hints(
        rows,
        dlt.mark.make_hints(table_name=name, write_disposition="append", primary_key=[]),
        create_table_variant=True,
    )
    source = dlt.current.source()
    table = source.schema.tables.get(source.schema.naming.normalize_table_identifier(name))
    if table is not None:  # a schema contract may discard the table
        table["resource"] = min(source.resources)


def wrap_network_backend(
    client: httpx.Client, wrap: Callable[[httpcore.NetworkBackend], httpcore.NetworkBackend]
) -> httpx.Client:
    """Replaces the network backend of each connection pool of `client`, proxies included, with `wrap(backend)`.

    httpx has no parameter for the backend: its transports create their pools themselves.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            pool = transport._pool
            pool._network_backend = wrap(pool._network_backend)
    return client
