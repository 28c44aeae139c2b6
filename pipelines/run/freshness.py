"""How old what is loaded is, by the clock: `meterhouse check --max-age`. Read from the raw tables, so that it needs no dbt.

The table `usage.data_freshness` knows the same without a clock: how far each table is behind the newest fetch of all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dlt.destinations.exceptions import DatabaseUndefinedRelation

from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error

IN_USE = timedelta(days=7)
"""What was not asked for in the week before its provider was last asked is not configured any more."""

FETCHED = """
    select
        account, resource, part, max(fetched_at),
        max(case when window_end < fetched_at then window_end when window_end is not null then fetched_at end)
    from {}
    group by account, resource, part
"""


@dataclass(frozen=True, slots=True)
class Stale:
    """A table of an account that is not known up to the allowed age; `known_until` is None where it was never loaded."""

    provider: str
    account: str
    resource: str
    known_until: datetime | None
    age: timedelta | None

    @property
    def hours(self) -> float | None:
        """Its age."""
        return round(self.age / timedelta(hours=1), 1) if self.age is not None else None

    def __str__(self) -> str:
        where = " ".join(part for part in (".".join(filter(None, (self.provider, self.resource))), self.account) if part)
        if self.known_until is None or self.age is None:
            return f"{where}: never loaded"
        return f"{where}: known up to {self.known_until:%Y-%m-%d %H:%M} UTC, {self.hours:,.1f} hours ago"


def stale_tables(destination: Destination, configured: Iterable[str], max_age: timedelta) -> list[Stale]:
    """The tables that are older: of every provider that was ever loaded, and of those that are configured.

    A provider that has lost its credentials since is one of them: nobody else would miss it.

    Raises:
        LoadError: the destination cannot be read.
    """
    now, required = datetime.now(UTC), set(configured)
    stale: list[Stale] = []
    for provider in PROVIDERS:
        try:
            fetched = _fetched(destination, provider)
        except Exception as error:  # noqa: BLE001 - whatever the destination has against it
            raise LoadError(describe_error(error, destination)) from None
        if not fetched and provider in required:
            stale.append(Stale(provider, "", "", None, None))
        newest = max((asked for *_, asked, _ in fetched), default=now)
        oldest: dict[tuple[str, str], datetime | None] = {}
        for account, resource, _, asked, known in fetched:
            if asked >= newest - IN_USE:  # a table is no further than its slowest part
                before = oldest.get((account, resource), known)
                oldest[account, resource] = min(before, known) if before and known else None
        for (account, resource), known in sorted(oldest.items()):
            if known is None or now - known > max_age:
                stale.append(Stale(provider, account, resource, known, now - known if known else None))
    return stale


def _fetched(destination: Destination, provider: str) -> list[tuple[str, str, str, datetime, datetime | None]]:
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return []
    with destination.pipeline(provider).sql_client() as client:
        try:
            rows = client.execute_sql(FETCHED.format(client.make_qualified_table_name("fetched_windows")))
        except DatabaseUndefinedRelation:
            return []
        return [(*row[:3], _in_utc(row[3]), _in_utc(row[4]) if row[4] else None) for row in rows or ()]


def _in_utc(moment: Any) -> datetime:
    told: datetime = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return told.astimezone(UTC)
