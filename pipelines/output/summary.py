"""The summary of a run, for people and for machines."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from meterhouse.pipelines.output.tables import cell, make_table
from meterhouse.pipelines.run.open import BILLING
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.build import BuildResult
from meterhouse.sources._core.events import Place, WindowFetched
from meterhouse.sources._core.windows import Window
from meterhouse.sources.billing.currencies import rounded_to_currency

MONTHS_SHOWN = 13
"""A year and the running month; `usage.cost_monthly` has all months."""

PrintLine = Callable[[str], None]


def print_summary(result: RunResult, console: Console, *, print_line: PrintLine, print_error: PrintLine) -> None:
    """Prints what was loaded, missed, billed and built, and what failed."""
    state = result.state
    if result.loaded:
        console.print(loaded_table(result.loaded))
    if state.billing:
        print_line(f"{BILLING}  " + ", ".join(f"{table} from {source}" for table, source in state.billing.items()))
    for missed in state.missed:
        place = f"{missed.place.provider}.{missed.place.table} {missed.place.account}"
        print_line(f"MISSED  {place}: the API no longer returns {missed.window}, and no earlier run loaded it")
    if result.cost_monthly:
        console.print(cost_table(result.cost_monthly))
        console.print(sku_table(result.cost_monthly))
    for row in result.unpriced_usage or []:
        usage = f"{row['quantity']:,.0f} {row['meter'] if row['unit'] else 'uses of ' + row['meter']}"
        span = (row["last_date"] - row["first_date"]).days + 1
        days = f"{row['first_date']} to {row['last_date']}" + (f" on {row['days']} days" if row["days"] < span else "")
        print_line(f"UNPRICED  {row['provider']} {row['account']}: {usage}, {days} ({row['reason']}); not in the cost above")
    if result.unpriced_usage:
        print_line(
            "          add a price to prices.csv; unknown meters also need skus.csv"
            " (examples: meterhouse check --billing-templates FOLDER)"
        )
    if result.models is not None:
        _print_models(result.models, print_line, print_error)
    for failure in distinct_failures(state):
        print_error(f"FAILED  {failure}")
    for warning in state.warnings:
        print_error(f"WARNING  {warning}")
    print_line(f"{'done' if result.exit_status == 0 else 'not all done'}: {result.destination.location}")


def _print_models(models: BuildResult, print_line: PrintLine, print_error: PrintLine) -> None:
    tests = models.data_tests
    counts = f"{models.built} built, " + (
        f"{tests.passed} tests passed at {tests.run_at:%Y-%m-%d %H:%M} UTC" if tests else "not tested"
    )
    if models.up_to_date:
        print_line(f"models  up to date: nothing has changed since the last build ({counts})")
    else:
        print_line(f"models  {counts}, {len(models.failures)} failed")
    for line in tests.warnings if tests else ():
        print_line(f"WARNING  {line}")
    for line in models.failures:
        print_error(f"FAILED  {line}")


def loaded_table(loaded: Sequence[WindowFetched]) -> Table:
    """What was loaded: a row for each account's table."""
    table = make_table("loaded", "table", "account", "from", "to", "rows")
    by_place: dict[Place, list[WindowFetched]] = {}
    for window in loaded:
        by_place.setdefault(window.place, []).append(window)
    previous = None
    for place, windows in by_place.items():
        if place.provider != previous:
            table.add_row(place.provider)
            previous = place.provider
        start = windows[0].window.start.to_date_string()
        end = windows[-1].window.end.subtract(microseconds=1).to_date_string()  # the last day, included
        rows = sum(window.rows for window in windows)
        table.add_row(f"  {place.table}", cell(place.account), start, end, f"{rows:,}")
    return table


def cost_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The billed cost of each month and account, and a total for each currency that several accounts have."""
    all_months = sorted({row["billing_month"] for row in rows})
    months = all_months[-MONTHS_SHOWN:]
    earlier = "" if months == all_months else " (earlier months: usage.cost_monthly)"
    table = make_table(f"cost by month{earlier}", "month", "provider", "account", "billed")
    totals: dict[tuple[Any, ...], Decimal] = {}
    incomplete = {row["billing_month"] for row in rows if not row["is_complete"]}
    latest = months[-1]
    for row in rows:
        if row["billing_month"] in months:
            key = (row["billing_month"], row["provider"], row["account"], row["currency"])
            totals[key] = totals.get(key, Decimal(0)) + row["billed_cost"]
    for month in months:
        mark = "" if month not in incomplete else " so far" if month == latest else " incomplete"
        shown, of_month = f"{month:%Y-%m}{mark}", {key[1:]: billed for key, billed in totals.items() if key[0] == month}
        for (provider, account, currency), billed in of_month.items():
            table.add_row(shown, provider, cell(account), cell(f"{rounded_to_currency(billed, currency):,} {currency}"))
            shown = ""
        for currency in sorted({currency for *_, currency in of_month}):
            amounts = [billed for (*_, other), billed in of_month.items() if other == currency]
            if len(amounts) > 1:
                total = rounded_to_currency(sum(amounts, Decimal(0)), currency)
                table.add_row("", "all", "", cell(f"{total:,} {currency}"), style="bold")
    return table


def sku_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The latest month by SKU."""
    month = max(row["billing_month"] for row in rows)
    table = make_table(f"{month:%Y-%m} by SKU", "account", "sku", "quantity", "unit", "billed")
    for row in rows:
        if row["billing_month"] == month:
            billed = f"{rounded_to_currency(row['billed_cost'], row['currency']):,} {row['currency']}"
            names = (cell(row["account"]), cell(row["sku_id"]))
            table.add_row(*names, f"{row['quantity']:,.0f}", cell(row["unit"] or ""), cell(billed))
    return table


def distinct_failures(state: RunState) -> list[str]:
    """Each error once, with the tables that it affects: with a wrong key, every table fails alike."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    for failure in state.failures:  # a table of several partitions fails once for each
        tables.setdefault((failure.place.account, str(failure.error)), {})[failure.place.table] = None
    return [
        f"{error}" + (f" [account {account}: {', '.join(names)}]" if account else "")
        for (account, error), names in tables.items()
    ]


def result_as_dict(result: RunResult) -> dict[str, Any]:
    """The object that `--json` prints."""
    state, models = result.state, result.models
    return {
        "status": "ok" if result.exit_status == 0 else "failed",
        "exit_status": result.exit_status,
        "run_id": state.run_id,
        "destination": {"name": result.destination.name, "location": result.destination.location},
        "loaded": [{**_window(window.place, window.window), "rows": window.rows} for window in result.loaded],
        "warnings": state.warnings,
        "billing": state.billing,
        "requests": state.requests,
        "gaps": [_window(missed.place, missed.window) for missed in state.missed],
        "failures": [
            {**_place(failure.place), "kind": type(failure.error).__name__, "error": str(failure.error)}
            for failure in state.failures
        ],
        "models": models and models_as_dict(models),
        "cost_monthly": result.cost_monthly,
        "unpriced_usage": result.unpriced_usage,
    }


def models_as_dict(models: BuildResult) -> dict[str, Any]:
    """The build of the models, as `--json` and the log show it; without data tests, their fields are null or empty."""
    tests = models.data_tests
    return {
        "built": models.built,
        "tests_passed": tests and tests.passed,
        "tests_run_at": tests and tests.run_at,
        "up_to_date": models.up_to_date,
        "failures": models.failures,
        "warnings": tests.warnings if tests else (),
    }


def _place(place: Place) -> dict[str, str]:
    return {"provider": place.provider, "table": place.table, "account": place.account}


def _window(place: Place, window: Window) -> dict[str, Any]:
    return {**_place(place), "from": window.start, "until": window.end}
