"""The parameters of `GET /api/v1/usage/export`, and the error for a bad one: 400."""

from dataclasses import dataclass
from datetime import date, timedelta

from starlette.datastructures import QueryParams

from meterhouse.pipelines.sandbox.reducto.errors import error_body
from meterhouse.pipelines.sandbox.reducto.fixtures import Series
from meterhouse.pipelines.sandbox.responses import ErrorResponse

GROUPINGS = Series._fields
FILTERS = {"product": "product", "feature": "feature", "apiKey": "api_key", "fileType": "file_type"}


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """The parameters of a request except its organisation."""

    start: date
    end: date
    group_by: str
    filters: dict[str, set[str]]


def read_query(query: QueryParams, today: date) -> ExportQuery:
    """The parameters of a request; unknown ones are ignored.

    Raises:
        ErrorResponse: a parameter has a value that is not documented.
    """
    group_by = query.get("groupBy", "product")
    if group_by not in GROUPINGS:
        raise bad_request(f"groupBy must be one of {', '.join(GROUPINGS)}")
    return ExportQuery(
        start=_day(query, "startDate", today - timedelta(days=30)),
        end=_day(query, "endDate", today),
        group_by=group_by,
        filters={name: set(query.getlist(parameter)) for parameter, name in FILTERS.items() if parameter in query},
    )


def bad_request(message: str) -> ErrorResponse:
    """The error for a bad parameter."""
    return ErrorResponse(400, error_body(message))


def _day(query: QueryParams, name: str, default: date) -> date:
    if name not in query:
        return default
    try:
        return date.fromisoformat(query[name])
    except ValueError:
        raise bad_request(f"{name} must be a date as yyyy-mm-dd") from None
