"""A description of each registered provider: `DESCRIPTIONS`, which all tests of every provider take them from."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from meterhouse.sources.registry import PROVIDERS
from tests.providers.description import Description

DESCRIPTIONS: Mapping[str, Description] = {
    name: import_module(f"{__name__}.{name}").DESCRIPTION for name in PROVIDERS if find_spec(f"{__name__}.{name}")
}
"""By name, in the order of the registry. `test_providers.py` fails where one is missing."""
