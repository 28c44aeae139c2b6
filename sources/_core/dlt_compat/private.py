"""The private names of dlt and httpx, all of them, each in a function that says what it is."""
# ruff: noqa: SLF001 - private names are the purpose of this module

from collections.abc import Callable
from typing import Any, cast

import httpcore
import httpx
from dlt.common.runtime.run_context import RunContext


def start_folder(context: RunContext) -> str:
    """The folder in which the context was made. `local_dir`, which is public, depends on DLT_LOCAL_DIR."""
    return context._init_run_dir


def runtime_configuration(context: RunContext) -> Any:
    """The resolved runtime settings of the context; None before it is initialized."""
    return context._runtime_config


def keep_runtime_configuration(context: RunContext, configuration: Any) -> None:
    """Gives the context resolved runtime settings. `initialize_runtime`, which is public, would resolve them again."""
    context._runtime_config = cast("Any", configuration)


def bind_dataset(spec: Any, name: str) -> None:
    """Names the dataset in a destination's configuration, which dlt otherwise does inside a pipeline only."""
    spec._bind_dataset_name(dataset_name=name)


def load_id_of(stored: Any) -> str:
    """The load that wrote a stored state of a pipeline."""
    return cast("str", stored._dlt_load_id)


def client_of(job: Any) -> Any:
    """The client of the destination that a load job uses."""
    return job._job_client


def table_of(job: Any) -> dict[str, Any]:
    """The schema of the table that a load job loads, as its destination prepared it."""
    return cast("dict[str, Any]", job._load_table)


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
