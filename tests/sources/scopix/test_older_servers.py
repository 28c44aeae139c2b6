"""Servers that differ from the newest documentation: no row is silently missing, doubled or zero."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

import meterhouse.sources._core.source
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources.scopix import scopix_source
from tests.conftest import House

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
    """Changes the responses of one path, unlike the vendor's documentation."""

    def put(path: str, change: Callable[[dict[str, Any]], None]) -> None:
        sandbox.scopix.options.edit = lambda asked, body: change(body) if asked == path else None

    return put


def few(count: int, day: str = "2026-03-18") -> list[Event]:
    """Events a minute apart, each of which used tokens."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    return [Event(f"{day}-{number:04}", start + timedelta(minutes=number), input_tokens=10) for number in range(count)]


def keys(sandbox: Sandbox) -> list[str]:
    return [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"]


@pytest.mark.parametrize("says_more", [True, False])
@pytest.mark.parametrize("size", ["20", "100"])
def test_a_count_of_the_page_is_not_taken_for_a_count_of_the_list(
    house: House, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch, size: str, says_more: bool
) -> None:
    """If the response says or shows that rows follow, a list cut after its first page is an error."""

    def of_the_page(body: dict[str, Any]) -> None:
        more = body.pop("total_count") > body["offset"] + len(body["events"])
        body["total"] = len(body["events"])
        if says_more:
            body["has_more"] = more

    edit(DETAILS, of_the_page)
    sandbox.scopix.usage.set(few(250))
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", size)
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    assert "/usage/details: the " in house(*EVENTS, status=1)
    assert not house.rows("select * from information_schema.tables where table_name = 'usage_events'")


@pytest.mark.parametrize("envelope", ["offset", "page"])
def test_reads_a_list_of_one_full_page(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any
) -> None:
    """One more request shows that nothing follows."""
    sandbox.scopix.options.envelope = envelope
    sandbox.scopix.usage.set(few(100))
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-18")
    house(*EVENTS)
    assert house.rows("select count(*) from scopix.usage_events") == [(100,)]


def test_events_without_a_key_get_the_requested_one(
    house: House, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run can then replace them, and delete those that the vendor withdraws."""

    def without_keys(body: dict[str, Any]) -> None:
        for event in body["events"]:
            del event["api_key_id"]

    edit(DETAILS, without_keys)
    first, second = keys(sandbox)[:2]
    sandbox.scopix.usage.set(
        [event._replace(api_key_id=first if number % 2 else second) for number, event in enumerate(few(20))]
    )
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", f"{first},{second}")
    house(*EVENTS)
    counted = "select api_key_id, count(*) from scopix.usage_events group by 1 order by 1"
    assert house.rows(counted) == [(first, 10), (second, 10)]
    sandbox.scopix.usage.vanish("2026-03-18", api_key_id=first)
    house(*EVENTS)
    assert house.rows(counted) == [(second, 10)]


@pytest.mark.parametrize("table", ["usage_daily", "usage_by_period", "usage_events"])
def test_a_server_that_ignores_the_key_is_an_error(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Each of two keys would have the usage of all."""
    sandbox.scopix.options.keys = "ignored"
    sandbox.scopix.usage.set(few(5, "2026-03-01"))
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys(sandbox)[:2]))
    assert "ignores api_key_id" in house("run", f"scopix.{table}", "--no-models", status=1)
    assert not house.rows(f"select * from information_schema.tables where table_name = '{table}'")


def test_mirrors_a_deleted_key(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its days become 0 and its hours go; those of the other key stay."""
    first, second = keys(sandbox)[:2]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", f"{first},{second}")
    only = ("run", "scopix.usage_daily", "scopix.usage_by_period", "--no-models")
    with time_machine.travel(NOW, tick=False):
        house(*only)
        sandbox.scopix.usage.vanish("2026-03-01", "2026-03-21", api_key_id=first)
        house(*only)
        left = sandbox.scopix.usage.total("2026-03-18", "2026-03-21", api_key_id=second)
    assert left > 0
    query = "select api_key_id, sum(total_requests) from scopix.usage_daily where date >= '2026-03-18' group by 1 order by 1"
    assert house.rows(query) == [(first, 0), (second, left)]
    query = (
        "select api_key_id, sum(value) from scopix.usage_by_period"
        " where period_type = 'hour' and bucket_start >= '2026-03-18 00:00:00+00' group by 1"
    )
    assert house.rows(query) == [(second, left)]


def test_one_key_for_two_accounts_needs_a_tenant_for_each(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account without one may be the tenant that the other names."""
    import json

    key = sandbox.scopix.credential()
    accounts = {"a": {"api_key": key.api_key}, "b": {"api_key": key.api_key, "tenant_id": key.tenant_id}}
    monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps(accounts))
    assert "accounts a and b of scopix have the same api_key" in house("run", "scopix", "--no-models", status=2)
    assert not sandbox.requests


def test_accounts_of_one_key_share_its_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor counts by key: two accounts at the full rate would be twice too fast."""
    made: list[RateLimiter] = []

    def budget(pace: int) -> RateLimiter:
        made.append(RateLimiter(pace))
        return made[-1]

    monkeypatch.setattr(meterhouse.sources._core.source, "RateLimiter", budget)
    tenants = {name: {"api_key": "scopix_one_key", "tenant_id": name} for name in ("north", "south")}
    other = {"east": {"api_key": "scopix_another"}}
    assert scopix_source(accounts=tenants | other).resources
    assert [pace.requests_per_minute for pace in made] == [30, 60, 30, 60]


def test_loads_hours_from_the_first_complete_one(
    house: House, sandbox: Sandbox, edit: Edit, clock: time_machine.Traveller
) -> None:
    """A server may keep seven days and list the hour in which they begin; earlier time is a missed window."""

    def of_a_week(body: dict[str, Any]) -> None:
        if body["period_type"] == "hour":
            since = datetime.now(UTC) - timedelta(days=7)
            body["start_date"] = since.isoformat()
            hour = since.replace(minute=0, second=0, microsecond=0)
            body["data"] = [point for point in body["data"] if datetime.fromisoformat(point["timestamp"]) >= hour]

    edit(BY_PERIOD, of_a_week)
    only = ("run", "scopix.usage_by_period", "--no-models")
    said = house(*only)
    since = datetime(2026, 3, 13, 11, tzinfo=UTC)
    requests = sandbox.scopix.usage.total(since)
    hours = "from scopix.usage_by_period where period_type = 'hour'"
    assert house.rows(f"select min(bucket_start) >= '2026-03-13 11:00:00+00', sum(value) {hours}") == [(True, requests)]
    gaps = [line for line in said.splitlines() if line.startswith("GAP")]
    assert len(gaps) == 1
    assert "scopix.usage_by_period default" in gaps[0]
    assert "does not tell [2026-03-01T00:00:00Z, 2026-03-13T11:00:00Z)" in gaps[0]
    clock.move_to(NOW + timedelta(hours=3))
    assert "GAP" not in house(*only)


def test_days_of_a_dashboard_without_bounds_delete_nothing_before_them(house: House, sandbox: Sandbox, edit: Edit) -> None:
    """The server lists a week for every period, and does not state it."""
    only = ("run", "scopix.dashboard_daily_activity", "--no-models")
    house(*only)

    def a_week(body: dict[str, Any]) -> None:
        del body["start_date"], body["end_date"]
        body["daily_activity"] = body["daily_activity"][-7:]

    edit(DASHBOARD, a_week)
    sandbox.scopix.usage.vanish("2026-03-19")
    house(*only, "--full-refresh")
    assert house.rows("select count(*) from scopix.dashboard_daily_activity") == [(20,)]
    assert house.rows("select chat_messages from scopix.dashboard_daily_activity where date = '2026-03-19'") == [(0,)]


def test_requests_a_dashboard_without_days_again(house: House, sandbox: Sandbox, edit: Edit) -> None:
    """Its totals do not need the days."""
    answers: list[dict[str, Any]] = []

    def first_without(body: dict[str, Any]) -> None:
        answers.append(body)
        if len(answers) == 1:
            del body["daily_activity"]

    edit(DASHBOARD, first_without)
    house("run", "scopix.dashboard_daily_activity", "--no-models")
    assert len(answers) == 2
    assert house.rows("select count(*) from scopix.dashboard_daily_activity") == [(20,)]


def test_tokens_with_an_excluded_end_are_an_error_not_zero(house: House, sandbox: Sandbox) -> None:
    """Such a server covers no single day."""
    house(*TOKENS)
    before = house.rows("select date, total_tokens from scopix.tokens_daily order by 1")
    sandbox.scopix.options.tokens = "end excluded"
    assert "it returns 0 tokens for each day of" in house(*TOKENS, status=1)
    assert house.rows("select date, total_tokens from scopix.tokens_daily order by 1") == before


def test_the_first_minutes_of_a_month_delete_no_earlier_days(
    house: House, sandbox: Sandbox, edit: Edit, clock: time_machine.Traveller
) -> None:
    """A server that ignores dates and names no month returns 0 then, for the new month and not for the old days."""
    sandbox.scopix.usage.set(few(30, "2026-03-30") + few(30, "2026-03-31"))
    clock.move_to(datetime(2026, 3, 31, 23, 50, tzinfo=UTC))
    house(*TOKENS)
    sandbox.scopix.options.tokens = "months"
    edit("/api/v2/usage/tokens/monthly", lambda body: (body.pop("year"), body.pop("month"), None)[-1])
    clock.move_to(datetime(2026, 4, 1, 0, 20, tzinfo=UTC))
    house(*TOKENS)
    days = house.rows("select date, total_tokens from scopix.tokens_daily where total_tokens > 0 or date > '2026-03-31'")
    assert sorted(days) == [(date(2026, 3, 30), 300), (date(2026, 3, 31), 300), (date(2026, 4, 1), 0)]
    sandbox.scopix.usage.arrive(*few(1, "2026-04-01"))
    assert "does not apply start_date and end_date" in house(*TOKENS, status=1)


def test_loads_idle_days_from_a_server_that_names_no_month(
    house: House, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week without usage in a history with usage is loaded as zero."""
    edit("/api/v2/usage/tokens/monthly", lambda body: (body.pop("year"), body.pop("month"), None)[-1])
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-02-01")
    sandbox.scopix.usage.set(few(10))
    house(*TOKENS)
    assert house.rows("select count(*), sum(total_tokens) from scopix.tokens_daily") == [(48, 100)]


def test_a_null_error_is_no_error(house: House, sandbox: Sandbox) -> None:
    """Newer responses may have the field."""
    sandbox.scopix.options.edit = lambda _, body: body.update(error=None)
    sandbox.scopix.usage.set(few(5))
    house("run", "--no-models")
    assert house.rows("select sum(total_requests) from scopix.usage_daily") == [(5,)]


@pytest.mark.thorough
def test_a_day_without_credits_is_unrated_and_not_free(house: House, sandbox: Sandbox) -> None:
    """For a summary without `total_credits` the marts are built, and its requests are listed as unpriced."""

    def unrated(path: str, body: dict[str, Any]) -> None:
        if path.endswith("/summary") and body["period"]["start"].startswith("2026-03-18"):
            del body["total_credits"]

    sandbox.scopix.options.edit = unrated
    sandbox.scopix.usage.set(few(5) + few(4, "2026-03-17"))
    house("run", "scopix.usage_daily")
    assert house.rows("select meter, date, quantity from usage.usage_daily where quantity > 0 order by date") == [
        ("credits", date(2026, 3, 17), Decimal(8)),
        ("unrated-requests", date(2026, 3, 18), Decimal(5)),
    ]
    assert house.rows("select date, reason from usage.unpriced_usage where meter = 'unrated-requests'") == [
        (date(2026, 3, 18), "no credits stated")
    ]


@pytest.mark.thorough
def test_reports_two_accounts_of_one_tenant(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys of one tenant see the same usage; only its own ids show it."""
    import json

    accounts = {key.api_key[-1] + "st": {"api_key": key.api_key} for key in sandbox.scopix.credentials[:2]}
    monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps(accounts))
    sandbox.scopix.usage.set(few(5))
    said = house("run", "scopix.usage_events", status=1)
    assert "FAILED  assert_scopix_accounts_do_not_overlap" in said
    assert "FAILED" not in said.replace("FAILED  assert_scopix_accounts_do_not_overlap", "")


@pytest.mark.thorough
def test_reports_months_that_differ_from_their_days(
    house: House, sandbox: Sandbox, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month may lack its last day if the end of a time is excluded."""
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-02-01")
    sandbox.scopix.usage.set(few(3, "2026-02-10") + few(2, "2026-02-28"))
    tables = ("scopix.tokens_daily", "scopix.tokens_monthly")
    assert "WARNING" not in house("run", *tables)

    def short(body: dict[str, Any]) -> None:
        if body["total_tokens"] == 50:
            body["total_tokens"] = 30

    edit("/api/v2/usage/tokens/monthly", short)
    assert "WARNING  assert_scopix_token_days_and_months_agree" in house("run", *tables, "--full-refresh")
