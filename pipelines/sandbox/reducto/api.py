"""`GET /api/v1/usage/export` as https://docs.reducto.ai/reference/usage-export-api documents it.

Documented: the parameters and their defaults, the fields of an answer, that filters may be repeated, and the statuses 400,
401, 403 and 500. Where the vendor says nothing, the sandbox decides, and each decision is a sentence in a docstring here.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.pipelines.sandbox.reducto.fixtures import PRICING_CHANGE, Credential, Figures, Series
from meterhouse.pipelines.sandbox.reducto.store import UsageBook, added

GROUPINGS = Series._fields
FILTERS = {"product": "product", "feature": "feature", "apiKey": "api_key", "fileType": "file_type"}

_DAY = timedelta(days=1)
_UNRATED: dict[str, dict[str, Any]] = {"null": {"credits": None}, "zero": {"credits": 0}, "absent": {}}
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(slots=True)
class Options:
    """How the vendor behaves where its documents leave a choice; change them at any time.

    `end_date` tells whether the day `endDate` is in the answer. `end_in_future` is what happens to an `endDate` after
    today: it is taken as it is, answered (and echoed) as today, or refused with 400.

    `on_new_pricing` holds the organisations on the pricing of 2026-09-01: from that day on their credits are `unrated`.
    """

    end_date: Literal["included", "excluded"] = "included"
    end_in_future: Literal["taken", "clamped", "refused"] = "taken"
    on_new_pricing: set[str] = field(default_factory=set)
    unrated: Literal["null", "zero", "absent"] = "null"


class _RefusedError(Exception):
    """A request that the API does not answer; its text is the answer's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def problem(message: str) -> dict[str, Any]:
    """The body of an error. The vendor documents none for this host; this is the form of its other API."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


class UsageExport:
    """The endpoint: authenticates, reads the question, answers from the book."""

    def __init__(self, credentials: tuple[Credential, ...], usage: UsageBook, options: Options) -> None:
        self._credentials = {f"Bearer {credential.api_key}": credential for credential in credentials}
        self._usage = usage
        self._options = options

    async def answer(self, request: Request) -> Response:
        """Answers one request: 401, then 400, then 403, then the rows. Unknown parameters are passed over."""
        try:
            body, status = self._answer(request.headers.get("authorization", ""), request.query_params), 200
        except _RefusedError as refused:
            body, status = problem(str(refused)), refused.status
        return Response(_encode(body), status, media_type="application/json")

    def _answer(self, authorization: str, query: QueryParams) -> dict[str, Any]:
        """One object a day and group, ordered by both; a window that ends before it starts is empty, not wrong."""
        credential = self._credentials.get(authorization)
        if credential is None:
            raise _RefusedError(401, "Missing or invalid API key")
        group_by = query.get("groupBy", "product")
        if group_by not in GROUPINGS:
            raise _RefusedError(400, f"groupBy must be one of {', '.join(GROUPINGS)}")
        today = self._usage.now().date()
        start, end = _day(query, "startDate", today - 30 * _DAY), _day(query, "endDate", today)
        if end > today and self._options.end_in_future == "refused":
            raise _RefusedError(400, "endDate must not be in the future")
        if end > today and self._options.end_in_future == "clamped":
            end = today
        org_id = query.get("orgId", credential.org_ids[0])
        if org_id not in credential.org_ids:
            raise _RefusedError(403, "Not a member of the requested organization")
        filters = {name: set(query.getlist(parameter)) for parameter, name in FILTERS.items() if parameter in query}
        rows: dict[tuple[date, str], Figures] = {}
        stop = end + _DAY if self._options.end_date == "included" else end
        for day, used in self._usage.days(org_id, start, stop):
            for series, figures in used.items():
                if all(getattr(series, name) in values for name, values in filters.items()):
                    key = (day, getattr(series, group_by))
                    rows[key] = added(rows[key], figures) if key in rows else figures
        return {
            "orgId": org_id,
            "startDate": start.isoformat(),
            "endDate": end.isoformat(),
            "groupBy": group_by,
            "data": [self._shaped(org_id, *key, *rows[key]) for key in sorted(rows)],
        }

    def _shaped(self, org_id: str, day: date, group: str, credits_: Decimal | None, requests: int) -> dict[str, Any]:
        """An object of `data`. Credits are written as the vendor's page does, with a digit after the point at least."""
        shown: dict[str, Any] = {"credits": None if credits_ is None else credits_ + Decimal("0.0")}
        if org_id in self._options.on_new_pricing and day >= PRICING_CHANGE:
            shown = _UNRATED[self._options.unrated]
        return {"date": day.isoformat(), "group": group, **shown, "requestCount": requests}


def _day(query: QueryParams, name: str, default: date) -> date:
    if name not in query:
        return default
    try:
        return date.fromisoformat(query[name])
    except ValueError:
        raise _RefusedError(400, f"{name} must be a date as yyyy-mm-dd") from None
