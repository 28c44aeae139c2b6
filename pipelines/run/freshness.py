"""`meterhouse check --max-age`: how old the loaded data is, by the clock. Reads the raw tables, so it needs no dbt.

The mart `usage.data_freshness` needs no clock: it states how far each table is behind the newest fetch of all tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt, describe_error
from meterhouse.pipelines.warehouse.query import Row
from meterhouse.sources.registry import PROVIDERS

IN_USE = timedelta(days=7)
"""A table counts as configured if it was requested in the week before the last run of its provider."""

FETCHED = """
    select
        account, resource, part, max(fetched_at),
        max(case when window_end < fetched_at then window_end when window_end is not null then fetched_at end)
    from {log}
    {where}
    group by account, resource, part
"""

WHOLE_LOADS = "where load_id is null or load_id in (select load_id from {loads} where status = 0)"
"""dlt writes the tables of a load one by one and records the load last. After a killed run, the log may have windows whose
rows are not there."""


@dataclass(frozen=True, slots=True)
class StaleTable:
    """A table of an account that is older than allowed; `known_until` is None if it was never loaded."""

    provider: str
    account: str = ""
    resource: str = ""
    known_until: datetime | None = None
    age: timedelta | None = None

    @property
    def hours(self) -> float | None:
        """The table's age in hours."""
        return round(self.age / timedelta(hours=1), 1) if self.age is not None else None

    def __str__(self) -> str:
        table = ".".join(filter(None, (self.provider, self.resource)))
        name = " ".join(filter(None, (table, self.account)))
        if self.known_until is None or self.age is None:
            return f"{name}: never loaded"
        return f"{name}: known up to {self.known_until:%Y-%m-%d %H:%M} UTC, {self.hours:,.1f} hours ago"


def stale_tables(destination: Destination, configured: Iterable[str], max_age: timedelta) -> list[StaleTable]:
    """The tables older than `max_age`, of every configured provider and of every provider that was ever loaded.

    The latter include a provider that has lost its credentials, which no other check would notice.

    Raises:
        LoadError: the destination cannot be read.
    """
    now, required = datetime.now(UTC), set(configured)
    stale: list[StaleTable] = []
    for provider in PROVIDERS:
        try:
            rows = fetched(destination, provider)
        except Exception as error:  # noqa: BLE001 - destinations raise errors of many kinds
            raise LoadError(describe_error(error, destination.location)) from None
        if not rows and provider in required:
            stale.append(StaleTable(provider))
        newest = max((row["fetched_at"] for row in rows), default=now)
        known: dict[tuple[str, str], datetime | None] = {}
        for row in rows:
            if row["fetched_at"] >= newest - IN_USE:  # a table is as old as its oldest partition
                table = row["account"], row["resource"]
                earlier = known.get(table, row["known_until"])
                known[table] = min(earlier, row["known_until"]) if earlier and row["known_until"] else None
        for (account, resource), until in sorted(known.items()):
            if until is None or now - until > max_age:
                stale.append(StaleTable(provider, account, resource, until, now - until if until else None))
    return stale


def fetched(destination: Destination, provider: str) -> list[Row]:
    """For each account, table and partition, when it was last fetched and up to when its rows are known."""
    try:
        with destination.reader(provider) as reader:
            log, loads = (reader.table_name(provider, name) for name in ("fetched_windows", "_dlt_loads"))
            columns, _ = reader.tuples(f"select * from {log} where 1 = 0")  # noqa: S608
            has_loads = "load_id" in {name.lower() for name in columns}  # not in earlier versions
            _, rows = reader.tuples(FETCHED.format(log=log, where=WHOLE_LOADS.format(loads=loads) if has_loads else ""))
    except NotBuilt:
        return []
    # By position: destinations differ in the case of column names, and in whether an alias hides a column.
    return [
        {"account": account, "resource": resource, "fetched_at": _in_utc(fetched_at), "known_until": _in_utc(known_until)}
        for account, resource, _, fetched_at, known_until in rows
    ]


def _in_utc(moment: Any) -> datetime | None:
    if moment is None:
        return None
    aware: datetime = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC)
