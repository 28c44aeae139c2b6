"""Opens the sources of the selected providers."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.sources import DltSource

from meterhouse.pipelines.run.state import RunState
from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.config.unknown_settings import (
    require_known,
    require_known_sections,
    require_unset,
)
from meterhouse.sources._core.dlt_compat.settings import use_own_settings
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured
from meterhouse.sources.billing import TABLES, configured_reporting_currency
from meterhouse.sources.registry import PROVIDERS, require_provider

BILLING = "billing"
"""The section, pipeline and dataset of the user's prices, credits and invoices."""

HTTP = "http"
"""The section of the limits for the requests of all providers."""

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Selection:
    """A provider, and which of its tables to run; an empty tuple means all."""

    provider: str
    tables: tuple[str, ...] = ()


def select(names: Sequence[str]) -> list[Selection]:
    """The selections of `run [PROVIDER or PROVIDER.RESOURCE …]`, in order; an empty list if nothing is named.

    Raises:
        ConfigurationError: a name is not that of a provider.
    """
    chosen: dict[str, list[str] | None] = {}
    for name in names:
        provider, _, table = name.partition(".")
        require_provider(provider)
        if not table:
            chosen[provider] = None
        elif (tables := chosen.setdefault(provider, [])) is not None and table not in tables:
            tables.append(table)
    return [Selection(provider, tuple(tables or ())) for provider, tables in chosen.items()]


def open_sources(
    selected: Sequence[Selection],
    state: RunState,
    *,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,
    settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS,
) -> dict[str, DltSource]:
    """The sources of the selected providers, or of all whose credentials resolve. No request is sent yet.

    `settings`, by provider, overrides the configuration; if it is given, only its providers are opened.

    Raises:
        ConfigurationError: a setting is wrong; NotConfigured if a named provider has no credentials, or no provider has.
    """
    use_own_settings()
    if not settings:
        require_known_settings([selection.provider for selection in selected] or PROVIDERS)
    sources: dict[str, DltSource] = {}
    lacking: list[NotConfigured] = []
    for selection in selected or [Selection(provider) for provider in settings or PROVIDERS]:
        provider = selection.provider
        factory = PROVIDERS[provider].source
        try:
            source: DltSource = factory(
                since=since,
                until=until,
                full_refresh=full_refresh,
                observer=state.observe,
                **settings.get(provider, {}),
            )
        except NotConfigured as error:
            if selected:
                raise
            lacking.append(error)
            continue
        except ConfigurationException as error:
            # dlt could not convert a setting to its declared type. Its message may hold the value.
            field, wanted = getattr(error, "field_name", None), getattr(getattr(error, "hint", None), "__name__", None)
            raise ConfigurationError(
                f"sources.{provider}.{field} is not of type {wanted}"
                if field and wanted
                else f"a setting in [sources.{provider}] has the wrong type",
                hint=f"Correct it in [sources.{provider}] or in the environment.",
            ) from None
        if unknown := set(selection.tables) - set(source.selected_resources):
            raise ConfigurationError(
                f"{provider} has no table {', '.join(sorted(unknown))}",
                hint=f"Known: {', '.join(source.selected_resources)}.",
            )
        sources[provider] = source.with_resources(*selection.tables) if selection.tables else source
    if not sources:
        raise NotConfigured(
            f"no provider has credentials: {', '.join(error.problem for error in lacking)}", hint=lacking[0].hint
        )
    return sources


def require_known_settings(providers: Iterable[str]) -> None:
    """Looks for unknown settings of these providers, of billing and of HTTP.

    Raises:
        ConfigurationError: a setting is unknown, and the message names the nearest known one; or the reporting currency is
            not a currency.
    """
    require_known_sections("sources", [*PROVIDERS, BILLING, HTTP])
    require_known(f"sources.{HTTP}", (item.name for item in fields(Limits)))
    require_known(f"sources.{BILLING}", [*TABLES, "reporting_currency"])
    configured_reporting_currency()
    for name in providers:
        provider = PROVIDERS[name]
        known = inspect.signature(provider.source).parameters.keys() - {"observer"}
        require_unset(
            "sources",
            known,
            reason="applies to no provider",
            hint=f"Set it for a provider, as in [sources.{name}], or remove it.",
        )
        require_known(f"sources.{name}", known, tables=("accounts", provider.source_name))
        require_known(f"sources.{name}.{provider.source_name}", known, tables=("accounts",))
