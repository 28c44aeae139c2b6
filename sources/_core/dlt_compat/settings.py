"""Settings: only meterhouse's own have an effect, and those of a destination are read without a pipeline."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigFieldMissingException, LookupTraces
from dlt.common.configuration.providers import ConfigTomlProvider, EnvironProvider, SecretsTomlProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs.base_configuration import is_hint_not_resolvable
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.configuration.utils import TraceLogContext
from dlt.common.runtime.run_context import RunContext

from meterhouse.sources._core.dlt_compat.private import (
    bind_dataset,
    keep_runtime_configuration,
    runtime_configuration,
    start_folder,
)

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
        return start_folder(self)

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
        runtime = runtime_configuration(active.context) if type(active.context) is RunContext else None
        active.context = context = OwnContext(".")
        keep_runtime_configuration(context, runtime)
        own = {provider.name: provider for provider in context.initial_providers()}
        providers = active.providers.providers
        providers[:] = [own.get(provider.name, provider) for provider in providers]


def destination_configuration(dlt_destination: Any, name: str) -> Any:
    """The resolved configuration of the destination called `name`, credentials included.

    dlt resolves a destination only for a dataset, inside a pipeline. `bind_dataset` gives it one without a pipeline.
    """
    initial: Any = dlt_destination.spec()
    bind_dataset(initial, name)
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
