"""dlt's look-ups of configuration without what they repeat: measured, they were half of what a run without news takes.

dlt 1.31 resolves a configuration some 650 times a run of three providers. Each time it looks for each setting under up to
ten names, and takes apart the type of the setting for each of them, to find out whether a file of Docker's secrets may hold
it. And it resolves the destination anew whenever it wants to know what the destination can do.
"""

import copy
import os
from collections.abc import Callable
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext


class Environment(EnvironProvider):
    """The environment, which answers at once for a variable that is not set where no file can hold it either."""

    has_files = Path("/run/secrets").is_dir()

    def get_value(self, key: str, hint: Any, pipeline_name: Any, *sections: str) -> tuple[Any | None, str]:
        """As dlt's own."""
        name = self.get_key_name(key, pipeline_name, *sections)
        if not self.has_files and name not in os.environ:
            return None, name
        answer: tuple[Any | None, str] = super().get_value(key, hint, pipeline_name, *sections)
        return answer


def speed_up_config_lookups() -> None:
    """Puts `Environment` in the place of dlt's provider of the same name; once is enough."""
    providers = Container()[PluggableRunContext].providers.providers
    providers[:] = [Environment() if type(provider) is EnvironProvider else provider for provider in providers]


def cache_capabilities(destination: Any) -> Any:
    """The same destination; what it can do, as far as that hangs on its own configuration alone, is found out once."""
    find_out: Callable[..., Any] = destination.capabilities
    known: dict[Any, Any] = {}

    def capabilities(config: Any = None, naming: Any = None) -> Any:
        if config is not None:
            return find_out(config, naming)
        name = naming and (type(naming), naming.max_length)
        if name not in known:
            known[name] = find_out(config, naming)
        return copy.copy(known[name])  # dlt adjusts what it is given

    destination.capabilities = update_wrapper(partial(capabilities), find_out)
    return destination


def destination_configuration(dlt_destination: Any, name: str) -> Any:
    """dlt's resolved configuration of a destination, credentials included; dlt offers none without a pipeline."""
    initial: Any = dlt_destination.spec()
    initial._bind_dataset_name(dataset_name=name)  # noqa: SLF001
    if hasattr(initial, "local_dir"):
        initial.local_dir = str(Path.cwd())
    return dlt_destination.configuration(initial)
