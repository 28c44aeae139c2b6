"""Scopix: a list of events by offset or by number, days and months one by one, and figures of the present."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from tests.providers.description import (
    Count,
    DailySum,
    Description,
    Edit,
    Facts,
    Fields,
    Names,
    Paging,
    Requests,
    Usage,
    WholeNumber,
)

PATH = "/api/v2/usage/details"
PAGE_SIZE = 100
DAY = timedelta(days=1)


def facts(sandbox: Sandbox, start: datetime) -> Facts:
    """The events, and how many there are each day."""
    events = sandbox.scopix.usage.events("default", start)
    counted: Facts = {("event", event.id): str(event.response_time_ms) for event in events}
    for number in range((sandbox.scopix.usage.now() - start).days + 1):
        day = start + number * DAY
        counted["day", day.date().isoformat()] = str(sum(event.timestamp.date() == day.date() for event in events))
    return counted


def restate(sandbox: Sandbox, day: datetime) -> None:
    """Other response times for the day, and the next one without usage."""
    sandbox.scopix.usage.restate(day, day + DAY, to={"response_time_ms": 5})
    sandbox.scopix.usage.withdraw(day + DAY, day + 2 * DAY)


def withdraw(sandbox: Sandbox, start: datetime) -> None:
    """The newest event."""
    newest = sandbox.scopix.usage.events("default", start)[-1]
    sandbox.scopix.usage.withdraw(newest.timestamp, newest.timestamp + timedelta(microseconds=1), id=newest.id)


def set_ignored(sandbox: Sandbox, is_ignored: bool) -> None:
    """Every page is the first one."""
    sandbox.scopix.options.paging = "ignored" if is_ignored else "honoured"


def use_numbers(sandbox: Sandbox) -> None:
    """The older envelope."""
    sandbox.scopix.options.envelope = "page"


def never_ending() -> Edit:
    """`has_more` on the last page."""

    def edit(body: bytes, _: Mapping[str, list[str]]) -> bytes:
        return json.dumps(json.loads(body) | {"has_more": True}).encode()

    return edit


def pages(rows: int) -> int:
    """As long as pages are full; each begins with the last row of the one before."""
    return max(1, ceil(rows / (PAGE_SIZE - 1)))


def first_requests(count: Count) -> dict[str, int]:
    """Three weeks of events, each day, and each snapshot once."""
    events = "select count(*) from scopix.usage_events where timestamp >= '{}' and timestamp < '{}'"
    starts = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(weeks=week) for week in range(3)]
    weeks = [count(events.format(start, start + timedelta(weeks=1))) for start in starts]
    files = count("select count(*) from scopix.file_tokens where created_at >= '2000-01-01'")
    return {
        "/api/v2/usage/summary": 20 + 1,  # the days, and the provider's own period
        "details": 1 + sum(map(pages, weeks)),  # one more says how many there are
        "by-period": 3,
        "tokens/files": pages(files),
        "tokens/monthly": 20 + 1 + 1,  # days, the month, and a day of 2000: does the server heed dates?
        "dashboard-analytics": 3,  # week, month, year; its days are those of one of them
        "check": 1,
        "breakdown": 1,
        "plan": 1,
        "top-endpoints": 1,
    }


def later_requests(count: Count) -> dict[str, int]:
    """Three days of events again, and five days of sums."""
    events = count("select count(*) from scopix.usage_events where timestamp >= '2026-03-17 10:00:00+00'")
    return {"/api/v2/usage/summary": 5 + 1, "details": pages(events)}


DESCRIPTION = Description(
    name="scopix",
    prefix="/api/v2",
    error={"error": {"code": "INTERNAL_ERROR", "message": "no"}},
    tables=("usage_events", "usage_daily"),
    facts=facts,
    stored="select 'event', id, response_time_ms::bigint::text from scopix.usage_events union all"
    " select 'day', date::text, total_requests::text from scopix.usage_daily",
    usage=Usage(
        path=PATH,
        items="events",
        time="timestamp",
        restate=restate,
        arrive=lambda sandbox, moment: sandbox.scopix.usage.arrive(Event("late", moment)),
        withdraw=withdraw,
    ),
    paging=Paging(
        page_size=100,
        small_page_size=16,
        lists_events=True,
        set_ignored=set_ignored,
        never_ending=never_ending,
        use_numbers=use_numbers,
    ),
    whole_number=WholeNumber(
        path="/api/v2/usage/summary", objects=lambda response: [response["usage"]], field="total_requests"
    ),
    daily_sums=(
        DailySum(
            table="usage_events",
            day="cast(timestamp at time zone 'UTC' as date)",
            value="count(*)",
            key="id",
            expected=lambda sandbox, start, end: sandbox.scopix.usage.total(start, end),
        ),
        DailySum(
            table="usage_daily",
            value="sum(total_requests)",
            key="date",
            expected=lambda sandbox, start, end: sandbox.scopix.usage.total(start, end),
        ),
    ),
    fields=(
        Fields(
            table="usage_events",
            marker="operation_type",
            required="id",
            optional="model",
            column="model",
            number="response_time_ms",
            is_whole=False,
        ),
    ),
    names=Names(fields=("endpoint", "operation_type", "title", "name", "method"), table="usage_events", column="endpoint"),
    requests=Requests(first=first_requests, later=later_requests, earliest=(PATH, "start_date", "2026-03-17T10")),
    exit_status={
        "an item twice in a page, for ever": 1,
        "the server ignores paging": 1,
        "endless next page": 1,
        "an event dated 2031": 1,
    },
)
