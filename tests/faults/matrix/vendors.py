"""What the matrix has to know of each vendor: where its data is in an answer, what it says now, and what we hold of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.mathpix import Usage
from meterhouse.pipelines.sandbox.onepin import Run
from meterhouse.pipelines.sandbox.onepin.fixtures import event_of
from meterhouse.pipelines.sandbox.reducto import Usage as Credits
from meterhouse.pipelines.sandbox.scopix import Event

START = datetime(2026, 3, 17, tzinfo=UTC)
"""Where the first run begins."""
LOADED = datetime(2026, 3, 18, 10, 30, tzinfo=UTC)
"""When it was made, and all was well."""
NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
"""When the vendor misbehaves. The vendors' own clock is a minute behind."""

LATE = START + timedelta(hours=3, minutes=7)
"""A moment that was loaded already."""
DAY = timedelta(days=1)

Facts = dict[tuple[Any, ...], Any]


@dataclass(frozen=True)
class Vendor:
    """One provider of the matrix.

    `path` is where faults strike, `items` the name of the list there, `moment` the field of its items that has the time.
    `counted` is where numbers are falsified and `counts` the objects of the answer there, `count` their whole number.
    `probes` are the answers from `path` that come before the data.
    `truth` is what the vendor says, `held` the SQL of the same facts in the database: a key, and last the value.
    `restate`, `arrive` and `withdraw` change the vendor's past: figures, one more late fact, and one less, the newest.
    """

    name: str
    tables: tuple[str, ...]
    settings: Mapping[str, Any]
    path: str
    items: str
    moment: str
    counted: str
    counts: Callable[[Any], list[dict[str, Any]]]
    count: str
    error: Mapping[str, Any]
    small_page: int
    probes: int
    truth: Callable[[Sandbox], Facts]
    held: str
    restate: Callable[[Sandbox], None]
    arrive: Callable[[Sandbox], None]
    withdraw: Callable[[Sandbox], None]


def _mathpix_truth(sandbox: Sandbox) -> Facts:
    facts: Facts = {}
    for row in sandbox.mathpix.usage.rows(START):
        key = (row.hour, row.usage_type)
        facts[key] = facts.get(key, 0) + row.count
    return facts


def _mathpix_restate(sandbox: Sandbox) -> None:
    sandbox.mathpix.usage.restate(START, factor=3)
    sandbox.mathpix.usage.vanish(START + DAY, START + DAY + timedelta(hours=5))


def _mathpix_arrive(sandbox: Sandbox) -> None:
    usage = sandbox.mathpix.usage
    usage.set([*usage.rows(START - 20 * DAY), Usage(LATE, "lyceum_notes", "a-late-kind", count=5)])


def _mathpix_withdraw(sandbox: Sandbox) -> None:
    first = sandbox.mathpix.usage.rows(START)[0]
    sandbox.mathpix.usage.vanish(first.hour, START + timedelta(hours=1), usage_type=first.usage_type)


def _reducto_truth(sandbox: Sandbox) -> Facts:
    facts: Facts = {}
    for row in sandbox.reducto.usage.rows(START.date()):
        spent, requests = facts.get((row.date, row.product), (Decimal(0), 0))
        facts[row.date, row.product] = spent + Decimal(str(row.credits or 0)), requests + row.requests
    return facts


def _reducto_restate(sandbox: Sandbox) -> None:
    sandbox.reducto.usage.restate(START.date(), factor=3)
    sandbox.reducto.usage.vanish((START + DAY).date())


def _reducto_arrive(sandbox: Sandbox) -> None:
    usage = sandbox.reducto.usage
    usage.set([*usage.rows((START - 20 * DAY).date()), Credits(START.date(), product="late", credits="2.5", requests=5)])


def _onepin_truth(sandbox: Sandbox) -> Facts:
    usage = sandbox.onepin.usage
    now = usage.now()
    facts: Facts = {("event", event.id): "" for event in usage.events("default", START, now + DAY)}
    for number in range((now - START).days + 1):
        day = START + number * DAY
        runs = usage.runs("default", day, day + DAY)
        facts["day", day.date().isoformat()] = f"{usage.credits(day, day + DAY)} in {len(runs)} runs"
    return facts


def _onepin_set(sandbox: Sandbox, *more: Run, without: str = "") -> None:
    usage = sandbox.onepin.usage
    start, end = NOW - 200 * DAY, NOW + DAY
    runs = usage.runs("default", start, end)
    of_runs = {event_of(run).id for run in runs}
    others = [event for event in usage.events("default", start, end) if event.id not in of_runs]
    usage.set([*(run for run in runs if event_of(run).id != without), *more], others)


def _onepin_withdraw(sandbox: Sandbox) -> None:
    runs = [run for run in sandbox.onepin.usage.runs("default", START, NOW) if run.ended_at < NOW - timedelta(minutes=2)]
    _onepin_set(sandbox, without=event_of(max(runs, key=lambda run: run.ended_at)).id)


def _onepin_restate(sandbox: Sandbox) -> None:
    sandbox.onepin.usage.restate(START, factor=3)
    sandbox.onepin.usage.vanish(START + DAY, START + DAY + timedelta(hours=12))


def _scopix_truth(sandbox: Sandbox) -> Facts:
    events = sandbox.scopix.usage.events("default", START)
    facts: Facts = {("event", event.id): str(event.response_time_ms) for event in events}
    for number in range((sandbox.scopix.usage.now() - START).days + 1):
        day = START + number * DAY
        facts["day", day.date().isoformat()] = str(sum(event.timestamp.date() == day.date() for event in events))
    return facts


def _scopix_restate(sandbox: Sandbox) -> None:
    sandbox.scopix.usage.restate(START, to={"response_time_ms": 5})
    sandbox.scopix.usage.vanish(START + DAY)


def _scopix_withdraw(sandbox: Sandbox) -> None:
    newest = sandbox.scopix.usage.events("default", START)[-1]
    sandbox.scopix.usage.vanish(newest.timestamp, newest.timestamp + timedelta(microseconds=1), id=newest.id)


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "mathpix",
            tables=("ocr_usage_by_usage_type",),
            settings={"page_size": 100},
            path="/v3/ocr-usage",
            items="ocr_usage",
            moment="from_date",
            counted="/v3/ocr-usage",
            counts=lambda answer: answer["ocr_usage"],
            count="count",
            error={"error": "no", "error_info": {"id": "sys_exception", "message": "no"}},
            small_page=8,
            probes=0,
            truth=_mathpix_truth,
            held="select bucket_start, usage_type, count from mathpix.ocr_usage_by_usage_type",
            restate=_mathpix_restate,
            arrive=_mathpix_arrive,
            withdraw=_mathpix_withdraw,
        ),
        Vendor(
            "reducto",
            tables=("usage_by_product",),
            settings={},
            path="/api/v1/usage/export",
            items="data",
            moment="date",
            counted="/api/v1/usage/export",
            counts=lambda answer: answer["data"],
            count="requestCount",
            error={"error": {"message": "no", "type": "server_error"}},
            small_page=1,
            probes=1,
            truth=_reducto_truth,
            held="select date, product, (credits, request_count) from reducto.usage_by_product",
            restate=_reducto_restate,
            arrive=_reducto_arrive,
            withdraw=lambda sandbox: sandbox.reducto.usage.vanish(START.date()),
        ),
        Vendor(
            "onepin",
            tables=("usage_activity", "usage_daily"),
            settings={"page_size": 20},
            path="/api/v1/usage/activity",
            items="data",
            moment="timestamp",
            counted="/api/v1/usage/summary",
            counts=lambda answer: answer["data"]["daily"],
            count="characters",
            error={"error": {"code": "INTERNAL", "message": "no"}},
            small_page=1,
            probes=0,
            truth=_onepin_truth,
            held="select 'event', id, '' from onepin.usage_activity union all"
            " select 'day', date::text, credits::bigint || ' in ' || runs || ' runs' from onepin.usage_daily",
            restate=_onepin_restate,
            arrive=lambda sandbox: _onepin_set(sandbox, Run(LATE)),
            withdraw=_onepin_withdraw,
        ),
        Vendor(
            "scopix",
            tables=("usage_events", "usage_daily"),
            settings={"page_size": 100},
            path="/api/v2/usage/details",
            items="events",
            moment="timestamp",
            counted="/api/v2/usage/summary",
            counts=lambda answer: [answer["usage"]],
            count="total_requests",
            error={"error": {"code": "INTERNAL_ERROR", "message": "no"}},
            small_page=16,
            probes=0,
            truth=_scopix_truth,
            held="select 'event', id, response_time_ms::bigint::text from scopix.usage_events union all"
            " select 'day', date::text, total_requests::text from scopix.usage_daily",
            restate=_scopix_restate,
            arrive=lambda sandbox: sandbox.scopix.usage.arrive(Event("late", LATE)),
            withdraw=_scopix_withdraw,
        ),
    )
}
