"""The raw tables after runs of Scopix, on a real DuckDB file and over real HTTP."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.sources.scopix.client import UNKNOWN_KEY
from tests.conftest import House

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


def loaded(house: House, table: str) -> list[tuple[Any, ...]]:
    return house.rows(f"select * from scopix.{table} order by all")


def ids(house: House) -> list[str]:
    return [row[0] for row in house.rows("select id from scopix.usage_events order by id")]


def truth(sandbox: Sandbox, start: str = START, account: str = "default") -> list[str]:
    return sorted(event.id for event in sandbox.scopix.usage.events(account, start))


def few(count: int, day: str = "2026-03-18", prefix: str = "event") -> list[Event]:
    """Events a minute apart."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    return [Event(f"{prefix}-{number:04}", start + timedelta(minutes=number)) for number in range(count)]


def test_every_method_is_a_table_with_the_vendors_numbers(house: House, sandbox: Sandbox) -> None:
    """Events, days, periods, tokens and snapshots agree with the vendor's own sums; a second run changes no row."""
    usage = sandbox.scopix.usage
    usage.set(usage.events("default", "2026-02-20"))
    with time_machine.travel(NOW, tick=False):
        house("run", "--no-models")
        before = {table: loaded(house, table) for table in TABLES}
        house("run", "--no-models")
        assert {table: loaded(house, table) for table in TABLES} == before
        requests, spent = usage.total(START), usage.total(START, what="credits")
        read, written = usage.total(START, what="input_tokens"), usage.total(START, what="output_tokens")
        files = usage.total(START, operation_type="describe", status_code=200)
        chats = len(usage.events("default", START)) - sum(e.session is None for e in usage.events("default", START))
    assert all(before.values())
    assert ids(house) == truth(sandbox)
    assert house.rows("select sum(total_requests), sum(total_credits), count(*) from scopix.usage_daily") == [
        (requests, Decimal(spent), 20)
    ]
    assert house.rows("select period_type, sum(value) from scopix.usage_by_period group by 1 order by 1") == [
        ("day", requests),
        ("hour", requests),
        ("month", requests),
    ]
    assert house.rows("select sum(total_input_tokens), sum(total_output_tokens) from scopix.tokens_daily") == [
        (read, written)
    ]
    assert house.rows("select bucket_start, bucket_end, total_tokens, is_complete from scopix.tokens_monthly") == [
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), read + written, False)
    ]
    assert house.rows("select count(*) from scopix.file_tokens") == [(files,)]
    assert house.rows("select sum(files_uploaded), sum(chat_messages) from scopix.dashboard_daily_activity") == [
        (files, chats)
    ]
    assert house.rows("select total_requests, total_credits, period from scopix.usage_summary") == [
        (requests, Decimal(spent), "month")
    ]
    assert house.rows("select can_proceed, required_credits, current_usage from scopix.usage_checks") == [
        (True, Decimal(2), Decimal(spent))
    ]
    assert house.rows("select total_credits_used, reset_date from scopix.usage_breakdown") == [
        (Decimal(spent), datetime(2026, 4, 1, tzinfo=UTC))
    ]
    assert house.rows("select sum(request_count), count(distinct rank) = count(*) from scopix.top_endpoints") == [
        (requests, True)
    ]
    assert house.rows("select plan_name, requests_used, features from scopix.plan_utilization")[0][:2] == (
        "PROFESSIONAL",
        requests,
    )
    assert house.rows("select distinct is_complete from scopix.usage_events") == [(True,)]
    assert house.rows("select date from scopix.usage_daily where not is_complete") == [(NOW.date(),)]


@pytest.mark.parametrize(
    ("envelope", "totals", "page_size"),
    [("offset", True, 100), ("offset", False, 7), ("page", True, 100), ("page", True, 7)],
)
def test_reads_both_envelopes_completely(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any, totals: bool, page_size: int
) -> None:
    """Newer and older paging, with and without a count of all rows."""
    sandbox.scopix.options.envelope, sandbox.scopix.options.totals = envelope, totals
    sandbox.scopix.usage.set(few(57) + few(100, "2026-03-05", "early"))
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", str(page_size))
    house(*EVENTS)
    assert ids(house) == truth(sandbox)


def arrivals(sandbox: Sandbox, times: int, change: Callable[[int], None]) -> None:
    def before_page(path: str, number: int) -> None:
        if path == DETAILS and 0 < number <= times:
            change(number)

    sandbox.scopix.options.before_page = before_page


@pytest.mark.thorough
@pytest.mark.parametrize("envelope", ["offset", "page"])
@pytest.mark.parametrize("totals", [True, False])
@pytest.mark.parametrize("what", ["arrives", "vanishes", "both"])
def test_loses_and_doubles_no_row_that_moves_between_pages(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, envelope: Any, totals: bool, what: str
) -> None:
    """A late event moves the others; a withdrawn one may leave the count unchanged, and is noticed all the same."""
    usage = sandbox.scopix.usage
    sandbox.scopix.options.envelope, sandbox.scopix.options.totals = envelope, totals
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-17")
    usage.set(few(90))

    def change(number: int) -> None:
        if what != "vanishes":
            usage.arrive(Event(f"late-{number}", NOW - timedelta(minutes=number)))
        if what != "arrives":
            usage.vanish("2026-03-18", id=f"event-{number:04}")

    arrivals(sandbox, 2, change)
    house(*EVENTS)
    assert ids(house) == truth(sandbox, "2026-03-17")
    assert len(ids(house)) == {"arrives": 92, "vanishes": 88, "both": 90}[what]


def test_a_list_that_keeps_changing_is_an_error(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read four times; the loaded rows stay unchanged."""
    monkeypatch.setenv("SOURCES__SCOPIX__PAGE_SIZE", "20")
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", "2026-03-17")
    usage = sandbox.scopix.usage
    usage.set(few(90))
    arrivals(sandbox, 1000, lambda number: usage.arrive(Event(f"late-{number}", NOW - timedelta(seconds=number))))
    assert "the list changed in each of 4 attempts" in house(*EVENTS, status=1)


def test_a_server_that_ignores_the_page_is_an_error_and_no_endless_loop(house: House, sandbox: Sandbox) -> None:
    """It returns the first page in both styles: a few requests, and the reason."""
    sandbox.scopix.options.paging = "ignored"
    for envelope in ("offset", "page"):
        sandbox.requests.clear()
        sandbox.scopix.options.envelope = envelope
        assert "returns the first page for every page" in house(*EVENTS, status=1)
        assert len(sandbox.requests) <= 6


def test_late_events_within_the_lookback_arrive_and_withdrawn_ones_go(house: House, sandbox: Sandbox) -> None:
    """Each run mirrors three days of the past."""
    house(*EVENTS)
    usage = sandbox.scopix.usage
    usage.arrive(Event("late", NOW - timedelta(days=2)))
    usage.vanish("2026-03-19", operation_type="chat")
    house(*EVENTS)
    assert ids(house) == truth(sandbox)
    assert "late" in ids(house)


def test_requests_each_day_and_key_once_then_only_the_lookback(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run requests the three days before today, and today."""
    keys = [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"][:2]
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(keys))
    house(*DAILY)
    asked = Counter((r.query["api_key_id"][0], r.query["start_date"][0][:10]) for r in sandbox.requests)
    assert set(asked.values()) == {1}
    assert len(asked) == 20 * 2 + 1
    assert [key for key, _ in asked].count(UNKNOWN_KEY) == 1
    expected = [(key, sandbox.scopix.usage.total(START, api_key_id=key)) for key in sorted(keys)]
    assert house.rows("select api_key_id, sum(total_requests) from scopix.usage_daily group by 1 order by 1") == expected
    sandbox.requests.clear()
    house(*DAILY)
    days = sorted({r.query["start_date"][0][:10] for r in sandbox.requests})
    assert (days, len(sandbox.requests)) == (["2026-03-17", "2026-03-18", "2026-03-19", "2026-03-20"], 8 + 1)
    house("run", "scopix.usage_events", "scopix.usage_by_period", "--no-models")
    assert {key for (key,) in house.rows("select distinct api_key_id from scopix.usage_events")} == set(keys)
    assert house.rows("select sum(value) from scopix.usage_by_period where period_type = 'day'") == [
        (sum(total for _, total in expected),)
    ]


def test_operation_types_limit_the_events(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own request, and no other event is loaded."""
    monkeypatch.setenv("SOURCES__SCOPIX__OPERATION_TYPES", "chat,search")
    house(*EVENTS)
    assert {kind for (kind,) in house.rows("select distinct operation_type from scopix.usage_events")} == {"chat", "search"}
    chat, search = (sandbox.scopix.usage.total(START, operation_type=kind) for kind in ("chat", "search"))
    assert len(ids(house)) == chat + search


def test_the_last_snapshot_of_a_day_stays(house: House, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """Two runs of a day leave one set of rows, that of the later; the days before stay."""
    only = ("run", "scopix.usage_breakdown", "scopix.dashboard_analytics", "--no-models")
    house(*only)
    clock.move_to(NOW + timedelta(hours=6))
    house(*only)
    clock.move_to(NOW + timedelta(days=2))
    house(*only)
    rows = house.rows("select snapshot_date, total_credits_used from scopix.usage_breakdown order by 1")
    assert [day for day, _ in rows] == [date(2026, 3, 20), date(2026, 3, 22)]
    assert rows[0][1] == Decimal(sandbox.scopix.usage.total(START, NOW + timedelta(hours=6), what="credits"))
    assert house.rows("select snapshot_date, count(*) from scopix.dashboard_analytics group by 1 order by 1") == [
        (date(2026, 3, 20), 3),
        (date(2026, 3, 22), 3),
    ]


def test_mirrors_restated_and_vanished_days(house: House, sandbox: Sandbox) -> None:
    """This holds within the lookback, in every table with dates."""
    only = ("run", "scopix.usage_events", "scopix.usage_by_period", "scopix.usage_daily", "--no-models")
    house(*only)
    usage = sandbox.scopix.usage
    usage.restate("2026-03-18", to={"credits": 9.0}, operation_type="search", status_code=200)
    usage.vanish("2026-03-19")
    house(*only)
    assert house.rows("select total_requests, total_credits from scopix.usage_daily where date = '2026-03-19'") == [(0, 0)]
    assert house.rows("select total_credits from scopix.usage_daily where date = '2026-03-18'") == [
        (Decimal(usage.total("2026-03-18", "2026-03-19", what="credits")),)
    ]
    assert not house.rows(
        "select 1 from scopix.usage_by_period where period_type <> 'month' and bucket_start::date = '2026-03-19'"
    )
    assert ids(house) == truth(sandbox)


def test_an_account_without_usage_has_its_tables(house: House, sandbox: Sandbox) -> None:
    """Lists are empty, and days are zero."""
    sandbox.scopix.usage.set([])
    house("run", "--no-models")
    assert all(loaded(house, table) == [] for table in ("usage_events", "file_tokens", "conversation_tokens"))
    assert house.rows("select count(*), sum(total_requests) from scopix.usage_daily") == [(20, 0)]


def test_fills_a_gap_in_the_schedule(house: House, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """Five weeks without a run leave no time out."""
    sandbox.scopix.usage.set(few(30) + few(30, "2026-04-02", "later"))
    house(*EVENTS)
    house(*DAILY)
    clock.move_to(NOW + timedelta(days=35))
    house("run", "scopix.usage_events", "scopix.usage_daily", "scopix.dashboard_daily_activity", "--no-models")
    assert ids(house) == truth(sandbox)
    assert house.rows("select count(*) from scopix.usage_daily") == [(55,)]
    assert house.rows("select count(*) from scopix.dashboard_daily_activity") == [(55,)]


def test_updates_a_conversation_that_goes_on(house: House, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """It began before the lookback of the other tables, and has the tokens of today."""
    sandbox.scopix.usage.set([Event("a", NOW - timedelta(days=6), input_tokens=5, session="long")])
    only = ("run", "scopix.conversation_tokens", "--no-models")
    house(*only)
    sandbox.scopix.usage.arrive(Event("b", NOW, input_tokens=7, session="long"))
    clock.move_to(NOW + timedelta(hours=1))
    house(*only)
    assert house.rows("select total_tokens, message_count from scopix.conversation_tokens") == [(12, 2)]


def test_an_older_server_has_tokens_by_month_only(house: House, sandbox: Sandbox) -> None:
    """It would return the whole month for each day, which is an error; the months are right."""
    sandbox.scopix.options.tokens = "months"
    said = house("run", "scopix.tokens_daily", "scopix.tokens_monthly", "--no-models", status=1)
    assert "does not apply start_date and end_date" in said
    tokens = sandbox.scopix.usage
    assert house.rows("select total_tokens from scopix.tokens_monthly") == [
        (tokens.total(START, what="input_tokens") + tokens.total(START, what="output_tokens"),)
    ]
    assert not house.rows("select * from information_schema.tables where table_name = 'tokens_daily'")


def test_loads_several_accounts(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its key and tenant; one that fails does not stop the other."""
    import json

    keys = {name: sandbox.scopix.credential(name) for name in ("default", "studio")}
    accounts = {name: {"api_key": key.api_key, "tenant_id": key.tenant_id} for name, key in keys.items()}
    monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps(accounts))
    house(*EVENTS)
    for name in keys:
        got = [row[0] for row in house.rows(f"select id from scopix.usage_events where account = '{name}' order by id")]
        assert got == truth(sandbox, account=name)
    sandbox.scopix.options.past_due.add("studio")
    failures = house.json(*EVENTS, status=1)["failures"]
    assert {(failure["account"], failure["kind"]) for failure in failures} == {("studio", "RequestRejected")}


@pytest.mark.parametrize("since", ["2026-02-03", "2026-02-01"])
def test_a_backfill_loads_exactly_its_days(house: House, sandbox: Sandbox, since: str) -> None:
    """It loads the whole months in it, and takes no snapshots."""
    sandbox.scopix.usage.set(few(30, "2026-02-02") + few(30, "2026-02-20", "later"))
    house("run", "--no-models", "--since", since, "--until", "2026-03-01")
    days = 28 - int(since[-2:]) + 1
    assert house.rows("select count(*) from scopix.usage_daily") == [(days,)]
    assert len(ids(house)) == sandbox.scopix.usage.total(since, "2026-03-01")
    months = house.rows("select count(*) from scopix.usage_by_period where period_type = 'month'")
    assert months == [(1 if since == "2026-02-01" else 0,)]


def test_a_new_field_is_a_column_and_a_wrong_one_stops_its_table_only(house: House, sandbox: Sandbox) -> None:
    """An added field is not lost; a field of a wrong type is reported with endpoint, field and value."""
    new = {"id": "x", "timestamp": "2026-03-19T01:00:00+00:00", "operation_type": "describe", "region": "eu"}
    sandbox.faults.add(Fault(path=DETAILS, body={"events": [new], "total_count": 1}))
    house("run", "scopix.usage_events", "--no-models", "--since", "2026-03-19", "--until", "2026-03-20")
    assert house.rows("select id, region, provider from scopix.usage_events") == [("x", "eu", None)]
    sandbox.faults.clear()
    sandbox.faults.add(Fault(path="/api/v2/usage/breakdown", body={"total_credits_used": "many"}))
    said = house("run", "scopix.usage_breakdown", "scopix.usage_checks", "--no-models", status=1)
    assert "/usage/breakdown: field total_credits_used holds 'many'" in said
    assert house.rows("select count(*) from scopix.usage_checks") == [(1,)]


def test_check_sends_one_request_and_shows_no_key(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that works costs one POST; the error of one that does not names its setting, never its value."""
    house("check")
    assert [(request.method, request.path) for request in sandbox.requests] == [("POST", "/api/v2/usage/check")]
    sandbox.scopix.options.exhausted.add("default")
    house("check")
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY", "scopix_wrong_key_123")
    said = house("check", status=1) + house("run", "--no-models", status=1)
    assert "api_key" in said
    assert "scopix_wrong_key_123" not in said
