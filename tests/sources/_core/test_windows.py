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
    """Leap days and month ends are cut as the calendar has them; weeks start on Monday."""
    moment = at("2024-02-29T23:30:00Z")
    assert (floor(moment, unit), ceil(moment, unit)) == (at(start), at(end))


def test_local_time_is_read_as_its_utc_moment() -> None:
    """A bucket is cut in UTC, whatever zone a moment is told in."""
    assert floor(at("2026-03-29T01:30:00+02:00"), "day") == at("2026-03-28T00:00:00Z")


def test_a_first_run_begins_at_initial_date_and_ends_with_the_running_bucket() -> None:
    """Nothing is left out at either end."""
    windows = list(plan().windows(None, at("2026-03-05T10:20:00Z")))
    assert windows == [Window(at("2026-01-01T00:00:00Z"), at("2026-03-05T11:00:00Z"))]


def test_a_later_run_asks_for_the_lookback_again() -> None:
    """It begins as much before the cursor as vendors are given to restate."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window == Window(at("2026-03-03T10:00:00Z"), at("2026-03-06T09:00:00Z"))


def test_lookback_does_not_reach_before_what_was_loaded() -> None:
    """A run on the second day does not ask for what lies before initial_date."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-01-01T05:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-01-01T06:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_an_earlier_initial_date_asks_for_the_older_history() -> None:
    """Setting initial_date back after the first run is not silently ignored."""
    cursor = Cursor(at("2026-02-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_another_unit_begins_again() -> None:
    """A change from hours to days asks for everything, so that no time is loaded in both."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(unit="day").windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window == Window(at("2026-01-01T00:00:00Z"), at("2026-03-06T00:00:00Z"))
    assert plan(unit="day").cursor_after(cursor, window, at("2026-03-05T10:15:00Z")) == Cursor(
        at("2026-01-01T00:00:00Z"), at("2026-03-05T00:00:00Z"), "day"
    )


def test_a_cursor_in_the_future_is_worth_no_more_than_now() -> None:
    """A clock that once ran ahead does not keep later runs from asking."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2999-01-01T00:00:00Z"), "hour")
    (window,) = plan().windows(cursor, at("2026-03-05T10:15:00Z"))
    assert window == Window(at("2026-03-03T10:00:00Z"), at("2026-03-05T11:00:00Z"))


def test_the_cursor_stops_at_the_last_bucket_that_had_ended() -> None:
    """The running bucket is asked for again."""
    done = Window(at("2026-01-01T00:00:00Z"), at("2026-03-05T11:00:00Z"))
    assert plan().cursor_after(None, done, at("2026-03-05T10:20:00Z")) == Cursor(
        done.start, at("2026-03-05T10:00:00Z"), "hour"
    )


def test_a_backfill_is_exact_and_moves_no_cursor() -> None:
    """[since, until) whatever the cursor says; the cursor is the same object afterwards."""
    backfill = Window(at("2025-05-01T00:00:00Z"), at("2025-05-03T00:00:00Z"))
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(backfill=backfill).windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window == backfill
    assert plan(backfill=backfill).cursor_after(cursor, backfill, at("2026-03-06T08:15:00Z")) is cursor
    assert plan(backfill=backfill).cursor_after(None, backfill, at("2026-03-06T08:15:00Z")) is None


def test_a_backfill_that_cuts_a_bucket_is_refused() -> None:
    """Half a month cannot be replaced: the error names the edges on both sides."""
    with pytest.raises(ConfigurationError, match=r"2026-01-15.*inside a month.*2026-01-01.*2026-02-01"):
        plan(unit="month", backfill=Window(at("2026-01-15T00:00:00Z"), at("2026-02-01T00:00:00Z")))


def test_full_refresh_begins_again() -> None:
    """It forgets the cursor."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    (window,) = plan(restart=True).windows(cursor, at("2026-03-06T08:15:00Z"))
    assert window.start == at("2026-01-01T00:00:00Z")


def test_a_limited_reach_begins_where_the_provider_can_still_be_asked() -> None:
    """90 buckets, the running one included; what lies between the cursor and there is a gap, and told."""
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
def test_a_backfill_has_its_gap_too(
    since: str | None, until: str | None, read_until: str | None, gap: tuple[str, str] | None
) -> None:
    """What was asked for before the answer begins, less what regular runs have loaded."""
    backfill = plan(unit="day", backfill=Window(at("2026-01-10"), at("2026-03-01")))
    cursor = Cursor(at(since), at(until), "day") if since and until else None
    found = backfill.missed(cursor, at("2026-02-01"), at(read_until) if read_until else None)
    assert found == (Window(at(gap[0]), at(gap[1])) if gap else None)


def test_a_limited_reach_does_not_ask_for_everything_on_every_run() -> None:
    """That initial_date lies before what the provider has is no reason to begin again."""
    rolling = plan(unit="hour", reach=90 * 24)
    now = at("2026-06-01T10:20:00Z")
    (first,) = rolling.windows(None, now)
    (second,) = rolling.windows(rolling.cursor_after(None, first, now), now.add(hours=3))
    assert second == Window(at("2026-05-30T10:00:00Z"), at("2026-06-01T14:00:00Z"))


def test_a_snapshot_is_of_today_only() -> None:
    """A reach of one bucket asks for the running one, however old the cursor; its missed days are no gap to report."""
    snapshot = plan(unit="day", reach=1, lookback=timedelta())
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), "day")
    assert list(snapshot.windows(cursor, at("2026-06-01T10:00:00Z"))) == [
        Window(at("2026-06-01T00:00:00Z"), at("2026-06-02T00:00:00Z"))
    ]
    assert snapshot.missed(cursor, at("2026-06-01T00:00:00Z")) is None


def test_a_backfill_takes_no_snapshot() -> None:
    """What a snapshot shows of the present belongs to no past window, even one that ends today."""
    backfill = Window(at("2026-05-01T00:00:00Z"), at("2026-06-02T00:00:00Z"))
    snapshot = plan(unit="day", reach=1, lookback=timedelta(), backfill=backfill)
    assert list(snapshot.windows(None, at("2026-06-01T10:00:00Z"))) == []


def test_local_days_follow_the_calendar_of_their_time_zone() -> None:
    """On the evening before in New York the next UTC day has not begun; the day of 23 hours is one day."""
    local = plan(unit="day", timezone="America/New_York", initial_date=at("2026-03-07"))
    (window,) = local.windows(None, at("2026-03-09T02:00:00Z"))
    assert window == Window(at("2026-03-07T00:00:00Z"), at("2026-03-09T00:00:00Z"))
    assert local.complete_until(window, at("2026-03-09T03:59:00Z")) == at("2026-03-08T00:00:00Z")
    assert local.complete_until(window, at("2026-03-09T04:01:00Z")) == at("2026-03-09T00:00:00Z")


@given(moments, moments, units, st.integers(min_value=1, max_value=400))
def test_windows_adjoin_and_are_no_longer_than_asked(first: DateTime, now: DateTime, unit: Unit, days: int) -> None:
    """Together the windows are the whole span, without gap or overlap, on bucket edges."""
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
def test_halves_are_the_window(start: DateTime, buckets: int, unit: Unit) -> None:
    """Cutting a window in two loses nothing and doubles nothing; a single bucket is not cut."""
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


def test_state_survives_a_round_trip() -> None:
    """A cursor read back is the cursor written."""
    cursor = Cursor(at("2026-01-01T00:00:00Z"), at("2026-03-05T10:00:00Z"), "hour")
    assert Cursor.from_state(cursor.to_state()) == cursor
