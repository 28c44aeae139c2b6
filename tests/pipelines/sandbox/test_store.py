"""The vendors' usage: its fixtures, and what `set`, `restate`, `withdraw` and `reset` do to it."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.mathpix import CountStore, Series, Usage
from meterhouse.pipelines.sandbox.onepin import Run
from meterhouse.pipelines.sandbox.reducto import Usage as Credits
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.pipelines.sandbox.seasonality import FIRST_DAY, growth

from .conftest import NOW

DAY = "2026-03-10"
VENDORS = ("mathpix", "reducto", "onepin", "scopix")


def usage_of(sandbox: Sandbox, vendor: str, day: str = DAY) -> Any:
    """A day's usage of the default account, in the vendor's units."""
    end = date.fromisoformat(day) + timedelta(days=1)
    usage: Any = sandbox.vendors[vendor].usage
    return usage.credits(day, end) if vendor == "onepin" else usage.total(day, end)


@pytest.mark.parametrize("vendor", VENDORS)
def test_usage_depends_on_the_seed_and_not_on_the_clock(sandbox: Sandbox, vendor: str) -> None:
    """The usage of a past day is the same at every later time, and another seed has other usage."""
    later = Sandbox(seed=7, clock=lambda: NOW + timedelta(days=4000))
    assert usage_of(later, vendor) == usage_of(sandbox, vendor)
    assert usage_of(Sandbox(seed=8, clock=lambda: NOW), vendor) != usage_of(sandbox, vendor)


@pytest.fixture(scope="module")
def months(running_sandbox: Sandbox) -> dict[str, Counter[str]]:
    """Mathpix's counts by month and usage type."""
    found: dict[str, Counter[str]] = {}
    for hour, counts in running_sandbox.mathpix.usage.hours("default", None, None):
        month = found.setdefault(hour.strftime("%Y-%m"), Counter())
        for series, count in counts.items():
            month[series.usage_type] += count
    return found


def test_mathpix_usage_crosses_price_changes_and_tiers(months: dict[str, Counter[str]]) -> None:
    """Usage spans the price changes and crosses the tiers of mathpix.com/docs/convert/billing."""
    assert next(iter(months)) == "2024-06"
    assert len(months) == 22
    types = {"image", "image-async", "pdf-page", "strokes-session", "conversion"}
    assert all(set(month) == types for month in months.values())
    images, sessions = ([month[name] for month in months.values()] for name in ("image", "strokes-session"))
    assert min(images) < 1_000_000 < max(images)
    assert 1_000 < min(sessions) < 100_000 < max(sessions)
    for month in list(months.values())[:-1]:
        usd = 0.002 * (month["image"] + month["image-async"]) + 0.005 * month["pdf-page"] + 0.01 * month["strokes-session"]
        assert 1_000 < usd < 10_000
        assert 0 < month["conversion"] < 2_000


def test_usage_is_plausible(sandbox: Sandbox) -> None:
    """Usage begins on the first day, grows to saturation, rests at weekends, in summer and at night, and has one spike."""
    usage, credits_ = sandbox.mathpix.usage, sandbox.reducto.usage

    def images(start: str, days: int) -> float:
        end = date.fromisoformat(start) + timedelta(days=days)
        count: int = usage.total(start, end, usage_type="image")
        return count / days

    assert usage.total("1990-01-01", FIRST_DAY) == 0
    assert usage.total(None, FIRST_DAY + timedelta(days=1)) > 0
    assert images("2025-10-11", 2) < 0.75 * images("2025-10-13", 4)
    assert images("2025-07-07", 14) < 0.7 * images("2025-10-06", 14)
    assert usage.total("2025-10-08T04:00", "2025-10-08T05:00") < 0.5 * usage.total("2025-10-08T15:00", "2025-10-08T16:00")
    assert images("2025-05-14", 1) > 2.5 * images("2025-05-07", 1)
    assert credits_.total("2025-10-01", "2025-11-01").requests > 1.1 * credits_.total("2024-10-01", "2024-11-01").requests
    assert credits_.total("2026-03-07", "2026-03-08").requests < credits_.total("2026-03-10", "2026-03-11").requests / 2
    assert credits_.total("2025-05-14", "2025-05-15").requests > 2 * credits_.total("2025-05-07", "2025-05-08").requests
    assert growth(FIRST_DAY) == pytest.approx(0.6)
    assert 0.99 < growth(date(2035, 1, 1)) <= growth(date(2100, 1, 1)) <= 1


def test_mathpix_hashes_come_and_go(sandbox: Sandbox) -> None:
    """A `request_args_hash` has 40 hexadecimal digits or is empty, as on the reference page; those of an app change."""
    usage = sandbox.mathpix.usage
    early, late = (
        {row.request_args_hash for row in usage.rows(day, day + timedelta(days=1)) if row.app_id == "lyceum_grader"}
        for day in (date(2024, 7, 1), date(2025, 10, 1))
    )
    assert len(late) >= 3
    assert not early <= late
    hashes = {row.request_args_hash for row in usage.rows("2025-10-01", "2025-10-02")}
    assert "" in hashes
    assert all(len(one) == 40 and int(one, 16) for one in hashes - {""})


@pytest.mark.parametrize("vendor", VENDORS)
def test_withdrawn_usage_is_gone_until_reset(sandbox: Sandbox, vendor: str) -> None:
    """`withdraw` removes a window or a day, of one account or all; `reset` restores the fixtures."""
    usage = sandbox.vendors[vendor].usage
    before, next_day = usage_of(sandbox, vendor), usage_of(sandbox, vendor, "2026-03-11")
    usage.withdraw(DAY, **{usage.account_name: "nobody"})
    assert usage_of(sandbox, vendor) == before
    if vendor != "reducto":
        usage.withdraw("2026-03-10T12:00", "2026-03-10T18:00")
        assert 0 < usage_of(sandbox, vendor) < before
    usage.withdraw(f"{DAY}T13:00")
    assert usage_of(sandbox, vendor) in {0, (0, 0)}
    assert usage_of(sandbox, vendor, "2026-03-11") == next_day
    usage.reset()
    assert usage_of(sandbox, vendor) == before


@pytest.mark.parametrize(
    ("vendor", "arguments", "message"),
    [
        ("mathpix", {"start": DAY}, "either count or factor"),
        ("mathpix", {"start": DAY, "count": 1, "factor": 2.0}, "either count or factor"),
        ("mathpix", {"start": DAY, "count": -1}, "never negative"),
        ("mathpix", {"start": "soon", "count": 1}, "isoformat"),
        ("mathpix", {"start": DAY, "end": "2026-03-09", "count": 1}, "is empty"),
        ("reducto", {"start": DAY}, "either a factor or credits"),
        ("reducto", {"start": DAY, "factor": 2, "requests": 1}, "either a factor or credits"),
        ("reducto", {"start": DAY, "factor": 2, "colour": "blue"}, "usage has no colour"),
        ("onepin", {"start": DAY, "factor": -1}, "never negative"),
        ("scopix", {"start": DAY, "to": {"colour": "blue"}}, "an event has no colour"),
    ],
)
def test_invalid_restatements_are_errors(sandbox: Sandbox, vendor: str, arguments: dict[str, Any], message: str) -> None:
    """A restatement without exactly one kind of change, for an empty window or an unknown field is a ValueError."""
    usage = sandbox.vendors[vendor].usage
    version = usage.version
    with pytest.raises(ValueError, match=message):
        usage.restate(**arguments)
    assert usage.version == version


def test_a_naive_clock_is_an_error() -> None:
    """A clock without a timezone is an error, not a guess."""
    with pytest.raises(ValueError, match="without a timezone"):
        CountStore(7, lambda: datetime(2026, 1, 1)).total()  # noqa: DTZ001 - the point of the test


def test_mathpix_counts_can_be_set_and_restated(sandbox: Sandbox) -> None:
    """`set` replaces all counts and adds equal rows up; a restatement changes its window and selection only."""
    usage = sandbox.mathpix.usage
    usage.set(
        [
            Usage("2026-01-01T10:20Z", "a", "image", count=5),
            {"hour": datetime(2026, 1, 1, 10, tzinfo=UTC), "app_id": "a", "usage_type": "image", "count": 2},
            {"hour": date(2026, 1, 2), "app_id": "b", "usage_type": "pdf-page", "count": 3, "account": "press"},
            Usage(NOW, "a", "image", "hash", count=60),  # the running hour, in full
            Usage(NOW + timedelta(hours=1), "a", "image", count=9),
        ]
    )
    assert usage.hours("default", None, NOW) == [
        (datetime(2026, 1, 1, 10, tzinfo=UTC), {Series("a", "image", ""): 7}),
        (NOW.replace(minute=0), {Series("a", "image", "hash"): 60}),
    ]
    assert usage.total(account="press") == 3
    rows = usage.rows()
    usage.set(rows)
    assert usage.rows() == rows
    usage.set([Usage(f"2026-01-01T{hour:02}:00Z", "a", kind, count=10) for hour in range(4) for kind in ("image", "pdf")])
    usage.restate("2026-01-01T01:00Z", "2026-01-01T03:00Z", usage_type="image", factor=1.5)
    assert (usage.total(usage_type="image"), usage.total(usage_type="pdf")) == (50, 40)
    usage.restate("2026-01-01", count=1, usage_type="image")
    assert usage.total(usage_type="image") == 4
    usage.restate("2026-01-01", factor=0, app_id="a", request_args_hash="", account="default")
    assert usage.rows() == []
    with pytest.raises(ValueError, match="at least 1"):
        usage.set([Usage("2026-01-01", "a", "image", count=0)])


def test_reducto_usage_can_be_set_and_restated(sandbox: Sandbox) -> None:
    """`set` replaces all usage, equal rows add up; a restatement changes exact credits and requests of its selection."""
    usage = sandbox.reducto.usage
    usage.set(
        [Credits("2026-03-03", credits="0.5"), Credits("2026-03-03", credits=1, requests=2), Credits("2026-03-04", "split")]
    )
    assert usage.total() == (Decimal("2.5"), 4)
    usage.restate("2026-03-03", factor="2")
    usage.restate("2026-03-01", "2026-03-09", credits="0.125", requests=7, product="split")
    found = [(row.product, str(row.credits), row.requests) for row in usage.rows()]
    assert found == [("parse", "3.0", 6), ("split", "0.125", 7)]
    usage.set(usage.rows())
    assert [(row.product, str(row.credits), row.requests) for row in usage.rows()] == found


def test_onepin_runs_can_be_set_and_restated(sandbox: Sandbox) -> None:
    """`set` replaces all runs; a restatement multiplies credits, characters and lines."""
    usage = sandbox.onepin.usage
    usage.set([Run(NOW - timedelta(days=2), credits=9), Run(NOW - timedelta(days=1), credits=5)])
    usage.restate("2026-03-16", factor=1.5)
    runs = usage.runs("default", "2026-03-01", NOW)
    assert [(run.credits, run.characters, run.lines) for run in runs] == [(13, 6000, 120), (5, 4000, 80)]


def test_scopix_events_can_be_set_restated_and_late(sandbox: Sandbox) -> None:
    """`set` replaces all events, `arrive` adds late ones, and a restatement changes fields of those that match."""
    usage = sandbox.scopix.usage
    usage.set(
        [
            Event("a", NOW - timedelta(hours=2)),
            Event("b", NOW - timedelta(hours=1), "chat"),
            Event("c", NOW + timedelta(hours=1)),
        ]
    )
    usage.arrive(Event("late", NOW - timedelta(days=3)))
    usage.restate("2026-03-18", to={"credits": 7.0}, operation_type="chat")
    assert [(event.id, event.credits) for event in usage.events("default")] == [("late", 2.0), ("a", 2.0), ("b", 7.0)]


RESTATEMENTS: dict[str, dict[str, Any]] = {
    "mathpix": {"factor": 2, "usage_type": "pdf-page"},
    "reducto": {"factor": 0.5, "product": "parse"},
    "onepin": {"factor": 2},
    "scopix": {"to": {"operation_type": "other"}, "operation_type": "chat"},
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_other_processes_change_usage_over_http(sandbox: Sandbox, vendor: str, http: httpx.Client) -> None:
    """`POST /_sandbox/<vendor>/{restate,withdraw,reset}` take arguments as JSON; invalid ones are a 422."""
    usage: Any = sandbox.vendors[vendor].usage

    def post(name: str, **arguments: Any) -> int:
        return http.post(f"{sandbox.url}/_sandbox/{vendor}/{name}", json=arguments).status_code

    before = usage_of(sandbox, vendor)
    assert post("restate", start="soon", **RESTATEMENTS[vendor]) == 422
    assert post("restate", start=DAY) == 422
    assert post("withdraw", start=DAY, colour="blue") == 422
    assert http.post(f"{sandbox.url}/_sandbox/{vendor}/withdraw", content=b"\xff").status_code == 422
    assert usage_of(sandbox, vendor) == before
    assert post("restate", start=DAY, **RESTATEMENTS[vendor]) == 204
    if vendor == "scopix":
        assert usage.total(DAY, "2026-03-11", operation_type="chat") == 0
    else:
        assert usage_of(sandbox, vendor) != before
    assert post("withdraw", start="2026-03-01", end="2026-03-12") == 204
    assert usage_of(sandbox, vendor) in {0, (0, 0)}
    assert post("reset") == 204
    assert usage_of(sandbox, vendor) == before
