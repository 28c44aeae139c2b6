"""The tables that only tell of the present: asked once a run, kept once a day."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import TIMESTAMP, Table
from meterhouse.sources._core.windows import Window, floor

from .client import Ask, end_text, start_text
from .constants import BREAKDOWN, CHECK, PLAN, SUMMARY, TOP_ENDPOINTS
from .errors import flattened


def read_summary(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The summary of the running period."""
    payload = ask.asker.get(SUMMARY, {"period": ask.of("period")})
    sections = {"period": "period_", "usage": "", "performance": "", "limits": "limits_", "plan": "plan_"}
    return _one(table, window, flattened(payload, sections), period=ask.of("period"))


def read_breakdown(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The credits of the running billing period."""
    return _one(table, window, ask.asker.get(BREAKDOWN, {}))


def read_check(ask: Ask, window: Window, *, table: Table, operation: Mapping[str, Any]) -> FetchResult:
    """Whether the configured operation would be let through."""
    return _one(table, window, ask.asker.check(CHECK, asked_operation(operation)), **operation)


def asked_operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `check`: without what is not set."""
    return {name: value for name, value in operation.items() if value != ""}


def read_top_endpoints(ask: Ask, window: Window, *, table: Table, limit: int) -> FetchResult:
    """The endpoints used most in the calendar month of the snapshot: the last snapshot of a month is that of the month."""
    start = floor(window.start, "month")
    params: Params = {"limit": limit, "start_date": start_text(start), "end_date": end_text(window.end)}
    endpoints = ask.asker.get(TOP_ENDPOINTS, params, answers="endpoints")["endpoints"]
    ranks = pa.array(range(1, len(endpoints) + 1), pa.int64())
    starts = pa.array([start] * len(endpoints), TIMESTAMP)
    return FetchResult(table.rows(endpoints, snapshot_date=window.start.date(), rank=ranks, period_start=starts), window)


def read_dashboard(ask: Ask, window: Window, *, table: Table) -> FetchResult:
    """The totals of the dashboard; its days are the table `dashboard_daily_activity`."""
    payload = ask.asker.dashboard(ask.of("period"), table)
    totals = {name: value for name, value in payload.items() if name != "daily_activity"}
    return _one(table, window, totals, period=ask.of("period"))


def read_plan(ask: Ask, window: Window, *, table: Table, include_projections: bool) -> FetchResult:
    """The plan, what is used of it, and what the vendor expects."""
    payload = ask.asker.get(
        PLAN, {"period": ask.of("period"), "include_projections": "true" if include_projections else "false"}
    )
    sections = {"billing_period": "billing_", "plan_details": "", "projections": "", "optimization_recommendations": ""}
    return _one(table, window, flattened(payload, sections), period=ask.of("period"))


def _one(table: Table, window: Window, row: dict[str, Any], **filled: Any) -> FetchResult:
    return FetchResult(table.rows([row], snapshot_date=window.start.date(), **filled), window)
