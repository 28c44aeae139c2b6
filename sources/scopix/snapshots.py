"""Reads the tables of the present: requested in each run, kept once a day."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from meterhouse.sources._core.http.client import Params
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.schema import TIMESTAMP, Table
from meterhouse.sources._core.windows import Window, floor

from .client import ScopixClient, end_text, start_text
from .constants import BREAKDOWN, PLAN, SUMMARY, TOP_ENDPOINTS
from .fields import flatten


def read_summary(client: ScopixClient, window: Window, *, table: Table, period: str) -> FetchResult:
    """The summary of the running period."""
    payload = client.get(SUMMARY, {"period": period})
    sections = {"period": "period_", "usage": "", "performance": "", "limits": "limits_", "plan": "plan_"}
    return _one_row(table, window, flatten(payload, sections), period=period)


def read_breakdown(client: ScopixClient, window: Window, *, table: Table) -> FetchResult:
    """The credits of the running billing period."""
    return _one_row(table, window, client.get(BREAKDOWN, {}))


def read_check(client: ScopixClient, window: Window, *, table: Table, operation: Mapping[str, Any]) -> FetchResult:
    """Whether Scopix would allow the configured operation."""
    return _one_row(table, window, client.check(operation), **operation)


def read_top_endpoints(client: ScopixClient, window: Window, *, table: Table, limit: int) -> FetchResult:
    """The most used endpoints in the calendar month of the snapshot: a month's last snapshot covers all of it."""
    start = floor(window.start, "month")
    params: Params = {"limit": limit, "start_date": start_text(start), "end_date": end_text(window.end)}
    endpoints = client.get(TOP_ENDPOINTS, params, list_field="endpoints")["endpoints"]
    ranks = pa.array(range(1, len(endpoints) + 1), pa.int64())
    starts = pa.array([start] * len(endpoints), TIMESTAMP)
    return FetchResult(table.rows(endpoints, snapshot_date=window.start.date(), rank=ranks, period_start=starts), window)


def read_dashboard(client: ScopixClient, window: Window, *, table: Table, period: str) -> FetchResult:
    """The totals of the dashboard; its days are the table `dashboard_daily_activity`."""
    payload = client.dashboard(period, table)
    totals = {name: value for name, value in payload.items() if name != "daily_activity"}
    return _one_row(table, window, totals, period=period)


def read_plan(client: ScopixClient, window: Window, *, table: Table, period: str, include_projections: bool) -> FetchResult:
    """The plan, its used part, and Scopix' forecast."""
    payload = client.get(PLAN, {"period": period, "include_projections": "true" if include_projections else "false"})
    sections = {"billing_period": "billing_", "plan_details": "", "projections": "", "optimization_recommendations": ""}
    return _one_row(table, window, flatten(payload, sections), period=period)


def _one_row(table: Table, window: Window, row: dict[str, Any], **computed: Any) -> FetchResult:
    return FetchResult(table.rows([row], snapshot_date=window.start.date(), **computed), window)
