"""`/api/v1/usage/*` as Onepin's reference and the vendor's client onepin 0.16.1 document them.

Documented: the parameters and their values, the fields, the envelope of answers and of errors, that days are local to
`timezone`, that the feed is newest first and paged by a cursor, that `credits.used` is the caller's own billing period and
all else the workspace's. Where the vendor says nothing, the sandbox decides, and each decision is a sentence in the
docstring of the function that takes it.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.pipelines.sandbox.onepin.fixtures import (
    LANGUAGES,
    MEMBERS,
    QUEUE,
    UNTAGGED,
    Action,
    Credential,
    Event,
    Run,
    identifier,
)
from meterhouse.pipelines.sandbox.onepin.rate_limit import Gate, Options, RefusedError
from meterhouse.pipelines.sandbox.onepin.store import UsageBook

Range = Literal["30d", "60d", "90d"]
View = Literal["daily", "weekly", "monthly"]
_UNITS = {"daily": "day", "weekly": "week", "monthly": "month"}
_LABELS = {"daily": "Last 7 days", "weekly": "Last 12 weeks", "monthly": "Last 12 months"}
_DAY = timedelta(days=1)
_BILLING_DAY = 5


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Local days of one time zone."""

    name: str
    zone: ZoneInfo

    def midnight(self, day: date) -> datetime:
        """When the local day begins, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def day(self, moment: datetime) -> date:
        """The local day that holds a moment."""
        return moment.astimezone(self.zone).date()


def envelope_of_error(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The body of an error: `details` name the parameter where one is to blame."""
    error: dict[str, Any] = {"code": code, "message": message}
    if field is not None:
        error["details"] = [{"field": field, "message": message}]
    return {"error": error, "meta": {"request_id": identifier("error", code, message), "timestamp": "2026-01-01T00:00:00Z"}}


class UsageApi:
    """The endpoints: each authenticates, reads its parameters, and answers from the book."""

    def __init__(self, credentials: Sequence[Credential], usage: UsageBook, options: Options) -> None:
        self._credentials = {credential.api_key: credential for credential in credentials}
        self._usage = usage
        self._options = options
        self._gate = Gate(options)

    async def summary(self, request: Request) -> Response:
        """`GET /api/v1/usage/summary`."""
        return self._answer(request, self._summary)

    async def by_language(self, request: Request) -> Response:
        """`GET /api/v1/usage/by-language`."""
        return self._answer(request, self._by_language)

    async def activity(self, request: Request) -> Response:
        """`GET /api/v1/usage/activity`."""
        return self._answer(request, self._activity)

    async def whoami(self, request: Request) -> Response:
        """`GET /api/v1/auth/whoami`."""
        return self._answer(request, self._whoami)

    def _answer(self, request: Request, answer: Callable[[Credential, QueryParams], dict[str, Any]]) -> Response:
        headers: dict[str, str] = {}
        try:
            credential = self._authenticated(request)
            headers = self._gate.admit(credential.account, request.headers.get("user-agent", ""), self._usage.now())
            body = answer(credential, request.query_params)
        except RefusedError as refused:
            body = envelope_of_error(refused.code, str(refused), refused.field)
            return _json(body, refused.status, headers | refused.headers)
        body["meta"] = {"request_id": identifier("request", request.url), "timestamp": _written(self._usage.now())}
        return _json(body, headers=headers)

    def _authenticated(self, request: Request) -> Credential:
        """401 without a key that is known, 403 for a workspace that the key is not bound to."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        credential = self._credentials.get(key) if scheme.lower() == "bearer" else None
        if credential is None or credential.account in self._options.disabled:
            raise RefusedError(401, "INVALID_API_KEY", "Invalid or missing API key")
        if request.headers.get("x-workspace-id", credential.workspace_id) != credential.workspace_id:
            raise RefusedError(403, "FORBIDDEN", "API key is not bound to this workspace")
        return credential

    def _summary(self, credential: Credential, query: QueryParams) -> dict[str, Any]:
        calendar = _calendar(query)
        range_, view = _choice(query, "range", Range, "30d"), _choice(query, "activity_view", View, "daily")
        now = self._usage.now()
        days = self._days(range_, calendar)
        edges = [*_edges(view, calendar, now)]
        start = min(calendar.midnight(days[0]), calendar.midnight(edges[0][0]))
        runs = self._usage.runs(credential.account, start, now + _DAY)
        first, last = calendar.midnight(days[0]), calendar.midnight(days[-1] + _DAY)
        within = [run for run in runs if first <= run.started_at < last]
        totals = _Totals.of(within, now)
        newer = self._options.version == "newer"
        data: dict[str, Any] = {
            "range": range_,
            "activity_view": view,
            "timezone": calendar.name,
            "period": {"start": _written(first), "end": _written(last)},
            "credits": self._own_credits(credential, now),
            "characters": {"total": totals.characters},
        }
        if newer:
            data["corrected"] = {"total": sum(run.corrected for run in within if run.ended_at <= now)}
        data["lines"] = {
            "total": totals.lines,
            "avg_chars_per_line": round(totals.characters / totals.lines, 2) if totals.lines else None,
        }
        if newer:
            data["audio"] = {"total_ms": sum(run.audio_ms for run in within if run.ended_at <= now)}
        data["runs"] = _states(within, now, newer=newer)
        data["activity"] = _activity_of(view, edges, runs, calendar, now)
        by_day: dict[date, list[Run]] = {day: [] for day in days}
        for run in within:
            by_day[calendar.day(run.started_at)].append(run)
        data["daily"] = [
            {"date": day.isoformat(), **_Totals.of(found, now).counts()}
            for day, found in by_day.items()
            if found or not self._options.sparse
        ]
        return {"data": data}

    def _days(self, range_: str, calendar: _Calendar) -> list[date]:
        """So many local days, up to today or, by the options, to yesterday: which of them the vendor does not say."""
        last = calendar.day(self._usage.now()) - (timedelta() if self._options.includes_today else _DAY)
        count = int(range_.removesuffix("d"))
        return [last - _DAY * back for back in range(count - 1, -1, -1)]

    def _own_credits(self, credential: Credential, now: datetime) -> dict[str, Any]:
        """Of the key's owner alone, since the fifth of the month: billing periods begin on any day."""
        start = now.replace(hour=0, minute=0, second=0, microsecond=0)
        start = (start if start.day >= _BILLING_DAY else start.replace(day=1) - _DAY).replace(day=_BILLING_DAY)
        runs = self._usage.runs(credential.account, start, now + _DAY)
        used = sum(run.credits for run in runs if run.member == credential.owner and run.ended_at <= now)
        return {"used": used, "quota": credential.quota, "percent": min(100.0, round(used / credential.quota * 100, 2))}

    def _by_language(self, credential: Credential, query: QueryParams) -> dict[str, Any]:
        calendar = _calendar(query)
        range_: Range | None = _choice(query, "range", Range, "30d")
        view: View | None = _choice(query, "activity_view", View, "daily") if "activity_view" in query else None
        now = self._usage.now()
        if view is not None:
            range_ = None
            edges = [*_edges(view, calendar, now)]
            first, last = calendar.midnight(edges[0][0]), calendar.midnight(edges[-1][1])
        else:
            days = self._days(cast("str", range_), calendar)
            first, last = calendar.midnight(days[0]), calendar.midnight(days[-1] + _DAY)
        runs = self._usage.runs(credential.account, first, last)
        total = sum(run.credits for run in runs if run.ended_at <= now)
        rows = []
        for locale, name in LANGUAGES.items():
            spoken = [run for run in runs if run.locale == locale]
            if not spoken:
                continue
            counted = _Totals.of(spoken, now)
            row: dict[str, Any] = {
                "locale_code": locale,
                "display_name": name,
                "share": round(counted.credits / total, 4) if total else 0.0,
                "credits": counted.credits,
                "characters": counted.characters,
            }
            if self._options.version == "newer":
                row["corrected"] = sum(run.corrected for run in spoken if run.ended_at <= now)
            rows.append({**row, "lines": counted.lines, "allocation_basis": "characters"})
        return {
            "data": {
                "range": range_,
                "activity_view": view,
                "timezone": calendar.name,
                "period": {"start": _written(first), "end": _written(last)},
                "languages": sorted(rows, key=lambda row: -row["credits"]),
                "total_credits": total,
                "untagged_credits": sum(run.credits for run in runs if run.locale == UNTAGGED and run.ended_at <= now),
            }
        }

    def _activity(self, credential: Credential, query: QueryParams) -> dict[str, Any]:
        """A cursor names the last event of its page, so that events that arrive meanwhile shift nothing."""
        calendar = _calendar(query)
        days = self._days(_choice(query, "range", Range, "30d"), calendar)
        limit = _limit(query)
        action = _choice(query, "type", Action, "workflow_run") if "type" in query else None
        member = query.get("user_id")
        if member is not None and member not in {known.id for known in MEMBERS[credential.account]}:
            raise RefusedError(404, "NOT_FOUND", "User is not a member of this workspace")
        events = [
            event
            for event in self._usage.events(credential.account, calendar.midnight(days[0]), datetime.max.replace(tzinfo=UTC))
            if action in {None, event.action} and (member is None or (event.member and event.member.id == member))
        ]
        if cursor := query.get("cursor"):
            before = _read_cursor(cursor)
            events = [event for event in events if (_written(event.timestamp), event.id) < before]
        page = events[:limit]
        following = _cursor(page[-1]) if len(events) > limit else None
        return {
            "data": [_shown(event) for event in page],
            "pagination": {"next": following, "prev": None, "limit": limit},
        }

    def _whoami(self, credential: Credential, _: QueryParams) -> dict[str, Any]:
        return {
            "data": {
                "auth_kind": "api_key",
                "user_id": credential.owner.id,
                "workspace_id": credential.workspace_id,
                "api_key_id": identifier("key", credential.api_key),
                "scopes": ["workspace:read"],
            }
        }


@dataclass(frozen=True, slots=True)
class _Totals:
    credits: int
    characters: int
    lines: int
    runs: int

    @classmethod
    def of(cls, runs: Sequence[Run], now: datetime) -> "_Totals":
        """Credits of runs that have settled, characters and lines of those that have left the queue."""
        begun = [run for run in runs if run.started_at + QUEUE <= now]
        return cls(
            credits=sum(run.credits for run in runs if run.ended_at <= now),
            characters=sum(run.characters for run in begun),
            lines=sum(run.lines for run in begun),
            runs=len(runs),
        )

    def counts(self) -> dict[str, int]:
        return {"credits": self.credits, "characters": self.characters, "lines": self.lines, "runs": self.runs}


def _states(runs: Sequence[Run], now: datetime, *, newer: bool) -> dict[str, int]:
    """How many runs are in which state; a version that knows no pause counts a parked run as running."""
    states = dict.fromkeys(("completed", "failed", "cancelled", "running", "pending", "paused"), 0)
    for run in runs:
        if run.ended_at <= now:
            states[run.outcome] += 1
        elif run.started_at + QUEUE > now:
            states["pending"] += 1
        else:
            states["paused" if run.parked and newer else "running"] += 1
    if not newer:
        del states["paused"]
    return {"total": len(runs), **states}


def _edges(view: View, calendar: _Calendar, now: datetime) -> list[tuple[date, date]]:
    """First day and the day after the last of each bucket: 7 days, 12 weeks from Monday, 12 months, the running one last."""
    today = calendar.day(now)
    if view == "daily":
        return [(today - _DAY * back, today - _DAY * (back - 1)) for back in range(6, -1, -1)]
    if view == "weekly":
        monday = today - _DAY * today.weekday()
        return [(monday - _DAY * 7 * back, monday - _DAY * 7 * (back - 1)) for back in range(11, -1, -1)]
    months = [today.year * 12 + today.month - 1 - back for back in range(11, -1, -1)]
    return [(_month(month), _month(month + 1)) for month in months]


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _activity_of(
    view: View, edges: list[tuple[date, date]], runs: Sequence[Run], calendar: _Calendar, now: datetime
) -> dict[str, Any]:
    """The chart: `total`, `avg` and `peak` are credits."""
    buckets: list[dict[str, Any]] = []
    for number, (first, behind) in enumerate(edges):
        start, end = calendar.midnight(first), calendar.midnight(behind)
        counts = _Totals.of([run for run in runs if start <= run.started_at < end], now).counts()
        label = {"daily": f"{first:%a}", "weekly": f"Week {number + 1}", "monthly": f"{first:%b}"}[view]
        buckets.append({"label": label, "start": _written(start), "end": _written(end), **counts})
    total = sum(bucket["credits"] for bucket in buckets)
    peak = max(buckets, key=lambda bucket: bucket["credits"])
    return {
        "view": view,
        "bucket_unit": _UNITS[view],
        "range_label": _LABELS[view],
        "total": total,
        "avg": round(total / len(buckets), 1),
        "buckets": buckets,
        "peak": {"value": peak["credits"], **{name: peak[name] for name in ("label", "start", "end")}} if total else None,
    }


def _shown(event: Event) -> dict[str, Any]:
    kind, name, title = event.resource
    return {
        "id": event.id,
        "timestamp": _written(event.timestamp),
        "user": {"id": event.member.id, "name": event.member.name} if event.member else None,
        "action": event.action,
        "kind": event.kind,
        "resource": {"type": kind, "id": name, "name": title},
        "metadata": event.metadata,
        "ip": event.ip,
    }


def _calendar(query: QueryParams) -> _Calendar:
    name = query.get("timezone", "UTC")
    try:
        return _Calendar(name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        raise RefusedError(422, "VALIDATION_ERROR", f"Unknown IANA timezone: {name}", "timezone") from None


def _choice(query: QueryParams, name: str, kind: Any, default: str) -> Any:
    value = query.get(name, default)
    if value not in get_args(kind):
        raise RefusedError(422, "VALIDATION_ERROR", f"{name} should be one of {', '.join(get_args(kind))}", name)
    return value


def _limit(query: QueryParams) -> int:
    text = query.get("limit", "20")
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    raise RefusedError(422, "VALIDATION_ERROR", "limit should be a whole number from 1 to 100", "limit")


def _cursor(event: Event) -> str:
    return base64.urlsafe_b64encode(f"{_written(event.timestamp)} {event.id}".encode()).decode()


def _read_cursor(text: str) -> tuple[str, str]:
    try:
        moment, _, name = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
    except (binascii.Error, ValueError):
        moment, name = "", ""
    if not name:
        raise RefusedError(400, "BAD_REQUEST", "Invalid cursor", "cursor")
    return moment, name


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
