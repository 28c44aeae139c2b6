"""The history of days, weeks and months: over real HTTP, on a real DuckDB file, with a clock that the test controls."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.onepin import Run
from tests.conftest import Cli
from tests.sources.onepin.conftest import ACTIVITY, ALL, NEW_YORK, NOW, SUMMARY, loaded, steady


def test_a_first_run_loads_all_that_the_api_returns(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """90 days, 12 weeks, 12 months, three ranges, with their workspace; seven requests and the pages of the feed."""
    load()
    start = "2025-12-21"
    assert loaded(
        cli, "usage_daily", "count(*), min(date)::text, max(date)::text, sum(credits), typeof(any_value(credits))"
    ) == [(90, start, "2026-03-20", sandbox.onepin.usage.credits(start), "DECIMAL(28,9)")]
    assert cli.rows("select date::text from onepin.usage_daily where not is_complete") == [("2026-03-20",)]
    assert cli.rows(
        "select view, count(*), min(date)::text, sum(credits), count(*) filter (not is_complete)"
        " from onepin.usage_buckets group by 1 order by 1"
    ) == [
        ("monthly", 12, "2025-04-01", sandbox.onepin.usage.credits("2025-04-01"), 1),
        ("weekly", 12, "2025-12-29", sandbox.onepin.usage.credits("2025-12-29"), 1),
    ]
    assert cli.rows("select range, runs_total, is_complete from onepin.usage_summary order by 1") == [
        (
            f"{days}d",
            len(sandbox.onepin.usage.runs("default", NOW.replace(hour=0, minute=0) - timedelta(days - 1), NOW)),
            True,
        )
        for days in (30, 60, 90)
    ]
    languages = cli.rows("select range, sum(credits), any_value(total_credits) from onepin.usage_by_language group by 1")
    assert len(languages) == 3
    assert all(tagged == total > 0 for _, tagged, total in languages)
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW)
    assert sorted(loaded(cli, "usage_activity", "id")) == sorted((event.id,) for event in events)
    asked = [request.path for request in sandbox.requests]
    assert asked.count(SUMMARY) == 3
    assert asked.count(ACTIVITY) == len(events) // 100 + 1
    assert len(asked) == 7 + asked.count(ACTIVITY)
    own = sandbox.onepin.credential().workspace_id
    assert {row for table in ALL for row in loaded(cli, table, "distinct workspace_id")} == {(own,)}


@pytest.mark.thorough
def test_a_second_run_changes_no_row(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """Even the time of fetching stays; hours later the new requests are only the usual ones."""
    sandbox.onepin.usage.set(steady("2026-02-01", "2026-03-01", "2026-03-19"))
    load()
    before = {table: loaded(cli, table) for table in ALL}
    assert all(before.values())
    clock.move_to(NOW + timedelta(hours=5))
    load()
    assert {table: loaded(cli, table) for table in ALL} == before


@pytest.mark.thorough
def test_days_that_left_the_window_stay(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """After forty days there are 130 days, the older ones unchanged; a withdrawn day out of reach stays, too."""
    load("usage_daily", "usage_buckets")
    old = cli.rows("select * from onepin.usage_daily where date < '2026-01-30' order by all")
    sandbox.onepin.usage.withdraw("2025-12-21", "2026-01-20")
    clock.move_to(NOW + timedelta(days=40))
    report = load("usage_daily", "usage_buckets")
    assert report["gaps"] == []
    assert cli.rows("select count(*), count(*) filter (not is_complete) from onepin.usage_daily") == [(130, 1)]
    assert cli.rows("select * from onepin.usage_daily where date < '2026-01-30' order by all") == old
    new = cli.rows("select sum(credits) from onepin.usage_daily where date >= '2026-01-30'")
    assert new == [(sandbox.onepin.usage.credits("2026-01-30"),)]
    assert cli.rows("select count(*) from onepin.usage_buckets where view = 'monthly'") == [(13,)]


@pytest.mark.thorough
@pytest.mark.parametrize("includes_today", [True, False])
def test_mirrors_restated_days(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller, includes_today: bool
) -> None:
    """Anywhere in the 90 days of the period, even before the first row and after the last."""
    sandbox.onepin.options.sparse = True
    sandbox.onepin.options.includes_today = includes_today
    days = ("2026-01-02", "2026-01-03", "2026-02-01", "2026-03-18")
    sandbox.onepin.usage.set(steady(*days))
    load("usage_daily")
    sandbox.onepin.usage.restate("2026-01-03", factor=2)
    sandbox.onepin.usage.withdraw("2026-02-01")
    sandbox.onepin.usage.withdraw("2026-01-02")
    load("usage_daily")
    assert loaded(cli, "usage_daily", "date::text, credits") == [
        ("2026-01-03", 202),
        ("2026-03-18", 103),
    ]


@pytest.mark.thorough
def test_a_day_grows_when_its_runs_settle(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """A run that was parked for three days adds its credits to the day on which it was started."""
    sandbox.onepin.usage.set([Run(NOW - timedelta(hours=2), credits=50, minutes=3 * 1440, parked=True)])
    load("usage_daily", "usage_summary")
    assert cli.rows("select sum(credits), sum(runs) from onepin.usage_daily") == [(0, 1)]
    assert cli.rows("select distinct runs_paused, audio_total_ms from onepin.usage_summary") == [(1, 0)]
    clock.move_to(NOW + timedelta(days=3))
    load("usage_daily")
    assert cli.rows("select date::text, credits, is_complete from onepin.usage_daily where credits > 0") == [
        ("2026-03-20", 50, True)
    ]


@pytest.mark.parametrize(
    ("days", "gap"),
    [
        (100, ("2026-03-20", "2026-03-31")),
        pytest.param(90, ("2026-03-20", "2026-03-21"), marks=pytest.mark.thorough),
        pytest.param(89, None, marks=pytest.mark.thorough),
    ],
)
def test_reports_days_that_were_never_complete(
    cli: Cli,
    load: Callable[..., Any],
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    days: int,
    gap: tuple[str, str] | None,
) -> None:
    """No row is deleted; after 90 days the one day is missing that was still running at the first run."""
    load("usage_daily")
    before = loaded(cli, "usage_daily", "date, credits")
    clock.move_to(NOW + timedelta(days=days))
    report = load("usage_daily")
    assert [(told["table"], told["from"][:10], told["until"][:10]) for told in report["gaps"]] == (
        [("usage_daily", *gap)] if gap else []
    )
    until = gap[1] if gap else "2026-03-20"
    after = cli.rows(f"select date, credits from onepin.usage_daily where date < '{until}' order by all")
    assert after == [row for row in before if row[0].isoformat() < until]


@pytest.mark.thorough
def test_local_days_follow_the_change_of_clocks(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """On 8 March New York's day has 23 hours: its edges, and those of its week and month, follow that calendar."""
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", NEW_YORK)
    edges = ("2026-03-08T04:59", "2026-03-08T05:00", "2026-03-09T03:59", "2026-03-09T04:00")
    sandbox.onepin.usage.set(
        [Run(datetime.fromisoformat(f"{edge}:00+00:00"), credits=10**n, minutes=1) for n, edge in enumerate(edges)]
    )
    clock.move_to(datetime(2026, 3, 10, 3, 30, tzinfo=UTC))
    load("usage_daily", "usage_buckets", "usage_summary")
    assert cli.rows(
        "select date::text, credits, is_complete from onepin.usage_daily where date >= '2026-03-07' order by 1"
    ) == [("2026-03-07", 1, True), ("2026-03-08", 110, True), ("2026-03-09", 1000, False)]
    assert cli.rows(
        "select view, date::text, bucket_start, bucket_end, credits, is_complete"
        " from onepin.usage_buckets where credits > 0 order by 1, 2"
    ) == [
        ("monthly", "2026-03-01", datetime(2026, 3, 1, 5, tzinfo=UTC), datetime(2026, 4, 1, 4, tzinfo=UTC), 1111, False),
        ("weekly", "2026-03-02", datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 9, 4, tzinfo=UTC), 111, True),
        ("weekly", "2026-03-09", datetime(2026, 3, 9, 4, tzinfo=UTC), datetime(2026, 3, 16, 4, tzinfo=UTC), 1000, False),
    ]
    assert cli.rows("select distinct snapshot_date::text, timezone from onepin.usage_summary") == [("2026-03-09", NEW_YORK)]


@pytest.mark.thorough
def test_another_timezone_begins_another_history(
    cli: Cli, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """Days of two calendars never form one series, and the first history stays."""
    load("usage_daily", "usage_buckets", "usage_summary")
    before = loaded(cli, "usage_daily")
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", "Asia/Kolkata")
    load("usage_daily", "usage_buckets", "usage_summary")
    assert cli.rows("select * from onepin.usage_daily where timezone = 'UTC' order by all") == before
    assert cli.rows("select timezone, count(*) from onepin.usage_daily group by 1 order by 1") == [
        ("Asia/Kolkata", 90),
        ("UTC", 90),
    ]
    assert cli.rows("select count(*) from onepin.usage_summary") == [(3,)]


@pytest.mark.thorough
def test_a_backfill_loads_its_days_and_takes_no_snapshot(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """It loads whole days, weeks and months; other rows, cursors and snapshots stay unchanged."""
    load()
    before = loaded(cli, "usage_daily")
    snapshots = loaded(cli, "usage_summary") + loaded(cli, "usage_by_language")
    first_run = cli.rows("select max(fetched_at) from onepin.usage_buckets")
    sandbox.onepin.usage.restate("2025-01-01", "2026-04-01", factor=2)
    load(options=("--since", "2026-01-28", "--until", "2026-03-05"))
    inside = "date >= '2026-01-28' and date < '2026-03-05'"
    assert cli.rows(f"select sum(credits) from onepin.usage_daily where {inside}") == [
        (sandbox.onepin.usage.credits("2026-01-28", "2026-03-05"),)
    ]
    assert cli.rows(f"select * from onepin.usage_daily where not ({inside}) order by all") == [
        row for row in before if not date(2026, 1, 28) <= row[3] < date(2026, 3, 5)
    ]
    changed = cli.rows(
        "select view, min(date)::text, max(date)::text from onepin.usage_buckets"
        f" where fetched_at > '{first_run[0][0].isoformat()}' group by 1 order by 1"
    )
    assert changed == [("monthly", "2026-02-01", "2026-02-01"), ("weekly", "2026-02-02", "2026-02-23")]
    assert cli.rows("select credits from onepin.usage_buckets where view = 'monthly' and date = '2026-02-01'") == [
        (sandbox.onepin.usage.credits("2026-02-01", "2026-03-01"),)
    ]
    assert loaded(cli, "usage_summary") + loaded(cli, "usage_by_language") == snapshots


@pytest.mark.thorough
def test_loads_an_empty_workspace(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """It has zeros where the API returns zeros, no row where it returns none, and no failure."""
    sandbox.onepin.usage.set()
    load()
    assert cli.rows("select count(*), sum(credits), sum(runs) from onepin.usage_daily") == [(90, 0, 0)]
    sandbox.onepin.options.sparse = True
    load()
    assert cli.rows("select count(*) from onepin.usage_daily") == [(0,)]


@pytest.mark.thorough
def test_initial_date_is_the_first_day(cli: Cli, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It limits days and events; the month that holds it is complete."""
    monkeypatch.setenv("SOURCES__ONEPIN__INITIAL_DATE", "2026-03-10")
    load("usage_daily", "usage_buckets", "usage_activity")
    assert cli.rows("select min(date)::text from onepin.usage_daily") == [("2026-03-10",)]
    assert cli.rows("select min(timestamp) >= '2026-03-10 00:00Z' from onepin.usage_activity") == [(True,)]
    assert cli.rows("select view, min(date)::text from onepin.usage_buckets group by 1 order by 1") == [
        ("monthly", "2026-03-01"),
        ("weekly", "2026-03-09"),
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("days", [(), ("2026-06-25",)], ids=["empty", "sparse"])
def test_missed_windows_depend_on_the_period_not_on_rows(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller, days: tuple[str, ...]
) -> None:
    """An idle stretch is not missed, and a range without rows does not hide a missed one."""
    sandbox.onepin.options.sparse = True
    sandbox.onepin.usage.set(steady("2026-03-01", "2026-03-19", *days))
    load("usage_daily")
    clock.move_to(NOW + timedelta(days=60))
    assert load("usage_daily")["gaps"] == []
    clock.move_to(NOW + timedelta(days=160))
    (gap,) = load("usage_daily")["gaps"]
    assert (gap["from"][:10], gap["until"][:10]) == ("2026-05-19", "2026-05-30")
    assert loaded(cli, "usage_daily", "date::text") == [(day,) for day in ("2026-03-01", "2026-03-19", *days)]


@pytest.mark.thorough
def test_another_timezone_does_not_hide_a_missed_window(
    cli: Cli, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Its history begins 90 days ago, long after the other one ended."""
    load("usage_daily", "usage_activity")
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", NEW_YORK)
    clock.move_to(NOW + timedelta(days=150))
    gaps = load("usage_daily", "usage_activity")["gaps"]
    assert {(gap["table"], gap["from"][:10], gap["until"][:10]) for gap in gaps} == {
        ("usage_daily", "2026-03-20", "2026-05-20"),
        ("usage_activity", "2026-03-20", "2026-05-20"),
    }


@pytest.mark.parametrize(
    ("first", "behind"), [(92, 90), *(pytest.param(*days, marks=pytest.mark.thorough) for days in ((95, 93), (92, 85)))]
)
def test_a_backfill_beyond_the_reach_is_a_missed_window(
    cli: Cli, load: Callable[..., Any], clock: time_machine.Traveller, first: int, behind: int
) -> None:
    """It is reported with the time before the reach, and is no crash."""
    since, until = ((NOW - timedelta(days)).date().isoformat() for days in (first, behind))
    report = load("usage_daily", "usage_activity", options=("--since", since, "--until", until))
    reach = (NOW - timedelta(89)).date().isoformat()
    assert {(gap["table"], gap["from"][:10], gap["until"][:10]) for gap in report["gaps"]} == {
        (table, since, min(until, reach)) for table in ("usage_daily", "usage_activity")
    }
    assert {entry["from"][:10] for entry in report["loaded"]} == ({reach} if until > reach else set())
