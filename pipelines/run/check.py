"""`meterhouse check`: configuration, credentials, billing data, freshness, budgets and closed months; it loads nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from dlt.sources import DltSource

from meterhouse.pipelines.run.billing import billing_errors, configured_billing
from meterhouse.pipelines.run.budgets import BudgetStatus, budgets_of_month
from meterhouse.pipelines.run.closing import ClosedPeriod, PendingInvoice, closed_periods, pending_invoices
from meterhouse.pipelines.run.events import (
    BillingRejected,
    BudgetExceeded,
    CredentialsChecked,
    Event,
    Observer,
    TableIsStale,
    Waiting,
)
from meterhouse.pipelines.run.freshness import StaleTable, stale_tables
from meterhouse.pipelines.run.history import HistorySize, history_sizes
from meterhouse.pipelines.run.open import open_sources
from meterhouse.pipelines.run.restatements import Lateness, lateness
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.skus import UnverifiedAmount, unverified_amounts
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core import credentials_check
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.billing import RowError
from meterhouse.sources.registry import PROVIDERS


@dataclass(frozen=True)
class CheckResult:
    """What a check found. `stale` is None if no maximum age was given, `budgets` if they were not to be checked."""

    destination: Destination
    accounts: Sequence[CredentialsChecked]
    not_configured: Sequence[str]
    billing: Mapping[str, str]
    billing_errors: Sequence[RowError]
    stale: Sequence[StaleTable] | None
    budgets: Sequence[BudgetStatus] | None
    unverified_amounts: Sequence[UnverifiedAmount]
    closed: Sequence[ClosedPeriod]
    pending: Sequence[PendingInvoice]
    history: Sequence[HistorySize]
    lateness: Sequence[Lateness]

    @property
    def exceeded(self) -> list[BudgetStatus]:
        """The budgets that are exceeded."""
        return [budget for budget in self.budgets or () if budget.is_over]

    @property
    def exit_status(self) -> int:
        """2 if billing data is wrong or no provider is in use; 1 if a key fails, a table is stale or a budget exceeded."""
        if self.billing_errors or not self.accounts:
            return 2
        return 1 if self.stale or self.exceeded or any(account.error for account in self.accounts) else 0


def check_all(
    destination_name: str | None, observer: Observer, *, max_age: timedelta | None, budgets: bool = False
) -> CheckResult:
    """Checks the billing data, the age of the tables, and each account's credentials with one cheap request.

    With `budgets`, it also reads the budgets of this month, as the last build computed them.

    Raises:
        ConfigurationError: a setting is wrong, neither a provider nor billing is configured, or there are no `budgets`.
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
    statuses = _budgets(destination) if budgets else None
    accounts = list(_checked_accounts(sources))
    not_configured = [provider for provider in PROVIDERS if provider not in sources]
    closed = closed_periods(destination)
    result = CheckResult(
        destination,
        accounts,
        not_configured,
        configured_billing(),
        errors,
        stale,
        statuses,
        unverified_amounts(sources, utc_now().date()),
        closed,
        pending_invoices(destination, closed),
        history_sizes(destination),
        lateness(destination),
    )
    events: list[Event] = [*accounts, *map(TableIsStale, stale or ()), *map(BudgetExceeded, result.exceeded)]
    for event in (*events, *map(BillingRejected, errors)):
        observer(event)
    return result


def _budgets(destination: Destination) -> list[BudgetStatus]:
    with destination.reader() as reader:
        found = budgets_of_month(reader.rows, utc_now().date().replace(day=1))
    if not found and "budgets" not in configured_billing():
        raise ConfigurationError(
            "there are no budgets to check", hint="Write them into a CSV file, and name it in sources.billing.budgets."
        )
    return found


def _checked_accounts(sources: Mapping[str, DltSource]) -> Iterable[CredentialsChecked]:
    for provider, source in sources.items():
        for row in source.with_resources(credentials_check.NAME):
            yield CredentialsChecked(provider, row["account"], row["error"])
