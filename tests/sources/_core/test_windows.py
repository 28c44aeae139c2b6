from datetime import timedelta
from itertools import pairwise

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pendulum import DateTime

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.incremental import Cursor, Plan
from meterhouse.sources._core.windows import UNITS, Unit, Window, after, ceil, floor


def at(text: str) -> DateTime:
    moment = pendulum.parse(text)
    assert isinstance(moment, DateTime)
    return moment


def plan(**changes: object) -> Plan:
    settings: dict[str, object] = {
        "unit": "hour",
        "initial_date": at("2026-01-01"),
        "lookback": timedelta(days=2),
        "longest": timedelta(days=366),
    }
    return Plan(**(settings | changes))  # type: ignore[arg-type]


moments = st.datetimes(
    min_value=pendulum.naive(2020, 1, 1), max_value=pendulum.naive(2035, 1, 1), timezones=st.just(pendulum.UTC)
).map(lambda moment: pendulum.instance(moment))
units = st.sampled_from(UNITS)


@given(moments, units)
def test_every_moment_is_in_exactly_one_bucket(moment: DateTime, unit: Unit) -> None:
    """floor and after are the edges of the one half-open bucket that holds a moment."""
    start = floor(moment, unit)
    assert start <= moment < after(start, unit)
    assert floor(start, unit) == start == ceil(start, unit)


@pytest.mark.parametrize(
    ("unit", "start", "end"),
    [
        ("hour", "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"),
        ("day", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("week", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"),
        ("month", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ],
)
def test_buckets_of_a_leap_day(unit: Unit, start: str, end: str) -> None:
    """Leap days and month ends follow the calendar; weeks start on Monday."""
    moment = at("2024-02-29T23:30:00Z")
    assert (floor(moment, unit), ceil(moment, unit)) == (at(start), at(end))


def test_buckets_are_in_utc() -> None:
    """The zone of a moment does not matter."""
    assert floor(at("2026-03-29T01:30:00+02:00"), "day") == at("2026-03-28T00:00:00Z")


def test_a_first_run_begins_at_initial_date_and_ends_with_the_running_bucket() -> None:
    """Both ends are included."""
    windows = list(plan().windows(None, at("2026-03-05T10:20:00Z")))
    assert windows == [Window(at("2026-01-01T00:00:00Z"), at("2026-03-05T11:00:00Z"))]


def test_a_later_run_requests_the_lookback_again() -> None:
    """It begins before the cursor, because providers restate the past."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window == Window(at("2026-03-03T10:00:00Z"), at("2026-03-06T09:00:00Z"))


def test_the_lookback_does_not_reach_before_initial_date() -> None:
    """A run on the second day requests nothing before it."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-01-01T05:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-01-01T06:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_an_earlier_initial_date_requests_the_older_history() -> None:
    """A new initial_date is effective after the first run, too."""
    cursor = Cursor(at("2026-02-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_another_unit_begins_again() -> None:
    """A change from hours to days requests all time, so that no time is loaded in both."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(unit="day").windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window == Window(at("2026-01-01T00:00:00Z"), at("2026-03-06T00:00:00Z"))
    assert plan(unit="day").cursor_after(cursor, window, at("2026-03-05T10:15:00Z")) == Cursor(
        at("2026-01-01T00:00:00Z"), at("2026-03-05T00:00:00Z"), "day"
    )


def test_other_filters_need_a_full_refresh() -> None:
    """A regular run or a backfill would replace a part of the loaded days, with the usage of other filters."""
    now = at("2026-03-05T10:15:00Z")
    stored = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour", "products = parse").to_state()
    cursor = Cursor.from_state(stored)
    assert list(plan(filters="products = parse").windows(cursor, now))
    for changes in ({}, {"backfill": Window(at("2026-02-01T00:00:00Z"), at("2026-02-02T00:00:00Z"))}):
        with pytest.raises(ConfigurationError, match="filters are now none, but the loaded rows have products = parse"):
            list(plan(filters="", **changes).windows(cursor, now))
    anew = plan(filters="", restart=True, initial_date=at("2026-03-01T00:00:00Z"))
    (window,) = anew.windows(cursor, now)
    assert anew.cursor_after(cursor, window, now) == Cursor(window.start, at("2026-03-05T10:00:00Z"), "hour", "")


def test_a_cursor_of_an_earlier_version_accepts_any_filters() -> None:
    """It does not say which usage was loaded."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    assert "filters" not in cursor.to_state()
    assert list(plan(filters="products = parse").windows(cursor, at("2026-03-05T10:15:00Z")))


def test_a_cursor_in_the_future_counts_as_now() -> None:
    """A clock that once ran ahead does not stop later requests."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2999-01-01T00:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window == Window(at("2026-03-03T10:00:00Z"), at("2026-03-05T11:00:00Z"))


def test_the_cursor_stops_before_the_running_bucket() -> None:
    """The next run requests that bucket again."""
    done = Window(at("2026-01-01T00:00:00Z"), at("2026-03-05T11:00:00Z"))
    assert plan().cursor_after(None, done, at("2026-03-05T10:20:00Z")) == Cursor(
        done.start, at("2026-03-05T10:00:00Z"), "hour"
    )


def test_a_backfill_is_exact_and_moves_no_cursor() -> None:
    """It requests [since, until) with any cursor, which stays the same object."""
    backfill = Window(at("2025-05-01T00:00:00Z"), at("2025-05-03T00:00:00Z"))
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(backfill=backfill).windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window == backfill
    assert plan(backfill=backfill).cursor_after(cursor, backfill, at("2026-03-06T08:15:00Z")) is cursor
    assert plan(backfill=backfill).cursor_after(None, backfill, at("2026-03-06T08:15:00Z")) is None


def test_rejects_a_backfill_that_cuts_a_bucket() -> None:
    """Half a month cannot be replaced: the error names the edges on both sides."""
    with pytest.raises(ConfigurationError, match=r"2026-01-15.*inside a month.*2026-01-01.*2026-02-01"):
        plan(unit="month", backfill=Window(at("2026-01-15T00:00:00Z"), at("2026-02-01T00:00:00Z")))


def test_full_refresh_begins_again() -> None:
    """It ignores the cursor."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(restart=True).windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_a_limited_reach_begins_at_the_first_returned_bucket() -> None:
    """It has 90 buckets with the running one; time between the cursor and there is a missed window."""
    rolling = plan(unit="day", reach=90, lookback=timedelta(days=90))
    now = at("2026-06-01T10:00:00Z")
    earliest = at("2026-03-04T00:00:00Z")
    assert list(rolling.windows(None, now)) == [Window(earliest, at("2026-06-02T00:00:00Z"))]
    answered = Window(earliest, at("2026-06-02T00:00:00Z"))
    fresh = Cursor(at("2026-01-01T00:00:00Z"), at("2026-05-31T00:00:00Z"), "day")
    assert rolling.missed(fresh, answered.start) is None
    stale = Cursor(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), "day")
    assert rolling.missed(stale, answered.start) == Window(at("2026-02-01T00:00:00Z"), earliest)
    assert rolling.missed(None, answered.start) is None
    assert rolling.missed(fresh, at("2026-06-01T00:00:00Z")) == Window(
        at("2026-05-31T00:00:00Z"), at("2026-06-01T00:00:00Z")
    )


@pytest.mark.parametrize(
    ("since", "until", "read_until", "gap"),
    [
        (None, None, None, ("2026-01-10", "2026-02-01")),
        (None, None, "2026-01-20", ("2026-01-20", "2026-02-01")),
        ("2025-12-01", "2026-01-15", None, ("2026-01-15", "2026-02-01")),
        ("2026-01-20", "2026-03-01", None, ("2026-01-10", "2026-01-20")),
        ("2025-12-01", "2026-03-01", None, None),
    ],
)
def test_a_backfill_reports_its_missed_window(
    since: str | None, until: str | None, read_until: str | None, gap: tuple[str, str] | None
) -> None:
    """It is the requested time before the response begins, less what regular runs have loaded."""
    backfill = plan(unit="day", backfill=Window(at("2026-01-10"), at("2026-03-01")))
    cursor = Cursor(at(since), at(until), "day") if since and until else None
    found = backfill.missed(cursor, at("2026-02-01"), at(read_until) if read_until else None)
    assert found == (Window(at(gap[0]), at(gap[1])) if gap else None)


def test_a_limited_reach_keeps_its_cursor() -> None:
    """An initial_date before the reach is no reason to begin again."""
    rolling = plan(unit="hour", reach=90 * 24)
    now = at("2026-06-01T10:20:00Z")
    (first,) = rolling.windows(None, now)
    (second,) = rolling.windows(rolling.cursor_after(None, first, now), now.add(hours=3))
    assert second == Window(at("2026-05-30T10:00:00Z"), at("2026-06-01T14:00:00Z"))


def test_a_snapshot_is_of_today_only() -> None:
    """A reach of one bucket requests the running one with any cursor; its missed days are not reported."""
    snapshot = plan(unit="day", reach=1, lookback=timedelta())
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), "day")
    assert list(snapshot.windows(cursor, at("2026-06-01T10:00:00Z"))) == [
        Window(at("2026-06-01T00:00:00Z"), at("2026-06-02T00:00:00Z"))
    ]
    assert snapshot.missed(cursor, at("2026-06-01T00:00:00Z")) is None


def test_a_backfill_takes_no_snapshot() -> None:
    """A snapshot of the present belongs to no past window, even one that ends today."""
    backfill = Window(at("2026-05-01T00:00:00Z"), at("2026-06-02T00:00:00Z"))
    snapshot = plan(unit="day", reach=1, lookback=timedelta(), backfill=backfill)
    assert list(snapshot.windows(None, at("2026-06-01T10:00:00Z"))) == []


def test_local_days_follow_the_calendar_of_their_time_zone() -> None:
    """In New York's evening the next UTC day has not begun; the day of 23 hours is one day."""
    local = plan(unit="day", timezone="America/New_York", initial_date=at("2026-03-07"))
    (window,) = local.windows(None, at("2026-03-09T02:00:00Z"))
    assert window == Window(at("2026-03-07T00:00:00Z"), at("2026-03-09T00:00:00Z"))
    assert local.complete_until(window, at("2026-03-09T03:59:00Z")) == at("2026-03-08T00:00:00Z")
    assert local.complete_until(window, at("2026-03-09T04:01:00Z")) == at("2026-03-09T00:00:00Z")


@given(moments, moments, units, st.integers(min_value=1, max_value=400))
def test_windows_adjoin_and_respect_the_longest_length(first: DateTime, now: DateTime, unit: Unit, days: int) -> None:
    """Together they are the whole span, without gap or overlap, on bucket edges."""
    longest = max(timedelta(days=days), timedelta(days=31))
    windows = list(plan(unit=unit, initial_date=first, longest=longest).windows(None, now))
    if not windows:
        assert floor(first, unit) >= ceil(now, unit)
        return
    assert windows[0].start == floor(first, unit)
    assert windows[-1].end == ceil(now, unit)
    assert all(earlier.end == later.start for earlier, later in pairwise(windows))
    assert all(window.end - window.start <= longest for window in windows)
    assert all(floor(window.start, unit) == window.start for window in windows)


@given(moments, st.integers(min_value=1, max_value=100), units)
def test_halves_add_up_to_the_window(start: DateTime, buckets: int, unit: Unit) -> None:
    """No time is lost or doubled; a single bucket has no halves."""
    edge = floor(start, unit)
    window = Window(edge, after(edge, unit, buckets))
    halves = window.halves(unit)
    if buckets == 1:
        assert halves is None
    else:
        assert halves is not None
        first, second = halves
        assert (first.start, first.end, second.end) == (window.start, second.start, window.end)
        assert floor(first.end, unit) == first.end


def test_a_cursor_survives_a_round_trip() -> None:
    """A cursor read from its state equals the one written."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    assert Cursor.from_state(cursor.to_state()) == cursor
