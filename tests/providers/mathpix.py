"""Mathpix: counts by hour, numbered pages that say neither how many there are nor how long one can be."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.mathpix import Usage as Row
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

PATH = "/v3/ocr-usage"
GROUPINGS = ("usage_type", "request_args_hash", "app_id", "usage_type_and_app_id")
PAGE_SIZE = 1000
DAY = timedelta(days=1)


def facts(sandbox: Sandbox, start: datetime) -> Facts:
    """The count of each usage type by hour."""
    counted: Facts = {}
    for row in sandbox.mathpix.usage.rows(start):
        key = (row.hour, row.usage_type)
        counted[key] = counted.get(key, 0) + row.count
    return counted


def restate(sandbox: Sandbox, day: datetime) -> None:
    """Another count for the day, and five hours of the next one without usage."""
    sandbox.mathpix.usage.restate(day, day + DAY, factor=3)
    sandbox.mathpix.usage.withdraw(day + DAY, day + DAY + timedelta(hours=5))


def arrive(sandbox: Sandbox, moment: datetime) -> None:
    """A usage type that was not there before."""
    usage = sandbox.mathpix.usage
    usage.set([*usage.rows(moment - 20 * DAY), Row(moment, "lyceum_notes", "a-late-kind", count=5)])


def withdraw(sandbox: Sandbox, start: datetime) -> None:
    """One usage type of the first hour."""
    first = sandbox.mathpix.usage.rows(start)[0]
    sandbox.mathpix.usage.withdraw(first.hour, start + timedelta(hours=1), usage_type=first.usage_type)


def set_ignored(sandbox: Sandbox, is_ignored: bool) -> None:
    """Every page is the first one."""
    sandbox.mathpix.options.paging = "ignored" if is_ignored else "honoured"


def never_ending() -> Edit:
    """The third page again for every number beyond."""
    third: list[bytes] = []

    def edit(body: bytes, query: Mapping[str, list[str]]) -> bytes:
        page = int(query["page"][0])
        if page == 3:
            third.append(body)
        return third[-1] if page > 3 and third else body

    return edit


def pages(rows: int) -> int:
    """A page begins with the last row of the one before, so that p pages of ever fewer rows hold p * (1001 - p).

    No response says how long a page can be: a second page always follows the first, and only a page that is not full is
    known to be the last.
    """
    return next(pages for pages in range(2, 101) if pages * (PAGE_SIZE + 1 - pages) > rows)


def first_requests(count: Count) -> dict[str, int]:
    """One window holds twenty days."""
    return {PATH: sum(pages(count(f"select count(*) from mathpix.ocr_usage_by_{grouping}")) for grouping in GROUPINGS)}


DESCRIPTION = Description(
    name="mathpix",
    prefix="/v3",
    secret="app_key",
    error={"error": "no", "error_info": {"id": "sys_exception", "message": "no"}},
    tables=("ocr_usage_by_usage_type",),
    facts=facts,
    stored="select bucket_start, usage_type, count from mathpix.ocr_usage_by_usage_type",
    usage=Usage(path=PATH, items="ocr_usage", time="from_date", restate=restate, arrive=arrive, withdraw=withdraw),
    paging=Paging(page_size=100, small_page_size=8, lists_events=False, set_ignored=set_ignored, never_ending=never_ending),
    whole_number=WholeNumber(path=PATH, objects=lambda response: response["ocr_usage"], field="count"),
    daily_sums=tuple(
        DailySum(
            table=f"ocr_usage_by_{grouping}",
            day="cast(bucket_start at time zone 'UTC' as date)",
            value="sum(count)",
            expected=lambda sandbox, start, end: sandbox.mathpix.usage.total(start, end),
        )
        for grouping in GROUPINGS
    ),
    fields=(
        Fields(
            table="ocr_usage_by_app_id",
            marker="from_date",
            required="count",
            optional="app_id",
            column="app_id",
            is_dimension=True,
            number="count",
        ),
    ),
    names=Names(
        fields=("app_id", "group_id", "usage_type", "request_args_hash"), table="ocr_usage_by_app_id", column="app_id"
    ),
    requests=Requests(
        first=first_requests,
        later=lambda _: {PATH: 2 * len(GROUPINGS)},
        earliest=(PATH, "from_date", "2026-03-13T10"),
    ),
    exit_status={"an item twice in a page, for ever": 1, "an event dated 2031": 1},
)
