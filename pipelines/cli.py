"""The command `meterhouse`.

Exit status: 0 all done; 1 a provider, model or test failed (all else is loaded); 2 the configuration or the command line is
wrong; 130 interrupted, 143 terminated. With `--json`, stdout has one JSON object, and text for people goes to stderr.

Each command imports what it needs, because dlt, dbt and Arrow take long to import and `meterhouse --help` needs none.
"""

import gc
import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterhouse.pipelines import cli_data
from meterhouse.pipelines.cli_data import AsJson, Cost, DestinationName, Schema
from meterhouse.pipelines.output.extras import optional
from meterhouse.pipelines.output.json_lines import LogFormat
from meterhouse.pipelines.output.signal_handling import exit_on_signals, exit_quickly, use_default_signals
from meterhouse.pipelines.output.streams import open_missing_streams
from meterhouse.pipelines.transform import PROJECT, DataTestMode

if TYPE_CHECKING:
    from datetime import timedelta
    from types import ModuleType

ABOUT = "Loads the usage that document- and voice-AI vendors meter into DuckDB or a warehouse, and computes its cost."

app = typer.Typer(
    name="meterhouse",
    help=ABOUT,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, credentials among them
    rich_markup_mode=None,
)

app.command()(cli_data.reopen)
app.command()(cli_data.rename_account)
app.add_typer(cli_data.export_app, name="export")
app.add_typer(cli_data.import_app, name="import")

Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="DURATION",
        help="How long to wait, e.g. 10m (a bare number is days). Default: 1m for programs that have the DuckDB file open,"
        " and no wait for another run.",
    ),
]
TestsOption = Annotated[
    DataTestMode,
    typer.Option(
        "--tests",
        help="When to run the data tests. changed: once a day (UTC), and after a change of code, billing data or accounts.",
    ),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="json: stderr has one JSON object per line, and no text.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("meterhouse"))
        raise typer.Exit


@app.callback(help=ABOUT)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of the command itself."""


@app.command()
def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROVIDER or PROVIDER.RESOURCE ...]", help="Default: all enabled providers."),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="D", help="Backfill: load exactly [since, until).")] = None,
    until: Annotated[str | None, typer.Option(metavar="D", help="End of the backfill, excluded. Default: now.")] = None,
    destination: DestinationName = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Load only; do not build the SQL models.")] = False,
    tests: TestsOption = DataTestMode.CHANGED,
    wait: Wait = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Start at initial_date again.")] = False,
    clear_billing: Annotated[
        bool, typer.Option("--clear-billing", help="Empty the billing tables that are no longer configured.")
    ] = False,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Extract and load the usage of all enabled providers, or of those named, and build the SQL models."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.open import open_sources, select
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    with command_output("run", as_json=as_json, log_format=log_format) as out:
        state, alerts = RunState(out.observe, out.run_id), Alerts.from_config()
        with out.alert_if_stopped(alerts, state):
            sources = open_sources(select(names or []), state, since=since, until=until, full_refresh=full_refresh)
            target = resolve_destination(destination)
            out.print(f"loading {', '.join(sources)} into {target.location}")
            with out.progress(state):
                result = run_all(
                    sources, target, state, models=not no_models, tests=tests, clear_billing=clear_billing,
                    wait=_duration(wait, "--wait"), alerts=alerts,
                )  # fmt: skip
        out.finish(result)


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Load made-up usage into demo.duckdb and write demo.html: no API key, no network."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.open import open_sources
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.warehouse.resolve import resolve_destination
    from meterhouse.sources._core.windows import utc_now

    with command_output("demo", as_json=as_json) as out:
        with _sandbox().Sandbox() as server, TemporaryDirectory() as folder:
            # These settings override all configuration, so that no real key reaches the sandbox.
            today = utc_now().date()
            settings = server.demo_settings(today)
            state = RunState(out.observe, out.run_id)
            sources = open_sources([], state, settings=settings)
            target = resolve_destination("duckdb", database="demo.duckdb")
            out.print("loading a year of made-up usage from the sandbox into demo.duckdb")
            with out.progress(state):
                billing = server.billing_files(Path(folder), today.replace(year=today.year - 1, day=1))
                result = run_all(sources, target, state, models=True, billing=billing, clear_billing=True)
        if result.exit_status == 0:
            size = _report().write_report(target, Path("demo.html"))
            out.finish(result, f"report  demo.html, {size / 1e6:.1f} MB: open it in a browser")
        out.finish(result)


@app.command()
def status(
    destination: DestinationName = None, schema: Schema = "usage", cost: Cost = None, as_json: AsJson = False
) -> None:
    """Show cost to date, forecast, freshness and warnings on one screen."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.output.status import print_status, read_status

    with command_output("status", as_json=as_json) as out:
        current = read_status(out.destination_to_read(destination, schema), cost)
        if as_json:
            out.print_object(current)
        else:
            print_status(current, out.console)


@app.command()
def report(
    file: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write; an existing one is replaced.")
    ] = Path("report.html"),
    destination: DestinationName = None,
    schema: Schema = "usage",
    cost: Cost = None,
) -> None:
    """Write usage and cost into one HTML file, which opens from disk without a network."""
    from meterhouse.pipelines.output.console import command_output

    with command_output("report") as out:
        size = _report().write_report(out.destination_to_read(destination, schema), file, cost)
        out.print(f"{size / 1e6:.1f} MB written to {file}: open it in a browser")


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; an existing one is replaced.")],
    destination: DestinationName = None,
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="DURATION", help="How long to wait for a run, e.g. 10m. Default: 1m.")
    ] = None,
) -> None:
    """Copy the DuckDB file for BI tools, as it is between two runs. The copy is read-only."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.warehouse.publish import publish as publish_copy

    with command_output("publish") as out:
        target = out.destination_to_read(destination)
        size = publish_copy(target, file, wait=_duration(wait, "--wait"), on_wait=target.on_wait)
        out.print(f"{size / 1e6:.1f} MB written to {file}: open it read-only")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='One query, such as "from usage.cost_monthly".')],
    destination: DestinationName = None,
    schema: Schema = "usage",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of JSON objects, with decimal numbers as text.")
    ] = False,
) -> None:
    """Run a SQL query on the destination; it cannot change anything."""
    from meterhouse.pipelines.output import tables
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.warehouse.user_query import run_query
    from meterhouse.sources._core.errors import ConfigurationError

    with command_output("query", as_json=as_json) as out:
        if as_csv and as_json:
            raise ConfigurationError("--csv and --json exclude each other", hint="Use one of them.")
        names, rows = run_query(out.destination_to_read(destination, schema), sql)
        if as_json:
            typer.echo(tables.query_json(names, rows))
        elif as_csv:
            typer.echo(tables.query_csv(names, rows).encode(), nl=False)  # as a text, it would lose escape sequences
        else:
            shown = rows[: max(1, tables.MAX_VALUES // len(names))]
            out.console.print(tables.query_table(names, shown, out.console.width))
            out.print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}")
            if len(shown) < len(rows):
                out.warn(f"only the first {len(shown):,} rows are shown: use --csv or --json for all, or add a limit")


@app.command()
def ui(destination: DestinationName = None) -> None:
    """Open a DuckDB file in harlequin, a SQL client for the terminal (extra `ui`)."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.warehouse.user_query import open_client

    with command_output("ui") as out:
        use_default_signals()
        raise typer.Exit(open_client(out.destination_to_read(destination)))


@app.command()
def models(
    destination: DestinationName = None,
    path: Annotated[bool, typer.Option("--path", help="Print the folder of the dbt project, and exit.")] = False,
    tests: TestsOption = DataTestMode.ALL,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="Build as of an earlier time, such as 2026-03-03T08:00 (UTC)."),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option("--schema", metavar="NAME", help="The schema for --as-of, usage_NAME. Default: usage_as_of."),
    ] = None,
    wait: Wait = None,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Build and test the SQL models on the loaded data."""
    if path:
        typer.echo(PROJECT)
        return

    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.as_of import build_as_of
    from meterhouse.pipelines.run.orchestrate import run_all
    from meterhouse.pipelines.run.state import RunState
    from meterhouse.pipelines.transform.as_of import parse_as_of
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    with command_output("models", as_json=as_json, log_format=log_format) as out:
        state, alerts = RunState(out.observe, out.run_id), Alerts.from_config()
        if moment := parse_as_of(as_of, schema):
            target = resolve_destination(destination)
            with out.progress(state):
                result = build_as_of(target, state, moment, tests=tests, wait=_duration(wait, "--wait"))
            out.finish(result, f"as of {moment.moment:%Y-%m-%d %H:%M:%S} UTC, in the schema {moment.schema}")
        with out.alert_if_stopped(alerts, state):
            target = resolve_destination(destination)
            with out.progress(state):
                result = run_all(
                    {}, target, state, models=True, tests=tests, rebuild=True, wait=_duration(wait, "--wait"), alerts=alerts
                )
        out.finish(result)


@app.command()
def check(
    destination: DestinationName = None,
    billing_templates: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write example billing files (prices, credits, invoices) there, and exit."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="DURATION", help="Exit with 1 if a table is older, e.g. 36h or '2 days'."),
    ] = None,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Exit with 1 if this month's cost exceeds a budget, as of the last build.")
    ] = False,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Check the configuration, the billing files, and each account's credentials with one cheap request."""
    from meterhouse.pipelines.output.check_summary import finish_check, write_billing_templates
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.alerts import Alerts
    from meterhouse.pipelines.run.check import check_all

    os.environ.setdefault("SOURCES__HTTP__ATTEMPTS", "2")  # a person is waiting
    with command_output("check", as_json=as_json, log_format=log_format) as out:
        if billing_templates is not None:
            write_billing_templates(Path(billing_templates), out)
            return
        Alerts.from_config()  # raises if a setting is wrong
        age = _duration(max_age, "--max-age")
        finish_check(check_all(destination, out.observe, max_age=age, budgets=budgets), out)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8321,
    seed: Annotated[int, typer.Option(help="Another seed makes other usage.")] = 7,
    limits: Annotated[bool, typer.Option("--limits", help="Apply the rate limits that the vendors document.")] = False,
) -> None:
    """Serve the vendors' APIs on localhost, and print the environment variables that point a run at them."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.sources._core.errors import ConfigurationError

    def print_variables(server: Any) -> None:
        for name, value in server.variables().items():
            typer.echo(f"export {name}={value}")
        typer.echo("# For all accounts of a vendor, set these, too:")
        for vendor in server.vendors.values():
            for name, value in vendor.account_variables().items():
                typer.echo(f"# export {name}={value}")
        typer.echo("serving; press Ctrl-C to stop", err=True)

    use_default_signals()
    with command_output("sandbox"):
        serve = partial(_sandbox().serve, documented_limits=limits)
        try:
            serve(port, seed, print_variables)
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is not available ({error.strerror})", hint="Use another port; --port 0 takes a free one."
            ) from None


def _duration(text: str | None, option: str) -> "timedelta | None":
    from meterhouse.sources._core.config.parse import parse_duration

    return None if text is None else parse_duration(text, setting=option)


def _sandbox() -> "ModuleType":
    return optional("meterhouse.pipelines.sandbox", "the sandbox", "demo", {"starlette", "uvicorn"})


def _report() -> "ModuleType":
    return optional("meterhouse.pipelines.report", "the report", "report", {"altair", "jinja2", "vl_convert"})


def main() -> None:
    """The console script."""
    open_missing_streams()
    # .dlt/config.toml turns telemetry off in a checkout; here it is off in every folder. dlt logs only if asked to.
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # Arrow's own memory pool keeps freed memory: 170 MB of the 580 MB that two years of hours take.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # At the default thresholds, garbage collection takes a tenth of a build and finds little to free.
    gc.set_threshold(100_000, 50, 50)
    with exit_on_signals(as_json="--json" in sys.argv), exit_quickly():
        app()


if __name__ == "__main__":
    main()
