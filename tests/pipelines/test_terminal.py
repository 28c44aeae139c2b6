"""The output for people: progress, summary, status and query results on a terminal of 80 columns."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import typer
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.output.console import CommandOutput
from meterhouse.pipelines.output.json_lines import LogFormat, json_lines
from meterhouse.pipelines.output.progress import progress_table
from meterhouse.pipelines.output.summary import cost_table
from meterhouse.pipelines.run.events import ModelFinished
from meterhouse.pipelines.run.orchestrate import warn_of_missing_rates
from meterhouse.pipelines.run.result import RunResult
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.build import BuildResult
from meterhouse.pipelines.transform.data_tests import DataTests
from meterhouse.pipelines.transform.exchange import missing_rates
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core.errors import CredentialsRejected
from meterhouse.sources._core.events import (
    DurationEstimated,
    FetchFailed,
    Place,
    RequestDelayed,
    RequestRetried,
    RequestSent,
    WindowFetched,
    WindowMissed,
    WindowsPlanned,
)
from meterhouse.sources._core.windows import Window, from_date, utc_now
from tests.conftest import Cli
from tests.pipelines.report.marts import HOSTILE, fill, mart_rows

WINDOW = Window(from_date(date(2026, 5, 1)), from_date(date(2026, 5, 20)))
DAILY, EVENTS = Place("scopix", "default", "usage_daily"), Place("scopix", "default", "usage_events")
BY_APP = Place("mathpix", "default", "ocr_usage_by_app_id")


def screen(*, is_terminal: bool = True) -> tuple[CommandOutput, io.StringIO]:
    """An output of 80 columns, independent of the terminal that runs the tests."""
    text, environment = io.StringIO(), {"TERM": "xterm"}
    console = Console(file=text, width=80, force_terminal=is_terminal, color_system=None, _environ=environment)
    return CommandOutput(console, as_json=False), text


def lines(text: io.StringIO) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in re.split(r"[\r\n]+", text.getvalue())]


def busy() -> RunState:
    """The state of a run that has sent requests to two providers and fetched windows of one."""
    state = RunState()
    for remaining in (30, 29, 28):
        state.observe(RequestSent(DAILY, remaining))
    state.observe(RequestSent(BY_APP, None))
    state.observe(WindowFetched(DAILY, WINDOW, 1234))
    state.observe(WindowFetched(EVENTS, Window(WINDOW.start, from_date(date(2026, 5, 11))), 4000))
    return state


def test_progress_has_a_line_for_each_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, what the rate limit still allows, rows, the date reached, and the time left."""
    state = busy()
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    state.observe(DurationEstimated(DAILY, requests=61, seconds=125.0))
    monkeypatch.setattr(time, "monotonic", lambda: 1030.0)
    terminal, text = screen()
    terminal.console.print(progress_table(state))
    head, first, second = lines(text)[:3]
    assert head.split() == ["provider", "requests", "rate", "limit", "left", "rows", "loaded", "until", "time", "left"]
    assert first.split() == ["scopix", "3", "28", "5,234", "2026-05-19", "1:35"]
    assert second.split() == ["mathpix", "1", "no", "known", "limit", "0", "–", "–"]
    # Without an estimate of the source: four of ten days took eight seconds.
    start = WINDOW.start
    state.observe(WindowsPlanned(BY_APP, Window(start, start.add(days=10))))
    state.observe(WindowFetched(BY_APP, Window(start, start.add(days=4)), 7))
    state.tables[BY_APP].began = 1022.0
    terminal.console.print(progress_table(state))
    assert lines(text)[-2].split()[-2:] == [start.add(days=3).to_date_string(), "0:12"]
    state.observe(ModelFinished("usage_daily"))
    terminal.console.print(progress_table(state))
    assert lines(text)[-2] == "models    1 built or tested, usage_daily"


def test_progress_appears_on_a_terminal_only() -> None:
    """A log gets no progress."""
    for is_terminal in (True, False):
        terminal, text = screen(is_terminal=is_terminal)
        with terminal.progress(busy()):
            pass
        assert ("rate limit left" in text.getvalue()) == is_terminal
        assert is_terminal == bool(text.getvalue())


def test_long_waits_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    """With their length, as text and in the JSON log; short ones are not."""
    output, text = screen(is_terminal=False)
    with json_lines(LogFormat.JSON, "a-run"):
        output.observe(RequestDelayed(BY_APP, 61.2, 1))
        output.observe(RequestDelayed(Place("mathpix"), 299.0, None))
        output.observe(RequestRetried(BY_APP, "/v3", "mathpix /v3 (HTTP 429): too many requests", 1, 120.0))
        output.observe(RequestRetried(BY_APP, "/v3", "mathpix /v3 (HTTP 503): down", 1, 2.0))
    assert lines(text)[:-1] == [
        "mathpix.ocr_usage_by_app_id default: waiting 61 s for the rate limit (1 request a minute)",
        "mathpix: waiting 299 s for the rate limit",
        "mathpix.ocr_usage_by_app_id default: next attempt in 120 s, after mathpix /v3 (HTTP 429): too many requests",
    ]
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["wait"]) for line in logged] == [
        ("delayed", 61.2),
        ("delayed", 299.0),
        ("retry", 120.0),
        ("retry", 2.0),
    ]
    assert (logged[0]["resource"], logged[0]["requests_per_minute"]) == (BY_APP.table, 1)


def test_the_summary_fits_80_columns(tmp_path: Path) -> None:
    """Even with names of 300 characters, large sums and every kind of line."""
    state = busy()
    for name in HOSTILE:
        state.observe(WindowFetched(Place("mathpix", name, "ocr_usage_by_request_args_hash"), WINDOW, 123_456_789))
        error = CredentialsRejected("no", hint="Correct it.")
        state.observe(FetchFailed(Place("reducto", name, "usage_by_product"), error))
        state.observe(WindowMissed(Place("onepin", name, "usage_daily"), WINDOW))
    cost = {
        "billing_month": date(2026, 5, 1),
        "provider": "mathpix",
        "sku_id": "mathpix/strokes-session",
        "quantity": Decimal(123_456_789),
        "unit": "session",
        "billed_cost": Decimal("12345678.905"),
        "currency": "USD",
        "is_complete": False,
    }
    unpriced = {
        "provider": "onepin",
        "account": HOSTILE[3],
        "meter": "credits",
        "unit": None,
        "reason": "no price at that time",
        "quantity": Decimal(12),
        "first_date": date(2026, 5, 1),
        "last_date": date(2026, 5, 20),
        "days": 3,
    }
    result = RunResult(
        Destination("duckdb", "duckdb", str(tmp_path / ("y" * 90)), None),
        state,
        BuildResult(80, DataTests(utc_now(), 120, ("a warning " * 12,))),
        [{**cost, "account": name} for name in HOSTILE],
        [unpriced],
    )
    terminal, text = screen()
    with pytest.raises(typer.Exit):
        terminal.finish(result, "report  demo.html")
    printed = lines(text)
    assert [line for line in printed if cell_len(line) > 80] == []
    assert any("12,345,678.91 USD" in line for line in printed)
    assert any(line.startswith("MISSED") for line in printed)

    # In a log, each message is one line, so that grep finds it.
    terminal, text = screen(is_terminal=False)
    with pytest.raises(typer.Exit):
        terminal.finish(result)
    (line,) = [line for line in lines(text) if line.startswith("UNPRICED")]
    assert HOSTILE[3] in line
    assert "2026-05-01 to 2026-05-20 on 3 days" in line  # the usage between has a price


ESCAPES = "a\x1b[2J\x9b31m\u202eb\nFAILED  c\r\u2028d\u200b"
WRITTEN_OUT = r"a\x1b[2J\x9b31m\u202eb\nFAILED  c\r\u2028d\u200b"


def test_control_characters_in_names_are_written_out(cli: Cli, tmp_path: Path) -> None:
    """In the summary, progress, status, query results and errors, a name neither moves the cursor nor forges a line."""
    state = busy()
    place = Place("mathpix", ESCAPES, "ocr_usage_by_app_id")
    state.observe(WindowFetched(place, WINDOW, 1))
    state.observe(FetchFailed(place, CredentialsRejected(f"no {ESCAPES}", hint="Correct it.")))
    state.observe(WindowMissed(place, WINDOW))
    state.observe(ModelFinished(ESCAPES))
    cost = {
        "billing_month": date(2026, 5, 1),
        "provider": "mathpix",
        "account": ESCAPES,
        "sku_id": ESCAPES,
        "quantity": Decimal(1),
        "unit": ESCAPES,
        "billed_cost": Decimal(1),
        "currency": "USD",
        "is_complete": True,
    }
    unpriced = cost | {
        "meter": ESCAPES,
        "reason": "no price",
        "first_date": WINDOW.start,
        "last_date": WINDOW.end,
        "days": 1,
    }
    result = RunResult(Destination("duckdb", "duckdb", str(tmp_path), None), state, None, [cost], [unpriced])
    terminal, text = screen(is_terminal=False)
    terminal.console.width = 500
    with pytest.raises(typer.Exit):
        terminal.finish(result)
    terminal.console.print(progress_table(state))
    fill(cli.database, **mart_rows({"mathpix": [ESCAPES]}, days=2))
    printed = [text.getvalue(), cli("status"), cli("query", 'select distinct account as "a\x1b" from usage.cost_daily')]
    for output in printed:
        assert all(character.isprintable() or character == "\n" for character in output)
        assert not any(line.startswith("FAILED  c") for line in output.splitlines())
    assert text.getvalue().count(WRITTEN_OUT) >= 8
    assert WRITTEN_OUT in printed[2]


def test_status_shows_the_marts_in_80_columns(cli: Cli) -> None:
    """It shows cost, forecast, freshness and warnings; with `--json`, exact values."""
    marts = mart_rows({"mathpix": ["default", HOSTILE[3]], "reducto": ["default"]}, days=40)
    marts["cost_forecast_monthly"][-1]["forecast"] = None
    fill(cli.database, **marts)
    printed = cli("status").splitlines()
    assert [line for line in printed if len(line) > 80] == []
    month = "select cost_to_date from usage.cost_forecast_monthly where billing_month = '2026-05-01'"
    costs = [cost for (cost,) in cli.rows(f"{month} order by cost_to_date desc")]
    budgets = next(number for number, line in enumerate(printed) if line.startswith("budgets"))
    shown = [line for line in printed[:budgets] if " USD " in line]
    assert [re.findall(r"[\d,]+\.\d\d", line)[0] for line in shown] == [f"{cost:,.2f}" for cost in (*costs, sum(costs))]
    assert [line.count("–") for line in shown] == [1, 0, 0, 1]
    assert len(re.findall("[▁▂▃▄▅▆▇█]", shown[0])) == 28
    assert "fresh     2 of 3 tables; 1 late" in printed
    warnings = [line for line in printed if line.startswith("WARNING")]
    assert len(warnings) == 13
    assert "more: meterhouse report" in warnings[-1]

    seen = cli.json("status")
    assert sorted(Decimal(row["cost_to_date"]) for row in seen["costs"]) == sorted(costs)
    for start in ("no price", "late", "never fetched", "unusual", "credits", "invoice over"):
        assert any(line.startswith(start) for line in seen["warnings"]), start

    fill(cli.database)
    assert "never loaded" in cli("status")
    assert cli.json("status")["costs"] == []


def test_status_shows_no_cost_where_all_usage_of_the_month_is_unpriced(cli: Cli) -> None:
    """A dash, and null in JSON; an account that is charged, or used nothing, shows its amount."""
    month, day = date(2026, 5, 1), date(2026, 5, 19)
    costs = {"unpriced": 0, "charged": 350, "idle": 0, "priced again": 0}
    fill(
        cli.database,
        data_freshness=[{"last_fetched_at": datetime(2026, 5, 20, 10, tzinfo=UTC), "status": "fresh"}],
        cost_forecast_monthly=[
            {"provider": "reducto", "account": name, "billing_month": month, "currency": "USD", "cost_to_date": cost}
            for name, cost in costs.items()
        ],
        unpriced_usage=[
            {"provider": "reducto", "account": name, "meter": "credits", "date": when, "quantity": 5}
            for name, when in (("unpriced", day), ("charged", day), ("priced again", date(2026, 4, 30)))
        ],
    )
    shown = {row["account"]: row["cost_to_date"] for row in cli.json("status")["costs"]}
    assert {name: cost and Decimal(cost) for name, cost in shown.items()} == {**costs, "unpriced": None}
    lines = {line.split("  ")[0]: line.split() for line in cli("status").splitlines() if " USD" in line}
    assert lines["reducto unpriced"][2:4] == ["–", "–"]
    assert lines["all"][1] == "350.00"

    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("update usage.cost_forecast_monthly set cost_to_date = 0")
        connection.execute("delete from usage.cost_forecast_monthly where account in ('idle', 'priced again')")
    assert [line.split()[1:3] for line in cli("status").splitlines() if line.startswith("all ")] == [["–", "–"]]


def test_the_cost_by_month_has_a_total_for_each_currency_of_a_month() -> None:
    """Where several accounts have cost in it."""
    names = ("billing_month", "provider", "account", "currency", "billed_cost")
    april, may = date(2026, 4, 1), date(2026, 5, 1)
    rows = [
        (april, "mathpix", "a", "USD", Decimal("1.5")),
        (april, "mathpix", "b", "USD", Decimal(2)),
        (april, "reducto", "a", "EUR", Decimal(9)),
        (may, "mathpix", "a", "USD", Decimal(3)),
    ]
    table = cost_table([dict(zip(names, row, strict=True), is_complete=True) for row in rows])
    assert list(zip(*(list(column.cells) for column in table.columns), strict=True)) == [
        ("2026-04", "mathpix", "a", "1.50 USD"),
        ("", "mathpix", "b", "2.00 USD"),
        ("", "reducto", "a", "9.00 EUR"),
        ("", "all", "", "3.50 USD"),
        ("2026-05", "mathpix", "a", "3.00 USD"),
    ]


def test_costs_are_effective_where_anything_is_prepaid(cli: Cli) -> None:
    """`status` and the report say so, and `--cost` chooses."""
    month = {"provider": "onepin", "account": "default", "billing_month": date(2026, 5, 1), "currency": "USD"}
    forecast = {"cost_to_date": 50, "effective_cost_to_date": 8, "forecast": 60, "effective_forecast": 12}
    cost = {"billed_cost": 50, "effective_cost": 8}
    owner = month | forecast | {"team": "search", "cost_centre": ""}
    marts = {
        "data_freshness": [{"last_fetched_at": datetime(2026, 5, 20, 10, tzinfo=UTC), "status": "fresh"}],
        "cost_monthly": [month | cost],
        "cost_forecast_monthly": [month | forecast],
        "cost_forecast_by_owner_monthly": [owner],
    }
    fill(cli.database, **marts)
    for options, amounts in (((), ["8.00", "12.00"] * 2), (("--cost", "billed"), ["50.00", "60.00"] * 2)):
        printed = cli("status", *options)
        assert re.findall(r"\d+\.\d\d", printed) == amounts
        assert ("effective cost: prepaid credits count when used" in printed) == (not options)
        assert cli.json("status", *options)["cost_type"] == (options[-1] if options else "effective")
        cli("report", *options)
        assert ("Effective cost: prepaid credits" in Path("report.html").read_text()) == (not options)
    fill(cli.database, **marts | {"cost_monthly": [month | cost | {"effective_cost": 50}]})
    assert cli.json("status")["cost_type"] == "billed"
    assert "'net' is not one of" in cli("status", "--cost", "net", status=2)


def test_status_and_report_read_a_database_of_an_earlier_version(cli: Cli) -> None:
    """It lacks the marts and the columns that were added since, until the next build."""
    fill(cli.database, **mart_rows({"mathpix": HOSTILE}, days=2))
    with duckdb.connect(str(cli.database)) as connection:
        for mart in ("usage_restated", "cost_forecast_by_owner_monthly", "cost_drivers"):
            connection.execute(f"drop table usage.{mart}")
        for mart in ("charges", "cost_monthly"):
            for column in ("reporting_currency", "reporting_cost", "reporting_effective_cost"):
                connection.execute(f"alter table usage.{mart} drop column {column}")
    assert "fresh" in cli("status")
    assert "written to" in cli("report")


@pytest.mark.parametrize("fails_at", ["usage.charges", "usage."])
def test_status_does_not_hide_an_error_of_the_database(fails_at: str) -> None:
    """If the reporting columns exist, or if nothing can be read, the error is raised."""

    def query(sql: str, *_: object) -> list[dict[str, Any]]:
        if fails_at in sql:
            raise LoadError("the connection is lost")
        return []

    with pytest.raises(LoadError, match="the connection is lost"):
        missing_rates(query)


def test_status_shows_the_cost_of_owners_if_there_are_any(cli: Cli) -> None:
    """The cost and forecast of each team and cost centre, `unowned` included; nothing if all cost is unowned."""
    fresh = [{"last_fetched_at": datetime(2026, 5, 20, 10, tzinfo=UTC), "status": "fresh"}]
    month = {"billing_month": date(2026, 5, 1), "currency": "USD"}
    unowned = month | {"team": "unowned", "cost_centre": "", "cost_to_date": 3}
    search = unowned | {"team": "search", "cost_centre": "4711", "cost_to_date": Decimal("1000.5"), "forecast": 1500}
    april = search | {"billing_month": date(2026, 4, 1)}
    fill(cli.database, data_freshness=fresh, cost_forecast_by_owner_monthly=[unowned, april])
    assert "by owner" not in cli("status")
    assert cli.json("status")["owners"] == []
    teams = [search | {"team": f"team {number}"} for number in range(7)]
    fill(cli.database, data_freshness=fresh, cost_forecast_by_owner_monthly=[unowned, search, search, april, *teams])
    lines = cli("status").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("by owner"))
    assert lines[start + 1] == "search 4711             2,001.00     3,000.00 USD"
    assert lines[start + 9] == "and 1 more: usage.cost_forecast_by_owner_monthly"
    owners = cli.json("status")["owners"]
    assert [owners[0]["team"], owners[0]["cost"], owners[-1]["team"]] == ["search", "2001.000000000", "unowned"]
    assert cli.json("status")["owners_converted"] == []
    converted = [
        row | {"reporting_currency": "EUR", "reporting_cost_to_date": 900} for row in (search, search | {"currency": "EUR"})
    ]
    unknown = unowned | {"reporting_currency": "EUR"}
    fill(cli.database, data_freshness=fresh, cost_forecast_by_owner_monthly=[unknown, *converted])
    lines = cli("status").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("by owner") and "all so far" in line)
    assert [line.split() for line in lines[start + 1 : start + 3]] == [
        ["search", "4711", "1,800.00", "EUR"], ["unowned", "no", "rate", "EUR"],
    ]  # fmt: skip


def test_status_shows_what_changed_the_cost(cli: Cli) -> None:
    """Of the last complete month and of recent anomalies: parts for volume, price and mix, and the value that moved most."""
    names = ("period", "account", "date", "compared_with", "dimension", "value", "unit")
    april, march, sunday = date(2026, 4, 1), date(2026, 3, 1), date(2026, 5, 17)
    rows: list[tuple[Any, ...]] = [
        ("month", "a", april, march, "sku", "p/page", "page", 1250, 1000),
        ("month", "a", april, march, "sku", "p/image", "image", 5, 5),
        ("month", "a", april, march, "app_id", "search", "page", 700, 700),
        ("month", "a", april, march, "app_id", "search", "image", 5, 5),
        ("month", "a", april, march, "app_id", "(unattributed)", "page", 900, 650),
        ("month", "a", april, march, "usage_type", "page", "page", 1250, 1000),
        ("month", "b", april, march, "sku", "p/page", "page", -2000, -2000),
        ("month", "b", april, march, "usage_type", "page", "page", -2000, -2000),
        ("month", "b", march, date(2026, 2, 1), "sku", "p/page", "page", 1, 1),
        ("month", "idle", april, march, "sku", "p/page", "page", 0, 0),
        ("day", "a", sunday, date(2026, 5, 10), "sku", "p/page", "page", "0.5", "0.5"),
        ("day", "a", date(2026, 5, 3), date(2026, 4, 26), "sku", "p/page", "page", 9, 9),
    ]
    drivers = []
    for *given, change, volume in rows:
        parts = {
            "change": Decimal(change),
            "volume_change": Decimal(volume),
            "mix_change": Decimal(change) - Decimal(volume),
        }
        named = dict(zip(names, given, strict=True))
        drivers.append({"provider": "p", "currency": "USD", "price_change": 0, **named, **parts})
    fresh = [{"last_fetched_at": datetime(2026, 5, 20, 10, tzinfo=UTC), "status": "fresh"}]
    fill(cli.database, data_freshness=fresh, cost_drivers=drivers)
    lines = cli("status").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Apr 2026 against Mar"))
    assert [line.split() for line in lines[start + 1 : start + 8]] == [
        ["p", "b", "-2,000.00", "-2,000.00", "0.00", "0.00", "USD"],
        ["p/page", "-2,000.00", "-2,000.00", "0.00", "0.00", "USD"],
        ["p", "a", "+1,255.00", "+1,005.00", "0.00", "+250.00", "USD"],
        ["search", "+705.00", "+705.00", "0.00", "0.00", "USD"],
        ["17", "May", "against", "10", "May", "change", "volume", "price", "mix"],
        ["p", "a", "+0.50", "+0.50", "0.00", "0.00", "USD"],
        ["p/page", "+0.50", "+0.50", "0.00", "0.00", "USD"],
    ]
    assert max(map(len, lines)) <= 80
    assert cli.json("status")["changes"][1]["driver"]["value"] == "search"


def test_status_warns_of_credits_that_run_out(cli: Cli) -> None:
    """It reads the newest balance, and warns if nothing is left or the rest lasts for at most 30 days."""
    balances = [
        ("credit", date(2026, 5, 18), 90, Decimal(31)),
        ("credit", date(2026, 5, 19), 0, None),
        ("page", date(2026, 5, 19), 1500, Decimal("29.6")),
        ("USD", date(2026, 5, 19), Decimal("12.5"), Decimal("1.2")),
        ("second", date(2026, 5, 19), 1, Decimal("0.9")),
        ("token", date(2026, 5, 19), 10, Decimal("30.1")),
    ]
    row = {"provider": "reducto", "billing_account": "acme"}
    names = ("unit", "date", "remaining", "days_left")
    fill(cli.database, credit_balance_daily=[row | dict(zip(names, balance, strict=True)) for balance in balances])
    assert cli.json("status")["warnings"] == [
        "credits: reducto acme has 12.50 USD left, for 1 day",
        "credits: reducto acme has no credits left",
        "credits: reducto acme has 1,500 pages left, for 30 days",
        "credits: reducto acme has 1 second left, for less than a day",
    ]


def test_query_prints_rows_and_changes_nothing(cli: Cli) -> None:
    """Rows print as a table, as CSV or as JSON with exact numbers; SQL that writes is refused with status 2."""
    assert "there is no database" in cli("query", "select 1", status=1)
    fill(cli.database, **mart_rows({"mathpix": HOSTILE}, days=2))
    sql = "select account, sum(billed_cost) cost, null nothing, max(date) as day from usage.cost_daily group by 1 order by 1"
    rows = cli.rows(sql)
    assert [(row["account"], Decimal(row["cost"]), row["nothing"], row["day"]) for row in cli.json("query", sql)] == [
        (account, cost, None, day.isoformat()) for account, cost, _, day in rows
    ]
    head, *found = cli("query", sql, "--csv").splitlines()
    assert head == "account,cost,nothing,day"
    assert len(found) == len(rows) == len(HOSTILE)
    assert any(line.startswith("'=HYPERLINK") for line in found)  # a spreadsheet must not compute it
    assert f"{rows[0][1]:f}".rstrip("0") in cli("query", sql)
    assert f"{len(HOSTILE)} rows" in cli.output
    before = cli.database.read_bytes()
    out = cli.folder / "out.csv"
    for change, why in (
        ("create table x (i int)", "read-only"),
        ("delete from usage.cost_daily", "read-only"),
        (f"copy (select 1) to '{out}'", "disabled"),
        ("attach 'other.duckdb'", "disabled"),
        ("set enable_external_access = true", "locked"),
        ("call enable_logging('QueryLog')", "locked"),
        # DuckDB would abort the process: it cannot open the log.
        ("call enable_logging(storage='file', storage_path='log.csv'); select 1", "locked"),
        ("pragma enable_profiling = 'json'", "locked"),
        ("selec", "syntax error"),
        ("from nowhere", "nowhere does not exist"),
    ):
        assert why in cli("query", change, status=2), change
    assert cli.database.read_bytes() == before
    assert not out.exists()
    assert "exclude each other" in cli("query", sql, "--csv", "--json", status=2)
    assert json.loads(cli("query", "select 1 as a, 2 as a", "--json", status=2).splitlines()[0])["exit_status"] == 2


def test_query_aligns_the_decimals_of_a_column(cli: Cli) -> None:
    """By the point, and without zeros that no value of the column needs."""
    duckdb.connect(str(cli.database)).close()
    output = cli("query", "select * from (values (1.500::decimal(28, 9)), (10.25), (null), (300)) as made(cost)")
    assert [line.strip() for line in output.splitlines()[1:5]] == ["1.50", "10.25", "–", "300.00"]


def test_query_prints_a_wide_result_as_one_line_per_value(cli: Cli) -> None:
    """It fits into 80 columns. Of a long result, the first rows are printed, with a warning."""
    duckdb.connect(str(cli.database)).close()
    wide = ", ".join(f"'{name * 20}' as {name}" for name in "abcde")
    assert [line.split() for line in cli("query", f"select {wide}").splitlines()] == [
        *([name, name * 20] for name in "abcde"),
        ["1", "row"],
    ]
    output = cli("query", "select i, i + 1 as j from range(30000) rows(i)")
    assert "only the first 10,000 rows are shown: use --csv or --json for all" in " ".join(output.split())
    assert cli("query", "--csv", "select i from range(30000) rows(i)").count("\n") == 30_001


def test_csv_keeps_every_character(cli: Cli) -> None:
    """Escape sequences, line breaks and quotes come back from a CSV reader as they are in the database."""
    fill(cli.database)
    values = ["\x1b[31mred\x1b[0m", "a\nb", 'say "no", twice', "\u202eb\x07", "é\u2028"]
    parts = (" || ".join(f"chr({ord(character)})" for character in value) for value in values)
    sql = f"select {', '.join(f'{part} as c{number}' for number, part in enumerate(parts))}"
    assert list(csv.reader(io.StringIO(cli("query", sql, "--csv"), newline=""))) == [["c0", "c1", "c2", "c3", "c4"], values]


def test_escapes_characters_that_the_terminal_lacks(cli: Cli) -> None:
    """A name with an emoji ends no command on a stdout in Latin-1."""
    fill(cli.database)
    result = CliRunner(charset="latin-1").invoke(app, ["query", "select chr(128512) || chr(233) as name"])
    assert (result.exit_code, result.exception) == (0, None)
    assert "\\U0001f600é" in result.output


@pytest.mark.parametrize(
    ("sql", "is_query"),
    [
        ("select 1", True),
        ("with a as (select 1) select * from a union select 2", True),
        ("delete from usage.charges", False),
        ("select 1; drop table usage.charges", False),
        ("with gone as (delete from usage.charges returning *) select * from gone", False),
        ("select * into copied from usage.charges", False),
        ("vacuum", False),
        ("select (", False),
    ],
)
def test_only_a_query_passes_on_a_server(sql: str, *, is_query: bool) -> None:
    """On a server, the parsed SQL decides, before it is sent; a read-only DuckDB refuses changes by itself."""
    from meterhouse.pipelines.warehouse.user_query import require_query
    from meterhouse.sources._core.errors import ConfigurationError

    if is_query:
        require_query(sql, "postgres")
    else:
        with pytest.raises(ConfigurationError):
            require_query(sql, "postgres")


def test_ui_starts_harlequin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit status is the command's; if harlequin is missing, the error says how to install it."""
    from meterhouse.pipelines.warehouse import user_query

    assert "there is no database" in cli("ui", status=1)
    fill(cli.database)
    monkeypatch.setattr(user_query, "find_spec", lambda _: None)
    monkeypatch.setattr(user_query, "which", lambda _: None)
    # meterhouse is in no package index: pip needs the folder that it was installed from.
    hint = re.search(r"pip install '(.*)\[ui\]'", " ".join(cli("ui", status=2).split()))
    assert hint
    assert hint[1] == "/path/to/meterhouse" or Path(hint[1]).exists()
    client = cli.folder / "harlequin"
    client.write_text('#!/bin/sh\necho "$@" > arguments\nexit 3\n')
    client.chmod(0o755)
    monkeypatch.setattr(user_query, "which", lambda _: str(client))
    cli("ui", status=3)
    assert (cli.folder / "arguments").read_text().split() == ["--adapter", "duckdb", "--read-only", str(cli.database)]


CHARGED = {
    "provider": "mathpix",
    "currency": "USD",
    "billing_month": date(2026, 5, 1),
    "charge_period_start": datetime(2026, 5, 2),  # noqa: DTZ001 - the mart holds UTC without a time zone
    "billed_cost": Decimal(10),
    "effective_cost": Decimal(10),
    "reporting_currency": "EUR",
}
CONVERTED = {"reporting_cost": Decimal("9.006"), "fx_rate": Decimal("0.9006")}


def test_status_adds_up_all_currencies_in_the_reporting_currency(cli: Cli) -> None:
    """A missing rate is a warning, and the total is unknown then. Without a reporting currency there is no total."""
    fresh = [{"last_fetched_at": datetime(2026, 5, 20, 10, tzinfo=UTC), "status": "fresh"}]
    euros = CHARGED | {"currency": "EUR", "reporting_cost": Decimal(1000), "fx_rate": Decimal(1)}
    free = CHARGED | {"currency": "CHF", "billed_cost": 0, "effective_cost": 0}

    def status(*rows: dict[str, Any]) -> str:
        monthly = [{name: value for name, value in row.items() if name != "charge_period_start"} for row in rows]
        fill(cli.database, data_freshness=fresh, cost_monthly=monthly, charges=rows)
        return cli("status")

    assert "all in EUR              1,009.01            – EUR" in status(CHARGED | CONVERTED, euros, free)
    assert "WARNING" not in status(CHARGED | CONVERTED, euros, free)
    unknown = status(CHARGED, CHARGED | {"charge_period_start": datetime(2026, 5, 4)}, euros)  # noqa: DTZ001
    assert "all in EUR                     –            – EUR  a rate is missing" in unknown
    missing = "no exchange rate USD to EUR: 20.00 USD, 2026-05-02 to 2026-05-04"
    assert f"WARNING   {missing}\n" in unknown
    assert cli.json("status")["warnings"] == [missing]
    assert "all in" not in status({**CHARGED, "reporting_currency": None})
    assert cli.json("status")["reporting"] is None


def test_a_build_warns_of_missing_exchange_rates(cli: Cli) -> None:
    """Once for each currency, and only with a reporting currency."""
    fill(cli.database, charges=[CHARGED, CHARGED | CONVERTED])
    result = RunResult(resolve_destination(), RunState())
    warn_of_missing_rates(result, None)
    assert result.state.warnings == []
    warn_of_missing_rates(result, "EUR")
    assert result.state.warnings == ["no exchange rate USD to EUR: 10.00 USD, on 2026-05-02; add it to fx_rates"]
