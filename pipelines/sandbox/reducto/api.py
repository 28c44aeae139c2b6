"""`GET /api/v1/usage/export` as https://docs.reducto.ai/reference/usage-export-api documents it.

Documented: the parameters and their defaults, the fields of a response, that filters may be repeated, and the statuses 400,
401, 403 and 500. Where the vendor states nothing, the sandbox decides; the docstring of the function states the decision.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from meterhouse.pipelines.sandbox.reducto.errors import error_body
from meterhouse.pipelines.sandbox.reducto.fixtures import PRICING_CHANGE, Credential, Figures
from meterhouse.pipelines.sandbox.reducto.options import Options
from meterhouse.pipelines.sandbox.reducto.parameters import bad_request, read_query
from meterhouse.pipelines.sandbox.reducto.store import CreditStore, added
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers, endpoint

_UNRATED: dict[str, dict[str, Any]] = {"null": {"credits": None}, "zero": {"credits": 0}, "absent": {}}


class Api:
    """The endpoint."""

    def __init__(self, credentials: Sequence[Credential], usage: CreditStore, options: Options) -> None:
        self._credentials = {f"Bearer {credential.api_key}": credential for credential in credentials}
        self._usage = usage
        self._options = options

    def routes(self) -> list[Route]:
        """Its route."""
        return [Route("/api/v1/usage/export", endpoint(self._export), methods=["GET"])]

    async def _export(self, request: Request, _: Headers) -> dict[str, Any]:
        """One object for each day and group, ordered by both.

        Errors are checked in the order 401, 400, 403. A window that ends before it starts is empty, not an error.
        """
        credential = self._credentials.get(request.headers.get("authorization", ""))
        if credential is None:
            raise ErrorResponse(401, error_body("Missing or invalid API key"))
        today = self._usage.now().date()
        query = read_query(request.query_params, today)
        end = query.end
        if end > today and self._options.end_in_future == "refused":
            raise bad_request("endDate must not be in the future")
        if end > today and self._options.end_in_future == "clamped":
            end = today
        org_id = request.query_params.get("orgId", credential.org_ids[0])
        if org_id not in credential.org_ids:
            raise ErrorResponse(403, error_body("Not a member of the requested organization"))
        rows: dict[tuple[date, str], Figures] = {}
        stop = end + timedelta(days=1) if self._options.end_date == "included" else end
        for day, used in self._usage.days(org_id, query.start, stop):
            for series, figures in used.items():
                if all(getattr(series, name) in values for name, values in query.filters.items()):
                    key = (day, getattr(series, query.group_by))
                    rows[key] = added(rows[key], figures) if key in rows else figures
        return {
            "orgId": org_id,
            "startDate": query.start.isoformat(),
            "endDate": end.isoformat(),
            "groupBy": query.group_by,
            "data": [self._shaped(org_id, *key, *rows[key]) for key in sorted(rows)],
        }

    def _shaped(self, org_id: str, day: date, group: str, credits_: Decimal | None, requests: int) -> dict[str, Any]:
        """An object of `data`. Credits have at least one decimal place, as on the vendor's page."""
        shown: dict[str, Any] = {"credits": None if credits_ is None else credits_ + Decimal("0.0")}
        if org_id in self._options.on_new_pricing and day >= PRICING_CHANGE:
            shown = _UNRATED[self._options.unrated]
        return {"date": day.isoformat(), "group": group, **shown, "requestCount": requests}
