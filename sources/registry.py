"""The only Python list of providers. Everything that handles every provider reads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from meterhouse.sources._core.config.secrets import looks_like_secret
from meterhouse.sources._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Provider:
    """A vendor with a usage API: its folder is `sources/<name>`, its schema `<name>`, its section `[sources.<name>]`."""

    name: str
    title: str
    """The vendor's own spelling."""
    rereads_usage: bool = False
    """Every run reads all usage that the API returns, whatever the `lookback`."""

    @property
    def source_name(self) -> str:
        """The name of its `@dlt.source` function."""
        return f"{self.name}_source"

    @property
    def source(self) -> Callable[..., Any]:
        """Its `@dlt.source` function, imported when first needed."""
        function: Callable[..., Any] = getattr(import_module(f"meterhouse.sources.{self.name}"), self.source_name)
        return function


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider("mathpix", "Mathpix"),
            Provider("reducto", "Reducto"),
            Provider("onepin", "Onepin", rereads_usage=True),
            Provider("scopix", "Scopix"),
        )
    }
)
"""By name, in the order in which lists and reports show them."""


def require_provider(name: str) -> None:
    """Checks that a provider of this name is registered.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in PROVIDERS:
        shown = "of that name" if looks_like_secret(name) else repr(name)
        raise ConfigurationError(f"there is no provider {shown}", hint=f"Known: {', '.join(PROVIDERS)}.")
