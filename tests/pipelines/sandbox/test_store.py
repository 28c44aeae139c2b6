"""The book of usage and the world behind it."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from meterhouse.pipelines.sandbox.mathpix import Series, Usage, UsageBook, World
from meterhouse.pipelines.sandbox.seasonality import FIRST_DAY, growth

NOW = datetime(2026, 3, 18, 14, 45, tzinfo=UTC)
FAR = datetime(2036, 1, 1, tzinfo=UTC)


def book(seed: int = 7, now: datetime = NOW) -> UsageBook:
    """A book whose clock stands still."""
    return UsageBook(World(seed), lambda: now)


def by_month(usage: UsageBook, account: str = "default") -> dict[str, Counter[str]]:
    """Counts by month and usage type."""
    months: dict[str, Counter[str]] = {}
    for hour, counts in usage.hours(account, None, None):
        month = months.setdefault(hour.strftime("%Y-%m"), Counter())
        for series, count in counts.items():
            month[series.usage_type] += count
    return months


def test_the_seed_decides() -> None:
    """The same seed gives the same usage, another seed another."""
    window = ("2025-05-01", "2025-05-08")
    assert book().rows(*window) == book().rows(*window)
    assert book(8).total(*window) != book().total(*window)


def test_the_world_is_the_same_in_every_process() -> None:
    """Usage does not depend on the process: neither on its hash seed nor on what was asked before."""
    script = (
        "from datetime import UTC, datetime; from pipelines.sandbox.mathpix import *;"
        "book = UsageBook(World(7), lambda: datetime(2026, 3, 18, 14, 45, tzinfo=UTC));"
        "print(book.total('2025-02-01', '2025-02-10'), book.rows('2025-02-03', '2025-02-04'))"
    )
    root = Path(__file__).parents[3]
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={"PYTHONHASHSEED": salt},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    }
    usage = book()
    usage.rows("2025-02-09", "2025-02-10")
    rows = usage.rows("2025-02-03", "2025-02-04")
    assert printed == {f"{usage.total('2025-02-01', '2025-02-10')} {rows}\n"}


def test_the_past_does_not_depend_on_the_present() -> None:
    """What was used in an hour is the same whenever one asks."""
    window = ("2026-03-10", "2026-03-18")
    assert book(now=FAR).rows(*window) == book().rows(*window)


def test_history_crosses_the_price_changes() -> None:
    """Images are used before and after 2025-03-01, pages before and after 2024-12-01, in every month since June 2024."""
    months = by_month(book())
    assert next(iter(months)) == "2024-06"
    assert len(months) == 22
    for month in months.values():
        assert set(month) == {"image", "image-async", "pdf-page", "strokes-session", "conversion"}


def test_tiers_are_crossed() -> None:
    """Some months stay below 1,000,000 images and 100,000 sessions and some go above; every month passes 1,000 sessions."""
    months = list(by_month(book()).values())
    assert min(month["image"] for month in months) < 1_000_000 < max(month["image"] for month in months)
    assert min(month["strokes-session"] for month in months) < 100_000 < max(month["strokes-session"] for month in months)
    assert all(month["strokes-session"] > 1_000 for month in months)


def test_the_bill_is_some_thousand_dollars() -> None:
    """A full month of the demo's account costs from one to ten thousand USD at the prices since 2025-03-01."""
    for month in list(by_month(book()).values())[:-1]:
        usd = 0.002 * (month["image"] + month["image-async"]) + 0.005 * month["pdf-page"] + 0.01 * month["strokes-session"]
        assert 1_000 < usd < 10_000
        assert 0 < month["conversion"] < 2_000


def test_2035_is_sane() -> None:
    """Growth saturates: in 2035 a year's usage is within a tenth of that of 2026."""
    usage = book(now=FAR)
    assert usage.total("2035-01-01", "2036-01-01") == pytest.approx(usage.total("2026-01-01", "2027-01-01"), rel=0.1)
    assert growth(FIRST_DAY) == pytest.approx(0.6)
    assert growth(date(2100, 1, 1)) <= 1


def test_weekday_season_night_and_spike() -> None:
    """Weekends, summers and nights are quieter, and one day stands out."""
    usage = book()

    def images(start: str, days: int) -> float:
        return usage.total(start, date.fromisoformat(start) + timedelta(days=days), usage_type="image") / days

    assert images("2025-10-11", 2) < 0.75 * images("2025-10-13", 4)
    assert images("2025-07-07", 14) < 0.7 * images("2025-10-06", 14)
    assert usage.total("2025-10-08T04:00", "2025-10-08T05:00") < 0.5 * usage.total("2025-10-08T15:00", "2025-10-08T16:00")
    assert images("2025-05-14", 1) > 2.5 * images("2025-05-07", 1)


def test_request_args_hashes() -> None:
    """A hash is 40 hexadecimal digits or empty; an app has several at a time and others later."""
    usage = book()
    early, late = (
        {row.request_args_hash for row in usage.rows(day, day + timedelta(days=1)) if row.app_id == "lyceum_grader"}
        for day in (date(2024, 7, 1), date(2025, 10, 1))
    )
    assert len(late) >= 3
    assert not early <= late
    hashes = {row.request_args_hash for row in usage.rows("2025-10-01", "2025-10-02")}
    assert "" in hashes
    assert all(len(one) == 40 and int(one, 16) for one in hashes - {""})


def test_before_the_first_day_there_is_nothing() -> None:
    """The world has a beginning, and windows before it are empty."""
    assert book().total("1990-01-01", FIRST_DAY) == 0
    assert book().total(None, FIRST_DAY + timedelta(days=1)) > 0


def test_set_replaces_the_world() -> None:
    """Rows that are set are all there is, in their own account; equal ones add up; `reset` brings the world back."""
    usage = book()
    before = usage.total()
    usage.set(
        [
            Usage("2026-01-01T10:20Z", "a", "image", count=5),
            {"hour": datetime(2026, 1, 1, 10, tzinfo=UTC), "app_id": "a", "usage_type": "image", "count": 2},
            {"hour": date(2026, 1, 2), "app_id": "b", "usage_type": "pdf-page", "count": 3, "account": "press"},
        ]
    )
    assert usage.hours("default", None, None) == [(datetime(2026, 1, 1, 10, tzinfo=UTC), {Series("a", "image", ""): 7})]
    assert usage.total(account="press") == 3
    usage.set([])
    assert usage.total() == 0
    usage.reset()
    assert usage.total() == before


def test_what_is_set_in_the_running_hour_is_answered_as_it_is() -> None:
    """Set rows count in full in the running hour and not at all after it."""
    usage = book()
    usage.set([Usage(NOW, "a", "image", count=60), Usage(NOW + timedelta(hours=1), "a", "image", count=9)])
    assert usage.total() == 60


def test_rows_can_be_set_again() -> None:
    """The world's rows, set as they came, are the same world."""
    usage = book()
    rows = usage.rows("2026-01-01", "2026-01-08")
    usage.set(rows)
    assert usage.rows() == rows


def test_restate() -> None:
    """Restated counts change in their window and selection and nowhere else; a later one builds on an earlier one."""
    usage = book()
    usage.set(
        [Usage(f"2026-01-01T{hour:02}:00Z", "a", kind, count=10) for hour in range(4) for kind in ("image", "pdf-page")]
    )
    usage.restate("2026-01-01T01:00Z", "2026-01-01T03:00Z", usage_type="image", factor=1.5)
    assert (usage.total(usage_type="image"), usage.total(usage_type="pdf-page")) == (50, 40)
    usage.restate("2026-01-01", count=1, usage_type="image")
    assert usage.total(usage_type="image") == 4
    usage.restate("2026-01-01", factor=0, app_id="a", request_args_hash="", account="default")
    assert usage.rows() == []


def test_vanish() -> None:
    """A group vanishes in a window, or a day as a whole, in one account if one is named."""
    usage = book()
    whole = usage.total("2026-01-01", "2026-01-03")
    image = usage.total("2026-01-01", "2026-01-02", usage_type="image")
    press = usage.total("2026-01-01", "2026-01-02", account="press")
    usage.vanish("2026-01-01", usage_type="image", account="default")
    assert usage.total("2026-01-01", "2026-01-03") == whole - image
    usage.vanish("2026-01-02T12:00Z", account="default")
    assert usage.total("2026-01-02", "2026-01-03") == 0
    assert usage.total("2026-01-01", "2026-01-02", account="press") == press


@pytest.mark.parametrize(
    "edit",
    [
        {"start": "2026-01-01"},
        {"start": "2026-01-01", "count": 1, "factor": 2.0},
        {"start": "2026-01-01", "count": -1},
        {"start": "2026-01-02", "end": "2026-01-01", "count": 1},
        {"start": "soon", "count": 1},
    ],
)
def test_a_restatement_that_makes_no_sense_is_refused(edit: dict[str, object]) -> None:
    """A restatement without exactly one new count, with a negative one, or with an empty window is an error."""
    with pytest.raises(ValueError, match=r"restate|negative|empty|isoformat"):
        book().restate(**edit)  # type: ignore[arg-type]


def test_a_row_without_usage_is_refused() -> None:
    """A count of 0 is an error: the vendor sends no such rows."""
    with pytest.raises(ValueError, match="at least 1"):
        book().set([Usage("2026-01-01", "a", "image", count=0)])


def test_a_clock_without_a_timezone_is_refused() -> None:
    """A clock that tells a naive time is an error and not a guess."""
    with pytest.raises(ValueError, match="without a timezone"):
        UsageBook(World(7), lambda: datetime(2026, 1, 1)).total()  # noqa: DTZ001 - the point of the test
