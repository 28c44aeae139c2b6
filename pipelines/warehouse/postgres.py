"""PostgreSQL as a destination: the models run on it."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import dlt

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.locking import AdvisoryLock, RunLock
from meterhouse.pipelines.warehouse.query import Reader, SqlClientReader, translated_errors
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

OWN_STAGING = re.compile(r"\w+_staging_run_[0-9a-f]{8}")


def own_staging_layout() -> str:
    """A staging layout that no other run uses, so that runs stay apart even if a lock is lost."""
    return f"%s_staging_run_{secrets.token_hex(4)}"


@dataclass
class PostgresDestination(Destination):
    """A PostgreSQL database."""

    has_models: ClassVar[bool] = True
    has_transactions: ClassVar[bool] = True

    def run_locks(self) -> list[RunLock]:
        """Adds a lock in the database, which runs on other machines see."""
        return [*super().run_locks(), AdvisoryLock(self.location, lambda: self.pipeline("usage").sql_client())]

    def create(self) -> None:
        """Drops the staging datasets of runs that were killed. While this run holds its locks, no other run uses one."""
        with self.reader() as reader:
            _, rows = reader.tuples(
                "select schema_name from information_schema.schemata where schema_name like %s", r"%\_staging\_%"
            )
        for (name,) in rows:
            if OWN_STAGING.fullmatch(name):
                self.execute(f'drop schema "{name}" cascade')

    def drop_staging(self, pipeline: dlt.Pipeline) -> None:
        """Drops the staging dataset of a pipeline, which belongs to this run alone."""
        client: Any
        with pipeline.destination_client() as client, client.with_staging_dataset():
            if client.is_storage_initialized():
                client.drop_storage()

    @contextmanager
    def reader(self, dataset: str = "usage") -> Iterator[Reader]:
        """A connection for reading, whose default schema is `dataset`.

        Raises:
            LoadError: the database cannot be read.
        """
        with translated_errors(self.location), self.pipeline(dataset).sql_client() as client:
            yield PostgresReader(client, self.location)

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


class PostgresReader(SqlClientReader):
    """Reads through dlt's SQL client."""

    def isolate(self) -> None:
        """Runs what follows in one read-only transaction, which is rolled back when the connection closes.

        A superuser also takes a role that may only read, because such a transaction still allows functions that reload the
        server's configuration, end other sessions, or write files on the server.
        """
        connection = self._client.native_connection
        connection.set_session(readonly=True, autocommit=False)
        if (
            self.rows("select 1 from pg_roles where rolname = current_user and rolsuper")
            and connection.server_version >= 140000
        ):
            self.tuples("set local role pg_read_all_data")
