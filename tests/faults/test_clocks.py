"""Days that clocks and calendars make odd: none is lost, and none is there twice."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.onepin import Run
from tests.conftest import Cli

pytestmark = pytest.mark.thorough

ALL = ("mathpix", "reducto", "onepin", "scopix")
NAMED = ("mathpix", "reducto", "onepin.usage_daily", "scopix.usage_events", "scopix.usage_daily")


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ALL


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2028, 2, 28, 12, tzinfo=UTC)) as traveller:
        yield traveller


def bounds(day: date) -> tuple[str, str]:
    """A day, as the sandbox's books are asked for it."""
    return day.isoformat(), (day + timedelta(days=1)).isoformat()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "runs"),
    [
        # Each run a second after, at, or before midnight.
        ("2028-02-27", ("2028-02-28T23:59:59", "2028-02-29T00:00:00", "2028-03-01T00:00:00", "2028-03-02T00:00:01")),
        ("2027-02-27", ("2027-02-28T23:59:59", "2027-03-01T00:00:00", "2027-03-02T00:00:01")),
        ("2026-01-30", ("2026-01-31T23:59:59", "2026-02-01T00:00:00", "2026-02-02T00:00:01")),
        ("2026-12-30", ("2026-12-31T23:59:59", "2027-01-01T00:00:00", "2027-01-02T00:00:01")),
    ],
    ids=["leap day", "no leap day", "end of January", "end of the year"],
)
@pytest.mark.thorough
def test_runs_around_a_midnight_of_the_calendar(
    cli: Cli,
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
    runs: tuple[str, ...],
) -> None:
    """Runs at 23:59:59, 00:00:00 and 00:00:01: each day of each provider is there once, with the vendor's own sum."""
    for provider in ALL:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", start)
    for at in runs:
        clock.move_to(moment(at))
        cli("run", *NAMED, "--no-models")
    last = moment(runs[-1]).date()
    day = date.fromisoformat(start)
    days = {day + timedelta(days=number) for number in range((last - day).days)}
    expected = {day: sandbox.mathpix.usage.total(*bounds(day)) for day in days}
    assert min(expected.values()) > 0
    for grouping in ("usage_type", "request_args_hash", "app_id"):
        query = (
            "select cast(bucket_start at time zone 'UTC' as date), sum(count)"
            f" from mathpix.ocr_usage_by_{grouping} where bucket_start < '{last}T00:00:00Z' group by 1"
        )
        assert dict(cli.rows(query)) == expected
    daily = dict(cli.rows(f"select date, sum(credits) from reducto.usage_by_product where date < '{last}' group by 1"))
    assert daily == {day: sandbox.reducto.usage.total(*bounds(day)).credits for day in days}
    daily = dict(cli.rows(f"select date, sum(credits) from onepin.usage_daily where date < '{last}' group by 1"))
    assert daily == {day: sandbox.onepin.usage.credits(*bounds(day)) for day in days}
    assert cli.rows(f"select count(*), count(distinct date) from onepin.usage_daily where date < '{last}'") == [
        (len(days), len(days))
    ]
    events = cli.rows(
        "select cast(timestamp at time zone 'UTC' as date), count(*), count(distinct id) from scopix.usage_events"
        f" where timestamp < '{last}T00:00:00Z' group by 1"
    )
    assert {day: count for day, count, _ in events} == {day: sandbox.scopix.usage.total(*bounds(day)) for day in days}
    assert all(count == distinct for _, count, distinct in events)
    for table in ("mathpix.ocr_usage_by_app_id", "reducto.usage_by_product", "onepin.usage_daily", "scopix.usage_daily"):
        time = "bucket_start" if table.startswith("mathpix") else "date"
        assert cli.rows(f"select count(*) from {table} where {time} < '{last}' and not is_complete") == [(0,)], table


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("America/Santiago", "2026-09-06"),  # at midnight: the day begins at 01:00
        ("Australia/Lord_Howe", "2026-10-04"),  # by half an hour
    ],
)
def test_the_change_of_clocks_where_the_user_is(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, zone: str, changes: str
) -> None:
    """A run of one credit in each hour of three local days: 23, 24 and 25 hours are counted to the days that they are of."""
    local = ZoneInfo(zone)
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", zone)
    day = date.fromisoformat(changes)
    days = [day + timedelta(days=number) for number in (-1, 0, 1)]
    begin = datetime.combine(days[0] - timedelta(days=1), datetime.min.time(), UTC)
    hours = [begin + timedelta(minutes=30 + 60 * number) for number in range(24 * 6)]
    sandbox.onepin.usage.set([Run(hour, credits=1, minutes=1) for hour in hours])
    monkeypatch.setenv("SOURCES__ONEPIN__INITIAL_DATE", days[0].isoformat())
    for number in (0, 1, 2):  # at each local midnight behind
        clock.move_to(datetime.combine(days[number] + timedelta(days=1), datetime.min.time(), local).astimezone(UTC))
        cli("run", "onepin.usage_daily", "--no-models")
    expected = {day: sum(hour.astimezone(local).date() == day for hour in hours) for day in days}
    assert sum(expected.values()) != 72 or zone == "Australia/Lord_Howe"
    said = cli.rows(f"select date, credits from onepin.usage_daily where date <= '{days[-1]}' order by date")
    assert said == list(expected.items())
    assert cli.rows(f"select count(*) from onepin.usage_daily where date <= '{days[-1]}' and not is_complete") == [(0,)]
