"""`meterhouse check`: configuration, credentials, billing data, freshness and closed months, without loading anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from dlt.sources import DltSource

from meterhouse.pipelines.run.billing import billing_errors, configured_billing
from meterhouse.pipelines.run.closing import ClosedPeriod, PendingInvoice, closed_periods, pending_invoices
from meterhouse.pipelines.run.events import BillingRejected, CredentialsChecked, Event, Observer, TableIsStale, Waiting
from meterhouse.pipelines.run.freshness import StaleTable, stale_tables
from meterhouse.pipelines.run.history import HistorySize, history_sizes
from meterhouse.pipelines.run.open import open_sources
from meterhouse.pipelines.run.restatements import Lateness, lateness
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.skus import UnverifiedPrice, unverified_prices
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core import credentials_check
from meterhouse.sources._core.errors import NotConfigured
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.billing import RowError
from meterhouse.sources.registry import PROVIDERS


@dataclass(frozen=True)
class CheckResult:
    """What a check found. `stale` is None if no maximum age was given."""

    destination: Destination
    accounts: Sequence[CredentialsChecked]
    not_configured: Sequence[str]
    billing: Mapping[str, str]
    billing_errors: Sequence[RowError]
    stale: Sequence[StaleTable] | None
    unverified_prices: Sequence[UnverifiedPrice]
    closed: Sequence[ClosedPeriod]
    pending: Sequence[PendingInvoice]
    history: Sequence[HistorySize]
    lateness: Sequence[Lateness]

    @property
    def exit_status(self) -> int:
        """2 if billing data is wrong or no provider is configured, 1 if a key does not work or a table is stale, else 0."""
        if self.billing_errors or not self.accounts:
            return 2
        return 1 if self.stale or any(account.error for account in self.accounts) else 0


def check_all(destination_name: str | None, observer: Observer, *, max_age: timedelta | None) -> CheckResult:
    """Checks the billing data, the age of the tables, and each account's credentials with one cheap request.

    Raises:
        ConfigurationError: a setting is wrong, or neither a provider nor billing is configured.
        LoadError: the destination cannot be read.
    """
    try:
        sources = open_sources([], RunState(observer))
    except NotConfigured:
        if not configured_billing():
            raise
        sources = {}
    destination = resolve_destination(destination_name)
    destination.on_wait = lambda: observer(Waiting(destination.location))
    destination.require_available()
    errors = billing_errors(destination, sources)
    stale = stale_tables(destination, sources, max_age) if max_age is not None else None
    accounts = list(_checked_accounts(sources))
    events: list[Event] = [*accounts, *map(TableIsStale, stale or ()), *map(BillingRejected, errors)]
    for event in events:
        observer(event)
    not_configured = [provider for provider in PROVIDERS if provider not in sources]
    closed = closed_periods(destination)
    return CheckResult(
        destination,
        accounts,
        not_configured,
        configured_billing(),
        errors,
        stale,
        unverified_prices(sources, utc_now().date()),
        closed,
        pending_invoices(destination, closed),
        history_sizes(destination),
        lateness(destination),
    )


def _checked_accounts(sources: Mapping[str, DltSource]) -> Iterable[CredentialsChecked]:
    for provider, source in sources.items():
        for row in source.with_resources(credentials_check.NAME):
            yield CredentialsChecked(provider, row["account"], row["error"])
