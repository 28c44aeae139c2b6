"""Leap days, ends of months and changes of clocks: no day is lost and none is doubled."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.onepin import Run
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS

pytestmark = pytest.mark.thorough

ALL = tuple(DESCRIPTIONS)
ONE = ("reducto",)
"""A provider whose API counts by days. The core computes the days of every provider alike."""


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("onepin",)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2028, 2, 28, 12, tzinfo=UTC)) as traveller:
        yield traveller


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("providers", "start", "runs"),
    [
        # Each run a second after, at, or before midnight.
        (ALL, "2028-02-27", ("2028-02-28T23:59:59", "2028-02-29T00:00:00", "2028-03-01T00:00:01")),
        (ONE, "2027-02-27", ("2027-02-28T23:59:59", "2027-03-01T00:00:00", "2027-03-02T00:00:01")),
        (ONE, "2026-01-30", ("2026-01-31T23:59:59", "2026-02-01T00:00:00", "2026-02-02T00:00:01")),
        (ONE, "2026-12-30", ("2026-12-31T23:59:59", "2027-01-01T00:00:00", "2027-01-02T00:00:01")),
    ],
    ids=["leap day", "no leap day", "end of January", "end of the year"],
)
def test_runs_around_midnight_lose_and_double_no_day(
    cli: Cli,
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    providers: tuple[str, ...],
    start: str,
    runs: tuple[str, ...],
) -> None:
    """After runs at 23:59:59, 00:00:00 and 00:00:01, each day of each provider is there once, with the vendor's sum."""
    tested = {name: DESCRIPTIONS[name] for name in providers}
    for provider in tested.values():
        monkeypatch.setenv(provider.setting("initial_date"), start)
    tables = [f"{name}.{daily.table}" for name, provider in tested.items() for daily in provider.daily_sums]
    for at in runs:
        clock.move_to(moment(at))
        cli("run", *tables, "--no-models")
    first, last = date.fromisoformat(start), moment(runs[-1]).date()
    days = [first + timedelta(days=number) for number in range((last - first).days)]
    for name, provider in tested.items():
        for daily in provider.daily_sums:
            where = f"from {name}.{daily.table} where {daily.day} < '{last}'"
            expected = {day: daily.expected(sandbox, day.isoformat(), (day + timedelta(days=1)).isoformat()) for day in days}
            assert min(expected.values()) > 0
            assert dict(cli.rows(f"select {daily.day}, {daily.value} {where} group by 1")) == expected, daily.table
            if daily.key:
                ((rows, keys),) = cli.rows(f"select count(*), count(distinct {daily.key}) {where}")
                assert rows == keys, daily.table
            if "is_complete" in columns(cli, name, daily.table):
                assert cli.rows(f"select count(*) {where} and not is_complete") == [(0,)], daily.table


def columns(cli: Cli, schema: str, table: str) -> set[str]:
    query = "select column_name from information_schema.columns"
    return {name for (name,) in cli.rows(f"{query} where table_schema = '{schema}' and table_name = '{table}'")}


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("Europe/Berlin", "2026-03-29"),
        ("America/New_York", "2026-11-01"),
        ("America/Santiago", "2026-09-06"),  # at midnight: the day begins at 01:00
        ("Australia/Lord_Howe", "2026-10-04"),  # by half an hour
    ],
)
def test_a_change_of_clocks_in_the_users_timezone(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, zone: str, changes: str
) -> None:
    """With one credit an hour, local days of 23, 24 and 25 hours have that many credits."""
    local = ZoneInfo(zone)
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", zone)
    day = date.fromisoformat(changes)
    days = [day + timedelta(days=number) for number in (-1, 0, 1)]
    begin = datetime.combine(days[0] - timedelta(days=1), datetime.min.time(), UTC)
    hours = [begin + timedelta(minutes=30 + 60 * number) for number in range(24 * 6)]
    sandbox.onepin.usage.set([Run(hour, credits=1, minutes=1) for hour in hours])
    monkeypatch.setenv("SOURCES__ONEPIN__INITIAL_DATE", days[0].isoformat())
    for number in (0, 1, 2):  # at the local midnight that ends each day
        clock.move_to(datetime.combine(days[number] + timedelta(days=1), datetime.min.time(), local).astimezone(UTC))
        cli("run", "onepin.usage_daily", "--no-models")
    expected = {day: sum(hour.astimezone(local).date() == day for hour in hours) for day in days}
    assert sum(expected.values()) != 72 or zone == "Australia/Lord_Howe"
    loaded = cli.rows(f"select date, credits from onepin.usage_daily where date <= '{days[-1]}' order by date")
    assert loaded == list(expected.items())
    assert cli.rows(f"select count(*) from onepin.usage_daily where date <= '{days[-1]}' and not is_complete") == [(0,)]
