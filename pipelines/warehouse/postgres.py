"""PostgreSQL as a destination: the models run on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.sources._core.dlt_compat import destination_configuration

LIBPQ_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "options": "PGOPTIONS",
}
"""Other parameters of a connection string, and the variables in which dbt's driver looks for them."""


@dataclass
class PostgresDestination(Destination):
    """A PostgreSQL database."""

    has_models: ClassVar[bool] = True

    def dbt_variables(self) -> Mapping[str, str]:
        """The credentials that dlt resolves for the load."""
        credentials: Any = destination_configuration(self.dlt_destination, self.name).credentials
        query: Mapping[str, Any] = credentials.get_query()
        return {
            "METERHOUSE_POSTGRES_HOST": str(query.get("host", credentials.host)),  # the driver, too, prefers the query's
            "METERHOUSE_POSTGRES_PORT": str(query.get("port", credentials.port)),
            "METERHOUSE_POSTGRES_USER": credentials.username or "",
            "METERHOUSE_POSTGRES_PASSWORD": credentials.password or "",
            "METERHOUSE_POSTGRES_DATABASE": credentials.database,
            **{variable: str(query[name]) for name, variable in LIBPQ_VARIABLES.items() if name in query},
        }
