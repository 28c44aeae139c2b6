"""How many requests a run sends: only as many as each API requires, computed from the data that there is to read."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
"""The initial date of all providers except Onepin, whose API takes no dates."""
MATHPIX_PAGE, SCOPIX_PAGE, ONEPIN_PAGE = 1000, 100, 100
GROUPINGS = ("usage_type", "request_args_hash", "app_id")


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A Friday morning. Time stands still, so that the running hour does not grow during a test."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def quick(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Scopix without a rate limit, and Onepin with all of its 90 days."""
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "100000")
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")
    return cli


def mathpix_pages(rows: int) -> int:
    """Requests for so many rows. Pages overlap by ever more rows: p pages hold p * (1001 - p).

    No response states the page size, so there are at least two requests; only a page that is not full is the last.
    """
    return next(pages for pages in range(2, 101) if pages * (MATHPIX_PAGE + 1 - pages) > rows)


def scopix_pages(rows: int) -> int:
    """Requests for so many rows: each page begins with the last row of the one before."""
    return max(1, ceil(rows / (SCOPIX_PAGE - 1)))


def requests_by_endpoint(sandbox: Sandbox) -> Counter[str]:
    """How many requests each endpoint got."""
    return Counter(request.path.rpartition("usage/")[2] for request in sandbox.requests)


def count_rows(cli: Cli, table: str, since: str = "2000-01-01", time: str = "bucket_start") -> int:
    ((rows,),) = cli.rows(f"select count(*) from {table} where {time} >= '{since}'")
    return int(rows)


def test_a_first_run_requests_the_widest_windows(quick: Cli, sandbox: Sandbox) -> None:
    """For twenty days: one window for Mathpix and Reducto, three weeks for Scopix, and all that Onepin has."""
    quick("run", "--no-models")
    requests = requests_by_endpoint(sandbox)
    assert requests["/v3/ocr-usage"] == sum(
        mathpix_pages(count_rows(quick, f"mathpix.ocr_usage_by_{grouping}")) for grouping in GROUPINGS
    )
    # One for each grouping, and one day of the first grouping, to learn whether the end date is included.
    assert requests["export"] == 4 + 1
    assert requests["/api/v1/auth/whoami"] == 1
    assert requests["summary"] == 3 + (20 + 1)  # Onepin's three views; Scopix's days and its current period
    assert requests["by-language"] == 3
    assert requests["activity"] == count_rows(quick, "onepin.usage_activity", time="timestamp") // ONEPIN_PAGE + 1
    weeks = [(FIRST_DAY + timedelta(weeks=week), FIRST_DAY + timedelta(weeks=week + 1)) for week in range(3)]
    events = [
        quick.rows(f"select count(*) from scopix.usage_events where timestamp >= '{start}' and timestamp < '{end}'")[0][0]
        for start, end in weeks
    ]
    assert requests["details"] == 1 + sum(
        map(scopix_pages, events)
    )  # one more for the number of events, to estimate the time
    assert requests["by-period"] == 3
    assert requests["tokens/files"] == scopix_pages(count_rows(quick, "scopix.file_tokens", time="created_at"))
    # Days, the month, and a day in the year 2000, which shows whether the server respects the dates.
    assert requests["tokens/monthly"] == 20 + 1 + 1
    assert requests["dashboard-analytics"] == 3  # week, month and year
    for once in ("check", "breakdown", "plan", "top-endpoints"):
        assert requests[once] == 1, once


def test_a_later_run_requests_the_lookback_only(quick: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """A day later, each provider is requested from its lookback on, and no day, week or page before it."""
    quick("run", "--no-models")
    sandbox.requests.clear()
    clock.shift(timedelta(days=1))
    quick("run", "--no-models")
    requests = requests_by_endpoint(sandbox)
    starts = {
        "/v3/ocr-usage": ("from_date", "2026-03-13T10"),
        "/api/v1/usage/export": ("startDate", "2026-02-19"),
        "/api/v2/usage/details": ("start_date", "2026-03-17T10"),
    }
    for path, (name, first) in starts.items():
        requested = [request.query[name][0] for request in sandbox.requests if request.path == path]
        assert requested
        assert min(requested) >= first, path
    assert requests["/v3/ocr-usage"] == 2 * len(GROUPINGS)
    week = count_rows(quick, "onepin.usage_activity", "2026-03-13 10:30:00+00", "timestamp")
    assert requests["activity"] == week // ONEPIN_PAGE + 1
    assert requests["summary"] == 3 + (5 + 1)
    assert requests["details"] == scopix_pages(
        count_rows(quick, "scopix.usage_events", "2026-03-17 10:00:00+00", "timestamp")
    )
