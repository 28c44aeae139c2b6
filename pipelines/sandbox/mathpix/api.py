"""`GET /v3/ocr-usage` as https://docs.mathpix.com/reference/ocr-usage and the vendor's client mpxpy 0.0.23 document it.

Documented: the parameters, that `from_date` is included and `to_date` excluded, the fields and both shapes of a row, the ids
of errors and that most of them come with HTTP 200. Where the vendor states nothing, the sandbox decides; the docstring of
the function states the decision.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from meterhouse.pipelines.sandbox.dates import midnight
from meterhouse.pipelines.sandbox.mathpix.errors import error_body
from meterhouse.pipelines.sandbox.mathpix.fixtures import Credential, Series
from meterhouse.pipelines.sandbox.mathpix.options import Options
from meterhouse.pipelines.sandbox.mathpix.parameters import DIMENSIONS, Timespan, UsageQuery, read_page, read_query
from meterhouse.pipelines.sandbox.mathpix.store import CountStore
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers, endpoint

_CACHED_RESULTS = 8


@dataclass(slots=True)
class _Row:
    bucket: datetime
    count: int
    members: frozenset[Series]


class Api:
    """The endpoint."""

    def __init__(self, credentials: Sequence[Credential], usage: CountStore, options: Options) -> None:
        self._credentials = {credential.app_id: credential for credential in credentials}
        self._usage = usage
        self._options = options
        self._results: OrderedDict[tuple[object, ...], list[_Row]] = OrderedDict()

    def routes(self) -> list[Route]:
        """Its route."""
        return [Route("/v3/ocr-usage", endpoint(self._ocr_usage), methods=["GET"])]

    async def _ocr_usage(self, request: Request, _: Headers) -> dict[str, Any]:
        """The rows of a page.

        401 with `http_unauthorized` for a missing or wrong `app_id` or `app_key` (the two must belong together), 401 with
        `account_disabled` for an account that the options disable, 200 with `opts_bad` for a bad parameter.
        """
        credential = self._credentials.get(request.headers.get("app_id", ""))
        if credential is None or request.headers.get("app_key") != credential.app_key:
            raise ErrorResponse(401, error_body("http_unauthorized", "Invalid credentials"))
        if credential.account in self._options.disabled:
            raise ErrorResponse(401, error_body("account_disabled", "Account disabled"))
        query = read_query(request.query_params, self._options)
        rows = self._page(self._rows(credential.account, query), *read_page(request.query_params))
        return {"ocr_usage": [self._shaped(row, query, credential.group_id) for row in rows]}

    def _page(self, rows: list[_Row], page: int, per_page: int) -> list[_Row]:
        size = min(per_page, self._options.per_page_cap or per_page)
        if self._options.paging == "ignored":
            return rows[: self._options.per_page_cap]
        return rows[(page - 1) * size : page * size]

    def _rows(self, account: str, query: UsageQuery) -> list[_Row]:
        """The rows of all pages: by time, then by the grouped dimensions, in the order app, usage type, hash.

        The pages of a query share one result, which is valid until the store changes or the minute ends.
        """
        now = self._usage.now().replace(second=0, microsecond=0)
        key = (self._usage.version, now, account, query)
        if key not in self._results:
            self._results[key] = self._aggregated(account, query)
            while len(self._results) > _CACHED_RESULTS:
                self._results.popitem(last=False)
        return self._results[key]

    def _aggregated(self, account: str, query: UsageQuery) -> list[_Row]:
        # The dimensions of a row depend on its series alone, so each series is filtered and projected once.
        groups: dict[Series, tuple[str, ...] | None] = {}
        rows: dict[tuple[datetime, tuple[str, ...]], _Row] = {}
        none: frozenset[Series] = frozenset()
        # Tens of thousands of rows share a few sets of members.
        memberships = {none: none}
        for hour, counts in self._usage.hours(account, query.start, query.end):
            bucket = truncated(hour, query.timespan)
            for series, count in counts.items():
                if series not in groups:
                    groups[series] = _group(series, query)
                group = groups[series]
                if group is None:
                    continue
                row = rows.get((bucket, group))
                if row is None:
                    row = rows[bucket, group] = _Row(bucket, 0, none)
                row.count += count
                if series not in row.members:
                    grown = row.members | {series}
                    row.members = memberships.setdefault(grown, grown)
        return [rows[key] for key in sorted(rows)]

    def _shaped(self, row: _Row, query: UsageQuery, group_id: str) -> dict[str, Any]:
        shaped: dict[str, Any] = {"from_date": row.bucket.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        for dimension in DIMENSIONS:
            values = {getattr(series, dimension) for series in row.members}
            if dimension in query.group_by:
                shaped[dimension] = values.pop()
            elif self._options.shape == "scalars":
                shaped[dimension] = values.pop() if len(values) == 1 else ""
            elif self._options.shape == "arrays":
                shaped[dimension] = sorted(values)
            if dimension == "app_id" and self._options.shape == "scalars":
                shaped["group_id"] = group_id
        return {**shaped, "count": row.count}


def truncated(hour: datetime, timespan: Timespan) -> datetime:
    """The UTC start of the bucket that holds `hour`, even where the window starts within it; weeks start on Monday."""
    if timespan == "hour":
        return hour
    day = hour.date()
    if timespan == "week":
        day -= timedelta(days=day.weekday())
    elif timespan == "month":
        day = day.replace(day=1)
    elif timespan == "year":
        day = day.replace(month=1, day=1)
    return midnight(day)


def _group(series: Series, query: UsageQuery) -> tuple[str, ...] | None:
    if any(getattr(series, name) != value for name, value in query.filters):
        return None
    return tuple(getattr(series, name) for name in query.group_by)
