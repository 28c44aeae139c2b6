"""The usage resource of Scopix, `/api/v2/usage/*`, as its SDK reference and OpenAPI document have it.

Where the vendor says nothing, the sandbox decides: both bounds of a time are included, as the samples' last second of a
month suggests; a bucket without requests has no point; `value` counts requests; lists are newest first.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.pipelines.sandbox.scopix.fixtures import Credential, Event
from meterhouse.pipelines.sandbox.scopix.rate_limit import Gate, Options, Parameters, ProblemError, json, problem
from meterhouse.pipelines.sandbox.scopix.store import EventBook

_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
PLANS = {"default": ("PROFESSIONAL", 10_000.0, 6_000), "studio": ("STARTER", 1_500.0, 500)}
"""Name, credits a month and requests a month of each account's plan."""
CREDITS = {"quick": 1.0, "standard": 2.0, "thorough": 4.0}
Answer = Callable[[Credential, Parameters], Any]


class Usage:
    """The endpoints: each a method that makes a body of a key and the parameters."""

    def __init__(self, gate: Gate, book: EventBook, options: Options) -> None:
        self._gate, self._book, self._options = gate, book, options
        self._pages: Counter[str] = Counter()

    def get(self, answer: Answer) -> Callable[[Request], Any]:
        """The handler of a GET."""

        async def handle(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                credential, headers = self._gate.admit(request)
                if "offset" in request.query_params or "page" in request.query_params:
                    self._hook(request.url.path)
                body = answer(credential, Parameters(request.query_params))
                if self._options.edit is not None:
                    self._options.edit(request.url.path, body)
                return json(body, headers=headers)
            except ProblemError as error:
                return json(error.body, error.status, headers | error.headers)

        return handle

    async def unknown(self, request: Request) -> Response:
        """Any other path."""
        return json(problem("NOT_FOUND", f"There is no {request.url.path}"), 404)

    async def check(self, request: Request) -> Response:
        """`POST /usage/check`: the only question that has a body."""
        try:
            credential, headers = self._gate.admit(request, is_check=True)
        except ProblemError as error:
            return json(error.body, error.status, error.headers)
        wrong = {"detail": [{"loc": ["body"], "msg": "Input is not valid", "type": "value_error"}]}
        try:
            asked = msgspec.json.decode(await request.body(), type=dict[str, Any])
            items = int(asked.get("item_count", 1))
            required = CREDITS[asked.get("analysis_level", "standard")] * items
        except (msgspec.DecodeError, KeyError, ValueError, TypeError):
            return json(wrong, 422, headers)
        if items < 1:
            return json(wrong, 422, headers)
        _, limit, _ = PLANS[credential.account]
        used = self._credits(self._this_month(credential.account))
        enough = used + required <= limit
        answer = {
            "can_proceed": enough,
            "current_usage": used,
            "monthly_limit": limit,
            "required_credits": required,
            "available_credits": max(0.0, limit - used),
            "reset_date": self._next_month().isoformat(),
            "message": None if enough else "Not enough credits left this month",
            "prepaid_credits": 0,
        }
        return json(answer, headers=headers)

    def breakdown(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """Credits of the running month; it has no parameters."""
        del query
        limit = PLANS[credential.account][1]
        used = self._credits(self._this_month(credential.account))
        return {
            "current_month": f"{self._book.now():%Y-%m}",
            "total_credits_used": used,
            "monthly_limit": limit,
            "remaining_credits": max(0.0, limit - used),
            "usage_percentage": round(used / limit * 100, 2),
            "reset_date": self._next_month().date().isoformat(),
        }

    def summary(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """Of a time, or of the running day, week or month."""
        period = query.choice("period", "month", "day", "week", "month")
        now = self._book.now()
        today = datetime.combine(now.date(), time(), UTC)
        first = {"day": today, "week": today - today.weekday() * _DAY, "month": today.replace(day=1)}[period]
        until = {"day": first + _DAY, "week": first + 7 * _DAY, "month": self._next_month()}[period]
        start = query.time("start_date") or first
        end = query.time("end_date") or until - timedelta(seconds=1)
        events = self._between(credential.account, start, end, query.key())
        failed = sum(event.status_code >= 400 for event in events)
        kinds = Counter(event.operation_type for event in events)
        plan, limit, requests = PLANS[credential.account]
        month = self._this_month(credential.account)
        used = self._credits(month)
        return {
            "period": {"start": _text(start), "end": _text(end)},
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
            "total_credits": self._credits(events),
        }

    def details(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """Events, in either envelope."""
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
        page, counted = self._page(events, query)
        return {"events": [_listed(event) for event in page], **(counted if self._options.totals else {})}

    def by_period(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """Requests in buckets."""
        unit = query.choice("period_type", "day", "hour", "day", "month")
        now = self._book.now()
        start = query.time("start_date") or now - 30 * _DAY
        end = query.time("end_date") or now
        points: Counter[datetime] = Counter()
        for event in self._between(credential.account, start, end, query.key()):
            bucket = event.timestamp.replace(minute=0, second=0, microsecond=0)
            bucket = bucket if unit == "hour" else bucket.replace(hour=0)
            points[bucket if unit != "month" else bucket.replace(day=1)] += 1
        label = {"hour": "%H:%M", "day": "%b %d", "month": "%b %Y"}[unit]
        data = [
            {"timestamp": _text(bucket), "value": value, "label": bucket.strftime(label)}
            for bucket, value in sorted(points.items())
        ]
        return {"period_type": unit, "start_date": _text(start), "end_date": _text(end), "data": data}

    def top_endpoints(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The endpoints that were used most."""
        ranked = Counter(event.endpoint for event in self._window(credential.account, query)).most_common()
        ranked.sort(key=lambda pair: (-pair[1], pair[0]))
        limit = query.number("limit", 10, 1, 50)
        return {"endpoints": [{"endpoint": path, "request_count": count} for path, count in ranked[:limit]]}

    def dashboard(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The last seven, thirty or 365 days, each of which is listed."""
        period = query.choice("period", "month", "week", "month", "year")
        days = {"week": 7, "month": 30, "year": 365}[period]
        now = self._book.now()
        today = datetime.combine(now.date(), time(), UTC)
        start = today - (days - 1) * _DAY
        events = self._between(credential.account, start, now, None)
        files = Counter(event.timestamp.date() for event in events if _is_file(event))
        talk = Counter(event.timestamp.date() for event in events if event.session)
        chat_tokens = sum(event.input_tokens + event.output_tokens for event in events if event.session)
        tokens = sum(event.input_tokens + event.output_tokens for event in events)
        month = sum(e.input_tokens + e.output_tokens for e in self._this_month(credential.account) if e.session)
        each = [(start + number * _DAY).date() for number in range(days)]
        return {
            "period": period,
            "start_date": start.date().isoformat(),
            "end_date": now.date().isoformat(),
            "daily_activity": [
                {"date": day.isoformat(), "files_uploaded": files[day], "chat_messages": talk[day]} for day in each
            ],
            "total_chat_messages": talk.total(),
            "total_files_uploaded": files.total(),
            "total_chat_sessions": len({event.session for event in events if event.session}),
            "avg_processing_time_ms": _mean([event.response_time_ms for event in events if _is_file(event)]),
            "success_rate": round(1 - sum(e.status_code >= 400 for e in events) / len(events), 4) if events else None,
            "processing_tokens": tokens - chat_tokens,
            "chat_tokens": chat_tokens,
            "total_tokens": tokens,
            "current_month_chat_tokens": month,
            "max_monthly_chat_tokens": None,
        }

    def plan(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The plan, and a straight line to the end of the month."""
        query.choice("period", "month", "month", "quarter", "year")
        name, _, limit = PLANS[credential.account]
        now, end = self._book.now(), self._next_month()
        start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        used = len(self._this_month(credential.account))
        projected = int(used * (end - start) / max(now - start, timedelta(hours=1)))
        body: dict[str, Any] = {
            "billing_period": {
                "start_date": start.date().isoformat(),
                "end_date": (end - _DAY).date().isoformat(),
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

    def tokens(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The tokens of a month, or of the days from start_date to end_date."""
        now = self._book.now()
        start = datetime(now.year, now.month, 1, tzinfo=UTC)
        if self._options.tokens == "months":
            start = datetime(query.number("year", now.year, 1, 9998), query.number("month", now.month, 1, 12), 1, tzinfo=UTC)
            end = (start + 31 * _DAY).replace(day=1)
        else:
            start = query.time("start_date") or start
            end = query.time("end_date") or self._next_month() - _DAY
            end = max(start, end) if self._options.tokens == "end excluded" else end + _DAY
        read, written = _tokens(self._between(credential.account, start, end - _MICROSECOND, None))
        return {
            "year": start.year,
            "month": start.month,
            "total_input_tokens": read,
            "total_output_tokens": written,
            "total_tokens": read + written,
        }

    def file_tokens(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """A file for each description that succeeded."""
        events = [event for event in self._book.events(credential.account) if _is_file(event)][::-1]
        page, counted = self._page(events, query)
        files = [
            {
                "image_id": f"img_{event.id}",
                "filename": f"scan-{event.id[:8]}.jpg",
                "input_tokens": event.input_tokens,
                "output_tokens": event.output_tokens,
                "total_tokens": event.input_tokens + event.output_tokens,
                "created_at": _text(event.timestamp),
            }
            for event in page
        ]
        read, written = _tokens(events)
        return {"files": files, **counted, "total_input_tokens": read, "total_output_tokens": written}

    def conversation_tokens(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """A conversation for each session, by the time of its first message."""
        sessions: dict[str, list[Event]] = {}
        for event in self._book.events(credential.account):
            if event.session:
                sessions.setdefault(event.session, []).append(event)
        newest = sorted(sessions, key=lambda session: (sessions[session][0].timestamp, session), reverse=True)
        page, counted = self._page(newest, query)
        conversations = []
        for session in page:
            read, written = _tokens(sessions[session])
            conversations.append(
                {
                    "session_id": session,
                    "title": f"About {session.removeprefix('session-')}",
                    "input_tokens": read,
                    "output_tokens": written,
                    "total_tokens": read + written,
                    "message_count": len(sessions[session]),
                    "created_at": _text(sessions[session][0].timestamp),
                }
            )
        return {"conversations": conversations, **counted}

    def _hook(self, path: str) -> None:
        if self._options.before_page is not None:
            self._options.before_page(path, self._pages[path])
        self._pages[path] += 1

    def _page(self, rows: Sequence[Any], query: Parameters) -> tuple[Sequence[Any], dict[str, int]]:
        limit, offset = query.number("limit", 50, 1, 100), query.number("offset", 0, 0, 10**9)
        at = 0 if self._options.paging == "ignored" else offset
        return rows[at : at + limit], {"total_count": len(rows), "limit": limit, "offset": at}

    def _window(self, account: str, query: Parameters) -> list[Event]:
        now = self._book.now()
        start = query.time("start_date") or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return self._between(account, start, query.time("end_date") or now, query.key())

    def _between(self, account: str, start: datetime, end: datetime, key: str | None) -> list[Event]:
        """The events from `start` to `end`, both included."""
        events = self._book.events(account, start, end + _MICROSECOND)
        return (
            events
            if key is None or self._options.keys == "ignored"
            else [event for event in events if event.api_key_id == key]
        )

    def _this_month(self, account: str) -> list[Event]:
        return self._book.events(account, self._book.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0))

    def _next_month(self) -> datetime:
        now = self._book.now()
        return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)

    @staticmethod
    def _credits(events: Sequence[Event]) -> float:
        return sum((event.credits for event in events), 0.0)


def _is_file(event: Event) -> bool:
    return event.operation_type == "describe" and event.status_code < 400


def _tokens(events: Sequence[Event]) -> tuple[int, int]:
    return sum(event.input_tokens for event in events), sum(event.output_tokens for event in events)


def _mean(values: Sequence[int]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None


def _listed(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "timestamp": _text(event.timestamp),
        "operation_type": event.operation_type,
        "endpoint": event.endpoint,
        "method": event.method,
        "status_code": event.status_code,
        "response_time_ms": event.response_time_ms,
        "error_code": event.error_code,
        "api_key_id": event.api_key_id,
    }


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
