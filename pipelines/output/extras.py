"""Parts of meterhouse that need the packages of an extra."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from meterhouse.pipelines.warehouse.installation import install
from meterhouse.sources._core.errors import ConfigurationError


def optional(module: str, name: str, extra: str, packages: set[str]) -> ModuleType:
    """A module that needs the packages of an extra.

    Raises:
        ConfigurationError: one of them is not installed.
    """
    if not all(map(find_spec, packages)):
        raise ConfigurationError(f"{name} is not installed", hint=f"{install(extra)}.")
    return import_module(module)
