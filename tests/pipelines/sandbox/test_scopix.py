"""`/api/v2/usage/*` responds as the OpenAPI and the SDK reference (scopix.ai/docs/sdk/reference/resources/usage) state."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event

from .conftest import NOW

WINDOW = {"start_date": "2026-03-02T00:00:00Z", "end_date": "2026-03-08T23:59:59.999999Z"}


@pytest.fixture(scope="module")
def client(running_sandbox: Sandbox) -> Iterator[httpx.Client]:
    key = running_sandbox.scopix.credential().api_key
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{running_sandbox.url}/api/v2/usage", headers=headers, timeout=60) as client:
        yield client


def get(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    response = client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_all_endpoints_agree_on_a_week(sandbox: Sandbox, client: httpx.Client) -> None:
    """Events, buckets, the summary, endpoints and tokens are sums of the same events."""
    usage = sandbox.scopix.usage
    requests = usage.total("2026-03-02", "2026-03-09")
    assert 500 < requests < 3000
    assert get(client, "/details", **WINDOW)["total_count"] == requests
    for unit in ("hour", "day", "month"):
        points = get(client, "/by-period", period_type=unit, **WINDOW)["data"]
        assert sum(point["value"] for point in points) == requests
    summary = get(client, "/summary", **WINDOW)
    assert summary["usage"]["total_requests"] == requests
    assert summary["total_credits"] == usage.total("2026-03-02", "2026-03-09", what="credits")
    assert sum(entry["request_count"] for entry in get(client, "/top-endpoints", **WINDOW)["endpoints"]) == requests
    tokens = get(client, "/tokens/monthly", start_date="2026-03-02", end_date="2026-03-08")
    assert tokens["total_input_tokens"] == usage.total("2026-03-02", "2026-03-09", what="input_tokens")
    activity = {day["date"]: day for day in get(client, "/dashboard-analytics", period="month")["daily_activity"]}
    described = usage.total("2026-03-04", "2026-03-05", operation_type="describe", status_code=200)
    assert activity["2026-03-04"]["files_uploaded"] == described


def test_summaries_by_key_add_up(sandbox: Sandbox, client: httpx.Client) -> None:
    """The requests of all keys and those without one add up to the requests of the account."""
    keys = [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"]
    each = [get(client, "/summary", api_key_id=key, **WINDOW)["usage"]["total_requests"] for key in keys]
    console = sandbox.scopix.usage.total("2026-03-02", "2026-03-09", api_key_id=None)
    assert all(each)
    assert sum(each) + console == get(client, "/summary", **WINDOW)["usage"]["total_requests"]


def test_events_come_newest_first_in_both_envelopes(sandbox: Sandbox, client: httpx.Client) -> None:
    """Details are paged by limit and offset (newer reference) or by page and page_size (older)."""
    newer = get(client, "/details", limit=100, offset=50, page=7, **WINDOW)
    assert [event["timestamp"] for event in newer["events"]] == sorted(
        (event["timestamp"] for event in newer["events"]), reverse=True
    )
    assert set(newer["events"][0]) >= {"id", "operation_type", "endpoint", "method", "status_code", "response_time_ms"}
    sandbox.scopix.options.envelope = "page"
    older = get(client, "/details", page=2, page_size=50, limit=3, **WINDOW)
    assert [event["id"] for event in older["events"]] == [event["id"] for event in newer["events"][:50]]
    assert older["pagination"]["total_pages"] == -(-newer["total_count"] // 50)


def test_events_can_arrive_between_pages(sandbox: Sandbox, client: httpx.Client) -> None:
    """`before_page` is called before each page, and the page has what arrives in it."""
    usage, called = sandbox.scopix.usage, []

    def before(path: str, number: int) -> None:
        called.append((path, number))
        usage.arrive(Event(f"late-{number}", NOW - timedelta(days=2)))

    sandbox.scopix.options.before_page = before
    counts = [get(client, "/details", offset=offset)["total_count"] for offset in (0, 50)]
    assert counts[1] == counts[0] + 1
    assert [path for path, _ in called] == ["/api/v2/usage/details"] * 2
    assert called[1][1] == called[0][1] + 1
    usage.reset()
    assert get(client, "/details")["total_count"] == counts[0] - 1


def test_token_lists_come_newest_first(sandbox: Sandbox, client: httpx.Client) -> None:
    """Files and conversations come newest first (stated for the latter), at most 100, with their number."""
    sandbox.scopix.usage.set(
        Event(
            f"{number:08}", NOW - timedelta(hours=number), input_tokens=2, output_tokens=1, session=f"session-{number // 2}"
        )
        for number in range(220)
    )
    for path, items, identity, count in (
        ("files", "files", "image_id", 220),
        ("conversations", "conversations", "session_id", 110),
    ):
        body = get(client, f"/tokens/{path}", limit=100)
        rows = body[items]
        assert (len(rows), body["total_count"]) == (100, count)
        assert len({row[identity] for row in rows}) == 100
        moments = [datetime.fromisoformat(row["created_at"]) for row in rows]
        assert moments == sorted(moments, reverse=True)
        assert all(row["total_tokens"] == row["input_tokens"] + row["output_tokens"] for row in rows)


def test_an_older_server_has_tokens_by_year_and_month(sandbox: Sandbox, client: httpx.Client) -> None:
    """The older reference takes year and month, and its server ignores dates (inferred)."""
    sandbox.scopix.options.tokens = "months"
    february = get(client, "/tokens/monthly", year=2026, month=2)
    assert (february["year"], february["month"]) == (2026, 2)
    assert get(client, "/tokens/monthly", start_date="2026-02-01", end_date="2026-02-01")["month"] == 3


def test_plan_breakdown_and_check_agree_on_the_month(sandbox: Sandbox, client: httpx.Client) -> None:
    """Plan, breakdown, summary and check return the credits and requests since the first of the month."""
    used = sandbox.scopix.usage.total("2026-03-01", what="credits")
    assert get(client, "/breakdown")["total_credits_used"] == used
    assert get(client, "/summary")["limits"]["used_this_month"] == used
    assert get(client, "/plan")["plan_details"]["requests_used"] == sandbox.scopix.usage.total("2026-03-01")
    for text in ("false", "False"):
        assert get(client, "/plan", include_projections=text)["projections"] is None
    assert get(client, "/plan", include_projections=str(True))["projections"]
    body = client.post("/check", json={"analysis_level": "thorough", "item_count": 10}).json()
    assert (body["required_credits"], body["can_proceed"]) == (40, True)
    assert client.post("/check", json={"item_count": 10**6}).json()["can_proceed"] is False
    for count in (-3, 0, "many"):
        assert client.post("/check", json={"item_count": count}).status_code == 422


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/details", {"limit": 101}),
        ("/details", {"offset": -1}),
        ("/details", {"start_date": "yesterday"}),
        ("/by-period", {"period_type": "week"}),
        ("/summary", {"period": "year"}),
        ("/summary", {"api_key_id": "mine"}),
        ("/top-endpoints", {"limit": 51}),
        ("/plan", {"period": "week"}),
    ],
)
def test_a_bad_parameter_is_a_422(client: httpx.Client, path: str, parameters: dict[str, Any]) -> None:
    """A bad parameter gets 422 in the form of FastAPI, as the OpenAPI states."""
    response = client.get(path, params=parameters)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", next(iter(parameters))]


def test_keys_tenants_and_subscriptions_are_checked(sandbox: Sandbox, client: httpx.Client, http: httpx.Client) -> None:
    """A wrong key gets 401, another tenant 403, an unpaid subscription 402, as documented, in the vendor's envelope."""
    nobody = http.get(f"{sandbox.url}/api/v2/usage/summary", headers={"Authorization": "Bearer scopix_nobody"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "INVALID_API_KEY")
    assert client.get("/summary", headers={"X-Tenant-ID": "tenant-studio"}).status_code == 403
    assert client.get("/summary", headers={"X-Tenant-ID": "tenant-default"}).status_code == 200
    sandbox.scopix.options.past_due.add("default")
    assert client.get("/summary").status_code == 402


def test_an_unknown_path_is_a_404_in_the_envelope(sandbox: Sandbox, client: httpx.Client, http: httpx.Client) -> None:
    """An unknown path gets 404 in the vendor's envelope, below `usage` and elsewhere."""
    for response in (client.get("/nothing"), http.get(f"{sandbox.url}/api/v2/nothing/at/all")):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_every_response_states_the_limit(http: httpx.Client) -> None:
    """Every response has the documented headers, a 422 too; `documented_limits` sets the limits of scopix.ai, 30 and 60."""
    for documented, limit, check_limit in ((False, "100000", "100000"), (True, "30", "60")):
        with Sandbox(clock=lambda: NOW, documented_limits=documented) as sandbox:
            headers, url = {"Authorization": f"Bearer {sandbox.scopix.credential().api_key}"}, f"{sandbox.url}/api/v2/usage"
            response = http.get(f"{url}/top-endpoints", headers=headers, params={"limit": 51})
            assert response.status_code == 422
            assert response.headers["x-ratelimit-limit"] == limit
            assert response.headers["x-ratelimit-remaining"] == str(int(limit) - 1)
            assert http.post(f"{url}/check", headers=headers, json={}).headers["x-ratelimit-limit"] == check_limit
            assert sandbox.variables()["SOURCES__SCOPIX__REQUESTS_PER_MINUTE"] == limit
            assert sandbox.settings()["scopix"]["check_requests_per_minute"] == int(check_limit)


def test_requests_beyond_the_limit_get_a_429() -> None:
    """The thirty-first request of a minute gets 429 and Retry-After, as documented; `check` has its own limit."""
    now = 1_000.0
    with Sandbox(clock=lambda: NOW, documented_limits=True) as sandbox:
        sandbox.scopix.options.clock = lambda: now
        headers = {"Authorization": f"Bearer {sandbox.scopix.credential().api_key}"}
        with httpx.Client(base_url=f"{sandbox.url}/api/v2/usage", headers=headers) as client:
            statuses = [client.get("/breakdown").status_code for _ in range(31)]
            assert statuses == [200] * 30 + [429]
            refused = client.get("/breakdown")
            assert refused.json()["error"]["code"] == "RATE_LIMIT_ERROR"
            assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"] == "60"
            assert refused.headers["x-ratelimit-limit"] == "30"
            assert client.post("/check", json={}).headers["x-ratelimit-remaining"] == "59"
            now += 60
            assert client.get("/breakdown").status_code == 200
