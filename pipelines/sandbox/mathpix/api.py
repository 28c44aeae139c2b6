"""`GET /v3/ocr-usage` as https://docs.mathpix.com/reference/ocr-usage and the vendor's client mpxpy 0.0.23 document it.

Documented: the parameters, that `from_date` is included and `to_date` excluded, the fields and both shapes of a row, the ids
of errors and that most of them come with HTTP 200. Where the vendor says nothing, the sandbox decides, and each decision is
a sentence in the docstring of the function that takes it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal, cast, get_args

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.pipelines.sandbox.mathpix.fixtures import Credential, Series
from meterhouse.pipelines.sandbox.mathpix.store import UsageBook, moment

Timespan = Literal["hour", "day", "week", "month", "year"]
Shape = Literal["scalars", "arrays", "sparse"]
Paging = Literal["honoured", "ignored"]

DIMENSIONS = Series._fields
_MOST_PAGES = 100
_MOST_PER_PAGE = 1000
_ANSWERS_KEPT = 8


@dataclass(slots=True)
class Options:
    """How the vendor behaves where its documents leave a choice or contradict each other; change them at any time.

    `shape` is the form of a dimension that was not grouped by. "scalars" is the newer page: its value where one value lies
    behind the row, '' where several do (in the page's own sample the image row has a hash and the image-async row, which had
    two of them on the older page, has ''). "arrays" is the older page: the list of all values, and no `group_id`. "sparse"
    leaves the field out, and `group_id` with it, as the OpenAPI text allows.

    `paging` "ignored" answers every page with all rows. `per_page_cap` is the most rows that an answer holds whatever was
    asked for: with paging honoured it is the size of a page then, with paging ignored it is where every answer is cut.

    `disabled` holds the accounts whose keys are answered with `account_disabled`.
    """

    shape: Shape = "scalars"
    paging: Paging = "honoured"
    per_page_cap: int | None = None
    disabled: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks for, apart from its page; the bounds are None where it names none."""

    start: datetime | None
    end: datetime | None
    timespan: Timespan
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Row:
    bucket: datetime
    count: int
    members: frozenset[Series]


class _BadOptionsError(Exception):
    """A parameter that the API does not take; its text is the answer's message."""


def problem(identifier: str, message: str, **details: Any) -> dict[str, Any]:
    """The body of an error as https://docs.mathpix.com/reference/error-handling has it.

    Args:
        identifier: `error_info.id`, the part that the vendor says to rely on.
        message: text for a human, in `error` and in `error_info.message`.
        **details: further fields of `error_info`, such as `limit_name`, `limit_value` and `count` of `http_max_requests`.
    """
    return {"error": message, "error_info": {"id": identifier, "message": message, **details}}


class OcrUsage:
    """The endpoint: authenticates, reads the question, answers from the book."""

    def __init__(self, credentials: tuple[Credential, ...], usage: UsageBook, options: Options) -> None:
        self._credentials = {credential.app_id: credential for credential in credentials}
        self._usage = usage
        self._options = options
        self._answers: OrderedDict[tuple[object, ...], list[_Row]] = OrderedDict()

    async def answer(self, request: Request) -> Response:
        """Answers one request.

        401 with `http_unauthorized` for a missing or wrong `app_id` or `app_key` (the two must belong to each other), 401
        with `account_disabled` where the options say so, 200 with `opts_bad` for a bad parameter, 200 with the rows else.
        """
        credential = self._credentials.get(request.headers.get("app_id", ""))
        if credential is None or request.headers.get("app_key") != credential.app_key:
            return _json(problem("http_unauthorized", "Invalid credentials"), 401)
        if credential.account in self._options.disabled:
            return _json(problem("account_disabled", "Account disabled"), 401)
        try:
            question = read_question(request.query_params)
            page = _whole_number(request.query_params, "page", 1, _MOST_PAGES)
            per_page = _whole_number(request.query_params, "per_page", 100, _MOST_PER_PAGE)
        except _BadOptionsError as bad:
            return _json(problem("opts_bad", str(bad)))
        rows = self._page(self._rows(credential.account, question), page, per_page)
        return _json({"ocr_usage": [self._shaped(row, question, credential.group_id) for row in rows]})

    def _page(self, rows: list[_Row], page: int, per_page: int) -> list[_Row]:
        size = min(per_page, self._options.per_page_cap or per_page)
        if self._options.paging == "ignored":
            return rows[: self._options.per_page_cap]
        return rows[(page - 1) * size : page * size]

    def _rows(self, account: str, question: Question) -> list[_Row]:
        """All rows of an answer: by time, then by the grouped dimensions, in the order app, usage type, hash.

        Pages of the same question are cut from one computation, which holds until the book changes or the minute ends.
        """
        now = self._usage.now().replace(second=0, microsecond=0)
        key = (self._usage.version, now, account, question)
        if key not in self._answers:
            self._answers[key] = self._computed(account, question)
            while len(self._answers) > _ANSWERS_KEPT:
                self._answers.popitem(last=False)
        return self._answers[key]

    def _computed(self, account: str, question: Question) -> list[_Row]:
        # The dimensions of a row depend on its series alone, so each series is filtered and projected once.
        groups: dict[Series, tuple[str, ...] | None] = {}
        rows: dict[tuple[datetime, tuple[str, ...]], _Row] = {}
        none: frozenset[Series] = frozenset()
        # Tens of thousands of rows share a few sets of members.
        memberships = {none: none}
        for hour, counts in self._usage.hours(account, question.start, question.end):
            bucket = truncated(hour, question.timespan)
            for series, count in counts.items():
                if series not in groups:
                    groups[series] = _group(series, question)
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

    def _shaped(self, row: _Row, question: Question, group_id: str) -> dict[str, Any]:
        shaped: dict[str, Any] = {"from_date": row.bucket.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        for dimension in DIMENSIONS:
            values = {getattr(series, dimension) for series in row.members}
            if dimension in question.group_by:
                shaped[dimension] = values.pop()
            elif self._options.shape == "scalars":
                shaped[dimension] = values.pop() if len(values) == 1 else ""
            elif self._options.shape == "arrays":
                shaped[dimension] = sorted(values)
            if dimension == "app_id" and self._options.shape == "scalars":
                shaped["group_id"] = group_id
        return {**shaped, "count": row.count}


def read_question(query: QueryParams) -> Question:
    """The question that the parameters of a request ask.

    Without `from_date` the answer starts with the first usage and without `to_date` it ends now; without `timespan` it is by
    month (the vendor names no defaults). A bound inside an hour counts from the next hour on: an hour belongs to the window
    that holds its start. A window that ends before it starts is empty, not wrong. `group_by` may be repeated (mpxpy) or left
    out; unknown parameters are passed over.

    Raises:
        _BadOptionsError: a parameter has a value that is not documented.
    """
    timespan = query.get("timespan", "month")
    if timespan not in get_args(Timespan):
        raise _BadOptionsError(f"timespan must be one of {', '.join(get_args(Timespan))}, not {timespan!r}")
    group_by = query.getlist("group_by")
    for dimension in group_by:
        if dimension not in DIMENSIONS:
            raise _BadOptionsError(f"group_by must be one of {', '.join(DIMENSIONS)}, not {dimension!r}")
    return Question(
        start=_bound(query, "from_date"),
        end=_bound(query, "to_date"),
        timespan=cast("Timespan", timespan),
        group_by=tuple(dimension for dimension in DIMENSIONS if dimension in group_by),
        filters=tuple((dimension, query[dimension]) for dimension in DIMENSIONS if dimension in query),
    )


def truncated(hour: datetime, timespan: Timespan) -> datetime:
    """The UTC start of the bucket that holds `hour`, even where the asked window starts inside it; weeks start on Monday."""
    if timespan == "hour":
        return hour
    day = hour.date()
    if timespan == "week":
        day -= timedelta(days=day.weekday())
    elif timespan == "month":
        day = day.replace(day=1)
    elif timespan == "year":
        day = day.replace(month=1, day=1)
    return datetime.combine(day, time(), UTC)


def _group(series: Series, question: Question) -> tuple[str, ...] | None:
    if any(getattr(series, name) != value for name, value in question.filters):
        return None
    return tuple(getattr(series, name) for name in question.group_by)


def _bound(query: QueryParams, name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return moment(query[name])
    except ValueError:
        raise _BadOptionsError(f"{name} must be an ISO datetime, not {query[name]!r}") from None


def _whole_number(query: QueryParams, name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    raise _BadOptionsError(f"{name} must be a whole number from 1 to {most}, not {text!r}")


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
