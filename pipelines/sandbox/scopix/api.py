"""The usage resource of Scopix, `/api/v2/usage/*`, as its SDK reference and OpenAPI document it.

Where the vendor states nothing, the sandbox decides: both bounds of a time are included, as the samples' last second of a
month suggests; a bucket without requests has no point; `value` counts requests; lists are newest first.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from meterhouse.pipelines.sandbox.dates import DAY, iso_text, just_after, midnight, next_month
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers, endpoint
from meterhouse.pipelines.sandbox.scopix.errors import error_body, invalid
from meterhouse.pipelines.sandbox.scopix.fixtures import Credential, Event
from meterhouse.pipelines.sandbox.scopix.options import Options
from meterhouse.pipelines.sandbox.scopix.parameters import Parameters
from meterhouse.pipelines.sandbox.scopix.rate_limit import RateLimit
from meterhouse.pipelines.sandbox.scopix.store import EventStore
from meterhouse.pipelines.sandbox.scopix.tokens import TokenResponses

ROOT = "/api/v2"
PLANS = {"default": ("PROFESSIONAL", 10_000.0, 6_000), "studio": ("STARTER", 1_500.0, 500)}
"""The plan of each account: name, credits per month and requests per month."""
CREDITS = {"quick": 1.0, "standard": 2.0, "thorough": 4.0}
"""Credits of an item, by level of analysis."""

Respond = Callable[[Credential, Parameters], dict[str, Any]]


class Api:
    """The endpoints: each a method that returns the body for a key and the parameters."""

    def __init__(self, credentials: Sequence[Credential], usage: EventStore, options: Options) -> None:
        self._credentials = {f"Bearer {credential.api_key}": credential for credential in credentials}
        self._usage, self._options = usage, options
        self._rate_limit = RateLimit(options)
        self._tokens = TokenResponses(usage, options)
        self._pages: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Their routes."""
        responses: dict[str, Respond] = {
            "breakdown": self._breakdown,
            "summary": self._summary,
            "details": self._details,
            "by-period": self._by_period,
            "top-endpoints": self._top_endpoints,
            "dashboard-analytics": self._dashboard,
            "plan": self._plan,
            "tokens/monthly": self._tokens.monthly,
            "tokens/files": self._tokens.files,
            "tokens/conversations": self._tokens.conversations,
        }
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(f"{ROOT}/usage/check", endpoint(self._check), methods=["POST"]),
            *(
                Route(f"{ROOT}/usage/{path}", endpoint(partial(self._respond, respond)), methods=["GET"])
                for path, respond in responses.items()
            ),
            Route(f"{ROOT}/{{path:path}}", endpoint(self._unknown), methods=methods),
        ]

    async def _respond(self, respond: Respond, request: Request, headers: Headers) -> dict[str, Any]:
        credential = self._admitted(request, headers)
        path = request.url.path
        if "offset" in request.query_params or "page" in request.query_params:
            if self._options.before_page is not None:
                self._options.before_page(path, self._pages[path])
            self._pages[path] += 1
        body = respond(credential, Parameters(request.query_params))
        if self._options.edit is not None:
            self._options.edit(path, body)
        return body

    def _admitted(self, request: Request, headers: Headers, *, is_check: bool = False) -> Credential:
        """The credential of a request: 401 without a known key, 429, 403 for another tenant, 402, 403 without allowance."""
        credential = self._credentials.get(request.headers.get("authorization", ""))
        if credential is None:
            raise ErrorResponse(401, error_body("INVALID_API_KEY", "Invalid API key"))
        headers |= self._rate_limit.admit(credential.account, is_check=is_check)
        if request.headers.get("x-tenant-id", credential.tenant_id) != credential.tenant_id:
            raise ErrorResponse(403, error_body("TENANT_ACCESS_DENIED", "The key does not belong to this tenant"))
        if credential.account in self._options.past_due:
            raise ErrorResponse(402, error_body("SUBSCRIPTION_PAST_DUE", "The subscription is past due"))
        if credential.account in self._options.exhausted:
            raise ErrorResponse(403, error_body("USAGE_LIMIT_EXCEEDED", "The monthly allowance is used up"))
        return credential

    async def _unknown(self, request: Request, _: Headers) -> None:
        raise ErrorResponse(404, error_body("NOT_FOUND", f"There is no {request.url.path}"))

    async def _check(self, request: Request, headers: Headers) -> dict[str, Any]:
        """`POST /usage/check`: the only endpoint with a body."""
        credential = self._admitted(request, headers, is_check=True)
        try:
            given = msgspec.json.decode(await request.body(), type=dict[str, Any])
            items = int(given.get("item_count", 1))
            required = CREDITS[given.get("analysis_level", "standard")] * items
        except (msgspec.DecodeError, KeyError, ValueError, TypeError):
            items, required = 0, 0.0
        if items < 1:
            raise invalid("Input is not valid", "body")
        _, limit, _ = PLANS[credential.account]
        used = _credits(self._this_month(credential.account))
        enough = used + required <= limit
        return {
            "can_proceed": enough,
            "current_usage": used,
            "monthly_limit": limit,
            "required_credits": required,
            "available_credits": max(0.0, limit - used),
            "reset_date": self._next_month().isoformat(),
            "message": None if enough else "Not enough credits left this month",
            "prepaid_credits": 0,
        }

    def _breakdown(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The credits of the running month; the endpoint has no parameters."""
        del query
        limit = PLANS[credential.account][1]
        used = _credits(self._this_month(credential.account))
        return {
            "current_month": f"{self._usage.now():%Y-%m}",
            "total_credits_used": used,
            "monthly_limit": limit,
            "remaining_credits": max(0.0, limit - used),
            "usage_percentage": round(used / limit * 100, 2),
            "reset_date": self._next_month().date().isoformat(),
        }

    def _summary(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The usage of a time, or of the running day, week or month."""
        period = query.choice("period", "month", "day", "week", "month")
        now = self._usage.now()
        today = midnight(now.date())
        first = {"day": today, "week": today - today.weekday() * DAY, "month": today.replace(day=1)}[period]
        until = {"day": first + DAY, "week": first + 7 * DAY, "month": self._next_month()}[period]
        start = query.time("start_date") or first
        end = query.time("end_date") or until - timedelta(seconds=1)
        events = self._between(credential.account, start, end, query.api_key_id())
        failed = sum(event.status_code >= 400 for event in events)
        kinds = Counter(event.operation_type for event in events)
        plan, limit, requests = PLANS[credential.account]
        month = self._this_month(credential.account)
        used = _credits(month)
        return {
            "period": {"start": iso_text(start), "end": iso_text(end)},
            "usage": {
                "describe_count": kinds["describe"],
                "verify_count": kinds["verify"],
                "batch_count": kinds["batch"],
                "total_requests": len(events),
                "successful_requests": len(events) - failed,
                "failed_requests": failed,
            },
            "performance": {"avg_response_time_ms": _mean([event.response_time_ms for event in events])},
            "limits": {
                "monthly_limit": limit,
                "used_this_month": used,
                "remaining": max(0.0, limit - used),
                "percentage_used": round(used / limit * 100, 2),
            },
            "plan": {
                "name": plan,
                "requests_limit": requests,
                "requests_used": len(month),
                "requests_remaining": max(0, requests - len(month)),
                "usage_percentage": round(len(month) / requests * 100, 2),
                "renewal_date": self._next_month().isoformat(),
            },
            "total_credits": _credits(events),
        }

    def _details(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The events of a time, in either envelope."""
        events = self._window(credential.account, query)
        if "operation_type" in query.query:
            events = [event for event in events if event.operation_type == query.query["operation_type"]]
        events.reverse()
        if self._options.envelope == "page":
            number = query.number("page", 1, 1, 10**6)
            size = query.number("page_size", 20, 1, 100)
            at = 0 if self._options.paging == "ignored" else (number - 1) * size
            pagination = {
                "page": 1 if self._options.paging == "ignored" else number,
                "page_size": size,
                "total_count": len(events),
                "total_pages": -(-len(events) // size),
            }
            older = {"provider": "sandbox", "model": "describer-1"}
            return {"events": [_listed(event) | older for event in events[at : at + size]], "pagination": pagination}
        page, counted = query.page(events, ignored=self._options.paging == "ignored")
        return {"events": [_listed(event) for event in page], **(counted if self._options.totals else {})}

    def _by_period(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The number of requests in each bucket."""
        unit = query.choice("period_type", "day", "hour", "day", "month")
        now = self._usage.now()
        start = query.time("start_date") or now - 30 * DAY
        end = query.time("end_date") or now
        points: Counter[datetime] = Counter()
        for event in self._between(credential.account, start, end, query.api_key_id()):
            bucket = event.timestamp.replace(minute=0, second=0, microsecond=0)
            bucket = bucket if unit == "hour" else bucket.replace(hour=0)
            points[bucket if unit != "month" else bucket.replace(day=1)] += 1
        label = {"hour": "%H:%M", "day": "%b %d", "month": "%b %Y"}[unit]
        data = [
            {"timestamp": iso_text(bucket), "value": value, "label": bucket.strftime(label)}
            for bucket, value in sorted(points.items())
        ]
        return {"period_type": unit, "start_date": iso_text(start), "end_date": iso_text(end), "data": data}

    def _top_endpoints(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The endpoints that were used most."""
        ranked = Counter(event.endpoint for event in self._window(credential.account, query)).most_common()
        ranked.sort(key=lambda pair: (-pair[1], pair[0]))
        limit = query.number("limit", 10, 1, 50)
        return {"endpoints": [{"endpoint": path, "request_count": count} for path, count in ranked[:limit]]}

    def _dashboard(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The last seven, thirty or 365 days, and a row for each."""
        period = query.choice("period", "month", "week", "month", "year")
        days = {"week": 7, "month": 30, "year": 365}[period]
        now = self._usage.now()
        today = midnight(now.date())
        start = today - (days - 1) * DAY
        events = self._between(credential.account, start, now, None)
        files = Counter(event.timestamp.date() for event in events if event.is_file)
        messages = Counter(event.timestamp.date() for event in events if event.session)
        chat_tokens = sum(event.input_tokens + event.output_tokens for event in events if event.session)
        tokens = sum(event.input_tokens + event.output_tokens for event in events)
        month = sum(e.input_tokens + e.output_tokens for e in self._this_month(credential.account) if e.session)
        each = [(start + number * DAY).date() for number in range(days)]
        return {
            "period": period,
            "start_date": start.date().isoformat(),
            "end_date": now.date().isoformat(),
            "daily_activity": [
                {"date": day.isoformat(), "files_uploaded": files[day], "chat_messages": messages[day]} for day in each
            ],
            "total_chat_messages": messages.total(),
            "total_files_uploaded": files.total(),
            "total_chat_sessions": len({event.session for event in events if event.session}),
            "avg_processing_time_ms": _mean([event.response_time_ms for event in events if event.is_file]),
            "success_rate": round(1 - sum(e.status_code >= 400 for e in events) / len(events), 4) if events else None,
            "processing_tokens": tokens - chat_tokens,
            "chat_tokens": chat_tokens,
            "total_tokens": tokens,
            "current_month_chat_tokens": month,
            "max_monthly_chat_tokens": None,
        }

    def _plan(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The plan, and a linear projection to the end of the month."""
        query.choice("period", "month", "month", "quarter", "year")
        name, _, limit = PLANS[credential.account]
        now, start, end = self._usage.now(), self._month_start(), self._next_month()
        used = len(self._this_month(credential.account))
        projected = int(used * (end - start) / max(now - start, timedelta(hours=1)))
        body: dict[str, Any] = {
            "billing_period": {
                "start_date": start.date().isoformat(),
                "end_date": (end - DAY).date().isoformat(),
                "days_remaining": (end - now).days,
                "renewal_date": end.date().isoformat(),
            },
            "plan_details": {
                "plan_name": name,
                "monthly_requests_limit": limit,
                "requests_used": used,
                "requests_remaining": max(0, limit - used),
                "usage_percentage": round(used / limit * 100, 2),
                "features": {"chat": {"limit": None, "enabled": True}, "batch": {"limit": 100, "enabled": True}},
            },
            "projections": None,
            "optimization_recommendations": {"suggestions": ["Describe files in batches"]},
        }
        if query.flag("include_projections", default=True):
            body["projections"] = {
                "projected_monthly_requests": projected,
                "will_exceed_limit": projected > limit,
                "trending": "up" if projected > limit else "stable",
            }
        return body

    def _window(self, account: str, query: Parameters) -> list[Event]:
        start, end = query.time("start_date") or self._month_start(), query.time("end_date") or self._usage.now()
        return self._between(account, start, end, query.api_key_id())

    def _between(self, account: str, start: datetime, end: datetime, key: str | None) -> list[Event]:
        """The events from `start` to `end`, both included."""
        events = self._usage.events(account, start, just_after(end))
        if key is None or self._options.keys == "ignored":
            return events
        return [event for event in events if event.api_key_id == key]

    def _this_month(self, account: str) -> list[Event]:
        return self._usage.events(account, self._month_start())

    def _month_start(self) -> datetime:
        return midnight(self._usage.now().date().replace(day=1))

    def _next_month(self) -> datetime:
        return midnight(next_month(self._usage.now().date()))


def _credits(events: Sequence[Event]) -> float:
    return sum((event.credits for event in events), 0.0)


def _mean(values: Sequence[int]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None


def _listed(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "timestamp": iso_text(event.timestamp),
        "operation_type": event.operation_type,
        "endpoint": event.endpoint,
        "method": event.method,
        "status_code": event.status_code,
        "response_time_ms": event.response_time_ms,
        "error_code": event.error_code,
        "api_key_id": event.api_key_id,
    }
