"""The Scopix source: what a run loads into the raw tables, with a real DuckDB file and over real HTTP."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources.scopix.probes import UNKNOWN_KEY_ID
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
START = "2026-03-01"
TABLES = (
    "conversation_tokens",
    "dashboard_analytics",
    "dashboard_daily_activity",
    "file_tokens",
    "plan_utilization",
    "tokens_daily",
    "tokens_monthly",
    "top_endpoints",
    "usage_breakdown",
    "usage_by_period",
    "usage_checks",
    "usage_daily",
    "usage_events",
    "usage_summary",
)
EVENTS = ("run", "scopix.usage_events", "--no-models")
DAILY = ("run", "scopix.usage_daily", "--no-models")
DETAILS = "/api/v2/usage/details"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


def loaded(cli: Cli, table: str) -> list[tuple[Any, ...]]:
    return cli.rows(f"select * from scopix.{table} order by all")


def ids(cli: Cli) -> list[str]:
    return [row[0] for row in cli.rows("select id from scopix.usage_events order by id")]


def expected_ids(sandbox: Sandbox, start: str = START, account: str = "default") -> list[str]:
    return sorted(event.id for event in sandbox.scopix.usage.events(account, start))


def few(count: int, day: str = "2026-03-18", prefix: str = "event") -> list[Event]:
    """Events a minute apart."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    return [Event(f"{prefix}-{number:04}", start + timedelta(minutes=number)) for number in range(count)]


@pytest.mark.thorough
def test_every_method_is_a_table_with_the_values_of_the_vendor(cli: Cli, sandbox: Sandbox) -> None:
    """Events, days, periods, tokens and snapshots equal the vendor's own sums; a second run changes no row."""
    usage = sandbox.scopix.usage
    usage.set(usage.events("default", "2026-02-20"))
    with time_machine.travel(NOW, tick=False):
        cli("run", "--no-models")
        before = {table: loaded(cli, table) for table in TABLES}
        cli("run", "--no-models")
        assert {table: loaded(cli, table) for table in TABLES} == before
        requests, spent = usage.total(START), usage.total(START, what="credits")
        read, written = usage.total(START, what="input_tokens"), usage.total(START, what="output_tokens")
        files = usage.total(START, operation_type="describe", status_code=200)
        chats = len(usage.events("default", START)) - sum(e.session is None for e in usage.events("default", START))
    assert all(before.values())
    assert ids(cli) == expected_ids(sandbox)
    assert cli.rows("select sum(total_requests), sum(total_credits), count(*) from scopix.usage_daily") == [
        (requests, Decimal(spent), 20)
    ]
    assert cli.rows("select period_type, sum(value) from scopix.usage_by_period group by 1 order by 1") == [
        ("day", requests),
        ("hour", requests),
        ("month", requests),
    ]
    assert cli.rows("select sum(total_input_tokens), sum(total_output_tokens) from scopix.tokens_daily") == [(read, written)]
    assert cli.rows("select bucket_start, bucket_end, total_tokens, is_complete from scopix.tokens_monthly") == [
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), read + written, False)
    ]
    assert cli.rows("select count(*) from scopix.file_tokens") == [(files,)]
    assert cli.rows("select sum(files_uploaded), sum(chat_messages) from scopix.dashboard_daily_activity") == [
        (files, chats)
    ]
    assert cli.rows("select total_requests, total_credits, period from scopix.usage_summary") == [
        (requests, Decimal(spent), "month")
    ]
    assert cli.rows("select can_proceed, required_credits, current_usage from scopix.usage_checks") == [
        (True, Decimal(2), Decimal(spent))
    ]
    assert cli.rows("select total_credits_used, reset_date from scopix.usage_breakdown") == [
        (Decimal(spent), datetime(2026, 4, 1, tzinfo=UTC))
    ]
    assert cli.rows("select sum(request_count), count(distinct rank) = count(*) from scopix.top_endpoints") == [
        (requests, True)
    ]
    assert cli.rows("select plan_name, requests_used, features from scopix.plan_utilization")[0][:2] == (
        "PROFESSIONAL",
        requests,
    )
    assert cli.rows("select distinct is_complete from scopix.usage_events") == [(True,)]
    assert cli.rows("select date from scopix.usage_daily where not is_complete") == [(NOW.date(),)]


@pytest.mark.parametrize(
    ("envelope", "totals", "page_size"),
    [("offset", True, 100), ("offset", False, 7), ("page", True, 100), ("page", True, 7)],
)
def test_both_paging_styles_are_read_completely(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any, totals: bool, page_size: int
) -> None:
    """Newer and older paging, with and without the total number of rows."""
    sandbox.scopix.options.envelope, sandbox.scopix.options.totals = envelope, totals
    sandbox.scopix.usage.set(few(57) + few(100, "2026-03-05", "early"))
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", str(page_size))
    cli(*EVENTS)
    assert ids(cli) == expected_ids(sandbox)


def arrivals(sandbox: Sandbox, times: int, change: Callable[[int], None]) -> None:
    def before_page(path: str, number: int) -> None:
        if path == DETAILS and 0 < number <= times:
            change(number)

    sandbox.scopix.options.before_page = before_page


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("envelope", "totals", "change"),
    [
        ("offset", True, "arrives"),
        ("offset", False, "vanishes"),
        ("page", False, "arrives"),
        ("page", True, "vanishes"),
        *((envelope, totals, "both") for envelope in ("offset", "page") for totals in (True, False)),
    ],
)
def test_a_list_that_moves_while_it_is_read_loses_and_doubles_no_row(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any, totals: bool, change: str
) -> None:
    """A late event moves the others to later pages; with a withdrawn one at the same time, the total does not change."""
    usage = sandbox.scopix.usage
    sandbox.scopix.options.envelope, sandbox.scopix.options.totals = envelope, totals
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-17")
    usage.set(few(90))

    def move(number: int) -> None:
        if change != "vanishes":
            usage.arrive(Event(f"late-{number}", NOW - timedelta(minutes=number)))
        if change != "arrives":
            usage.withdraw("2026-03-18", id=f"event-{number:04}")

    arrivals(sandbox, 2, move)
    cli(*EVENTS)
    assert ids(cli) == expected_ids(sandbox, "2026-03-17")
    assert len(ids(cli)) == {"arrives": 92, "vanishes": 88, "both": 90}[change]


def test_a_list_that_moves_in_every_attempt_is_an_error(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gives up after four attempts."""
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-17")
    usage = sandbox.scopix.usage
    usage.set(few(90))
    arrivals(sandbox, 1000, lambda number: usage.arrive(Event(f"late-{number}", NOW - timedelta(seconds=number))))
    assert "the list moved in each of 4 attempts" in cli(*EVENTS, status=1)


def test_a_server_that_ignores_paging_is_an_error_after_a_few_requests(cli: Cli, sandbox: Sandbox) -> None:
    """A server that returns its first page for every page, in both styles, causes no endless loop."""
    sandbox.scopix.options.paging = "ignored"
    for envelope in ("offset", "page"):
        sandbox.requests.clear()
        sandbox.scopix.options.envelope = envelope
        assert "the first page for every page" in cli(*EVENTS, status=1)
        assert len(sandbox.requests) <= 6


def test_events_within_the_lookback_are_added_and_removed(cli: Cli, sandbox: Sandbox) -> None:
    """Each run replaces the last three days."""
    cli(*EVENTS)
    usage = sandbox.scopix.usage
    usage.arrive(Event("late", NOW - timedelta(days=2)))
    usage.withdraw("2026-03-19", operation_type="chat")
    cli(*EVENTS)
    assert ids(cli) == expected_ids(sandbox)
    assert "late" in ids(cli)


@pytest.mark.thorough
def test_days_are_requested_once_for_each_key_and_then_within_the_lookback(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run requests each day and key once, the second one the last three days and today."""
    keys = [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"][:2]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys))
    cli(*DAILY)
    days_requested = [r for r in sandbox.requests if "api_key_id" in r.query]
    assert len(sandbox.requests) == len(days_requested) + 1  # the newest events, which identify the account
    requested = Counter((r.query["api_key_id"][0], r.query["start_date"][0][:10]) for r in days_requested)
    assert set(requested.values()) == {1}
    assert len(requested) == 20 * 2 + 1
    assert [key for key, _ in requested].count(UNKNOWN_KEY_ID) == 1
    expected = [(key, sandbox.scopix.usage.total(START, api_key_id=key)) for key in sorted(keys)]
    assert cli.rows("select api_key_id, sum(total_requests) from scopix.usage_daily group by 1 order by 1") == expected
    sandbox.requests.clear()
    cli(*DAILY)
    days = sorted({r.query["start_date"][0][:10] for r in sandbox.requests})
    assert (days, len(sandbox.requests)) == (["2026-03-17", "2026-03-18", "2026-03-19", "2026-03-20"], 8 + 1)
    cli("run", "scopix.usage_events", "scopix.usage_by_period", "--no-models")
    assert {key for (key,) in cli.rows("select distinct api_key_id from scopix.usage_events")} == set(keys)
    assert cli.rows("select sum(value) from scopix.usage_by_period where period_type = 'day'") == [
        (sum(total for _, total in expected),)
    ]


def test_operation_types_limit_the_events(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only events of these operations are loaded."""
    monkeypatch.setenv("SOURCES__SCOPIX__OPERATION_TYPES", "chat,search")
    cli(*EVENTS)
    assert {kind for (kind,) in cli.rows("select distinct operation_type from scopix.usage_events")} == {"chat", "search"}
    chat, search = (sandbox.scopix.usage.total(START, operation_type=kind) for kind in ("chat", "search"))
    assert len(ids(cli)) == chat + search


@pytest.mark.thorough
def test_the_last_run_of_a_day_replaces_its_snapshot(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """Two runs of a day leave the snapshot of the later one; snapshots of earlier days stay."""
    only = ("run", "scopix.usage_breakdown", "scopix.dashboard_analytics", "--no-models")
    cli(*only)
    clock.move_to(NOW + timedelta(hours=6))
    cli(*only)
    clock.move_to(NOW + timedelta(days=2))
    cli(*only)
    rows = cli.rows("select snapshot_date, total_credits_used from scopix.usage_breakdown order by 1")
    assert [day for day, _ in rows] == [date(2026, 3, 20), date(2026, 3, 22)]
    assert rows[0][1] == Decimal(sandbox.scopix.usage.total(START, NOW + timedelta(hours=6), what="credits"))
    assert cli.rows("select snapshot_date, count(*) from scopix.dashboard_analytics group by 1 order by 1") == [
        (date(2026, 3, 20), 3),
        (date(2026, 3, 22), 3),
    ]


@pytest.mark.thorough
def test_restated_and_withdrawn_usage_is_replaced(cli: Cli, sandbox: Sandbox) -> None:
    """Within the lookback, in every table that is requested by date."""
    only = ("run", "scopix.usage_events", "scopix.usage_by_period", "scopix.usage_daily", "--no-models")
    cli(*only)
    usage = sandbox.scopix.usage
    usage.restate("2026-03-18", to={"credits": 9.0}, operation_type="search", status_code=200)
    usage.withdraw("2026-03-19")
    cli(*only)
    assert cli.rows("select total_requests, total_credits from scopix.usage_daily where date = '2026-03-19'") == [(0, 0)]
    assert cli.rows("select total_credits from scopix.usage_daily where date = '2026-03-18'") == [
        (Decimal(usage.total("2026-03-18", "2026-03-19", what="credits")),)
    ]
    assert not cli.rows(
        "select 1 from scopix.usage_by_period where period_type <> 'month' and bucket_start::date = '2026-03-19'"
    )
    assert ids(cli) == expected_ids(sandbox)


def test_an_account_without_usage_has_its_tables(cli: Cli, sandbox: Sandbox) -> None:
    """Lists are empty and days are zero."""
    sandbox.scopix.usage.set([])
    cli("run", "--no-models")
    assert all(loaded(cli, table) == [] for table in ("usage_events", "file_tokens", "conversation_tokens"))
    assert cli.rows("select count(*), sum(total_requests) from scopix.usage_daily") == [(20, 0)]


@pytest.mark.thorough
def test_a_pause_in_the_schedule_is_caught_up(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """After five weeks without a run, the next run loads all of them."""
    sandbox.scopix.usage.set(few(30) + few(30, "2026-04-02", "later"))
    cli(*EVENTS)
    cli(*DAILY)
    clock.move_to(NOW + timedelta(days=35))
    cli("run", "scopix.usage_events", "scopix.usage_daily", "scopix.dashboard_daily_activity", "--no-models")
    assert ids(cli) == expected_ids(sandbox)
    assert cli.rows("select count(*) from scopix.usage_daily") == [(55,)]
    assert cli.rows("select count(*) from scopix.dashboard_daily_activity") == [(55,)]


@pytest.mark.thorough
def test_a_conversation_that_goes_on_is_updated(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """A conversation that began before the lookback of the other tables gets its new tokens."""
    sandbox.scopix.usage.set([Event("a", NOW - timedelta(days=6), input_tokens=5, session="long")])
    only = ("run", "scopix.conversation_tokens", "--no-models")
    cli(*only)
    sandbox.scopix.usage.arrive(Event("b", NOW, input_tokens=7, session="long"))
    clock.move_to(NOW + timedelta(hours=1))
    cli(*only)
    assert cli.rows("select total_tokens, message_count from scopix.conversation_tokens") == [(12, 2)]


def test_an_older_server_has_months_of_tokens_but_no_days(cli: Cli, sandbox: Sandbox) -> None:
    """Such a server returns the running month for each day, which is an error; its months are correct."""
    sandbox.scopix.options.tokens = "months"
    output = cli("run", "scopix.tokens_daily", "scopix.tokens_monthly", "--no-models", status=1)
    assert "does not apply start_date and end_date" in output
    tokens = sandbox.scopix.usage
    assert cli.rows("select total_tokens from scopix.tokens_monthly") == [
        (tokens.total(START, what="input_tokens") + tokens.total(START, what="output_tokens"),)
    ]
    assert not cli.rows("select * from information_schema.tables where table_name = 'tokens_daily'")


@pytest.mark.thorough
def test_an_account_that_fails_does_not_stop_the_others(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account has its key and tenant; if one fails, the other is loaded."""
    keys = {name: sandbox.scopix.credential(name) for name in ("default", "studio")}
    accounts = {name: {"api_key": key.api_key, "tenant_id": key.tenant_id} for name, key in keys.items()}
    monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps(accounts))
    cli(*EVENTS)
    for name in keys:
        got = [row[0] for row in cli.rows(f"select id from scopix.usage_events where account = '{name}' order by id")]
        assert got == expected_ids(sandbox, account=name)
    sandbox.scopix.options.past_due.add("studio")
    failures = cli.json(*EVENTS, status=1)["failures"]
    assert {(failure["account"], failure["kind"]) for failure in failures} == {("studio", "RequestRejected")}


@pytest.mark.parametrize("since", ["2026-02-03", "2026-02-01"])
@pytest.mark.thorough
def test_a_backfill_loads_exactly_its_days(cli: Cli, sandbox: Sandbox, since: str) -> None:
    """Of months it loads the complete ones; it takes no snapshots, which are of the present only."""
    sandbox.scopix.usage.set(few(30, "2026-02-02") + few(30, "2026-02-20", "later"))
    cli("run", "--no-models", "--since", since, "--until", "2026-03-01")
    days = 28 - int(since[-2:]) + 1
    assert cli.rows("select count(*) from scopix.usage_daily") == [(days,)]
    assert len(ids(cli)) == sandbox.scopix.usage.total(since, "2026-03-01")
    months = cli.rows("select count(*) from scopix.usage_by_period where period_type = 'month'")
    assert months == [(1 if since == "2026-02-01" else 0,)]


@pytest.mark.thorough
def test_a_new_field_is_a_column_and_a_wrong_value_stops_only_its_table(cli: Cli, sandbox: Sandbox) -> None:
    """A new field is loaded; a value of another type is an error with endpoint, field and value."""
    new = {"id": "x", "timestamp": "2026-03-19T01:00:00+00:00", "operation_type": "describe", "region": "eu"}
    sandbox.faults.add(Fault(path=DETAILS, body={"events": [new], "total_count": 1}))
    cli("run", "scopix.usage_events", "--no-models", "--since", "2026-03-19", "--until", "2026-03-20")
    assert cli.rows("select id, region, provider from scopix.usage_events") == [("x", "eu", None)]
    sandbox.faults.clear()
    sandbox.faults.add(Fault(path="/api/v2/usage/breakdown", body={"total_credits_used": "many"}))
    output = cli("run", "scopix.usage_breakdown", "scopix.usage_checks", "--no-models", status=1)
    assert "/usage/breakdown: field total_credits_used holds 'many'" in output
    assert cli.rows("select count(*) from scopix.usage_checks") == [(1,)]


def test_check_sends_one_request_and_shows_no_key(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error names the setting of the key, never its value."""
    cli("check")
    assert [(request.method, request.path) for request in sandbox.requests] == [("POST", "/api/v2/usage/check")]
    sandbox.scopix.options.exhausted.add("default")
    cli("check")
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY", "scopix_wrong_key_123")
    output = cli("check", status=1) + cli("run", "--no-models", status=1)
    assert "api_key" in output
    assert "scopix_wrong_key_123" not in output
