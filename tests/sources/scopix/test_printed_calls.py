"""The calls that the vendor's page of `client.usage` prints, made as the SDK's requests are: over REST, one test a call.

The page names methods and their parameters, and the fields that its examples read of the answers; both are held to here, so
that neither the sandbox nor the source's columns drift away from it.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.scopix import tables


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {sandbox.scopix.credential().api_key}"}
    with httpx.Client(base_url=f"{sandbox.url}/api/v2/usage", headers=headers, timeout=10) as client:
        yield client


def read(body: Any, path: str) -> Any:
    """The value at `a.b.0.c` of a response; KeyError if it is missing."""
    for name in path.split("."):
        body = body[int(name)] if name.isdigit() else body[name]
    return body


@pytest.mark.parametrize(
    ("path", "parameters", "fields"),
    [
        ("/breakdown", {}, ["usage_percentage", "reset_date"]),
        ("/summary", {}, ["total_credits", "limits.remaining"]),
        ("/details", {"limit": 20}, ["events.0.timestamp", "events.0.endpoint", "events.0.status_code", "events.19.id"]),
        ("/by-period", {"period_type": "day"}, ["data.0.label", "data.0.value"]),
        ("/top-endpoints", {"limit": 5}, ["endpoints.0.endpoint", "endpoints.0.request_count"]),
        (
            "/dashboard-analytics",
            {"period": "week"},
            ["total_files_uploaded", "total_chat_sessions", "daily_activity.0.date", "daily_activity.6.files_uploaded"],
        ),
        ("/plan", {}, ["projections.will_exceed_limit", "plan_details.plan_name", "plan_details.usage_percentage"]),
        ("/plan", {"period": "quarter", "include_projections": str(False)}, ["plan_details.plan_name"]),
        ("/tokens/monthly", {}, ["total_tokens", "total_input_tokens", "total_output_tokens"]),
        ("/tokens/files", {"limit": 10}, ["files.0.filename", "files.9.total_tokens"]),
        (
            "/tokens/conversations",
            {"limit": 10},
            ["conversations.0.title", "conversations.0.total_tokens", "conversations.9.message_count"],
        ),
    ],
)
def test_serves_each_printed_call(client: httpx.Client, path: str, parameters: dict[str, Any], fields: list[str]) -> None:
    """The response has every field that the page's example reads."""
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert all(read(answer.json(), field) is not None for field in fields)


def test_serves_the_printed_check(client: httpx.Client) -> None:
    """`check(analysis_level="thorough", item_count=10)`, with what the example reads in either case."""
    answer = client.post("/check", json={"analysis_level": "thorough", "item_count": 10})
    assert answer.status_code == 200
    assert {"can_proceed", "available_credits", "message"} <= answer.json().keys()


@pytest.mark.parametrize(
    ("path", "items", "identity"),
    [
        ("/details", "events", "id"),
        ("/tokens/files", "files", "image_id"),
        ("/tokens/conversations", "conversations", "session_id"),
    ],
)
def test_the_printed_iterators_read_each_row_once(client: httpx.Client, path: str, items: str, identity: str) -> None:
    """`get_all_…(page_size=50)` reads pages of fifty by offset."""
    window = {"start_date": "2026-03-02T00:00:00Z", "end_date": "2026-03-03T23:59:59Z"} if path == "/details" else {}
    pages = [client.get(path, params={"limit": 50, "offset": offset, **window}).json()[items] for offset in (0, 50, 100)]
    seen = [row[identity] for page in pages for row in page]
    assert len(set(seen)) == len(seen) == 150


@pytest.mark.parametrize(
    ("table", "path", "parameters", "row"),
    [
        (tables.USAGE_EVENTS, "/details", {}, "events.0"),
        (tables.USAGE_BY_PERIOD, "/by-period", {}, "data.0"),
        (tables.USAGE_BREAKDOWN, "/breakdown", {}, ""),
        (tables.TOP_ENDPOINTS, "/top-endpoints", {}, "endpoints.0"),
        (tables.DASHBOARD_DAILY_ACTIVITY, "/dashboard-analytics", {}, "daily_activity.0"),
        (tables.FILE_TOKENS, "/tokens/files", {}, "files.0"),
        (tables.CONVERSATION_TOKENS, "/tokens/conversations", {}, "conversations.0"),
    ],
)
def test_every_field_has_its_own_column(
    client: httpx.Client, table: Any, path: str, parameters: dict[str, Any], row: str
) -> None:
    """No documented field arrives as an undeclared one."""
    body = client.get(path, params=parameters).json()
    item = read(body, row) if row else body
    assert item.keys() <= {column.field for column in table.columns}
