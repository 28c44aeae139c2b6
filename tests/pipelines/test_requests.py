"""How often a vendor is asked: as often as its API makes necessary, by calculation from what there is to read."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
"""Of all providers but Onepin, which has no dates."""
MATHPIX_PAGE, SCOPIX_PAGE, ONEPIN_PAGE = 1000, 100, 100
GROUPINGS = ("usage_type", "request_args_hash", "app_id")


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("mathpix", "reducto", "onepin", "scopix")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A Friday morning; no test may hang on what is still to come of its hour."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def quick(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Scopix with no limit but its own pages, Onepin with its whole 90 days."""
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "100000")
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")
    return cli


def mathpix_pages(rows: int) -> int:
    """A page begins with the last row of the one before, so that p pages of ever fewer rows hold p * (1001 - p).

    No answer says how long a page can be, so that the first one is followed by a second, and only a page that is not full is
    known to be the last.
    """
    return next(pages for pages in range(2, 101) if pages * (MATHPIX_PAGE + 1 - pages) > rows)


def scopix_pages(rows: int) -> int:
    """As long as pages are full; each begins with the last row of the one before."""
    return max(1, ceil(rows / (SCOPIX_PAGE - 1)))


def asked(sandbox: Sandbox) -> Counter[str]:
    """How often each endpoint has been asked."""
    return Counter(request.path.rpartition("usage/")[2] for request in sandbox.requests)


def rows_read(cli: Cli, table: str, since: str = "2000-01-01", time: str = "bucket_start") -> int:
    ((rows,),) = cli.rows(f"select count(*) from {table} where {time} >= '{since}'")
    return int(rows)


def test_a_first_run_asks_for_the_widest_windows(quick: Cli, sandbox: Sandbox) -> None:
    """Twenty days: one window of Mathpix and of Reducto, three weeks of Scopix, and what Onepin has."""
    quick("run", "--no-models")
    requests = asked(sandbox)
    assert requests["/v3/ocr-usage"] == sum(
        mathpix_pages(rows_read(quick, f"mathpix.ocr_usage_by_{grouping}")) for grouping in GROUPINGS
    )
    # The groupings, and one day of the first of them: whether the end that is named is included.
    assert requests["export"] == 4 + 1
    assert requests["/api/v1/auth/whoami"] == 1
    assert requests["summary"] == 3 + (20 + 1)  # Onepin's three views; Scopix' days, and its own period
    assert requests["by-language"] == 3
    assert requests["activity"] == rows_read(quick, "onepin.usage_activity", time="timestamp") // ONEPIN_PAGE + 1
    weeks = [(FIRST_DAY + timedelta(weeks=week), FIRST_DAY + timedelta(weeks=week + 1)) for week in range(3)]
    events = [
        quick.rows(f"select count(*) from scopix.usage_events where timestamp >= '{start}' and timestamp < '{end}'")[0][0]
        for start, end in weeks
    ]
    assert requests["details"] == 1 + sum(map(scopix_pages, events))  # and one for how many there are, to say how long
    assert requests["by-period"] == 3
    assert requests["tokens/files"] == scopix_pages(rows_read(quick, "scopix.file_tokens", time="created_at"))
    # Days, the month, and a day in the year 2000, which tells whether the server heeds the dates.
    assert requests["tokens/monthly"] == 20 + 1 + 1
    assert requests["dashboard-analytics"] == 3  # week, month, year; its days are those of one of them
    for once in ("check", "breakdown", "plan", "top-endpoints"):
        assert requests[once] == 1, once


def test_a_later_run_asks_for_nothing_that_is_complete(quick: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """A day later: the lookback of each from where it was, and no day, week or page before it."""
    quick("run", "--no-models")
    sandbox.requests.clear()
    clock.shift(timedelta(days=1))
    quick("run", "--no-models")
    requests = asked(sandbox)
    starts = {
        "/v3/ocr-usage": ("from_date", "2026-03-13T10"),
        "/api/v1/usage/export": ("startDate", "2026-02-19"),
        "/api/v2/usage/details": ("start_date", "2026-03-17T10"),
    }
    for path, (name, first) in starts.items():
        told = [request.query[name][0] for request in sandbox.requests if request.path == path]
        assert told
        assert min(told) >= first, path
    assert requests["/v3/ocr-usage"] == 2 * len(GROUPINGS)
    week = rows_read(quick, "onepin.usage_activity", "2026-03-13 10:30:00+00", "timestamp")
    assert requests["activity"] == week // ONEPIN_PAGE + 1
    assert requests["summary"] == 3 + (5 + 1)
    assert requests["details"] == scopix_pages(
        rows_read(quick, "scopix.usage_events", "2026-03-17 10:00:00+00", "timestamp")
    )
