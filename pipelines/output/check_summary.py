"""The result of `meterhouse check`, for people and for machines."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import typer

from meterhouse.pipelines.output.console import CommandOutput
from meterhouse.pipelines.run.check import CheckResult
from meterhouse.pipelines.run.closing import ClosedPeriod, closed_lines
from meterhouse.pipelines.run.open import BILLING
from meterhouse.pipelines.run.restatements import Lateness
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.billing import configured_reporting_currency, unchanged_templates, write_templates


def finish_check(result: CheckResult, out: CommandOutput) -> NoReturn:
    """Prints the result, and ends the command with its exit status."""
    late = (provider.warning for provider in result.lateness if provider.warning)
    wrong = {error.table for error in result.billing_errors}
    readable = {table: source for table, source in result.billing.items() if table not in wrong}
    examples = (
        f"{readable[table]} is the unchanged example of `check --billing-templates`: replace its rows with your own"
        for table in unchanged_templates(readable)
    )
    budgets = ["no budget is valid this month, or nothing of this month is loaded yet"] if result.budgets == [] else []
    has_no_effect = "fx_rates" in result.billing and configured_reporting_currency() is None
    rates = ["fx_rates has no effect without sources.billing.reporting_currency"] if has_no_effect else []
    for warning in (*map(str, result.unverified_amounts), *late, *examples, *budgets, *rates):
        out.warn(warning)
    out.print_object({**check_as_dict(result), "warnings": out.warnings})
    out.print(f"destination  {result.destination.name}  {result.destination.location}")
    for account in result.accounts:
        out.print(f"{account.provider}  {account.account}  {account.error or 'ok'}")
    for provider in result.not_configured:
        out.print(f"{provider}  not in use: no credentials in [sources.{provider}]")
    for table, source in readable.items():
        out.print(f"{BILLING}  {table}  {source}  ok")
    for error in result.billing_errors:
        out.print(f"{BILLING}  {error.table}  {error}")
    for line in _database_lines(result):
        out.print(line)
    raise typer.Exit(result.exit_status)


def _database_lines(result: CheckResult) -> Iterator[str]:
    """Lines about the loaded data: closed periods, pending invoices, history, restatements, stale tables and budgets."""
    yield from (f"closed  {line}" for line in closed_lines(result.closed))
    yield from (f"pending  {invoice}" for invoice in result.pending)
    if result.history:
        kept, since = sum(table.rows for table in result.history), min(table.since for table in result.history)
        yield f"history  replaced or withdrawn rows: {kept:,}, tables: {len(result.history)}, since {since:%Y-%m-%d}"
    yield from (f"restated  {late}" for late in result.lateness)
    yield from (f"STALE  {stale}" for stale in result.stale or ())
    yield from (f"{'OVER BUDGET' if budget.is_over else 'budget'}  {budget}" for budget in result.budgets or ())


def check_as_dict(result: CheckResult) -> dict[str, Any]:
    """The object that `--json` prints, without the warnings."""
    stale = (
        None
        if result.stale is None
        else [
            {
                "provider": table.provider,
                "account": table.account,
                "table": table.resource,
                "known_until": table.known_until,
                "hours": table.hours,
            }
            for table in result.stale
        ]
    )
    return {
        "status": "failed" if result.exit_status else "ok",
        "destination": {"name": result.destination.name, "location": result.destination.location},
        "providers": [
            {
                "provider": account.provider,
                "account": account.account,
                "ok": account.error is None,
                "error": str(account.error) if account.error else None,
            }
            for account in result.accounts
        ],
        "not_configured": list(result.not_configured),
        "stale": stale,
        "budgets": None if result.budgets is None else [asdict(budget) for budget in result.budgets],
        "closed": [closed_as_dict(period) for period in result.closed],
        "pending": [asdict(invoice) for invoice in result.pending],
        "history": [asdict(table) for table in result.history],
        "restated": [lateness_as_dict(late) for late in result.lateness],
        "billing": {
            "configured": result.billing,
            "errors": [
                {
                    "table": error.table,
                    "source": error.source,
                    "row": error.row,
                    "column": error.column,
                    "reason": error.reason,
                }
                for error in result.billing_errors
            ],
        },
    }


def closed_as_dict(period: ClosedPeriod) -> dict[str, Any]:
    """A closed period, for machines."""
    return asdict(period) | {"meter": period.meter or None}


def lateness_as_dict(late: Lateness) -> dict[str, Any]:
    """How late a provider restates, for machines; the lookback in days."""
    return asdict(late) | {"lookback": late.lookback / timedelta(days=1) if late.lookback is not None else None}


def write_billing_templates(folder: Path, out: CommandOutput) -> None:
    """Writes an example file for each billing table; existing files stay.

    Raises:
        ConfigurationError: the folder cannot be written.
    """
    try:
        for file, is_new in write_templates(folder):
            out.print(f"{file}{'' if is_new else ' already exists and stays unchanged'}")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written ({error.strerror})", hint="Name another folder.") from None
