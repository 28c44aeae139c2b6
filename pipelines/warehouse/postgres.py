"""PostgreSQL as a destination: the models run on it."""

import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar

import dlt

from meterhouse.pipelines.warehouse.destination import SCHEMAS, Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.locking import AdvisoryLock, RunLock
from meterhouse.pipelines.warehouse.query import Reader, Row, SqlClientReader, queries, translated_errors
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.dlt_compat.settings import destination_configuration, missing_credentials
from meterhouse.sources._core.errors import ConfigurationError

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

LOCK_TIMEOUT = "60s"
"""How long a statement waits for a lock that another session holds. A BI tool's open transaction may hold one for days."""

OPTIONAL_IN_LIBPQ = frozenset({"password", "username", "host"})
"""Credentials that dlt requires and libpq does not."""


def configured_credentials(name: str) -> Any:
    """The credentials of a PostgreSQL destination, with a lock timeout unless they have one.

    dlt requires a user, a password and a host. Here they may be missing as in libpq: the user is then the one who runs, the
    server needs no password or the driver finds it in PGPASSWORD or .pgpass, and the host is a folder in the query.

    Raises:
        ConfigurationError: the database or the host is missing.
    """
    setting = f"destination.{name}.credentials"
    missing = missing_credentials(dlt.destination(name), name)
    if required := missing - OPTIONAL_IN_LIBPQ:
        raise ConfigurationError(
            f"{setting} has no {' and no '.join(sorted(required))}", hint="Write it as postgresql://user@host:5432/database."
        )
    defaults: dict[str, Callable[[], str]] = {
        "password": lambda: "",
        "username": getpass.getuser,
        "host": lambda: "localhost",
    }
    added = {key: defaults[key]() for key in missing} or None
    credentials: Any = destination_configuration(dlt.destination(name, credentials=added), name).credentials
    credentials.query = dict(credentials.query or {})
    if "host" in missing and "host" not in credentials.query:
        raise ConfigurationError(
            f"{setting} has no host",
            hint="Add it. For a socket, write postgresql:///database?host=/var/run/postgresql.",
        )
    options = credentials.query.get("options", "")
    if "lock_timeout" not in options:
        credentials.query["options"] = f"{options} -clock_timeout={LOCK_TIMEOUT}".strip()
    return credentials


@dataclass
class PostgresDestination(Destination):
    """A PostgreSQL database."""

    has_models: ClassVar[bool] = True
    supports_atomic_changes: ClassVar[bool] = True

    def shared_lock(self) -> RunLock:
        """An advisory lock in the database."""
        return AdvisoryLock(self.location, lambda: self.pipeline("usage").sql_client())

    @contextmanager
    def reader(self, dataset: str = "usage") -> Iterator[Reader]:
        """A connection for reading, whose default schema is `dataset`.

        Raises:
            LoadError: the database cannot be read.
        """
        with translated_errors(self.location), self.pipeline(dataset).sql_client() as client:
            yield PostgresReader(client, self.location, self.schema)

    def explain(self, message: str) -> str:
        """For a lock timeout, names the sessions that hold locks on our tables; for a missing privilege, what to grant."""
        if "permission denied for" in message:
            return f"{message}. The role of meterhouse must be allowed to create schemas: grant create on database … to …"
        if "lock timeout" not in message:
            return message
        holders: list[Row] = []
        with suppress(LoadError), self.reader() as reader:
            holders = reader.rows(queries()["postgres_lock_holders"], list(SCHEMAS))
        if not holders:
            return f"{self.location}: a statement waited too long for a lock, which nobody holds any more. Run again"
        who, pid = "; ".join(map(_session, holders)), holders[0]["pid"]
        return (
            f"{self.location} is locked {who}. Let it commit, or end it: select pg_terminate_backend({pid}); then run again"
        )

    def dbt_variables(self) -> Mapping[str, str]:
        """The credentials that dlt resolves for the load."""
        credentials: Any = destination_configuration(self.dlt_destination, self.name).credentials
        query: Mapping[str, Any] = credentials.get_query()
        return {
            "METERHOUSE_POSTGRES_HOST": str(query.get("host", credentials.host)),  # the driver, too, prefers the query's
            "METERHOUSE_POSTGRES_PORT": str(query.get("port", credentials.port)),
            "METERHOUSE_POSTGRES_USER": credentials.username or "",
            "METERHOUSE_POSTGRES_PASSWORD": credentials.password or os.environ.get("PGPASSWORD", ""),
            "METERHOUSE_POSTGRES_DATABASE": credentials.database,
            **{variable: str(query[name]) for name, variable in LIBPQ_VARIABLES.items() if name in query},
        }


def _session(row: Row) -> str:
    """A session as an error names it; clients choose the name of their application."""
    program = escape_control_characters(row["application_name"] or "unnamed")
    since = f"{row['xact_start'].astimezone(UTC):%Y-%m-%d %H:%M} UTC" if row["xact_start"] else "an unknown time"
    return f"by pid {row['pid']} (application_name {program}, user {row['usename']}, {row['state']} since {since})"


class PostgresReader(SqlClientReader):
    """Reads through dlt's SQL client."""

    def isolate(self) -> None:
        """Runs what follows in one read-only transaction, which is rolled back when the connection closes.

        A superuser also takes a role that may only read, because such a transaction still allows functions that reload the
        server's configuration, end other sessions, or write files on the server.
        """
        super().isolate()
        if (
            self.rows("select 1 from pg_roles where rolname = current_user and rolsuper")
            and self._client.native_connection.server_version >= 140000
        ):
            self.tuples("set local role pg_read_all_data")
