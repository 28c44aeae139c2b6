"""Reducto: an export of days, without pages."""

from datetime import datetime, timedelta
from decimal import Decimal

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.reducto import Usage as Row
from tests.providers.description import DailySum, Description, Facts, Fields, Names, Requests, Usage, WholeNumber

PATH = "/api/v1/usage/export"
GROUPINGS = ("product", "feature", "api_key", "file_type")
DAY = timedelta(days=1)


def facts(sandbox: Sandbox, start: datetime) -> Facts:
    """Credits and requests of each product by day."""
    counted: Facts = {}
    for row in sandbox.reducto.usage.rows(start.date()):
        spent, requests = counted.get((row.date, row.product), (Decimal(0), 0))
        counted[row.date, row.product] = spent + Decimal(str(row.credits or 0)), requests + row.requests
    return counted


def restate(sandbox: Sandbox, day: datetime) -> None:
    """Other figures for the day, and the next one without usage."""
    sandbox.reducto.usage.restate(day.date(), (day + DAY).date(), factor=3)
    sandbox.reducto.usage.withdraw((day + DAY).date())


def arrive(sandbox: Sandbox, moment: datetime) -> None:
    """A product that was not there before."""
    usage = sandbox.reducto.usage
    late = Row(moment.date(), product="late", credits="2.5", requests=5)
    usage.set([*usage.rows((moment - 20 * DAY).date()), late])


def withdraw(sandbox: Sandbox, start: datetime) -> None:
    """The first day."""
    sandbox.reducto.usage.withdraw(start.date())


DESCRIPTION = Description(
    name="reducto",
    prefix=PATH,
    error={"error": {"message": "no", "type": "server_error"}},
    tables=("usage_by_product",),
    facts=facts,
    stored="select date, product, (credits, request_count) from reducto.usage_by_product",
    usage=Usage(
        path=PATH,
        items="data",
        time="date",
        future="2031-01-01",
        probes=1,
        restate=restate,
        arrive=arrive,
        withdraw=withdraw,
    ),
    whole_number=WholeNumber(path=PATH, objects=lambda response: response["data"], field="requestCount"),
    daily_sums=(
        DailySum(
            table="usage_by_product",
            value="sum(credits)",
            expected=lambda sandbox, start, end: sandbox.reducto.usage.total(start, end).credits or Decimal(),
        ),
    ),
    fields=(
        Fields(
            table="usage_by_product",
            marker="requestCount",
            required="requestCount",
            optional="credits",
            column="credits",
            number="requestCount",
        ),
    ),
    names=Names(fields=("group",), table="usage_by_product", column="product"),
    requests=Requests(
        # One window each grouping, and one day of the first of them: whether the end that a request names is included.
        first=lambda _: {"export": len(GROUPINGS) + 1},
        later=lambda _: {},
        earliest=(PATH, "startDate", "2026-02-19"),
    ),
    exit_status={"an item twice in a page, once": 1, "an item twice in a page, for ever": 1, "an event dated 2031": 1},
)
