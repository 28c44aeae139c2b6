"""The calls in the vendor's documentation of `client.usage`, sent over REST as its SDK sends them.

The page documents methods, parameters, and the fields that its examples read. These tests keep the sandbox and the columns
of the source in line with it.
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
    with httpx.Client(base_url=f"{sandbox.url}/api/v2/usage", headers=headers, timeout=60) as client:
        yield client


def read(body: Any, path: str) -> Any:
    """The value at a path such as `a.b.0.c`; KeyError if there is none."""
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
def test_a_documented_call_returns_the_fields_of_its_example(
    client: httpx.Client, path: str, parameters: dict[str, Any], fields: list[str]
) -> None:
    """Every field that the example reads has a value."""
    response = client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    assert all(read(response.json(), field) is not None for field in fields)


def test_the_documented_check_returns_the_fields_of_its_example(client: httpx.Client) -> None:
    """`check(analysis_level="thorough", item_count=10)` returns the fields for both outcomes."""
    response = client.post("/check", json={"analysis_level": "thorough", "item_count": 10})
    assert response.status_code == 200
    assert {"can_proceed", "available_credits", "message"} <= response.json().keys()


@pytest.mark.parametrize(
    ("path", "items", "identity"),
    [
        ("/details", "events", "id"),
        ("/tokens/files", "files", "image_id"),
        ("/tokens/conversations", "conversations", "session_id"),
    ],
)
def test_the_documented_iterators_read_each_row_once(client: httpx.Client, path: str, items: str, identity: str) -> None:
    """`get_all_…(page_size=50)` requests pages of fifty by offset, and no row comes twice."""
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
def test_every_field_has_a_column(client: httpx.Client, table: Any, path: str, parameters: dict[str, Any], row: str) -> None:
    """No field of a response is loaded as an undeclared one."""
    body = client.get(path, params=parameters).json()
    item = read(body, row) if row else body
    assert item.keys() <= {column.field for column in table.columns}
