"""Closed periods: the invoices that froze usage, and the command that reopens a month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import NotBuilt
from meterhouse.pipelines.warehouse.query import queries
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import require_provider

LATE = timedelta(days=31)
"""How long after its end a period is closed in the usual course: invoices arrive in the month after."""


CLOSES_LATER = "under"
"""The status of an invoice that closes its period a day later: it differs, but no usage is missing."""


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """A period whose usage an issued invoice froze. `meter` is empty if it is closed for all meters.

    `invoice_id` is None for a month that an earlier version closed.
    """

    provider: str
    account: str
    meter: str
    period_start: date
    period_end: date
    invoice_id: str | None
    closed_at: datetime

    @property
    def period(self) -> str:
        """The month, or the first and the last day of a part of one."""
        if self.period_start.day == 1 and self.period_end == _next_month(self.period_start):
            return f"{self.period_start:%Y-%m}"
        return f"{self.period_start} to {self.period_end - timedelta(days=1)}"


@dataclass(frozen=True, slots=True)
class PendingInvoice:
    """An invoice that has closed nothing yet, and what it waits for."""

    provider: str
    billing_account: str
    invoice_id: str
    period_start: date
    period_end: date
    status: str
    what_to_do: str

    def __str__(self) -> str:
        last = self.period_end - timedelta(days=1)
        invoice = f"invoice {self.invoice_id} of {self.period_start} to {last}"
        later = " It closes the period a day after it was first seen, despite the difference."
        closes = later if self.status == CLOSES_LATER else ""
        return f"{self.provider}  {self.billing_account}  {invoice}: {self.status}. {self.what_to_do}{closes}"


def closed_lines(periods: Sequence[ClosedPeriod]) -> list[str]:
    """The closed periods as text: a line for each provider, account, period and invoice, with its meters if not all."""
    lines: dict[tuple[str, str, str, str | None], list[ClosedPeriod]] = {}
    for period in periods:
        lines.setdefault((period.provider, period.account, period.period, period.invoice_id), []).append(period)
    return [
        _closed_line(provider, account, when, invoice_id, closed)
        for (provider, account, when, invoice_id), closed in lines.items()
    ]


def _closed_line(provider: str, account: str, when: str, invoice_id: str | None, closed: Sequence[ClosedPeriod]) -> str:
    meters = ", ".join(sorted({period.meter for period in closed if period.meter}))
    invoice = f"invoice {invoice_id}" if invoice_id else "an earlier version"
    since = max(period.closed_at for period in closed)
    return "  ".join(filter(None, (provider, account, when, meters, f"by {invoice} since {since:%Y-%m-%d %H:%M}")))


def pending_invoices(destination: Destination, closed: Sequence[ClosedPeriod]) -> list[PendingInvoice]:
    """The invoices that have closed none of the `closed` periods; none before the first build.

    Raises:
        LoadError: the destination cannot be read.
    """
    payers = {(provider, account): payer for provider, account, payer in _rows_if_built(destination, "billed_accounts")}
    done = {
        (period.provider, payers.get((period.provider, period.account), period.account), period.invoice_id)
        for period in closed
    }
    first: dict[tuple[str, str, str], PendingInvoice] = {}
    for invoice in (PendingInvoice(*row) for row in _rows_if_built(destination, "pending_invoices")):
        key = (invoice.provider, invoice.billing_account, invoice.invoice_id)
        if key not in done:
            first.setdefault(key, invoice)
    return list(first.values())


def closed_periods(destination: Destination) -> list[ClosedPeriod]:
    """All closed periods, ordered by provider, account and month; none before the first build.

    Raises:
        LoadError: the destination cannot be read.
    """
    return [ClosedPeriod(*row) for row in _rows_if_built(destination, "closed_periods")]


def _rows_if_built(destination: Destination, query: str) -> list[tuple[Any, ...]]:
    try:
        with destination.reader() as reader:
            return reader.tuples(queries()[query])[1]
    except NotBuilt:
        return []


def late_closings(destination: Destination, since: datetime) -> str | None:
    """A warning of the periods that were closed after `since`, more than a month after their end; None without any.

    Either their invoice was loaded late, or the database was built anew and has lost what an earlier one had closed.

    Raises:
        LoadError: the destination cannot be read.
    """
    begun = since.astimezone(UTC).replace(tzinfo=None)
    late = [
        period
        for period in closed_periods(destination)
        if period.invoice_id and period.closed_at >= begun and period.closed_at.date() - period.period_end > LATE
    ]
    if not late:
        return None
    first = min(late, key=lambda period: (period.period_start, period.provider, period.account))
    others = f" and {len(late) - 1} others" if len(late) > 1 else ""
    return (
        f"closed more than a month after the end: {first.provider} {first.account} {first.period} by invoice"
        f" {first.invoice_id}{others}. The quantities are those that the vendor returns today. If an earlier database"
        " had closed them, restore its quantities: see 'Back up what is closed' in pipelines/README.md"
    )


def reopen(destination: Destination, provider: str, account: str, month: str) -> list[ClosedPeriod]:
    """Reopens a month of an account, or of all accounts of a billing account, and returns its closed periods.

    Nothing is deleted: the table `int_usage__frozen` logs the reopening. If the invoice still exists, the next build closes
    the month again, with the current quantities.

    Raises:
        ConfigurationError: the provider, the account or the month is unknown, or the month is not closed.
        LoadError: the destination cannot be read or written, or a run is using it.
    """
    require_provider(provider)
    first = _first_day(month)
    with destination.exclusive_run(), destination.hold_open():
        closed = [period for period in closed_periods(destination) if period.provider == provider]
        accounts = _accounts(destination, provider, account, closed)
        opened = [p for p in closed if p.account in accounts and first <= p.period_start < _next_month(first)]
        if not opened:
            months = sorted({f"{period.period_start:%Y-%m}" for period in closed if period.account in accounts})
            raise ConfigurationError(
                f"{first:%Y-%m} of {provider} {account} is not closed",
                hint=f"Closed months: {', '.join(months)}."
                if months
                else f"No month of {provider} {account} is closed; see `meterhouse check`.",
            )
        now = _after_all_events(destination)
        for name in sorted({period.account for period in opened}):
            destination.execute(queries()["reopen"], now, provider, name, first, _next_month(first))
    return opened


def _accounts(destination: Destination, provider: str, name: str, closed: Sequence[ClosedPeriod]) -> set[str]:
    """The account of this name, or the accounts of the billing account of this name."""
    billed = [row for vendor, *row in _rows_if_built(destination, "billed_accounts") if vendor == provider]
    accounts = {account for account, _ in billed} | {period.account for period in closed}
    named = {name} & accounts or {account for account, payer in billed if payer == name}
    if not named:
        raise ConfigurationError(
            f"{provider} has no account {name}",
            hint=f"Known accounts: {', '.join(sorted(accounts))}." if accounts else f"No usage of {provider} is loaded.",
        )
    return named


def _after_all_events(destination: Destination) -> datetime:
    """The current time, or just after the last event if another clock was ahead: only the order of events decides."""
    with destination.reader() as reader:
        last: datetime = reader.rows(queries()["last_closing"])[0]["closed_at"]
    return max(utc_now().astimezone(UTC).replace(tzinfo=None), last + timedelta(microseconds=1))


def _first_day(month: str) -> date:
    try:
        return datetime.strptime(month, "%Y-%m").date()  # noqa: DTZ007 - a month has no time zone
    except ValueError:
        raise ConfigurationError(f"{month} is not a month", hint="Write it as 2026-03.") from None


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)
