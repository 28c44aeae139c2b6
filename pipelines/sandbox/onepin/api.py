"""`/api/v1/usage/*` as Onepin's reference and the vendor's client onepin 0.16.1 document them.

Documented: the parameters and their values, the fields, the envelope of responses and of errors, that days are local to
`timezone`, that the feed is newest first and paged by a cursor, and that `credits.used` counts the caller in their own
billing period, everything else the workspace. Where the vendor states nothing, the sandbox decides; the docstring of the
function states the decision.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, cast

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import Route

from meterhouse.pipelines.sandbox.onepin.errors import error_body
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
from meterhouse.pipelines.sandbox.onepin.options import Options
from meterhouse.pipelines.sandbox.onepin.parameters import (
    Calendar,
    Range,
    View,
    read_calendar,
    read_choice,
    read_cursor,
    read_limit,
    write_cursor,
)
from meterhouse.pipelines.sandbox.onepin.rate_limit import RateLimit
from meterhouse.pipelines.sandbox.onepin.store import RunStore
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers, endpoint

_UNITS = {"daily": "day", "weekly": "week", "monthly": "month"}
_LABELS = {"daily": "Last 7 days", "weekly": "Last 12 weeks", "monthly": "Last 12 months"}
_DAY = timedelta(days=1)
_BILLING_DAY = 5


class Api:
    """The endpoints."""

    def __init__(self, credentials: Sequence[Credential], usage: RunStore, options: Options) -> None:
        self._credentials = {credential.api_key: credential for credential in credentials}
        self._usage = usage
        self._options = options
        self._rate_limit = RateLimit(options)

    def routes(self) -> list[Route]:
        """Their routes."""
        responses = {
            "usage/summary": self._summary,
            "usage/by-language": self._by_language,
            "usage/activity": self._activity,
            "auth/whoami": self._whoami,
        }
        return [
            Route(f"/api/v1/{path}", endpoint(partial(self._respond, respond)), methods=["GET"])
            for path, respond in responses.items()
        ]

    async def _respond(
        self, respond: Callable[[Credential, QueryParams], dict[str, Any]], request: Request, headers: Headers
    ) -> dict[str, Any]:
        credential = self._authenticated(request)
        self._check_version(request.headers.get("user-agent", ""))
        headers |= self._rate_limit.admit(credential.account, self._usage.now())
        body = respond(credential, request.query_params)
        body["meta"] = {"request_id": identifier("request", request.url), "timestamp": _written(self._usage.now())}
        return body

    def _authenticated(self, request: Request) -> Credential:
        """401 without a known key, 403 for a workspace that the key is not bound to."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        credential = self._credentials.get(key) if scheme.lower() == "bearer" else None
        if credential is None or credential.account in self._options.disabled:
            raise ErrorResponse(401, error_body("INVALID_API_KEY", "Invalid or missing API key"))
        if request.headers.get("x-workspace-id", credential.workspace_id) != credential.workspace_id:
            raise ErrorResponse(403, error_body("FORBIDDEN", "API key is not bound to this workspace"))
        return credential

    def _check_version(self, user_agent: str) -> None:
        """426 for a version of the vendor's own client that is too old; the client 0.16.1 reads the header."""
        required = self._options.required_version
        client = re.match(r"onepin\S*/(\d+(?:\.\d+)*)", user_agent, re.IGNORECASE)
        if required is not None and client is not None and _numbers(client[1]) < _numbers(required):
            headers = {"X-OnePin-Required-Version": required}
            raise ErrorResponse(426, error_body("UPGRADE_REQUIRED", f"Upgrade to {required} or later"), headers)

    def _summary(self, credential: Credential, query: QueryParams) -> dict[str, Any]:
        calendar = read_calendar(query)
        range_, view = read_choice(query, "range", Range, "30d"), read_choice(query, "activity_view", View, "daily")
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

    def _days(self, range_: str, calendar: Calendar) -> list[date]:
        """The local days of a range, up to today or yesterday as the options choose: the vendor does not state which."""
        last = calendar.day(self._usage.now()) - (timedelta() if self._options.includes_today else _DAY)
        count = int(range_.removesuffix("d"))
        return [last - _DAY * back for back in range(count - 1, -1, -1)]

    def _own_credits(self, credential: Credential, now: datetime) -> dict[str, Any]:
        """The credits of the key's owner since the fifth of the month: a billing period can begin on any day."""
        start = now.replace(hour=0, minute=0, second=0, microsecond=0)
        start = (start if start.day >= _BILLING_DAY else start.replace(day=1) - _DAY).replace(day=_BILLING_DAY)
        runs = self._usage.runs(credential.account, start, now + _DAY)
        used = sum(run.credits for run in runs if run.member == credential.owner and run.ended_at <= now)
        return {"used": used, "quota": credential.quota, "percent": min(100.0, round(used / credential.quota * 100, 2))}

    def _by_language(self, credential: Credential, query: QueryParams) -> dict[str, Any]:
        calendar = read_calendar(query)
        range_: Range | None = read_choice(query, "range", Range, "30d")
        view: View | None = read_choice(query, "activity_view", View, "daily") if "activity_view" in query else None
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
        """A page of the feed. Its cursor names the page's last event, so that events that arrive meanwhile shift no page."""
        calendar = read_calendar(query)
        days = self._days(read_choice(query, "range", Range, "30d"), calendar)
        limit = read_limit(query)
        action = read_choice(query, "type", Action, "workflow_run") if "type" in query else None
        member = query.get("user_id")
        if member is not None and member not in {known.id for known in MEMBERS[credential.account]}:
            raise ErrorResponse(404, error_body("NOT_FOUND", "User is not a member of this workspace"))
        events = [
            event
            for event in self._usage.events(credential.account, calendar.midnight(days[0]), datetime.max.replace(tzinfo=UTC))
            if action in {None, event.action} and (member is None or (event.member and event.member.id == member))
        ]
        if cursor := query.get("cursor"):
            before = read_cursor(cursor)
            events = [event for event in events if (_written(event.timestamp), event.id) < before]
        page = events[:limit]
        following = write_cursor(_written(page[-1].timestamp), page[-1].id) if len(events) > limit else None
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
        """Credits of runs that have settled; characters and lines of runs that have left the queue."""
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
    """The number of runs by state; a version without pauses counts a parked run as running."""
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


def _edges(view: View, calendar: Calendar, now: datetime) -> list[tuple[date, date]]:
    """First day of each bucket and of the next: 7 days, 12 weeks from Monday, or 12 months; the running one comes last."""
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
    view: View, edges: list[tuple[date, date]], runs: Sequence[Run], calendar: Calendar, now: datetime
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


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
