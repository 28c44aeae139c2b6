"""Connections: the network backend of httpx."""
# ruff: noqa: SLF001 - private names are the purpose of this package

from collections.abc import Callable

import httpcore
import httpx


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
