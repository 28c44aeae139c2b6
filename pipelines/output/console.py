"""What the command line says: progress while it works, a summary at the end, errors in one line."""

import csv
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from meterhouse.pipelines.output.json_log import ERROR, WARNING, LogFormat, log_lines, new_run_id, plain, tell
from meterhouse.pipelines.output.progress import progress_table
from meterhouse.pipelines.output.summary import (
    cost_table,
    display_value,
    distinct_failures,
    loaded_table,
    result_as_dict,
    sku_table,
)
from meterhouse.pipelines.run.alerts import Alerts
from meterhouse.pipelines.run.freshness import Stale
from meterhouse.pipelines.run.open import BILLING
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import Estimate, RunState
from meterhouse.pipelines.transform import Outcome
from meterhouse.pipelines.warehouse.destination import Destination, LoadError
from meterhouse.pipelines.warehouse.query import escape_formula
from meterhouse.sources._core.config.unknown_settings import read_files, readable_by_others
from meterhouse.sources._core.errors import ConfigurationError, SourceError
from meterhouse.sources.billing import Fault, write_templates


@dataclass(frozen=True)
class CommandOutput:
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
    def progress(self, record: RunState) -> Iterator[None]:
        """A line a provider, kept up to date while the block works; nothing where nobody watches."""
        record.on_expectation = self._announce
        if not self.console.is_terminal or self.console.quiet:
            yield
            return
        with Live(console=self.console, transient=True, get_renderable=lambda: progress_table(record)):
            yield

    def _announce(self, expected: Estimate) -> None:
        minutes = max(1, round(expected.seconds / 60))
        self.say(
            f"{expected.provider}.{expected.table} {expected.account}: about {expected.requests} requests, {minutes} min at "
            "the pace that the provider allows"
        )

    @contextmanager
    def stops_told(self, alerts: Alerts | None, record: RunState) -> Iterator[None]:
        """What ends the block before anything could be done is told, too, each time: there is nowhere to remember it."""
        try:
            yield
        except (SourceError, LoadError) as error:
            if alerts is not None and "failures" in alerts.kinds and not alerts.post([f"STOPPED {error}"], record):
                self.complain(f"WARNING  {record.warnings[-1]}")
            raise

    def finish(self, report: RunResult, last: str | None = None) -> NoReturn:
        """Prints the summary, and a last line, and ends the command with the run's exit status."""
        answer = result_as_dict(report)
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
                raise ConfigurationError("two columns have the same name", hint="Name them apart, with as.")
            typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=plain))
        elif form == "csv":
            text = io.StringIO(newline="")
            writer = csv.writer(text)
            writer.writerows(
                [
                    names,
                    *(
                        [None if value is None else escape_formula(value, display_value(value)) for value in row]
                        for row in rows
                    ),
                ]
            )
            typer.echo(text.getvalue(), nl=False)
        else:
            table = Table(box=None, pad_edge=False)
            for position, name in enumerate(names):
                known = (row[position] for row in rows if row[position] is not None)
                right = isinstance(next(known, None), int | float | Decimal)
                table.add_column(escape(name), justify="right" if right else "left", overflow="fold")
            for row in rows:
                table.add_row(*(escape("–" if value is None else display_value(value)) for value in row))
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
            raise ConfigurationError(f"{folder} cannot be written ({fault.strerror})", hint="Name another folder.") from None

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
                f"port {port} cannot be listened on ({fault.strerror})", hint="Name another: --port 0 takes a free one."
            ) from None

    def _summary(self, report: RunResult) -> None:
        record = report.record
        if report.loaded:
            self.console.print(loaded_table(report.loaded))
        if record.billing:
            self.say(f"{BILLING}  " + ", ".join(f"{table} from {source}" for table, source in record.billing.items()))
        for gap in record.gaps:
            where = f"{gap.provider}.{gap.table} {gap.account}"
            self.say(f"GAP  {where}: the provider does not tell {gap.window} any more, and no regular run has loaded it")
        if report.cost_monthly:
            self.console.print(cost_table(report.cost_monthly))
            self.console.print(sku_table(report.cost_monthly))
        for row in report.unpriced_usage or []:
            what = f"{row['quantity']:,.0f} {row['meter'] if row['unit'] else 'uses of ' + row['meter']}"
            when = f"{row['first_date']} to {row['last_date']}"
            self.say(f"UNPRICED  {row['provider']} {row['account']}: {what}, {when} ({row['reason']}); in no cost above")
        if report.outcome is not None:
            self._models(report.outcome)
        for failure in distinct_failures(record):
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
def command_output(
    command: str, *, as_json: bool = False, log_format: LogFormat = LogFormat.TEXT
) -> Iterator[CommandOutput]:
    """Ends the command with one line and status 2 where the configuration is wrong, 1 where a source fails."""
    for_machines = log_format is LogFormat.JSON
    terminal = CommandOutput(Console(stderr=as_json, soft_wrap=False, quiet=for_machines), as_json)
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
