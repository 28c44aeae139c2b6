"""Servers that behave differently from the newest documentation: no row is lost, doubled or zero without an error."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources.scopix.client import connect
from meterhouse.sources.scopix.constants import BASE_URL
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
DETAILS = "/api/v2/usage/details"
BY_PERIOD = "/api/v2/usage/by-period"
DASHBOARD = "/api/v2/usage/dashboard-analytics"
EVENTS = ("run", "scopix.usage_events", "--no-models")
TOKENS = ("run", "scopix.tokens_daily", "--no-models")

Edit = Callable[[str, Callable[[dict[str, Any]], None]], None]


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("scopix",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


@pytest.fixture
def edit(sandbox: Sandbox) -> Edit:
    """Changes the responses of one path."""

    def put(path: str, change: Callable[[dict[str, Any]], None]) -> None:
        sandbox.scopix.options.edit = lambda requested, body: change(body) if requested == path else None

    return put


def few(count: int, day: str = "2026-03-18") -> list[Event]:
    """Events a minute apart, each with ten input tokens."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    return [Event(f"{day}-{number:04}", start + timedelta(minutes=number), input_tokens=10) for number in range(count)]


def keys(sandbox: Sandbox) -> list[str]:
    return [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"]


@pytest.mark.parametrize("states_more", [True, False])
@pytest.mark.parametrize("size", ["20", "100"])
def test_a_total_of_one_page_is_not_the_total_of_the_list(
    cli: Cli, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch, size: str, states_more: bool
) -> None:
    """A list that would end after its first page is an error, whether or not the response states that rows follow."""

    def total_of_the_page(body: dict[str, Any]) -> None:
        more = body.pop("total_count") > body["offset"] + len(body["events"])
        body["total"] = len(body["events"])
        if states_more:
            body["has_more"] = more

    edit(DETAILS, total_of_the_page)
    sandbox.scopix.usage.set(few(250))
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", size)
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    assert "/usage/details: the " in cli(*EVENTS, status=1)
    assert not cli.rows("select * from information_schema.tables where table_name = 'usage_events'")


@pytest.mark.parametrize("envelope", ["offset", "page"])
def test_a_list_of_exactly_one_full_page_is_complete(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any
) -> None:
    """A further request shows that no row follows."""
    sandbox.scopix.options.envelope = envelope
    sandbox.scopix.usage.set(few(100))
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    cli(*EVENTS)
    assert cli.rows("select count(*) from scopix.usage_events") == [(100,)]


@pytest.mark.thorough
def test_events_without_a_key_have_the_requested_key(
    cli: Cli, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run replaces them, so an event that the vendor withdraws disappears."""

    def without_keys(body: dict[str, Any]) -> None:
        for event in body["events"]:
            del event["api_key_id"]

    edit(DETAILS, without_keys)
    first, second = keys(sandbox)[:2]
    sandbox.scopix.usage.set(
        [event._replace(api_key_id=first if number % 2 else second) for number, event in enumerate(few(20))]
    )
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", f"{first},{second}")
    cli(*EVENTS)
    counted = "select api_key_id, count(*) from scopix.usage_events group by 1 order by 1"
    assert cli.rows(counted) == [(first, 10), (second, 10)]
    sandbox.scopix.usage.withdraw("2026-03-18", api_key_id=first)
    cli(*EVENTS)
    assert cli.rows(counted) == [(second, 10)]


@pytest.mark.parametrize("table", ["usage_daily", "usage_by_period", "usage_events"])
def test_a_server_that_ignores_the_key_is_an_error(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Otherwise each of two keys would have the usage of all keys."""
    sandbox.scopix.options.keys = "ignored"
    sandbox.scopix.usage.set(few(5, "2026-03-01"))
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys(sandbox)[:2]))
    assert "the server ignores api_key_id" in cli("run", f"scopix.{table}", "--no-models", status=1)
    assert not cli.rows(f"select * from information_schema.tables where table_name = '{table}'")


@pytest.mark.thorough
def test_usage_that_vanishes_for_a_key_is_removed(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its days become 0 and its hours are deleted; the rows of the other key stay."""
    first, second = keys(sandbox)[:2]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", f"{first},{second}")
    only = ("run", "scopix.usage_daily", "scopix.usage_by_period", "--no-models")
    with time_machine.travel(NOW, tick=False):
        cli(*only)
        sandbox.scopix.usage.withdraw("2026-03-01", "2026-03-21", api_key_id=first)
        cli(*only)
        left = sandbox.scopix.usage.total("2026-03-18", "2026-03-21", api_key_id=second)
    assert left > 0
    query = "select api_key_id, sum(total_requests) from scopix.usage_daily where date >= '2026-03-18' group by 1 order by 1"
    assert cli.rows(query) == [(first, 0), (second, left)]
    query = (
        "select api_key_id, sum(value) from scopix.usage_by_period"
        " where period_type = 'hour' and bucket_start >= '2026-03-18 00:00:00+00' group by 1"
    )
    assert cli.rows(query) == [(second, left)]


def test_two_accounts_with_one_key_need_a_tenant_each(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account without a tenant may have the tenant of the other account."""
    key = sandbox.scopix.credential()
    accounts = {"a": {"api_key": key.api_key}, "b": {"api_key": key.api_key, "tenant_id": key.tenant_id}}
    monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps(accounts))
    assert "accounts a and b of scopix have the same api_key" in cli("run", "scopix", "--no-models", status=2)
    assert not sandbox.requests


def test_accounts_with_one_key_share_its_rate_limits() -> None:
    """Scopix counts requests by key, so two accounts at the full rate would exceed it."""
    accounts = [
        Account(name, {"api_key": key}, {"base_url": BASE_URL, "tenant_id": name}, "sources.scopix")
        for name, key in {"north": "scopix_one_key", "south": "scopix_one_key", "east": "scopix_another"}.items()
    ]
    source = SourceBuilder(
        provider="scopix",
        base_url=BASE_URL,
        initial_date="2026-03-01",
        lookback="3 days",
        requests_per_minute=30,
        accounts=None,
        since=None,
        until=None,
        full_refresh=False,
    )
    clients = connect(source, accounts, check_requests_per_minute=60)
    north, south, east = (clients[name] for name in ("north", "south", "east"))
    assert north.http.rate_limiter is south.http.rate_limiter
    assert north.check_http.rate_limiter is south.check_http.rate_limiter
    assert north.estimate is south.estimate
    limiters = [
        limiter for client in (north, east) for limiter in (client.http.rate_limiter, client.check_http.rate_limiter)
    ]
    assert len({id(limiter) for limiter in limiters}) == 4
    assert [limiter.requests_per_minute for limiter in limiters] == [30, 60, 30, 60]


@pytest.mark.thorough
def test_hours_are_loaded_from_the_first_complete_one(
    cli: Cli, sandbox: Sandbox, edit: Edit, clock: time_machine.Traveller
) -> None:
    """A server that keeps seven days lists the hour in which they begin; the time before is reported as missed."""

    def last_seven_days(body: dict[str, Any]) -> None:
        if body["period_type"] == "hour":
            since = datetime.now(UTC) - timedelta(days=7)
            body["start_date"] = since.isoformat()
            hour = since.replace(minute=0, second=0, microsecond=0)
            body["data"] = [point for point in body["data"] if datetime.fromisoformat(point["timestamp"]) >= hour]

    edit(BY_PERIOD, last_seven_days)
    only = ("run", "scopix.usage_by_period", "--no-models")
    output = cli(*only)
    since = datetime(2026, 3, 13, 11, tzinfo=UTC)
    requests = sandbox.scopix.usage.total(since)
    hours = "from scopix.usage_by_period where period_type = 'hour'"
    assert cli.rows(f"select min(bucket_start) >= '2026-03-13 11:00:00+00', sum(value) {hours}") == [(True, requests)]
    missed = [line for line in output.splitlines() if line.startswith("MISSED")]
    assert len(missed) == 1
    assert "scopix.usage_by_period default" in missed[0]
    assert "no longer returns [2026-03-01T00:00:00Z, 2026-03-13T11:00:00Z)" in missed[0]
    clock.move_to(NOW + timedelta(hours=3))
    assert "MISSED" not in cli(*only)


@pytest.mark.thorough
def test_a_dashboard_without_bounds_replaces_only_the_days_from_its_first_one(
    cli: Cli, sandbox: Sandbox, edit: Edit
) -> None:
    """A server that lists a week for every period, without its bounds, deletes no earlier day."""
    only = ("run", "scopix.dashboard_daily_activity", "--no-models")
    cli(*only)

    def a_week(body: dict[str, Any]) -> None:
        del body["start_date"], body["end_date"]
        body["daily_activity"] = body["daily_activity"][-7:]

    edit(DASHBOARD, a_week)
    sandbox.scopix.usage.withdraw("2026-03-19")
    cli(*only, "--full-refresh")
    assert cli.rows("select count(*) from scopix.dashboard_daily_activity") == [(20,)]
    assert cli.rows("select chat_messages from scopix.dashboard_daily_activity where date = '2026-03-19'") == [(0,)]


def test_a_dashboard_without_its_days_is_requested_again(cli: Cli, sandbox: Sandbox, edit: Edit) -> None:
    """The shared response may lack the days, because the totals do not need them."""
    responses: list[dict[str, Any]] = []

    def first_without(body: dict[str, Any]) -> None:
        responses.append(body)
        if len(responses) == 1:
            del body["daily_activity"]

    edit(DASHBOARD, first_without)
    cli("run", "scopix.dashboard_daily_activity", "--no-models")
    assert len(responses) == 2
    assert cli.rows("select count(*) from scopix.dashboard_daily_activity") == [(20,)]


@pytest.mark.thorough
def test_a_server_that_excludes_the_last_token_day_is_an_error(cli: Cli, sandbox: Sandbox) -> None:
    """It returns zero for any single day, and the loaded rows stay."""
    cli(*TOKENS)
    before = cli.rows("select date, total_tokens from scopix.tokens_daily order by 1")
    sandbox.scopix.options.tokens = "end excluded"
    assert "it returns 0 tokens for each day of" in cli(*TOKENS, status=1)
    assert cli.rows("select date, total_tokens from scopix.tokens_daily order by 1") == before


@pytest.mark.thorough
def test_the_first_minutes_of_a_month_keep_the_tokens_of_the_days_before(
    cli: Cli, sandbox: Sandbox, edit: Edit, clock: time_machine.Traveller
) -> None:
    """A server that ignores dates and names no month then returns 0, which is the new month and not an earlier day."""
    sandbox.scopix.usage.set(few(30, "2026-03-30") + few(30, "2026-03-31"))
    clock.move_to(datetime(2026, 3, 31, 23, 50, tzinfo=UTC))
    cli(*TOKENS)
    sandbox.scopix.options.tokens = "months"
    edit("/api/v2/usage/tokens/monthly", lambda body: (body.pop("year"), body.pop("month"), None)[-1])
    clock.move_to(datetime(2026, 4, 1, 0, 20, tzinfo=UTC))
    cli(*TOKENS)
    days = cli.rows("select date, total_tokens from scopix.tokens_daily where total_tokens > 0 or date > '2026-03-31'")
    assert sorted(days) == [(date(2026, 3, 30), 300), (date(2026, 3, 31), 300), (date(2026, 4, 1), 0)]
    sandbox.scopix.usage.arrive(*few(1, "2026-04-01"))
    assert "does not apply start_date and end_date" in cli(*TOKENS, status=1)


def test_a_newer_server_without_month_fields_loads_days_with_and_without_tokens(
    cli: Cli, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days without tokens are loaded as zero if the account has tokens on other days."""
    edit("/api/v2/usage/tokens/monthly", lambda body: (body.pop("year"), body.pop("month"), None)[-1])
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-02-01")
    sandbox.scopix.usage.set(few(10))
    cli(*TOKENS)
    assert cli.rows("select count(*), sum(total_tokens) from scopix.tokens_daily") == [(48, 100)]


@pytest.mark.thorough
def test_a_null_error_field_is_no_error(cli: Cli, sandbox: Sandbox) -> None:
    """A response with `error: null` is loaded."""
    sandbox.scopix.options.edit = lambda _, body: body.update(error=None)
    sandbox.scopix.usage.set(few(5))
    cli("run", "--no-models")
    assert cli.rows("select sum(total_requests) from scopix.usage_daily") == [(5,)]


@pytest.mark.thorough
def test_the_models_report_doubtful_usage(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event of two accounts fails the build, a short month warns, and a day without credits is unpriced and not free.

    A run refuses a second key of the tenant, so that the test adds such a row. A server that excludes the end of a month
    lacks its last day.
    """

    def edit(path: str, body: dict[str, Any]) -> None:
        if path.endswith("/summary") and body["period"]["start"].startswith("2026-03-18"):
            del body["total_credits"]
        if path.endswith("/tokens/monthly") and body["total_tokens"] == 50:
            body["total_tokens"] = 30

    sandbox.scopix.options.edit = edit
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-02-01")
    sandbox.scopix.usage.set(few(3, "2026-02-10") + few(2, "2026-02-28") + few(4, "2026-03-17") + few(5))
    cli("run", "scopix", "--no-models")
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("insert into scopix.usage_events select * replace ('second' as account) from scopix.usage_events")
    output = cli("models", status=1)
    assert sorted(line.split(":")[0] for line in output.splitlines() if line.startswith(("FAILED", "WARNING"))) == [
        "FAILED  assert_scopix_accounts_do_not_overlap",
        "WARNING  assert_scopix_token_days_and_months_agree",
    ]
    march = "meter in ('credits', 'unrated-requests') and quantity > 0 and date >= '2026-03-01'"
    assert cli.rows(f"select distinct meter, date, quantity from usage.usage_daily where {march} order by date") == [
        ("credits", date(2026, 3, 17), Decimal(8)),
        ("unrated-requests", date(2026, 3, 18), Decimal(5)),
    ]
    assert cli.rows("select distinct date, reason from usage.unpriced_usage where meter = 'unrated-requests'") == [
        (date(2026, 3, 18), "no credits stated")
    ]
