"""What the command line says: progress while it works, a summary at the end, errors in one line."""

import csv
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.alerts import Alerts
from pipelines.destination import Destination, LoadError
from pipelines.freshness import Stale
from pipelines.logs import ERROR, WARNING, LogFormat, log_lines, new_run_id, plain, tell
from pipelines.reading import as_data
from pipelines.record import Expectation, Fetched, Record
from pipelines.run import BILLING, Report
from pipelines.transform import Outcome
from sources._core.configured import read_files, readable_by_others
from sources._core.http import ConfigurationError, SourceError
from sources._core.windows import utc_now
from sources.billing import Fault, write_templates


@dataclass(frozen=True)
class Terminal:
    """Where human text goes: stdout, or stderr where stdout is for a machine, or nowhere where stderr is, too."""

    console: Console
    as_json: bool
    run_id: str = field(default_factory=new_run_id)
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """One line, however long, but on a terminal: what a scheduler mails or a grep looks for must not be broken."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=not self.console.is_terminal)

    def complain(self, text: str) -> None:
        """One line on stderr, wherever the other text goes."""
        if not self.console.quiet:
            typer.echo(text, err=True)

    def warn(self, warning: str) -> None:
        """Says at once what may be wrong and stops nothing."""
        self.warnings.append(warning)
        tell("warning", WARNING, warning=warning)
        self.complain(f"WARNING  {warning}")

    @contextmanager
    def progress(self, record: Record) -> Iterator[None]:
        """A line a provider, kept up to date while the block works; nothing where nobody watches."""
        record.on_expectation = self._announce
        if not self.console.is_terminal or self.console.quiet:
            yield
            return
        with Live(console=self.console, transient=True, get_renderable=lambda: so_far(record)):
            yield

    def _announce(self, expected: Expectation) -> None:
        minutes = max(1, round(expected.seconds / 60))
        self.say(
            f"{expected.provider}.{expected.table} {expected.account}: about {expected.requests} requests, {minutes} min at "
            "the pace that the provider allows"
        )

    @contextmanager
    def stops_told(self, alerts: Alerts | None, record: Record) -> Iterator[None]:
        """What ends the block before anything could be done is told, too, each time: there is nowhere to remember it."""
        try:
            yield
        except (SourceError, LoadError) as error:
            if alerts is not None and "failures" in alerts.kinds and not alerts.post([f"STOPPED {error}"], record):
                self.complain(f"WARNING  {record.warnings[-1]}")
            raise

    def finish(self, report: Report, last: str | None = None) -> NoReturn:
        """Prints the summary, and a last line, and ends the command with the run's exit status."""
        answer = _as_dict(report)
        self.object({**answer, "warnings": [*self.warnings, *answer["warnings"]]})
        self._summary(report)
        if last:
            self.say(last)
        raise typer.Exit(report.exit_status)

    def object(self, answer: Any) -> None:
        """Prints the one object for a machine, if there is one to print it for."""
        if self.as_json:
            typer.echo(json.dumps(answer, default=plain))

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]], form: str) -> None:
        """Prints what a query answers on stdout: as `table`, `csv` or `json`."""
        if form == "json":
            if len(set(names)) < len(names):
                raise ConfigurationError("two columns have the same name", way_out="Name them apart, with as.")
            typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=plain))
        elif form == "csv":
            text = io.StringIO(newline="")
            writer = csv.writer(text)
            writer.writerows(
                [names, *([None if value is None else as_data(value, _shown(value)) for value in row] for row in rows)]
            )
            typer.echo(text.getvalue(), nl=False)
        else:
            table = Table(box=None, pad_edge=False)
            for position, name in enumerate(names):
                known = (row[position] for row in rows if row[position] is not None)
                right = isinstance(next(known, None), int | float | Decimal)
                table.add_column(escape(name), justify="right" if right else "left", overflow="fold")
            for row in rows:
                table.add_row(*(escape("–" if value is None else _shown(value)) for value in row))
            self.console.print(table)
            self.say(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}")

    def checked(
        self,
        results: Sequence[tuple[str, str, SourceError | None]],
        missing: Sequence[str],
        destination: Destination,
        billing: Mapping[str, str],
        faults: Sequence[Fault],
        stale: Sequence[Stale] | None,
    ) -> None:
        """Prints what `check` found and ends the command: with 2 where the configuration is wrong, 1 where a key is.

        Also with 1 where something is `stale`; None where nobody asked for that.
        """
        status = 2 if faults or not results else 1 if stale or any(error for _, _, error in results) else 0
        for provider, account, error in results:
            tell("checked", ERROR if error else logging.INFO, provider=provider, account=account, error=error and str(error))
        for old in stale or ():
            place = {"provider": old.provider, "account": old.account, "resource": old.resource}
            tell("stale", ERROR, **place, known_until=old.known_until, hours=old.hours)
        if self.as_json:
            answer = {
                "status": "failed" if status else "ok",
                "destination": {"name": destination.name, "location": destination.location},
                "providers": [
                    {"provider": provider, "account": account, "ok": error is None, "error": str(error) if error else None}
                    for provider, account, error in results
                ],
                "not_configured": list(missing),
                "stale": None
                if stale is None
                else [
                    {
                        "provider": old.provider,
                        "account": old.account,
                        "table": old.resource,
                        "known_until": old.known_until,
                        "hours": old.hours,
                    }
                    for old in stale
                ],
                "warnings": self.warnings,
                "billing": {
                    "configured": billing,
                    "faults": [
                        {
                            "table": fault.table,
                            "source": fault.source,
                            "row": fault.row,
                            "column": fault.column,
                            "reason": fault.reason,
                        }
                        for fault in faults
                    ],
                },
            }
            typer.echo(json.dumps(answer, default=plain))
        self.say(f"destination  {destination.name}  {destination.location}")
        for provider, account, error in results:
            self.say(f"{provider}  {account}  {error or 'ok'}")
        for provider in missing:
            self.say(f"{provider}  not in use: no credentials in [sources.{provider}]")
        wrong = {fault.table for fault in faults}
        for table, source in billing.items():
            if table not in wrong:
                self.say(f"{BILLING}  {table}  {source}  ok")
        for fault in faults:
            tell("billing_fault", ERROR, table=fault.table, error=str(fault))
            self.say(f"{BILLING}  {fault.table}  {fault}")
        for old in stale or ():
            self.say(f"STALE  {old}")
        raise typer.Exit(status)

    def templates(self, folder: str) -> None:
        """Writes an example file for each table of billing; one that is there already stays as it is."""
        try:
            for file, is_new in write_templates(Path(folder)):
                self.say(f"{file}{'' if is_new else ' is there already and stays as it is'}")
        except OSError as fault:
            raise ConfigurationError(
                f"{folder} cannot be written ({fault.strerror})", way_out="Name another folder."
            ) from None

    def serving(self, serve: Callable[..., None], port: int, seed: int) -> None:
        """Prints the variables that point a run at the sandbox, and serves until Ctrl-C."""

        def ready(sandbox: Any) -> None:
            for name, value in sandbox.variables().items():
                typer.echo(f"export {name}={value}")
            typer.echo("serving; Ctrl-C ends it", err=True)

        try:
            serve(port, seed, ready)
        except OSError as fault:
            raise ConfigurationError(
                f"port {port} cannot be listened on ({fault.strerror})", way_out="Name another: --port 0 takes a free one."
            ) from None

    def _summary(self, report: Report) -> None:
        record = report.record
        if report.loaded:
            self.console.print(_loaded_table(report.loaded))
        if record.billing:
            self.say(f"{BILLING}  " + ", ".join(f"{table} from {source}" for table, source in record.billing.items()))
        for gap in record.gaps:
            where = f"{gap.provider}.{gap.table} {gap.account}"
            self.say(f"GAP  {where}: the provider does not tell {gap.window} any more, and no regular run has loaded it")
        if report.cost_monthly:
            self.console.print(_month_table(report.cost_monthly))
            self.console.print(_sku_table(report.cost_monthly))
        for row in report.unpriced_usage or []:
            what = f"{row['quantity']:,.0f} {row['meter'] if row['unit'] else 'uses of ' + row['meter']}"
            when = f"{row['first_date']} to {row['last_date']}"
            self.say(f"UNPRICED  {row['provider']} {row['account']}: {what}, {when} ({row['reason']}); in no cost above")
        if report.outcome is not None:
            self._models(report.outcome)
        for failure in _distinct(record):
            self.complain(f"FAILED  {failure}")
        for warning in record.warnings:
            self.complain(f"WARNING  {warning}")
        self.say(f"{'done' if report.exit_status == 0 else 'not all done'}: {report.destination.location}")

    def _models(self, outcome: Outcome) -> None:
        done = f"{outcome.built} built, {outcome.tested} tests passed"
        if outcome.up_to_date:
            self.say(f"models  up to date: nothing has changed since they were made ({done})")
        else:
            self.say(f"models  {done}, {len(outcome.failures)} failed")
        for line in outcome.warnings:
            self.say(f"WARNING  {line}")
        for line in outcome.failures:
            self.complain(f"FAILED  {line}")


@contextmanager
def reporting(command: str, *, as_json: bool = False, log_format: LogFormat = LogFormat.TEXT) -> Iterator[Terminal]:
    """Ends the command with one line and status 2 where the configuration is wrong, 1 where a source fails."""
    for_machines = log_format is LogFormat.JSON
    terminal = Terminal(Console(stderr=as_json, soft_wrap=False, quiet=for_machines), as_json)
    with log_lines(log_format, terminal.run_id), _logged(command, for_machines=for_machines):
        try:
            for file in readable_by_others(read_files()):  # before dlt reads them, whose message names no line
                terminal.warn(f"{file} can be read by others on this machine: chmod 600 {file}")
            yield terminal
        except (SourceError, LoadError) as error:
            status = 2 if isinstance(error, ConfigurationError) else 1
            if as_json:
                typer.echo(json.dumps({"status": "failed", "exit_status": status, "error": str(error)}))
            tell("stopped", ERROR, kind=type(error).__name__, error=str(error))
            terminal.complain(f"meterhouse: {error}")
            raise typer.Exit(status) from None


@contextmanager
def _logged(command: str, *, for_machines: bool) -> Iterator[None]:
    """The first line of a log and its last, with the status that the command ends with."""
    began, status = time.monotonic(), 0
    tell("started", command=command)
    try:
        yield
    except typer.Exit as end:
        status = end.exit_code
        raise
    except Exception as fault:
        status = 1
        if not for_machines:
            raise
        logging.getLogger("meterhouse").critical("crashed", exc_info=True, extra={"fields": {"error": str(fault)}})
        raise typer.Exit(status) from None  # a traceback in between would not be a line
    finally:
        tell("finished", exit_status=status, seconds=round(time.monotonic() - began, 3))


def so_far(record: Record) -> Group:
    """What a run has done until now, a line a provider; it is drawn while others write to `record`."""
    table = _table("", "provider", "pages", "left in budget", "rows", "loaded until", "to go")
    fetched = list(record.fetched)
    for provider, requests in list(record.requests.items()):
        mine = [entry for entry in fetched if entry.provider == provider]
        left = record.left.get(provider)
        last = max((entry.window.end for entry in mine), default=None)
        to_go = _to_go(record, provider)
        table.add_row(
            provider,
            f"{requests:,}",
            "no limit known" if left is None else f"{left:,}",
            f"{sum(entry.rows for entry in mine):,}",
            min(last.subtract(microseconds=1), utc_now()).to_date_string() if last else "–",
            "–" if to_go is None else _clock(to_go),
        )
    models = [Text(f"models    {len(record.models)} built or tested, {record.models[-1]}"[:79])] if record.models else []
    return Group(table, *models)


def _to_go(record: Record, provider: str) -> float | None:
    """Seconds: those that the source has announced, or what the rest takes if it takes as long as what has been read.

    Tables are read side by side, so that it is the time since the first of them began which counts, not that of each.
    """
    awaited = [entry.announced_at + entry.seconds for entry in list(record.expectations) if entry.provider == provider]
    if awaited:
        return max(awaited) - time.monotonic()
    tallies = [tally for (name, _, _), tally in list(record.asked.items()) if name == provider]
    read = sum((tally.read for tally in tallies), timedelta())
    rest = max(timedelta(), sum((tally.planned for tally in tallies), timedelta()) - read)
    return (time.monotonic() - min(tally.began for tally in tallies)) * (rest / read) if read else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"


def _loaded_table(loaded: Sequence[Fetched]) -> Table:
    table = _table("loaded", "table", "account", "from", "to", "rows")
    by_table: dict[tuple[str, str, str], list[Fetched]] = {}
    for entry in loaded:
        by_table.setdefault((entry.provider, entry.table, entry.account), []).append(entry)
    previous = None
    for (provider, name, account), entries in by_table.items():
        if provider != previous:
            table.add_row(provider)
            previous = provider
        start = entries[0].window.start.to_date_string()
        end = entries[-1].window.end.subtract(microseconds=1).to_date_string()  # the last day, which people read as included
        table.add_row(f"  {name}", escape(account), start, end, f"{sum(entry.rows for entry in entries):,}")
    return table


MONTHS_SHOWN = 13
"""A year and the running month; all of them are in usage.cost_monthly."""


def _month_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("cost by month", "month", "provider", "account", "billed")
    months = sorted({row["billing_month"] for row in rows})[-MONTHS_SHOWN:]
    totals: dict[tuple[Any, ...], list[Decimal]] = {}
    incomplete = {row["billing_month"] for row in rows if not row["is_complete"]}
    latest = months[-1]
    for row in rows:
        if row["billing_month"] in months:
            key = (row["billing_month"], row["provider"], row["account"], row["currency"])
            totals.setdefault(key, []).append(_cents(row["billed_cost"]))  # an invoice rounds each line, then adds
    previous = None
    for (month, provider, account, currency), amounts in totals.items():
        mark = "" if month not in incomplete else " so far" if month == latest else " incomplete"
        shown = f"{month:%Y-%m}{mark}" if month != previous else ""
        table.add_row(shown, provider, escape(account), f"{sum(amounts):,} {currency}")
        previous = month
    return table


def _sku_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    month = max(row["billing_month"] for row in rows)
    table = _table(f"{month:%Y-%m} by SKU", "account", "sku", "quantity", "unit", "billed")
    for row in rows:
        if row["billing_month"] == month:
            billed = f"{_cents(row['billed_cost']):,} {row['currency']}"
            table.add_row(escape(row["account"]), escape(row["sku_id"]), f"{row['quantity']:,.0f}", row["unit"], billed)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        right = name in {"rows", "quantity", "billed", "pages", "left in budget", "to go"}
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _distinct(record: Record) -> list[str]:
    """Each failure once, with the tables that it kept from being loaded: a wrong key fails every table alike."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    for failure in record.failures:  # a table of many parts fails with each of them
        tables.setdefault((failure.account, str(failure.error)), {})[failure.table] = None
    return [
        f"{error}" + (f" [account {account}: {', '.join(names)}]" if account else "")
        for (account, error), names in tables.items()
    ]


def _as_dict(report: Report) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "status": "ok" if report.exit_status == 0 else "failed",
        "exit_status": report.exit_status,
        "run_id": report.record.run_id,
        "destination": {"name": report.destination.name, "location": report.destination.location},
        "loaded": [
            {
                "provider": entry.provider,
                "table": entry.table,
                "account": entry.account,
                "from": entry.window.start,
                "until": entry.window.end,
                "rows": entry.rows,
            }
            for entry in report.loaded
        ],
        "warnings": report.record.warnings,
        "billing": report.record.billing,
        "requests": report.record.requests,
        "gaps": [
            {
                "provider": gap.provider,
                "table": gap.table,
                "account": gap.account,
                "from": gap.window.start,
                "until": gap.window.end,
            }
            for gap in report.record.gaps
        ],
        "failures": [
            {
                "provider": failure.provider,
                "table": failure.table,
                "account": failure.account,
                "kind": type(failure.error).__name__,
                "error": str(failure.error),
            }
            for failure in report.record.failures
        ],
        "models": None
        if outcome is None
        else {
            "built": outcome.built,
            "tests_passed": outcome.tested,
            "up_to_date": outcome.up_to_date,
            "failures": outcome.failures,
            "warnings": outcome.warnings,
        },
        "cost_monthly": report.cost_monthly,
        "unpriced_usage": report.unpriced_usage,
    }


def _shown(value: Any) -> str:
    """A value in a table: a number without the zeros that a column's scale puts behind it."""
    text = plain(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in text else text
