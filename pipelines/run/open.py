"""Opens the sources of the selected providers."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from types import MappingProxyType
from typing import Any

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.sources import DltSource

from meterhouse.pipelines.run.state import RecordingJournal, RunState
from meterhouse.pipelines.warehouse.destination import first_line
from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.config.unknown_settings import require_known, require_known_sections
from meterhouse.sources._core.dlt_compat import speed_up_config_lookups
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured
from meterhouse.sources.billing import TABLES

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
            raise ConfigurationError(f"there is no provider {provider!r}", hint=f"Known: {', '.join(PROVIDERS)}.")
        if not table:
            chosen[provider] = None
        elif (tables := chosen.setdefault(provider, [])) is not None and table not in tables:
            tables.append(table)
    return [Selection(provider, tuple(tables or ())) for provider, tables in chosen.items()]


def open_sources(
    selected: Sequence[Selection],
    record: RunState,
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
    speed_up_config_lookups()
    if not settings:
        require_known_settings([choice.provider for choice in selected] or PROVIDERS)
    sources: dict[str, DltSource] = {}
    for choice in selected or [Selection(provider) for provider in settings or PROVIDERS]:
        factory = getattr(import_module(f"meterhouse.sources.{choice.provider}"), PROVIDERS[choice.provider])
        try:
            with without_bare_variables(factory):
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
                hint=f"Correct it in [sources.{choice.provider}] or in the environment.",
            ) from None
        unknown = set(choice.tables) - set(source.selected_resources)
        if unknown:
            raise ConfigurationError(
                f"{choice.provider} has no table {', '.join(sorted(unknown))}",
                hint=f"Known: {', '.join(source.selected_resources)}.",
            )
        sources[choice.provider] = source.with_resources(*choice.tables) if choice.tables else source
    if not sources:
        raise NotConfigured(
            "no provider has credentials",
            hint=f"Set those of {', '.join(PROVIDERS)} in .dlt/secrets.toml or in the environment, as their READMEs say.",
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
        factory = getattr(import_module(f"meterhouse.sources.{provider}"), PROVIDERS[provider])
        known = inspect.signature(factory).parameters.keys() - {"journal"}
        require_known(f"sources.{provider}", known, tables=("accounts", PROVIDERS[provider]))


@contextmanager
def without_bare_variables(factory: Callable[..., DltSource]) -> Iterator[None]:
    """Hides variables such as `API_KEY` and `BASE_URL`, which dlt falls back to where no section has the setting.

    They are other programs': one's key must not be sent to our providers, nor our keys to another's address.
    """
    bare = [name for name in map(str.upper, inspect.signature(factory).parameters) if name in os.environ]
    hidden = {name: os.environ.pop(name) for name in bare}
    try:
        yield
    finally:
        os.environ.update(hidden)


def missing_providers(sources: Mapping[str, DltSource]) -> list[str]:
    """The providers that have no credentials."""
    return [provider for provider in PROVIDERS if provider not in sources]
