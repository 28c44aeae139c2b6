"""The promises of the Onepin source: over real HTTP, on a real DuckDB file, with the clock in the test's hand."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pendulum
import pytest
import time_machine

from pipelines.sandbox import Fault, Sandbox
from pipelines.sandbox.onepin import MEMBERS, Event, Run, envelope_of_error
from sources._core.http import (
    BearerAuth,
    Client,
    CredentialsRejected,
    MalformedAnswer,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    UnexpectedValue,
)
from sources._core.windows import Window
from sources.onepin import USAGE_BUCKETS, USAGE_DAILY
from sources.onepin.answers import judge
from sources.onepin.workspace import Workspace
from tests.conftest import House

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
NEW_YORK = "America/New_York"
ALL = ("usage_daily", "usage_buckets", "usage_summary", "usage_by_language", "usage_activity")
SUMMARY, ACTIVITY = "/api/v1/usage/summary", "/api/v1/usage/activity"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("onepin",)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; it goes on by itself, so that no two loads have one name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


@pytest.fixture
def load(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the named tables, all without a name, and returns the report of the run."""
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")

    def run(*tables: str, status: int = 0, options: tuple[str, ...] = ()) -> Any:
        named = [f"onepin.{table}" for table in tables] or ["onepin"]
        return house.json("run", *named, "--no-models", *options, status=status)

    return run


def loaded(house: House, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return house.rows(f"select {columns} from onepin.{table} order by all")


def steady(*days: str, account: str = "default") -> list[Run]:
    """A run at noon of each day, of 100, 101, … credits."""
    return [
        Run(datetime.fromisoformat(f"{day}T12:00:00+00:00"), credits=100 + number, account=account)
        for number, day in enumerate(days)
    ]


def test_a_first_run_loads_all_that_can_be_asked_for(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """90 days, 12 weeks, 12 months, three ranges; seven requests beside the pages of the feed."""
    load()
    start = "2025-12-21"
    assert loaded(
        house, "usage_daily", "count(*), min(date)::text, max(date)::text, sum(credits), typeof(any_value(credits))"
    ) == [(90, start, "2026-03-20", sandbox.onepin.usage.credits(start), "DECIMAL(28,9)")]
    assert house.rows("select date::text from onepin.usage_daily where not is_complete") == [("2026-03-20",)]
    assert house.rows(
        "select view, count(*), min(date)::text, sum(credits), count(*) filter (not is_complete)"
        " from onepin.usage_buckets group by 1 order by 1"
    ) == [
        ("monthly", 12, "2025-04-01", sandbox.onepin.usage.credits("2025-04-01"), 1),
        ("weekly", 12, "2025-12-29", sandbox.onepin.usage.credits("2025-12-29"), 1),
    ]
    assert house.rows("select range, runs_total, is_complete from onepin.usage_summary order by 1") == [
        (
            f"{days}d",
            len(sandbox.onepin.usage.runs("default", NOW.replace(hour=0, minute=0) - timedelta(days - 1), NOW)),
            True,
        )
        for days in (30, 60, 90)
    ]
    languages = house.rows(
        "select range, sum(credits) + any_value(untagged_credits), any_value(total_credits)"
        " from onepin.usage_by_language group by 1"
    )
    assert len(languages) == 3
    assert all(tagged == total > 0 for _, tagged, total in languages)
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW)
    assert sorted(loaded(house, "usage_activity", "id")) == sorted((event.id,) for event in events)
    asked = [request.path for request in sandbox.requests]
    assert asked.count(SUMMARY) == 3
    assert asked.count(ACTIVITY) == len(events) // 100 + 1
    assert len(asked) == 6 + asked.count(ACTIVITY)


def test_own_credits_are_not_the_workspaces(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """The owner's billing period and the workspace's window are two columns, both as the vendor says them."""
    owner, other = MEMBERS["default"][:2]
    noon = NOW.replace(hour=8)
    sandbox.onepin.usage.set([Run(noon, credits=30, member=owner), Run(noon, credits=70, member=other)])
    load("usage_summary", "usage_daily")
    assert house.rows("select distinct credits_used, activity_credits_total from onepin.usage_summary") == [(30, 100)]
    assert house.rows("select sum(credits) from onepin.usage_daily") == [(100,)]


def test_a_second_run_changes_no_row(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """Not even the time of fetching, and hours later of the same day nothing but the feed's pages is asked anew."""
    sandbox.onepin.usage.set(steady("2026-02-01", "2026-03-01", "2026-03-19"))
    load()
    before = {table: loaded(house, table) for table in ALL}
    assert all(before.values())
    clock.move_to(NOW + timedelta(hours=5))
    load()
    assert {table: loaded(house, table) for table in ALL} == before


def test_days_that_left_the_window_stay(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """After forty days there are 130 days, the older ones as they were; a withdrawn day that is out of reach stays, too."""
    load("usage_daily", "usage_buckets")
    old = house.rows("select * from onepin.usage_daily where date < '2026-01-30' order by all")
    sandbox.onepin.usage.vanish("2025-12-21", "2026-01-20")
    clock.move_to(NOW + timedelta(days=40))
    report = load("usage_daily", "usage_buckets")
    assert report["gaps"] == []
    assert house.rows("select count(*), count(*) filter (not is_complete) from onepin.usage_daily") == [(130, 1)]
    assert house.rows("select * from onepin.usage_daily where date < '2026-01-30' order by all") == old
    new = house.rows("select sum(credits) from onepin.usage_daily where date >= '2026-01-30'")
    assert new == [(sandbox.onepin.usage.credits("2026-01-30"),)]
    assert house.rows("select count(*) from onepin.usage_buckets where view = 'monthly'") == [(13,)]


@pytest.mark.parametrize("includes_today", [True, False])
def test_what_the_vendor_restates_is_mirrored(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller, includes_today: bool
) -> None:
    """Wherever in the 90 days; a day that vanishes between others vanishes, one at the edge may only have left the range."""
    sandbox.onepin.options.sparse = True
    sandbox.onepin.options.includes_today = includes_today
    days = ("2026-01-02", "2026-01-03", "2026-02-01", "2026-03-18")
    sandbox.onepin.usage.set(steady(*days))
    load("usage_daily")
    sandbox.onepin.usage.restate("2026-01-03", factor=2)
    sandbox.onepin.usage.vanish("2026-02-01")
    sandbox.onepin.usage.vanish("2026-01-02")
    load("usage_daily")
    assert loaded(house, "usage_daily", "date::text, credits") == [
        ("2026-01-02", 100),
        ("2026-01-03", 202),
        ("2026-03-18", 103),
    ]


def test_a_day_grows_when_its_runs_settle(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """A run that was parked for three days brings its credits to the day on which it was started."""
    sandbox.onepin.usage.set([Run(NOW - timedelta(hours=2), credits=50, minutes=3 * 1440, parked=True)])
    load("usage_daily", "usage_summary")
    assert house.rows("select sum(credits), sum(runs) from onepin.usage_daily") == [(0, 1)]
    assert house.rows("select distinct runs_paused, audio_total_ms from onepin.usage_summary") == [(1, 0)]
    clock.move_to(NOW + timedelta(days=3))
    load("usage_daily")
    assert house.rows("select date::text, credits, is_complete from onepin.usage_daily where credits > 0") == [
        ("2026-03-20", 50, True)
    ]


@pytest.mark.parametrize(
    ("days", "gap"), [(100, ("2026-03-20", "2026-03-31")), (90, ("2026-03-20", "2026-03-21")), (89, None)]
)
def test_days_that_were_never_whole_are_a_gap(
    house: House,
    load: Callable[..., Any],
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    days: int,
    gap: tuple[str, str] | None,
) -> None:
    """Told, and nothing deleted; after 90 days the one day is lost that was still running at the first run."""
    load("usage_daily")
    before = loaded(house, "usage_daily", "date, credits")
    clock.move_to(NOW + timedelta(days=days))
    report = load("usage_daily")
    assert [(told["table"], told["from"][:10], told["until"][:10]) for told in report["gaps"]] == (
        [("usage_daily", *gap)] if gap else []
    )
    until = gap[1] if gap else "2026-03-20"
    after = house.rows(f"select date, credits from onepin.usage_daily where date < '{until}' order by all")
    assert after == [row for row in before if row[0].isoformat() < until]


def test_local_days_and_the_change_of_clocks(
    house: House, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """On 8 March New York's day has 23 hours: both its edges, and a week and a month around it, are cut by its calendar."""
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", NEW_YORK)
    edges = ("2026-03-08T04:59", "2026-03-08T05:00", "2026-03-09T03:59", "2026-03-09T04:00")
    sandbox.onepin.usage.set(
        [Run(datetime.fromisoformat(f"{edge}:00+00:00"), credits=10**n, minutes=1) for n, edge in enumerate(edges)]
    )
    clock.move_to(datetime(2026, 3, 10, 3, 30, tzinfo=UTC))
    load("usage_daily", "usage_buckets", "usage_summary")
    assert house.rows(
        "select date::text, credits, is_complete from onepin.usage_daily where date >= '2026-03-07' order by 1"
    ) == [("2026-03-07", 1, True), ("2026-03-08", 110, True), ("2026-03-09", 1000, False)]
    assert house.rows(
        "select view, date::text, bucket_start, bucket_end, credits, is_complete"
        " from onepin.usage_buckets where credits > 0 order by 1, 2"
    ) == [
        ("monthly", "2026-03-01", datetime(2026, 3, 1, 5, tzinfo=UTC), datetime(2026, 4, 1, 4, tzinfo=UTC), 1111, False),
        ("weekly", "2026-03-02", datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 9, 4, tzinfo=UTC), 111, True),
        ("weekly", "2026-03-09", datetime(2026, 3, 9, 4, tzinfo=UTC), datetime(2026, 3, 16, 4, tzinfo=UTC), 1000, False),
    ]
    assert house.rows("select distinct snapshot_date::text, timezone from onepin.usage_summary") == [
        ("2026-03-09", NEW_YORK)
    ]


def test_another_timezone_begins_another_history(
    house: House, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """Days of two calendars never stand in one series, and the first loses nothing."""
    load("usage_daily", "usage_buckets", "usage_summary")
    before = loaded(house, "usage_daily")
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", "Asia/Kolkata")
    load("usage_daily", "usage_buckets", "usage_summary")
    assert house.rows("select * from onepin.usage_daily where timezone = 'UTC' order by all") == before
    assert house.rows("select timezone, count(*) from onepin.usage_daily group by 1 order by 1") == [
        ("Asia/Kolkata", 90),
        ("UTC", 90),
    ]
    assert house.rows("select count(*) from onepin.usage_summary") == [(3,)]


def test_the_last_snapshot_of_a_day_stays(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """One row set a day and range, a vanished language included; the next day adds another."""
    spoken = [Run(NOW - timedelta(days=2), locale="en-us"), Run(NOW - timedelta(days=2), locale="de-de")]
    sandbox.onepin.usage.set(spoken)
    load("usage_summary", "usage_by_language")
    sandbox.onepin.usage.set([*spoken[:1], Run(NOW - timedelta(days=1), locale="ko-kr", credits=7)])
    load("usage_summary", "usage_by_language")
    languages = (
        "select snapshot_date::text, locale_code, credits from onepin.usage_by_language where range = '60d' order by 1, 2"
    )
    assert house.rows(languages) == [("2026-03-20", "en-us", 100), ("2026-03-20", "ko-kr", 7)]
    assert house.rows("select count(*), min(activity_credits_total) from onepin.usage_summary") == [(3, 107)]
    clock.move_to(NOW + timedelta(days=5))
    report = load("usage_summary", "usage_by_language")
    assert report["gaps"] == []
    assert house.rows("select snapshot_date::text, count(*) from onepin.usage_summary group by 1 order by 1") == [
        ("2026-03-20", 3),
        ("2026-03-25", 3),
    ]


def test_a_backfill_loads_its_days_and_takes_no_snapshot(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """Whole days, weeks and months inside of it; rows around it, cursors and snapshots are not touched."""
    load()
    before = loaded(house, "usage_daily")
    snapshots = loaded(house, "usage_summary") + loaded(house, "usage_by_language")
    first_run = house.rows("select max(fetched_at) from onepin.usage_buckets")
    sandbox.onepin.usage.restate("2025-01-01", "2026-04-01", factor=2)
    load(options=("--since", "2026-01-28", "--until", "2026-03-05"))
    inside = "date >= '2026-01-28' and date < '2026-03-05'"
    assert house.rows(f"select sum(credits) from onepin.usage_daily where {inside}") == [
        (sandbox.onepin.usage.credits("2026-01-28", "2026-03-05"),)
    ]
    assert house.rows(f"select * from onepin.usage_daily where not ({inside}) order by all") == [
        row for row in before if not date(2026, 1, 28) <= row[2] < date(2026, 3, 5)
    ]
    changed = house.rows(
        "select view, min(date)::text, max(date)::text from onepin.usage_buckets"
        f" where fetched_at > '{first_run[0][0].isoformat()}' group by 1 order by 1"
    )
    assert changed == [("monthly", "2026-02-01", "2026-02-01"), ("weekly", "2026-02-02", "2026-02-23")]
    assert house.rows("select credits from onepin.usage_buckets where view = 'monthly' and date = '2026-02-01'") == [
        (sandbox.onepin.usage.credits("2026-02-01", "2026-03-01"),)
    ]
    assert loaded(house, "usage_summary") + loaded(house, "usage_by_language") == snapshots


def test_the_feed_is_read_back_to_what_is_known(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """A day later one page is enough; after sixty days without a run the feed is complete, and nothing is twice."""
    load("usage_activity")
    sandbox.requests.clear()
    clock.move_to(NOW + timedelta(days=1))
    load("usage_activity")
    assert len(sandbox.requests) <= 2
    clock.move_to(NOW + timedelta(days=61))
    assert load("usage_activity")["gaps"] == []
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW + timedelta(days=61))
    assert sorted(loaded(house, "usage_activity", "id")) == sorted((event.id,) for event in events)
    clock.move_to(NOW + timedelta(days=161))
    (gap,) = load("usage_activity")["gaps"]
    assert (gap["table"], gap["from"][:13], gap["until"][:10]) == ("usage_activity", "2026-05-20T10", "2026-05-31")


def event(name: str, moment: datetime) -> dict[str, Any]:
    return {
        "id": name,
        "timestamp": moment.isoformat(),
        "user": None,
        "action": "settings_changed",
        "kind": "workspace",
        "resource": {"type": "workspace"},
    }


def page(*events: dict[str, Any], following: str | None) -> dict[str, Any]:
    return {"data": list(events), "meta": {}, "pagination": {"next": following, "prev": None, "limit": 2}}


@pytest.mark.parametrize(
    "second",
    [
        page(event("b", NOW - timedelta(hours=2)), following="again"),
        page(event("a", NOW - timedelta(hours=1)), following="another"),
        page(following="another"),
    ],
    ids=["a cursor that repeats", "a page that repeats", "an empty page that goes on"],
)
def test_a_feed_that_does_not_get_on_is_an_error(
    house: House, load: Callable[..., Any], sandbox: Sandbox, second: dict[str, Any]
) -> None:
    """Neither an endless loop nor a short answer, and nothing of it is loaded."""
    sandbox.faults.add(Fault(path=ACTIVITY, times=1, body=page(event("a", NOW - timedelta(hours=1)), following="again")))
    sandbox.faults.add(Fault(path=ACTIVITY, body=second))
    (failure,) = load("usage_activity", status=1)["failures"]
    assert failure["kind"] == "IncompleteAnswer"
    assert "repeats itself" in failure["error"]
    assert 2 <= len(sandbox.requests) <= 3


def test_an_event_that_arrives_while_pages_are_read_is_taken_once(
    house: House, load: Callable[..., Any], sandbox: Sandbox
) -> None:
    """It may push another onto the next page."""
    first, second, third = (event(name, NOW - timedelta(hours=hours)) for hours, name in enumerate("abc", 1))
    sandbox.faults.add(Fault(path=ACTIVITY, times=1, body=page(first, second, following="next")))
    sandbox.faults.add(Fault(path=ACTIVITY, query={"cursor": "next"}, body=page(second, third, following=None)))
    load("usage_activity")
    assert loaded(house, "usage_activity", "id, is_complete") == [("a", True), ("b", True), ("c", True)]


def test_an_event_of_the_future_waits_for_its_time(
    house: House, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """It neither stops the reading nor moves the cursor beyond the present."""
    ahead = NOW + timedelta(days=20)
    sandbox.onepin.usage.set(steady("2026-03-18"), [Event(ahead, "ahead", action="settings_changed")])
    load("usage_activity")
    assert loaded(house, "usage_activity", "action") == [("workflow_run",)]
    clock.move_to(NOW + timedelta(days=1))
    sandbox.onepin.usage.set(steady("2026-03-18", "2026-03-20"), [Event(ahead, "ahead", action="settings_changed")])
    load("usage_activity")
    assert len(loaded(house, "usage_activity")) == 2
    clock.move_to(ahead + timedelta(days=1))
    load("usage_activity")
    assert house.rows("select id from onepin.usage_activity where action = 'settings_changed'") == [("ahead",)]


def test_the_feed_can_be_narrowed(
    house: House, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By action and by member, each with a cursor of its own."""
    member = MEMBERS["default"][1]
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_TYPES", "voice_generated,template_applied")
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_USER_IDS", member.id)
    load("usage_activity")
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW)
    chosen = {e.id for e in events if e.member == member and e.action in {"voice_generated", "template_applied"}}
    assert chosen
    assert {name for (name,) in loaded(house, "usage_activity", "id")} == chosen


def test_languages_of_a_views_period(
    house: House, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand beside the ranges, under their own name."""
    monkeypatch.setenv("SOURCES__ONEPIN__LANGUAGE_VIEWS", "monthly")
    sandbox.onepin.usage.set(steady("2025-06-01", "2026-03-19"))
    load("usage_by_language")
    assert loaded(house, "usage_by_language", "range, activity_view, credits") == [
        ("", "monthly", 201),
        ("30d", "", 101),
        ("60d", "", 101),
        ("90d", "", 101),
    ]


def test_older_and_newer_versions(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """What an older version does not know is null; what a newer one adds becomes a column of text."""
    sandbox.onepin.options.version = "older"
    load("usage_summary", "usage_by_language")
    newer = "select distinct audio_total_ms, corrected_total, runs_paused from onepin.usage_summary"
    assert house.rows(newer) == [(None, None, None)]
    assert house.rows("select distinct corrected from onepin.usage_by_language") == [(None,)]
    sandbox.onepin.options.version = "newer"
    key = sandbox.onepin.credential().api_key
    query = {"range": "30d", "activity_view": "monthly"}
    answer = httpx.get(sandbox.url + SUMMARY, params=query, headers={"Authorization": f"Bearer {key}"}).json()
    answer["data"] |= {"video": {"total_ms": 5, "codec": "av1"}, "avatars": None, "tags": ["a"]}
    answer["data"]["credits"]["rolled_over"] = 7
    sandbox.faults.add(Fault(path=SUMMARY, query=query, body=answer))
    load("usage_summary")
    assert house.rows("select count(*) from onepin.usage_summary where audio_total_ms > 0 and corrected_total > 0") == [(3,)]
    assert house.rows(
        "select video_total_ms, video_codec, credits_rolled_over, tags from onepin.usage_summary where range = '30d'"
    ) == [("5", "av1", "7", '["a"]')]
    assert "avatars" not in {name for (name, *_) in house.rows("describe onepin.usage_summary")}


def test_an_empty_workspace(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """Zeros where the vendor says zeros, nothing where it says nothing, and no failure."""
    sandbox.onepin.usage.set()
    load()
    assert house.rows("select count(*), sum(credits), sum(runs) from onepin.usage_daily") == [(90, 0, 0)]
    sandbox.onepin.options.sparse = True
    load()
    assert house.rows("select count(*) from onepin.usage_daily") == [(90,)]


def test_two_accounts(house: House, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own rows; one that fails leaves the other alone, and the report says which."""
    keys = {name: {"api_key": sandbox.onepin.credential(name).api_key} for name in ("default", "podcast")}
    monkeypatch.setenv("SOURCES__ONEPIN__ACCOUNTS", json.dumps({"studio": keys["default"], "show": keys["podcast"]}))
    sandbox.onepin.options.disabled = frozenset({"podcast"})
    failures = load("usage_daily", status=1)["failures"]
    assert [(failure["account"], failure["kind"]) for failure in failures] == [("show", "CredentialsRejected")]
    sandbox.onepin.options.disabled = frozenset()
    load("usage_daily")
    assert house.rows("select account, sum(credits) from onepin.usage_daily group by 1 order by 1") == [
        (name, sandbox.onepin.usage.credits("2025-12-21", account=account))
        for name, account in (("show", "podcast"), ("studio", "default"))
    ]


def test_initial_date_is_the_first_day(house: House, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of days and events; a month that holds it is whole."""
    monkeypatch.setenv("SOURCES__ONEPIN__INITIAL_DATE", "2026-03-10")
    load("usage_daily", "usage_buckets", "usage_activity")
    assert house.rows("select min(date)::text from onepin.usage_daily") == [("2026-03-10",)]
    assert house.rows("select min(timestamp) >= '2026-03-10 00:00Z' from onepin.usage_activity") == [(True,)]
    assert house.rows("select view, min(date)::text from onepin.usage_buckets group by 1 order by 1") == [
        ("monthly", "2026-03-01"),
        ("weekly", "2026-03-09"),
    ]


def test_a_setting_that_cannot_be_used(house: House, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """It is named, with the way to write it, and nothing is asked."""
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", "New York")
    assert "sources.onepin.timezone is 'New York'" in house("run", "onepin", status=2)
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", NEW_YORK)
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_TYPES", "workflow_run,lunch")
    assert "'lunch'" in house("run", "onepin", status=2)
    assert len(sandbox.requests) == 0


def test_check_asks_once(house: House, sandbox: Sandbox) -> None:
    """The key's right to read usage is what is checked."""
    house("check")
    assert [request.path for request in sandbox.requests] == [SUMMARY]


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[Workspace]:
    """The default workspace, asked as the source does."""
    key = sandbox.onepin.credential().api_key
    client = Client("onepin", sandbox.url, auth=BearerAuth(key), judge=judge, sleep=lambda _: None)
    yield Workspace(client, "UTC")
    client.close()


def read_days(workspace: Workspace) -> Any:
    window = Window(pendulum.datetime(2025, 12, 1), pendulum.datetime(2026, 3, 21))
    return workspace.daily(window, table=USAGE_DAILY)


def error(code: str, message: str = "It says no", field: str | None = None) -> dict[str, Any]:
    return envelope_of_error(code, message, field)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, error("BAD_REQUEST"), RequestRejected, r"It says no \(BAD_REQUEST\)"),
        (401, error("INVALID_API_KEY"), CredentialsRejected, "Correct api_key"),
        (200, error("INVALID_API_KEY"), CredentialsRejected, "Correct api_key"),
        (403, error("FORBIDDEN"), CredentialsRejected, "workspace:read"),
        (404, error("NOT_FOUND"), RequestRejected, "activity_user_ids"),
        (409, error("CONFLICT"), ServiceUnavailable, "Run again later"),
        (422, error("VALIDATION_ERROR", "Bad", "timezone"), RequestRejected, "Set sources.onepin.timezone"),
        (422, {"detail": [{"loc": ["query", "timezone"], "msg": "unknown"}]}, RequestRejected, "timezone: unknown.*IANA"),
        (422, error("VALIDATION_ERROR", "Bad", "limit"), RequestRejected, "limit: Bad"),
        (426, error("UPGRADE_REQUIRED"), RequestRejected, "update meterhouse"),
        (429, error("RATE_LIMITED"), RateLimited, "requests_per_minute"),
        (503, error("UNAVAILABLE"), ServiceUnavailable, "Run again later"),
        (503, None, ServiceUnavailable, "Run again later"),
        (200, {"meta": {}}, MalformedAnswer, "no data"),
        (200, {"data": [], "meta": {}}, MalformedAnswer, "whether it goes on"),
        (200, [], MalformedAnswer, "not an object"),
        (200, {"data": {"range": "90d", "activity_view": "weekly", "timezone": "UTC"}}, UnexpectedValue, "no list daily"),
        (200, {"data": {"range": "30d", "activity_view": "weekly", "timezone": "UTC"}}, UnexpectedValue, "of range '30d'"),
        (200, {"data": {"range": "90d", "activity_view": "weekly", "timezone": "Etc/UTC"}}, UnexpectedValue, "Etc/UTC.*set"),
    ],
)  # fmt: skip
def test_errors_are_told_apart(
    sandbox: Sandbox, workspace: Workspace, status: int, body: Any, kind: type[SourceError], said: str
) -> None:
    """Each with its own message and way out, never with the key."""
    sandbox.faults.add(Fault(path=SUMMARY, status=status, body=body))
    with pytest.raises(kind, match=rf"^onepin {SUMMARY}.*{said}"):
        read_days(workspace)


def test_no_message_holds_the_key(sandbox: Sandbox, workspace: Workspace) -> None:
    """Not even where the vendor repeats it."""
    key = sandbox.onepin.credential().api_key
    sandbox.faults.add(Fault(path=SUMMARY, status=401, body=error("INVALID_API_KEY", f"No such key: {key}")))
    with pytest.raises(CredentialsRejected, match=r"No such key: \*\*\*") as caught:
        read_days(workspace)
    assert key not in repr(caught.value)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ({"date": "2026-03-01", "credits": "many", "characters": 1, "lines": 1, "runs": 1}, "credits holds 'many'"),
        ({"date": "2026-03-01", "credits": 1, "characters": 1.5, "lines": 1, "runs": 1}, "characters holds Decimal"),
        ({"date": "2026-03-01T10:00:00", "credits": 1, "characters": 1, "lines": 1, "runs": 1}, "a time, not a date"),
        ({"date": "2026-03-01", "credits": 1, "characters": 1, "lines": 1}, "runs holds nothing"),
        ("2026-03-01", "not an object"),
    ],
)
def test_a_field_of_the_wrong_type(sandbox: Sandbox, workspace: Workspace, day: Any, said: str) -> None:
    """The error names endpoint, field and value."""
    data = {"range": "90d", "activity_view": "weekly", "timezone": "UTC", "daily": [day]}
    sandbox.faults.add(Fault(path=SUMMARY, body={"data": data}))
    with pytest.raises(UnexpectedValue, match=said):
        read_days(workspace)


def test_a_missing_list_leaves_the_table_as_it_was(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """Missing data is no empty data."""
    load("usage_daily")
    before = loaded(house, "usage_daily")
    sandbox.faults.add(
        Fault(path=SUMMARY, body={"data": {"range": "90d", "activity_view": "weekly", "timezone": "UTC"}, "meta": {}})
    )
    assert "no list daily" in load("usage_daily", status=1)["failures"][0]["error"]
    assert loaded(house, "usage_daily") == before


@pytest.mark.parametrize(
    ("zone", "start", "first"),
    [
        (NEW_YORK, "2026-03-09T04:00:00Z", "2026-03-09"),
        (NEW_YORK, "2026-03-09T00:00:00Z", "2026-03-09"),
        ("Asia/Kolkata", "2026-03-08T18:30:00Z", "2026-03-09"),
        ("Asia/Kolkata", "2026-03-09T00:00:00Z", "2026-03-09"),
        ("UTC", "2026-03-10T00:00:00Z", None),
        ("UTC", "Week 1", None),
        ("UTC", None, None),
    ],
)
def test_the_first_day_of_a_week(workspace: Workspace, zone: str, start: Any, first: str | None) -> None:
    """As documented, and as the reference's sample writes it; what begins on no Monday is no week."""
    workspace.timezone = zone
    if first is None:
        with pytest.raises(UnexpectedValue, match="not the first day of a week"):
            workspace._first_day(start, "week", USAGE_BUCKETS)
    else:
        assert workspace._first_day(start, "week", USAGE_BUCKETS).isoformat() == first


def test_the_tables_hold_what_the_vendors_own_client_gets(house: House, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """All three endpoints, all pages of the feed."""
    onepin = pytest.importorskip("onepin")
    client = onepin.OnepinClient(api_key=sandbox.onepin.credential().api_key, base_url=sandbox.url)
    load()
    days = client.usage.usage_summary(range="90d", activity_view="weekly").data
    assert loaded(house, "usage_daily", "date::text, credits, characters, lines, runs") == [
        (day.date, day.credits, day.characters, day.lines, day.runs) for day in days.daily
    ]
    weeks = (
        "select bucket_start, bucket_end, label, credits, runs from onepin.usage_buckets where view = 'weekly' order by 1"
    )
    assert house.rows(weeks) == [
        (week.start, week.end, week.label, week.credits, week.runs) for week in days.activity.buckets
    ]
    rows = client.usage.usage_by_language(range="60d").data.languages
    assert house.rows("select locale_code, share, credits from onepin.usage_by_language where range = '60d'") == unordered(
        (row.locale_code, Decimal(str(row.share)), row.credits) for row in rows
    )
    seen: list[Any] = []
    cursor = None
    while cursor is not None or not seen:
        answer = client.usage.usage_activity(range="90d", limit=100, cursor=cursor)
        seen += answer.data
        cursor = answer.pagination.next
    assert house.rows("select id, timestamp, user_name, action, resource_name from onepin.usage_activity") == unordered(
        (item.id, item.timestamp, item.user.name if item.user else None, item.action, item.resource.name) for item in seen
    )


class unordered:  # noqa: N801 - reads as a word of the assertion
    """Equal to a list with the same rows in any order."""

    def __init__(self, rows: Iterator[Any] | Any) -> None:
        self.rows = list(rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and sorted(other, key=repr) == sorted(map(tuple, self.rows), key=repr)

    __hash__ = None  # type: ignore[assignment]
