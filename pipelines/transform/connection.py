"""How dbt connects to the destination that dlt loads: by variables that `profiles.yml` reads, set while dbt is at work.

Credentials are dlt's own, resolved as for the load, and stand neither in a file nor on a command line.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from meterhouse.pipelines.warehouse.destination import Destination, configuration_of

LIBPQ = {
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "options": "PGOPTIONS",
}
"""What else a connection string may ask for, and the variable by which the driver below dbt hears of it."""


def _duckdb(destination: Destination) -> dict[str, str]:
    return {"METERHOUSE_DUCKDB": destination.location}


def _postgres(destination: Destination) -> dict[str, str]:
    credentials: Any = configuration_of(destination.dlt_destination, destination.name).credentials
    asked: Mapping[str, Any] = credentials.get_query()
    return {
        "METERHOUSE_POSTGRES_HOST": str(asked.get("host", credentials.host)),  # as the driver has it: the later one
        "METERHOUSE_POSTGRES_PORT": str(asked.get("port", credentials.port)),
        "METERHOUSE_POSTGRES_USER": credentials.username or "",
        "METERHOUSE_POSTGRES_PASSWORD": credentials.password or "",
        "METERHOUSE_POSTGRES_DATABASE": credentials.database,
        **{variable: str(asked[name]) for name, variable in LIBPQ.items() if name in asked},
    }


VARIABLES: Mapping[str, Callable[[Destination], dict[str, str]]] = {"duckdb": _duckdb, "postgres": _postgres}
"""By the type of a destination: those that the models are built on by command."""


@contextmanager
def connected(destination: Destination) -> Iterator[None]:
    """Sets the variables, and afterwards what was there before."""
    variables = VARIABLES[destination.type](destination)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
