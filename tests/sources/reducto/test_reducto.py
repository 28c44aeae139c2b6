"""The raw tables after runs of Reducto, on a real DuckDB file and over real HTTP."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.reducto import GROUPINGS, Usage
from meterhouse.sources.reducto import reducto_source
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
TODAY = "2026-03-20"
PATH = "/api/v1/usage/export"
LOAD = ("run", "--no-models")
HARBOUR, LEGAL, QUILL = "org_harbour", "org_harbour_legal", "org_quill"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("reducto",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; the clock runs, so that no two loads have the same name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def sandbox_at_rest(sandbox: Sandbox) -> None:
    """Today's usage stands still, so that a later comparison with the sandbox is exact."""
    sandbox.reducto.usage.set(
        row for org_id in (HARBOUR, LEGAL, QUILL) for row in sandbox.reducto.usage.rows("2025-12-01", org_id=org_id)
    )


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database after a first run. The first test that needs it creates it."""
    return tmp_path_factory.mktemp("first") / "meterhouse.duckdb"


@pytest.fixture
def loaded_cli(cli: Cli, sandbox: Sandbox, sandbox_at_rest: None, first_run: Path) -> Cli:
    """`cli` after a first run, as on another machine: without dlt's working directory."""
    if not first_run.exists():
        cli(*LOAD)
        shutil.copy(cli.database, first_run)
    shutil.copy(first_run, cli.database)
    sandbox.requests.clear()
    return cli


def table(grouping: str) -> str:
    return f"reducto.usage_by_{grouping}"


def loaded(cli: Cli, grouping: str = "product", columns: str = "*") -> list[tuple[Any, ...]]:
    return cli.rows(f"select {columns} from {table(grouping)} order by all")


def total(cli: Cli, where: str = "true", grouping: str = "product") -> tuple[Decimal, int]:
    ((credits_, requests),) = cli.rows(
        f"select coalesce(sum(credits), 0), coalesce(sum(request_count), 0) from {table(grouping)} where {where}"
    )
    return credits_, int(requests)


def totals(cli: Cli, where: str = "true") -> set[tuple[Decimal, int]]:
    """The total of each of the four tables: one pair, if they agree."""
    return {total(cli, where, grouping) for grouping in GROUPINGS}


def totals_without_feature(cli: Cli) -> set[tuple[Decimal, int]]:
    return {total(cli, grouping=grouping) for grouping in GROUPINGS if grouping != "feature"}


def asked(sandbox: Sandbox, grouping: str = "feature") -> list[tuple[str, str]]:
    return [
        (request.query["startDate"][0], request.query["endDate"][0])
        for request in sandbox.requests
        if request.query["groupBy"] == [grouping]
    ]


def answer(*rows: dict[str, Any], **head: Any) -> dict[str, Any]:
    """A response to the first run's last window."""
    whole = {"orgId": HARBOUR, "startDate": "2026-02-28", "endDate": "2026-03-21", "groupBy": "feature", "data": list(rows)}
    return whole | head


def row(**changes: Any) -> dict[str, Any]:
    return {"date": "2026-03-19", "group": "standard_page", "credits": 1.5, "requestCount": 2} | changes


def for_feature(body: Any, **changes: Any) -> Fault:
    return Fault(path=PATH, query={"groupBy": "feature"}, body=body, **changes)


def test_a_first_run_equals_the_vendors_totals(cli: Cli, sandbox: Sandbox) -> None:
    """Each of the four tables has the total of the key's own organisation, typed, and marks the running day."""
    cli(*LOAD)
    truth = sandbox.reducto.usage.total("2026-03-01")
    assert truth.requests > 10_000
    assert totals(cli) == {truth}
    assert cli.rows(
        "select distinct account, org_id, typeof(credits), typeof(request_count), typeof(date), typeof(is_unrated),"
        f" is_unrated from {table('file_type')}"
    ) == [("default", HARBOUR, "DECIMAL(28,9)", "BIGINT", "DATE", "BOOLEAN", False)]
    assert cli.rows(f"select distinct date from {table('product')} where not is_complete") == [(date(2026, 3, 20),)]
    assert ("",) in cli.rows(f"select distinct file_type from {table('file_type')}")


@pytest.mark.thorough
def test_a_second_run_changes_no_row(loaded_cli: Cli) -> None:
    """Even the time of fetching stays."""
    before = {grouping: loaded(loaded_cli, grouping) for grouping in GROUPINGS}
    loaded_cli(*LOAD)
    assert {grouping: loaded(loaded_cli, grouping) for grouping in GROUPINGS} == before


@pytest.mark.thorough
def test_mirrors_restated_usage(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """Changed credits, a vanished group and a vanished day; rows of another organisation and older days stay."""
    usage = sandbox.reducto.usage
    usage.restate("2026-03-18", factor="1.25", product="parse")
    usage.restate("2026-03-15", credits="0.25", product="split")
    usage.withdraw("2026-03-17", product="extract")
    usage.withdraw("2026-03-16")
    loaded_cli(*LOAD)
    assert totals(loaded_cli) == {usage.total("2026-03-01")}
    assert not loaded_cli.rows(f"select * from {table('api_key')} where date = '2026-03-16'")
    assert not loaded_cli.rows(f"select * from {table('product')} where date = '2026-03-17' and product = 'extract'")


@pytest.mark.thorough
def test_a_later_run_requests_the_lookback_and_a_day_around_it(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor is the last day that had ended; the request has one day more on each side of the window."""
    cli(*LOAD)
    assert asked(sandbox) == [("2026-02-28", "2026-03-21")]
    sandbox.requests.clear()
    monkeypatch.setenv("SOURCES__REDUCTO__LOOKBACK", "2 days")
    clock.move_to(NOW + timedelta(days=1))
    cli(*LOAD)
    assert asked(sandbox) == [("2026-03-17", "2026-03-22")]


@pytest.mark.thorough
def test_a_missing_today_is_not_taken_for_empty(loaded_cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """A response that ends before today leaves today's rows, and the next day's run completes them."""
    today = "date = '2026-03-20'"
    before = total(loaded_cli, today)
    sandbox.reducto.options.end_date, sandbox.reducto.options.end_in_future = "excluded", "clamped"
    sandbox.reducto.usage.restate(TODAY, factor=3)
    loaded_cli(*LOAD)
    assert total(loaded_cli, today) == before
    clock.move_to(NOW + timedelta(days=1))
    loaded_cli(*LOAD)
    assert total(loaded_cli, today) == sandbox.reducto.usage.total(TODAY)
    assert loaded_cli.rows(f"select distinct is_complete from {table('product')} where {today}") == [(True,)]


@pytest.mark.thorough
def test_loads_every_organisation(loaded_cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own rows and cursor: one that is added later begins at initial_date."""
    monkeypatch.setenv("SOURCES__REDUCTO__ORG_IDS", f"{HARBOUR},{LEGAL}")
    sandbox.requests.clear()
    loaded_cli(*LOAD)
    for org_id in (HARBOUR, LEGAL):
        assert totals(loaded_cli, f"org_id = '{org_id}'") == {sandbox.reducto.usage.total("2026-03-01", org_id=org_id)}
    assert {request.query["orgId"][0] for request in sandbox.requests} == {HARBOUR, LEGAL}
    assert loaded_cli.rows("select distinct part from reducto.fetched_windows order by all") == [(HARBOUR,), (LEGAL,)]


@pytest.mark.thorough
def test_rows_of_a_removed_organisation_stay(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without org_ids the responses cover the key's own organisation, and delete no row of the others."""
    monkeypatch.setenv("SOURCES__REDUCTO__ORG_IDS", f"{HARBOUR},{LEGAL}")
    cli(*LOAD)
    monkeypatch.delenv("SOURCES__REDUCTO__ORG_IDS")
    sandbox.reducto.usage.withdraw("2026-03-02", "2026-03-21")
    cli(*LOAD)
    assert totals(cli, f"org_id = '{HARBOUR}'") == {sandbox.reducto.usage.total("2026-03-01", "2026-03-02")}
    sandbox.reducto.usage.reset()
    assert total(cli, f"org_id = '{LEGAL}' and date < '{TODAY}'") == sandbox.reducto.usage.total(
        "2026-03-01", TODAY, org_id=LEGAL
    )


@pytest.mark.thorough
def test_an_organisation_that_fails_does_not_stop_the_others(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign one is refused by name, the others are loaded, and the exit status is 1."""
    monkeypatch.setenv("SOURCES__REDUCTO__ORG_IDS", json.dumps([HARBOUR, QUILL, LEGAL]))
    report = cli.json(*LOAD, status=1)
    assert {(failure["kind"], QUILL in failure["error"]) for failure in report["failures"]} == {("RequestRejected", True)}
    for org_id in (HARBOUR, LEGAL):
        assert totals(cli, f"org_id = '{org_id}'") == {sandbox.reducto.usage.total("2026-03-01", org_id=org_id)}
    assert not cli.rows(f"select * from {table('product')} where org_id = '{QUILL}'")
    assert f"organisation {QUILL}: the owner of the API key is not a member" in cli("check", status=1)


@pytest.mark.thorough
def test_a_backfill_changes_only_its_window(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """It loads [since, until) exactly, and the next run sends the requests that it would have sent."""
    rows = loaded(loaded_cli)
    sandbox.reducto.usage.restate("2026-01-01", "2026-03-20", factor=2)
    sandbox.requests.clear()
    loaded_cli(*LOAD, "--since", "2026-03-02", "--until", "2026-03-04")
    assert asked(sandbox) == [("2026-03-01", "2026-03-04")]
    inside = "date >= '2026-03-02' and date < '2026-03-04'"
    assert totals(loaded_cli, inside) == {sandbox.reducto.usage.total("2026-03-02", "2026-03-04")}
    outside = loaded_cli.rows(f"select * from {table('product')} where not ({inside}) order by all")
    assert outside == [row for row in rows if not date(2026, 3, 2) <= row[2] < date(2026, 3, 4)]
    sandbox.requests.clear()
    loaded_cli(*LOAD)
    assert asked(sandbox) == [("2026-02-28", "2026-03-21")]


def test_an_empty_account_has_its_tables(cli: Cli, sandbox: Sandbox) -> None:
    """The tables exist with all columns, so that SQL on them is valid."""
    sandbox.reducto.usage.set([])
    cli(*LOAD)
    for grouping in GROUPINGS:
        columns = (
            f"account, org_id, date, {grouping}, credits, request_count, is_unrated, is_complete, fetched_at, row_version"
        )
        assert loaded(cli, grouping, columns) == []


def test_an_added_field_becomes_a_column(cli: Cli, sandbox: Sandbox) -> None:
    """It arrives as text beside the others."""
    sandbox.faults.add(for_feature(answer(row(usageBreakdown={"parse_pages": 4}))))
    cli(*LOAD)
    assert loaded(cli, "feature", "credits, usage_breakdown") == [(Decimal("1.5"), '{"parse_pages": 4}')]


def test_reports_a_wrong_key(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one failure for each table, and the output does not show the key."""
    monkeypatch.setenv("SOURCES__REDUCTO__API_KEY", "not-the-right-key")
    report = cli.json(*LOAD, status=1)
    assert {(failure["table"], failure["kind"]) for failure in report["failures"]} == {
        (f"usage_by_{grouping}", "CredentialsRejected") for grouping in GROUPINGS
    }
    assert "not-the-right-key" not in json.dumps(report)


def test_check_sends_one_request(cli: Cli, sandbox: Sandbox) -> None:
    """The request has two days by product."""
    cli("check")
    assert [request.query for request in sandbox.requests] == [
        {"startDate": ["2026-03-19"], "endDate": ["2026-03-20"], "groupBy": ["product"]}
    ]


@pytest.mark.parametrize("end_date", ["included", pytest.param("excluded", marks=pytest.mark.thorough)])
def test_no_day_is_missing_whether_the_end_is_included_or_not(cli: Cli, sandbox: Sandbox, end_date: Any) -> None:
    """First run, backfill and second run give the same table for both interpretations of the reference."""
    sandbox.reducto.options.end_date = end_date
    cli(*LOAD)
    assert totals(cli) == {sandbox.reducto.usage.total("2026-03-01")}
    sandbox.reducto.usage.restate("2026-03-05", "2026-03-08", factor=2)
    cli(*LOAD, "--since", "2026-03-05", "--until", "2026-03-08")
    assert totals(cli) == {sandbox.reducto.usage.total("2026-03-01")}
    cli(*LOAD)
    assert totals(cli) == {sandbox.reducto.usage.total("2026-03-01")}


def test_credits_that_are_not_shown_are_neither_invented_nor_zero(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """On the pricing of 2026-09-01 requests keep their count, credits are null, and the row is flagged."""
    monkeypatch.setenv("SOURCES__REDUCTO__INITIAL_DATE", "2026-08-31")
    clock.move_to(datetime(2026, 9, 2, 12, tzinfo=UTC))
    sandbox.reducto.usage.set([Usage(day, credits="2.5") for day in ("2026-08-31", "2026-09-01")])
    sandbox.reducto.options.on_new_pricing.add(HARBOUR)
    cli(*LOAD)
    assert loaded(cli, columns="date, product, credits, request_count, is_unrated") == [
        (date(2026, 8, 31), "parse", Decimal("2.5"), 1, False),
        (date(2026, 9, 1), "parse", None, 1, True),
    ]


@pytest.mark.thorough
def test_each_account_has_its_own_filters(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key requests its own organisations with its own filters, and each row names its account."""
    keys = {name: sandbox.reducto.credential(name).api_key for name in ("default", "firm")}
    accounts = {
        "insurer": {"api_key": keys["default"], "org_ids": LEGAL, "products": ["parse"], "file_types": "pdf,html"},
        "firm": {"api_key": keys["firm"]},
    }
    monkeypatch.setenv("SOURCES__REDUCTO__ACCOUNTS", json.dumps(accounts))
    cli(*LOAD)
    passing = sandbox.reducto.usage.total("2026-03-01", org_id=LEGAL, product="parse", file_type="pdf")
    assert passing.requests > 0
    assert totals(cli, "account = 'insurer'") == {passing}
    assert totals(cli, "account = 'firm'") == {sandbox.reducto.usage.total("2026-03-01", org_id=QUILL)}
    assert {
        (request.query["orgId"][0], *request.query["product"], *request.query["fileType"])
        for request in sandbox.requests
        if "product" in request.query
    } == {(LEGAL, "parse", "pdf", "html")}

    accounts["insurer"]["products"] = ["prase"]
    monkeypatch.setenv("SOURCES__REDUCTO__ACCOUNTS", json.dumps(accounts))
    refused = " ".join(cli(*LOAD, status=1).split())
    assert "products = prase; file_types = html, pdf, but the loaded rows have products = parse; file_types" in refused
    assert totals(cli, "account = 'insurer'") == {passing}


@pytest.mark.thorough
def test_one_key_may_serve_two_accounts(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own organisations; the same ones twice are refused."""
    key = {"api_key": sandbox.reducto.credential().api_key}
    accounts = {"claims": key | {"org_ids": HARBOUR}, "legal": key | {"org_ids": LEGAL}}
    monkeypatch.setenv("SOURCES__REDUCTO__ACCOUNTS", json.dumps(accounts))
    cli(*LOAD)
    for account, org_id in (("claims", HARBOUR), ("legal", LEGAL)):
        assert totals(cli, f"account = '{account}'") == {sandbox.reducto.usage.total("2026-03-01", org_id=org_id)}
    monkeypatch.setenv("SOURCES__REDUCTO__ACCOUNTS", json.dumps(accounts | {"legal": accounts["claims"]}))
    assert "same credentials" in cli(*LOAD, status=2)


@pytest.mark.thorough
def test_logs_an_organisation_that_never_returns_data(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row has no window, so that its account does not look complete."""
    monkeypatch.setenv("SOURCES__REDUCTO__ORG_IDS", f"{HARBOUR},{LEGAL}")
    sandbox.faults.add(Fault(path=PATH, query={"orgId": LEGAL}, status=500))
    cli(*LOAD, status=1)
    log = "select distinct part, window_start is null, row_count > 0 from reducto.fetched_windows order by 1"
    assert cli.rows(log) == [(HARBOUR, False, True), (LEGAL, True, False)]


@pytest.mark.thorough
def test_fills_a_gap_in_the_schedule_in_quarters(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """After a hundred days without a run no day is missing or doubled; the windows adjoin."""
    cli(*LOAD)
    sandbox.reducto.usage.set(Usage(date(2026, 3, 1) + timedelta(days=day), credits=day) for day in range(125))
    clock.move_to(NOW + timedelta(days=100))
    sandbox.requests.clear()
    cli(*LOAD)
    assert asked(sandbox) == [("2026-02-28", "2026-06-01"), ("2026-05-31", "2026-06-29")]
    assert totals(cli) == {sandbox.reducto.usage.total("2026-03-01")}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (answer(row(credits="many")), "field credits holds 'many'"),
        (answer(startDate="2026-03-05"), "begins with 2026-03-05"),
    ],
)
def test_an_undocumented_response_stops_one_table(cli: Cli, sandbox: Sandbox, body: Any, said: str) -> None:
    """The message names endpoint and field; the table keeps its rows, and the others are loaded."""
    sandbox.faults.add(for_feature(body))
    (failure,) = cli.json(*LOAD, status=1)["failures"]
    assert failure["table"] == "usage_by_feature"
    assert PATH in failure["error"]
    assert said in failure["error"]
    assert totals_without_feature(cli) == {sandbox.reducto.usage.total("2026-03-01")}


def test_raises_a_failure_in_your_own_pipeline(cli: Cli, sandbox: Sandbox) -> None:
    """Without an observer that collects failures, nothing of the run is loaded."""
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb("meterhouse.duckdb"), dataset_name="reducto")
    pipeline.run(reducto_source(org_ids=[LEGAL]))
    before = loaded(cli)
    sandbox.reducto.usage.restate("2026-03-19", factor=2, org_id=LEGAL)
    sandbox.faults.add(Fault(path=PATH, query={"groupBy": "file_type"}, status=500))
    with pytest.raises(Exception, match=f"organisation {LEGAL}: Reducto reports an internal error"):
        pipeline.run(reducto_source(org_ids=[LEGAL]))
    assert loaded(cli) == before
