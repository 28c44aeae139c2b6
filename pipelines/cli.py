"""The command `meterhouse`.

Exit status: 0 all done; 1 a provider, model or test failed (the others are loaded all the same); 2 the configuration or the
command line is wrong; 130 interrupted, 143 terminated. Human text goes to stderr where `--json` puts one object on stdout.

Everything that takes long to import is imported by the command that needs it: `meterhouse --help` is typed to be answered.
"""

import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from meterhouse.pipelines.export.focus import Dataset, Format, Version
from meterhouse.pipelines.output.json_log import LogFormat
from meterhouse.pipelines.output.signal_handling import exit_on_signals, exit_quickly, stop_by_exception

if TYPE_CHECKING:
    from types import ModuleType

app = typer.Typer(
    name="meterhouse",
    help="Loads what document- and voice-AI vendors meter into DuckDB or a warehouse, and computes what it costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with locals shows credentials
    rich_markup_mode=None,
)

DestinationName = Annotated[str | None, typer.Option("--destination", metavar="NAME", help="Any dlt destination; duckdb.")]
AsJson = Annotated[bool, typer.Option("--json", help="One machine-readable object on stdout; human text on stderr.")]
LogLines = Annotated[LogFormat, typer.Option("--log-format", help="json: stderr is one object a line, and no human text.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("meterhouse"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Loads what document- and voice-AI vendors meter into DuckDB or a warehouse, and computes what it costs."""


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PROVIDER or PROVIDER.RESOURCE ...]", help="All enabled, if none.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="D", help="Backfill: load exactly [since, until).")] = None,
    until: Annotated[str | None, typer.Option(metavar="D", help="End of the backfill, excluded; now, if left out.")] = None,
    destination: DestinationName = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Load, and leave the SQL models as they are.")] = False,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Begin at initial_date again.")] = False,
    as_json: AsJson = False,
    log_format: LogLines = LogFormat.TEXT,
) -> None:
    """Extract, load and build the models of all enabled providers, or of those named."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.open import PROVIDERS, open_sources, select
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    with console.command_output("run", as_json=as_json, log_format=log_format) as out:
        record, alerts = RunState(run_id=out.run_id), Alerts.from_config(tuple(PROVIDERS))
        with out.stops_told(alerts, record):
            sources = open_sources(select(names or []), record, since=since, until=until, full_refresh=full_refresh)
            target = resolve_destination(destination)
            out.say(f"loading {', '.join(sources)} into {target.location}")
            with out.progress(record):
                report = run_all(sources, target, record, models=not no_models, alerts=alerts)
        out.finish(report)


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Run against the sandbox into demo.duckdb: no key, no network, made-up usage, what it costs, and demo.html."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.run.open import open_sources
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.warehouse.destination import resolve_destination
    from meterhouse.sources._core.windows import utc_now

    with console.command_output("demo", as_json=as_json) as out:
        with _sandbox().Sandbox() as server, TemporaryDirectory() as paper:
            # A year and the running month, and no limit but the machine's. The sources take these settings before all
            # configuration, so that no real key is ever sent to the sandbox. Scopix is asked by the single day and key:
            # a year of it would be most of the demo's time, so that it keeps its own default of two months.
            start = utc_now().start_of("month").subtract(years=1).date()
            settings = {provider: own | {"requests_per_minute": 1_000_000} for provider, own in server.settings().items()}
            for provider in settings.keys() - {"scopix"}:
                settings[provider]["initial_date"] = start.isoformat()
            record = RunState(run_id=out.run_id)
            sources = open_sources([], record, settings=settings)
            target = resolve_destination("duckdb", database="demo.duckdb")
            out.say("loading made-up usage (a year of it, of Scopix two months) from the sandbox into demo.duckdb")
            with out.progress(record):
                billing = server.paperwork(Path(paper), start)
                report = run_all(sources, target, record, models=True, billing=billing)
        if report.exit_status == 0:
            size = _report().write_report(target, Path("demo.html"))
            out.finish(report, f"report  demo.html, {size / 1e6:.1f} MB: open it in a browser")
        out.finish(report)


@app.command()
def status(destination: DestinationName = None, as_json: AsJson = False) -> None:
    """Cost to date, forecast, freshness and warnings at a read_status."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.output.status import print_status, read_status
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    with console.command_output("status", as_json=as_json) as out:
        seen = read_status(resolve_destination(destination))
        if as_json:
            out.object(seen)
        else:
            print_status(seen, out.console)


@app.command()
def report(
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Replaced where it exists.")] = Path(
        "report.html"
    ),
    destination: DestinationName = None,
) -> None:
    """Write one HTML file that shows usage and cost: no network, opens from disk."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    with console.command_output("report") as out:
        size = _report().write_report(resolve_destination(destination), file)
        out.say(f"{size / 1e6:.1f} MB written to {file}: open it in a browser")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='One statement, such as "from usage.cost_monthly".')],
    destination: DestinationName = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of objects on stdout, numbers that are exact as text.")
    ] = False,
) -> None:
    """Ask the destination in SQL; nothing can be changed."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.warehouse.destination import resolve_destination
    from meterhouse.pipelines.warehouse.sql_client import answer
    from meterhouse.sources._core.errors import ConfigurationError

    with console.command_output("query", as_json=as_json) as out:
        if as_csv and as_json:
            raise ConfigurationError("--csv and --json exclude each other", hint="Take one.")
        names, rows = answer(resolve_destination(destination), sql)
        out.rows(names, rows, "csv" if as_csv else "json" if as_json else "table")


@app.command()
def ui(destination: DestinationName = None) -> None:
    """Look at the tables of a DuckDB file in harlequin, a client for the terminal (extra `ui`)."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.warehouse.destination import resolve_destination
    from meterhouse.pipelines.warehouse.sql_client import open_client

    with console.command_output("ui"):
        stop_by_exception()
        raise typer.Exit(open_client(resolve_destination(destination)))


@app.command()
def models(
    destination: DestinationName = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the dbt project is, and do nothing else.")] = False,
    as_json: AsJson = False,
    log_format: LogLines = LogFormat.TEXT,
) -> None:
    """Build and test the SQL models on what is loaded."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.open import PROVIDERS
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.transform import PROJECT
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    if path:
        typer.echo(PROJECT)
        return
    with console.command_output("models", as_json=as_json, log_format=log_format) as out:
        record, alerts = RunState(run_id=out.run_id), Alerts.from_config(tuple(PROVIDERS))
        with out.stops_told(alerts, record):
            target = resolve_destination(destination)
            with out.progress(record):
                report = run_all({}, target, record, models=True, rebuild=True, alerts=alerts)
        out.finish(report)


@app.command()
def check(
    destination: DestinationName = None,
    billing_templates: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write example files of your prices, credits and invoices there, and no more."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="SPAN", help="Status 1 if a loaded table is older, such as 36h or '2 days'."),
    ] = None,
    as_json: AsJson = False,
    log_format: LogLines = LogFormat.TEXT,
) -> None:
    """Resolve the configuration, check your billing files, make one cheap call a provider; say what is missing."""
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.billing import billing_errors, configured_billing
    from meterhouse.pipelines.run.freshness import stale_tables
    from meterhouse.pipelines.run.load import check_credentials
    from meterhouse.pipelines.run.open import PROVIDERS, missing_providers, open_sources
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.warehouse.destination import resolve_destination
    from meterhouse.pipelines.warehouse.duckdb import require_open
    from meterhouse.sources._core.config.parse import parse_duration
    from meterhouse.sources._core.errors import NotConfigured

    os.environ.setdefault("SOURCES__HTTP__ATTEMPTS", "2")  # whoever checks is waiting for the answer
    with console.command_output("check", as_json=as_json, log_format=log_format) as out:
        if billing_templates is not None:
            out.templates(billing_templates)
            return
        oldest = parse_duration(max_age, setting="--max-age") if max_age is not None else None
        Alerts.from_config(tuple(PROVIDERS))
        try:
            sources = open_sources([], RunState())
        except NotConfigured:
            if not configured_billing():
                raise
            sources = {}
        target = resolve_destination(destination)
        require_open(target)
        faults = billing_errors(target)
        stale = stale_tables(target, sources, oldest) if oldest is not None else None
        credentials = list(check_credentials(sources))
        out.checked(credentials, missing_providers(sources), target, configured_billing(), faults, stale)


export = typer.Typer(help="Write what the models computed into a file, for other tools.", no_args_is_help=True)
app.add_typer(export, name="export")


@export.callback()
def formats() -> None:
    """Write what the models computed into a file, for other tools."""


@export.command()
def focus(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Replaced where it exists.")],
    version: Annotated[Version, typer.Option("--version", help="Of FOCUS.")] = Version.V1_2,
    file_format: Annotated[Format | None, typer.Option("--format", help="By the name of FILE, if left out.")] = None,
    dataset: Annotated[Dataset, typer.Option(help="The last two are of 1.4 only.")] = Dataset.COST_AND_USAGE,
    destination: DestinationName = None,
) -> None:
    """Write the FinOps Open Cost and Usage Specification's datasets as Parquet or CSV."""
    from meterhouse.pipelines.export.files import export_focus
    from meterhouse.pipelines.output import console
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    with console.command_output("export") as out:
        target = resolve_destination(destination)
        rows = export_focus(target, file, version=version, dataset=dataset, file_format=file_format)
        out.say(f"{rows:,} rows of FOCUS {version} ({dataset}) written to {file}")


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8321,
    seed: Annotated[int, typer.Option(help="Another seed, another year of usage.")] = 7,
    limits: Annotated[bool, typer.Option("--limits", help="Keep to the limits a minute that the vendors document.")] = False,
) -> None:
    """Serve the vendors' APIs on localhost, and print the variables that point a run at them."""
    from meterhouse.pipelines.output import console

    stop_by_exception()
    with console.command_output("sandbox") as out:
        out.serving(partial(_sandbox().serve, documented_limits=limits), port, seed)


def _sandbox() -> "ModuleType":
    return _extra("meterhouse.pipelines.sandbox", "the sandbox", "demo", {"starlette", "uvicorn"})


def _report() -> "ModuleType":
    return _extra("meterhouse.pipelines.report", "the report", "report", {"altair", "jinja2", "vl_convert"})


def _extra(module: str, what: str, extra: str, needed: set[str]) -> "ModuleType":
    """A part of meterhouse that needs packages which only some users want.

    Raises:
        ConfigurationError: one of them is not installed.
    """
    from importlib import import_module
    from importlib.util import find_spec

    from meterhouse.sources._core.errors import ConfigurationError

    if not all(map(find_spec, needed)):
        raise ConfigurationError(f"{what} is not installed", hint=f"pip install 'meterhouse[{extra}]'.")
    return import_module(module)


def main() -> None:
    """The console script."""
    # Telemetry is off, as in .dlt/config.toml, wherever the command is run; dlt's log is for those who ask for it.
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # Arrow's own pool keeps what it was given back: 170 MB of the 580 that two years of hours take.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with exit_on_signals(as_json="--json" in sys.argv), exit_quickly():
        app()


if __name__ == "__main__":
    main()
