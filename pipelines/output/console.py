"""Where a command prints: text for people, an object for a machine, log lines; and how it ends."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live

from meterhouse.pipelines.output.json_lines import LogFormat, json_lines, json_text
from meterhouse.pipelines.output.json_log import log_event
from meterhouse.pipelines.output.progress import progress_table
from meterhouse.pipelines.output.streams import escape_unencodable_characters, forgiving_streams
from meterhouse.pipelines.output.summary import print_summary, result_as_dict
from meterhouse.pipelines.run.alerts import Alerts
from meterhouse.pipelines.run.events import (
    CommandCrashed,
    CommandFinished,
    CommandStarted,
    CommandStopped,
    Event,
    Waiting,
    Warned,
)
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import RunState, new_run_id
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, RunInProgress
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.pipelines.warehouse.schemas import REGULAR, checked_schema
from meterhouse.sources._core.config.unknown_settings import read_files, readable_by_others
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.errors import ConfigurationError, SourceError
from meterhouse.sources._core.events import LONG_WAIT, DurationEstimated, Place, RequestDelayed, RequestRetried

PRINT_ONLY = frozenset({"check", "query", "status"})
"""Commands that do nothing but print: a failed write to stdout makes them fail."""


@dataclass(frozen=True)
class CommandOutput:
    """The output of one command. Text goes to stdout, with `--json` to stderr, and with a JSON log nowhere."""

    console: Console
    as_json: bool
    run_id: str = field(default_factory=new_run_id)
    warnings: list[str] = field(default_factory=list)

    def print(self, text: str) -> None:
        """Prints one line with control characters escaped.

        It wraps on a terminal only, so that mail and grep get whole lines.
        """
        escaped, wraps_softly = escape_control_characters(text), not self.console.is_terminal
        self.console.print(escaped, markup=False, highlight=False, soft_wrap=wraps_softly)

    def print_error(self, text: str) -> None:
        """Prints one line on stderr, with visible control characters."""
        if not self.console.quiet:
            typer.echo(escape_control_characters(text), err=True)

    def print_object(self, value: Any) -> None:
        """Prints the object for a machine, with `--json`."""
        if self.as_json:
            typer.echo(json.dumps(value, default=json_text))

    def warn(self, warning: str) -> None:
        """Prints a warning now, and includes it in the object for a machine."""
        self.warnings.append(warning)
        log_event(Warned(warning))
        self.print_error(f"WARNING  {warning}")

    def destination_to_read(self, name: str | None, schema: str = REGULAR) -> Destination:
        """The destination of a command that changes nothing; a wait for others that have its file open is announced.

        `schema` has the marts: those of the regular build, or those as of an earlier moment.
        """
        schema = checked_schema(schema)
        target = resolve_destination(name, read_only=True)
        target.schema = schema
        target.on_wait = lambda: self.print_error(f"waiting for another process that uses {target.location}")
        return target

    def observe(self, event: Event) -> None:
        """Logs an event of the run, and announces what takes long."""
        log_event(event)
        if isinstance(event, Waiting):
            self.print(f"waiting for another process that uses {event.location}")
        elif isinstance(event, DurationEstimated):
            minutes = max(1, round(event.seconds / 60))
            self.print(f"{_shown(event.place)}: about {event.requests} requests, {minutes} min at the provider's rate limit")
        elif isinstance(event, RequestDelayed):
            limit = event.requests_per_minute
            allowed = f" ({limit} request{'' if limit == 1 else 's'} a minute)" if limit else ""
            self.print(f"{_shown(event.place)}: waiting {event.wait:.0f} s for the rate limit{allowed}")
        elif isinstance(event, RequestRetried) and event.wait >= LONG_WAIT:
            self.print(f"{_shown(event.place)}: next attempt in {event.wait:.0f} s, after {event.error}")

    @contextmanager
    def progress(self, state: RunState) -> Iterator[None]:
        """Shows live progress within the block, on a terminal."""
        if not self.console.is_terminal or self.console.quiet:
            yield
            return
        with Live(console=self.console, transient=True, get_renderable=lambda: progress_table(state)):
            yield

    @contextmanager
    def alert_if_stopped(self, alerts: Alerts | None, state: RunState) -> Iterator[None]:
        """Sends an alert for an error that ends the block; repeats it in every run, because no table records the alert.

        An active other run causes no alert: if it never ends, the tables become stale, which `check --max-age` reports.
        """
        try:
            yield
        except RunInProgress:
            raise
        except (SourceError, LoadError) as error:
            if alerts is not None and "failures" in alerts.kinds and not alerts.post([f"STOPPED {error}"], state):
                self.print_error(f"WARNING  {state.warnings[-1]}")
            raise

    def finish(self, result: RunResult, last_line: str | None = None) -> NoReturn:
        """Prints the summary and a last line, and ends the command with the run's exit status."""
        summary = result_as_dict(result)
        self.print_object({**summary, "warnings": [*self.warnings, *summary["warnings"]]})
        print_summary(result, self.console, print_line=self.print, print_error=self.print_error)
        if last_line:
            self.print(last_line)
        raise typer.Exit(result.exit_status)


def _shown(place: Place) -> str:
    return f"{place.provider}.{place.table} {place.account}" if place.table else place.provider


@contextmanager
def command_output(
    command: str, *, as_json: bool = False, log_format: LogFormat = LogFormat.TEXT
) -> Iterator[CommandOutput]:
    """The output of a command. Errors end the command with one line: status 2 for the configuration, 1 for all else."""
    has_log = log_format is LogFormat.JSON
    escape_unencodable_characters()
    out = CommandOutput(Console(stderr=as_json, soft_wrap=False, quiet=has_log), as_json)
    with _tolerate_output_errors(command), json_lines(log_format, out.run_id), _logged(command, has_log=has_log):
        try:
            for file in readable_by_others(read_files()):  # before dlt reads them: its messages name no line
                out.warn(f"{file} can be read by others on this machine: chmod 600 {file}")
            yield out
        except (SourceError, LoadError) as error:
            status = 2 if isinstance(error, ConfigurationError) else 1
            out.print_object({"status": "failed", "exit_status": status, "error": str(error)})
            log_event(CommandStopped(error))
            out.print_error(f"meterhouse: {error}")
            raise typer.Exit(status) from None


@contextmanager
def _tolerate_output_errors(command: str) -> Iterator[None]:
    """A failed write to stdout or stderr is a warning; it fails only a command in `PRINT_ONLY`."""
    status = None
    try:
        with forgiving_streams(broken_pipe_is_normal=command in PRINT_ONLY) as stdout:
            yield
    except typer.Exit as end:
        status = end.exit_code
    if stdout.has_failed and command in PRINT_ONLY:
        status = status or 1
    if status is not None:
        raise typer.Exit(status) from None


@contextmanager
def _logged(command: str, *, has_log: bool) -> Iterator[None]:
    """Logs the start of the command, a crash, and the end with the exit status."""
    began, status = time.monotonic(), 0
    log_event(CommandStarted(command))
    try:
        yield
    except typer.Exit as end:
        status = end.exit_code
        raise
    except Exception as error:
        status = 1
        if not has_log:
            raise
        log_event(CommandCrashed(error))
        raise typer.Exit(status) from None  # Python's own traceback is not a log line
    finally:
        log_event(CommandFinished(status, time.monotonic() - began))
