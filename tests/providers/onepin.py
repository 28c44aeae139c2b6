"""Onepin: a feed of events with a cursor, newest first, and sums of the last 90 days."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.onepin import Run
from meterhouse.pipelines.sandbox.onepin.fixtures import event_of
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

PATH = "/api/v1/usage/activity"
PAGE_SIZE = 100
DAY = timedelta(days=1)


def facts(sandbox: Sandbox, start: datetime) -> Facts:
    """The events, and credits and runs of each day."""
    usage = sandbox.onepin.usage
    now = usage.now()
    counted: Facts = {("event", event.id): "" for event in usage.events("default", start, now + DAY)}
    for number in range((now - start).days + 1):
        day = start + number * DAY
        runs = usage.runs("default", day, day + DAY)
        counted["day", day.date().isoformat()] = f"{usage.credits(day, day + DAY)} in {len(runs)} runs"
    return counted


def set_runs(sandbox: Sandbox, *more: Run, without: str = "") -> None:
    """The usage as it is, with more runs, or without the run of one event."""
    usage = sandbox.onepin.usage
    start, end = usage.now() - 200 * DAY, usage.now() + DAY
    runs = usage.runs("default", start, end)
    of_runs = {event_of(run).id for run in runs}
    others = [event for event in usage.events("default", start, end) if event.id not in of_runs]
    usage.set([*(run for run in runs if event_of(run).id != without), *more], others)


def restate(sandbox: Sandbox, day: datetime) -> None:
    """Other credits for the day, and half of the next one without usage."""
    sandbox.onepin.usage.restate(day, day + DAY, factor=3)
    sandbox.onepin.usage.withdraw(day + DAY, day + DAY + timedelta(hours=12))


def withdraw(sandbox: Sandbox, start: datetime) -> None:
    """The newest run that had ended a minute ago."""
    now = sandbox.onepin.usage.now()
    runs = [run for run in sandbox.onepin.usage.runs("default", start, now) if run.ended_at < now - timedelta(minutes=1)]
    set_runs(sandbox, without=event_of(max(runs, key=lambda run: run.ended_at)).id)


def set_ignored(sandbox: Sandbox, is_ignored: bool) -> None:
    """Every page is the first one."""
    first: list[bytes] = []

    def edit(body: bytes, _: object) -> bytes:
        first.append(body)
        return first[0]

    if is_ignored:
        sandbox.faults.add(Fault(path=PATH, edit=edit))


def never_ending() -> Edit:
    """A cursor that leads back."""
    cursors: list[str] = []

    def edit(body: bytes, _: Mapping[str, list[str]]) -> bytes:
        response = json.loads(body)
        cursors.append(response["pagination"]["next"])
        response["pagination"]["next"] = cursors[0]
        return json.dumps(response).encode()

    return edit


def pages(rows: int) -> int:
    """The last page is one that is not full."""
    return rows // PAGE_SIZE + 1


def first_requests(count: Count) -> dict[str, int]:
    """All that the API keeps; sums by day, week and month, in all and by language."""
    return {
        "/api/v1/auth/whoami": 1,
        "/api/v1/usage/summary": 3,
        "by-language": 3,
        "activity": pages(count("select count(*) from onepin.usage_activity")),
    }


def later_requests(count: Count) -> dict[str, int]:
    """A week of events again."""
    week = count("select count(*) from onepin.usage_activity where timestamp >= '2026-03-13 10:30:00+00'")
    return {"/api/v1/usage/summary": 3, "activity": pages(week)}


DESCRIPTION = Description(
    name="onepin",
    prefix="/api/v1",
    error={"error": {"code": "INTERNAL", "message": "no"}},
    tables=("usage_activity", "usage_daily"),
    facts=facts,
    stored="select 'event', id, '' from onepin.usage_activity union all"
    " select 'day', date::text, credits::bigint || ' in ' || runs || ' runs' from onepin.usage_daily",
    usage=Usage(
        path=PATH,
        items="data",
        time="timestamp",
        restate=restate,
        arrive=lambda sandbox, moment: set_runs(sandbox, Run(moment)),
        withdraw=withdraw,
    ),
    paging=Paging(page_size=20, small_page_size=1, lists_events=True, set_ignored=set_ignored, never_ending=never_ending),
    whole_number=WholeNumber(
        path="/api/v1/usage/summary", objects=lambda response: response["data"]["daily"], field="characters"
    ),
    daily_sums=(
        DailySum(
            table="usage_daily",
            value="sum(credits)",
            key="date",
            expected=lambda sandbox, start, end: sandbox.onepin.usage.credits(start, end),
        ),
    ),
    fields=(
        Fields(table="usage_activity", marker="action", required="action", optional="ip", column="ip"),
        Fields(table="usage_daily", marker="runs", required="credits", number="runs"),
    ),
    names=Names(
        fields=("label", "locale_code", "display_name", "name", "action", "kind"),
        table="usage_activity",
        column="action",
        are_dimensions=False,  # its dimensions are languages
    ),
    requests=Requests(first=first_requests, later=later_requests),
    exit_status={"the server ignores paging": 1, "endless next page": 1},
    behind=frozenset({"an event vanishes between pages", "one arrives as one vanishes"}),
)
