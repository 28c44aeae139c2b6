"""The usage resource of Scopix as the vendor documents it, asked over HTTP."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.scopix import Event

from .conftest import NOW

WINDOW = {"start_date": "2026-03-02T00:00:00Z", "end_date": "2026-03-08T23:59:59.999999Z"}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    key = sandbox.scopix.credential().api_key
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{sandbox.url}/api/v2/usage", headers=headers, timeout=10) as client:
        yield client


def ask(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_every_endpoint_says_the_same_of_the_same_week(sandbox: Sandbox, client: httpx.Client) -> None:
    """Events, buckets, the summary, endpoints and tokens are sums over the same events."""
    usage = sandbox.scopix.usage
    requests = usage.total("2026-03-02", "2026-03-09")
    assert 500 < requests < 3000
    assert ask(client, "/details", **WINDOW)["total_count"] == requests
    for unit in ("hour", "day", "month"):
        points = ask(client, "/by-period", period_type=unit, **WINDOW)["data"]
        assert sum(point["value"] for point in points) == requests
    summary = ask(client, "/summary", **WINDOW)
    assert summary["usage"]["total_requests"] == requests
    assert summary["total_credits"] == usage.total("2026-03-02", "2026-03-09", what="credits")
    assert sum(entry["request_count"] for entry in ask(client, "/top-endpoints", **WINDOW)["endpoints"]) == requests
    tokens = ask(client, "/tokens/monthly", start_date="2026-03-02", end_date="2026-03-08")
    assert tokens["total_input_tokens"] == usage.total("2026-03-02", "2026-03-09", what="input_tokens")
    activity = {day["date"]: day for day in ask(client, "/dashboard-analytics", period="month")["daily_activity"]}
    described = usage.total("2026-03-04", "2026-03-05", operation_type="describe", status_code=200)
    assert activity["2026-03-04"]["files_uploaded"] == described


def test_summaries_of_keys_add_up(sandbox: Sandbox, client: httpx.Client) -> None:
    """Each request has one key or none."""
    keys = [key.api_key_id for key in sandbox.scopix.credentials if key.account == "default"]
    each = [ask(client, "/summary", api_key_id=key, **WINDOW)["usage"]["total_requests"] for key in keys]
    console = sandbox.scopix.usage.total("2026-03-02", "2026-03-09", api_key_id=None)
    assert all(each)
    assert sum(each) + console == ask(client, "/summary", **WINDOW)["usage"]["total_requests"]


def test_events_are_newest_first_in_either_envelope(sandbox: Sandbox, client: httpx.Client) -> None:
    """By limit and offset, or by page and page_size; each passes over the other's parameters."""
    newer = ask(client, "/details", limit=100, offset=50, page=7, **WINDOW)
    assert [event["timestamp"] for event in newer["events"]] == sorted(
        (event["timestamp"] for event in newer["events"]), reverse=True
    )
    assert set(newer["events"][0]) >= {"id", "operation_type", "endpoint", "method", "status_code", "response_time_ms"}
    sandbox.scopix.options.envelope = "page"
    older = ask(client, "/details", page=2, page_size=50, limit=3, **WINDOW)
    assert [event["id"] for event in older["events"]] == [event["id"] for event in newer["events"][:50]]
    assert older["pagination"]["total_pages"] == -(-newer["total_count"] // 50)


def test_what_happens_between_pages(sandbox: Sandbox, client: httpx.Client) -> None:
    """The hook is called before a page, and what arrives then is in it."""
    usage, called = sandbox.scopix.usage, []

    def before(path: str, number: int) -> None:
        called.append((path, number))
        usage.arrive(Event(f"late-{number}", NOW - timedelta(days=2)))

    sandbox.scopix.options.before_page = before
    counts = [ask(client, "/details", offset=offset)["total_count"] for offset in (0, 50)]
    assert counts[1] == counts[0] + 1
    assert called == [("/api/v2/usage/details", 0), ("/api/v2/usage/details", 1)]
    usage.reset()
    assert ask(client, "/details")["total_count"] == counts[0] - 1


def test_lists_of_tokens(client: httpx.Client) -> None:
    """Files and conversations, newest first, counted, with their sums."""
    for path, items, identity in (("files", "files", "image_id"), ("conversations", "conversations", "session_id")):
        answer = ask(client, f"/tokens/{path}", limit=100)
        rows = answer[items]
        assert len(rows) == 100 < answer["total_count"]
        assert len({row[identity] for row in rows}) == 100
        moments = [datetime.fromisoformat(row["created_at"]) for row in rows]
        assert moments == sorted(moments, reverse=True)
        assert all(row["total_tokens"] == row["input_tokens"] + row["output_tokens"] for row in rows)


def test_tokens_by_year_and_month_on_an_older_server(sandbox: Sandbox, client: httpx.Client) -> None:
    """It passes over dates."""
    sandbox.scopix.options.tokens = "months"
    february = ask(client, "/tokens/monthly", year=2026, month=2)
    assert (february["year"], february["month"]) == (2026, 2)
    assert ask(client, "/tokens/monthly", start_date="2026-02-01", end_date="2026-02-01")["month"] == 3


def test_plan_breakdown_and_check_agree_on_the_month(sandbox: Sandbox, client: httpx.Client) -> None:
    """Credits and requests since the first of the month."""
    used = sandbox.scopix.usage.total("2026-03-01", what="credits")
    assert ask(client, "/breakdown")["total_credits_used"] == used
    assert ask(client, "/summary")["limits"]["used_this_month"] == used
    assert ask(client, "/plan")["plan_details"]["requests_used"] == sandbox.scopix.usage.total("2026-03-01")
    for text in ("false", "False"):
        assert ask(client, "/plan", include_projections=text)["projections"] is None
    assert ask(client, "/plan", include_projections=str(True))["projections"]
    answer = client.post("/check", json={"analysis_level": "thorough", "item_count": 10}).json()
    assert (answer["required_credits"], answer["can_proceed"]) == (40, True)
    assert client.post("/check", json={"item_count": 10**6}).json()["can_proceed"] is False


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
def test_wrong_parameters(client: httpx.Client, path: str, parameters: dict[str, Any]) -> None:
    """They are a 422 in the framework's own form."""
    answer = client.get(path, params=parameters)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", next(iter(parameters))]


def test_keys_tenants_and_subscriptions(sandbox: Sandbox, client: httpx.Client) -> None:
    """401, 403 and 402 come in the vendor's envelope."""
    nobody = httpx.get(f"{sandbox.url}/api/v2/usage/summary", headers={"Authorization": "Bearer scopix_nobody"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "INVALID_API_KEY")
    assert client.get("/summary", headers={"X-Tenant-ID": "tenant-studio"}).status_code == 403
    assert client.get("/summary", headers={"X-Tenant-ID": "tenant-default"}).status_code == 200
    sandbox.scopix.options.past_due.add("default")
    assert client.get("/summary").status_code == 402


@pytest.mark.parametrize("count", [-3, 0, "many"])
def test_check_asks_about_at_least_one_item(client: httpx.Client, count: Any) -> None:
    """Anything else is a 422."""
    assert client.post("/check", json={"item_count": count}).status_code == 422


def test_an_unknown_path_has_the_envelope(sandbox: Sandbox, client: httpx.Client) -> None:
    """Of the usage resource and beside it."""
    for answer in (client.get("/nothing"), httpx.get(f"{sandbox.url}/api/v2/nothing/at/all")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_every_answer_states_the_limit(sandbox: Sandbox, client: httpx.Client) -> None:
    """A granted one as a rule; the documented one where the sandbox is started so; on answers that refuse, too."""
    assert client.get("/breakdown").headers["x-ratelimit-limit"] == "100000"
    assert client.get("/details", params={"limit": 101}).headers["x-ratelimit-remaining"] == "99998"
    with Sandbox(seed=7, documented_limits=True) as strict:
        key = {"Authorization": f"Bearer {strict.scopix.credential().api_key}"}
        answer = httpx.get(f"{strict.url}/api/v2/usage/breakdown", headers=key)
        assert answer.headers["x-ratelimit-limit"] == "30"
        assert strict.variables()["SOURCES__SCOPIX__REQUESTS_PER_MINUTE"] == "30"
        assert httpx.post(f"{strict.url}/api/v2/usage/check", headers=key, json={}).headers["x-ratelimit-limit"] == "60"


def test_the_limit_a_minute_is_switched_on(sandbox: Sandbox, client: httpx.Client) -> None:
    """Thirty a minute and account, with the documented headers; check is counted on its own."""
    now = 1_000.0
    options = sandbox.scopix.options
    options.clock, options.requests_per_minute, options.check_requests_per_minute = lambda: now, 30, 60
    statuses = [client.get("/breakdown").status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    refused = client.get("/breakdown")
    assert refused.json()["error"]["code"] == "RATE_LIMIT_ERROR"
    assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"] == "60"
    assert refused.headers["x-ratelimit-limit"] == "30"
    assert client.post("/check", json={}).headers["x-ratelimit-remaining"] == "59"
    now += 60
    assert client.get("/breakdown").status_code == 200


def test_controls_for_other_processes(sandbox: Sandbox, client: httpx.Client) -> None:
    """Restating, withdrawing and resetting over HTTP."""
    day = {"start_date": "2026-03-05T00:00:00Z", "end_date": "2026-03-05T23:59:59.999999Z"}
    before = ask(client, "/summary", **day)
    control = f"{sandbox.url}/_sandbox/scopix"
    httpx.post(f"{control}/restate", json={"start": "2026-03-05", "to": {"credits": 0.0}}).raise_for_status()
    assert ask(client, "/summary", **day)["total_credits"] == 0
    httpx.post(f"{control}/vanish", json={"start": "2026-03-05", "operation_type": "chat"}).raise_for_status()
    assert ask(client, "/summary", **day)["usage"]["total_requests"] < before["usage"]["total_requests"]
    httpx.post(f"{control}/reset").raise_for_status()
    assert ask(client, "/summary", **day) == before
