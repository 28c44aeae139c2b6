"""The parameters of `GET /v3/ocr-usage`, and the error for a bad one: HTTP 200 with `opts_bad`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from starlette.datastructures import QueryParams

from meterhouse.pipelines.sandbox.dates import moment
from meterhouse.pipelines.sandbox.mathpix.errors import error_body
from meterhouse.pipelines.sandbox.mathpix.fixtures import Series
from meterhouse.pipelines.sandbox.mathpix.options import Options
from meterhouse.pipelines.sandbox.responses import ErrorResponse

Timespan = Literal["hour", "day", "week", "month", "year"]
DIMENSIONS = Series._fields
_MAX_PAGE = 100
_MAX_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """The parameters of a request except its page; a bound that it omits is None."""

    start: datetime | None
    end: datetime | None
    timespan: Timespan
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]


def read_query(query: QueryParams, options: Options) -> UsageQuery:
    """The parameters of a request.

    The vendor documents no defaults: without `from_date` the window starts with the first usage, without `to_date` it ends
    now, and without `timespan` buckets are months. A bound within an hour means the next hour: an hour belongs to the window
    that holds its start. A window that ends before it starts is empty, not an error. `group_by` may be repeated (mpxpy),
    unless the options say otherwise, or omitted; unknown parameters are ignored.

    Raises:
        ErrorResponse: a parameter has a value that is not documented.
    """
    timespan = query.get("timespan", "month")
    if timespan not in get_args(Timespan):
        raise _bad(f"timespan must be one of {', '.join(get_args(Timespan))}, not {timespan!r}")
    group_by = query.getlist("group_by")
    for dimension in group_by:
        if dimension not in DIMENSIONS:
            raise _bad(f"group_by must be one of {', '.join(DIMENSIONS)}, not {dimension!r}")
    if len(group_by) > 1 and options.group_by != "all":
        if options.group_by == "refused":
            raise _bad("group_by must be one value")
        group_by = group_by[:1] if options.group_by == "first" else group_by[-1:]
    return UsageQuery(
        start=_bound(query, "from_date"),
        end=_bound(query, "to_date"),
        timespan=cast("Timespan", timespan),
        group_by=tuple(dimension for dimension in DIMENSIONS if dimension in group_by),
        filters=tuple((dimension, query[dimension]) for dimension in DIMENSIONS if dimension in query),
    )


def read_page(query: QueryParams) -> tuple[int, int]:
    """Number and size of the page; the bounds and defaults are those of mpxpy.

    Raises:
        ErrorResponse: either is out of bounds.
    """
    return _whole_number(query, "page", 1, _MAX_PAGE), _whole_number(query, "per_page", 100, _MAX_PER_PAGE)


def _bound(query: QueryParams, name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return moment(query[name])
    except ValueError:
        raise _bad(f"{name} must be an ISO datetime, not {query[name]!r}") from None


def _whole_number(query: QueryParams, name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    raise _bad(f"{name} must be a whole number from 1 to {most}, not {text!r}")


def _bad(message: str) -> ErrorResponse:
    return ErrorResponse(200, error_body("opts_bad", message))
