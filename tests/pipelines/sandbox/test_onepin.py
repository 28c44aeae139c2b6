"""`/api/v1/usage/*` responds as docs.onepin.ai states and as Onepin's own client onepin 0.16.1 expects."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.onepin import MEMBERS, Event, Run

from .conftest import NOW

SUMMARY, LANGUAGES, ACTIVITY = "/api/v1/usage/summary", "/api/v1/usage/by-language", "/api/v1/usage/activity"


@pytest.fixture(scope="module")
def onepin(running_sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A client with the key of the default workspace."""
    headers = {"Authorization": f"Bearer {running_sandbox.onepin.credential().api_key}"}
    with httpx.Client(base_url=running_sandbox.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def sdk(running_sandbox: Sandbox) -> Any:
    """The client that Onepin publishes."""
    package = pytest.importorskip("onepin")
    return package.OnepinClient(api_key=running_sandbox.onepin.credential().api_key, base_url=running_sandbox.url)


def data(client: httpx.Client, path: str, **parameters: Any) -> Any:
    response = client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def test_a_summary_has_the_documented_fields(onepin: httpx.Client) -> None:
    """A summary has the fields of the reference, in its order, with those that the client 0.16.1 adds."""
    body = onepin.get(SUMMARY).json()
    assert set(body["meta"]) == {"request_id", "timestamp"}
    summary = body["data"]
    assert list(summary) == [
        "range", "activity_view", "timezone", "period", "credits", "characters", "corrected",
        "lines", "audio", "runs", "activity", "daily",
    ]  # fmt: skip
    assert (summary["range"], summary["activity_view"], summary["timezone"]) == ("30d", "daily", "UTC")
    assert list(summary["daily"][0]) == ["date", "credits", "characters", "lines", "runs"]
    assert list(summary["activity"]) == ["view", "bucket_unit", "range_label", "total", "avg", "buckets", "peak"]
    runs = summary["runs"]
    assert runs["total"] == sum(runs[state] for state in runs if state != "total")


def test_an_older_version_has_fewer_fields(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """The version of the client 0.13.0 has no audio, no corrected words, no paused runs."""
    sandbox.onepin.options.version = "older"
    summary = data(onepin, SUMMARY)
    assert not {"audio", "corrected"} & set(summary)
    assert "paused" not in summary["runs"]
    assert "corrected" not in data(onepin, LANGUAGES)["languages"][0]


@pytest.mark.parametrize(("view", "count", "first"), [("daily", 7, 12), ("weekly", 12, 29), ("monthly", 12, 1)])
def test_views_have_their_documented_buckets(onepin: httpx.Client, view: str, count: int, first: int) -> None:
    """A view has 7 days, 12 weeks from Monday or 12 months, adjacent; `total` and `peak` are credits (client 0.16.1)."""
    activity = data(onepin, SUMMARY, activity_view=view)["activity"]
    buckets = activity["buckets"]
    assert len(buckets) == count
    assert datetime.fromisoformat(buckets[0]["start"]).day == first
    assert [bucket["end"] for bucket in buckets[:-1]] == [bucket["start"] for bucket in buckets[1:]]
    assert activity["total"] == sum(bucket["credits"] for bucket in buckets)
    assert activity["peak"]["value"] == max(bucket["credits"] for bucket in buckets)


@pytest.mark.parametrize(
    ("range_", "zone"),
    [("90d", "UTC"), ("30d", "America/New_York"), ("60d", "Asia/Kathmandu"), ("30d", "Pacific/Kiritimati")],
)
def test_days_are_local(sandbox: Sandbox, onepin: httpx.Client, range_: str, zone: str) -> None:
    """A range has 30, 60 or 90 local days, as documented, up to today (inferred); a run counts on the day of its start."""
    summary = data(onepin, SUMMARY, range=range_, timezone=zone)
    days = summary["daily"]
    assert len(days) == int(range_[:2])
    assert days[-1]["date"] == NOW.astimezone(ZoneInfo(zone)).date().isoformat()
    start, end = (datetime.fromisoformat(summary["period"][edge]) for edge in ("start", "end"))
    assert start.astimezone(ZoneInfo(zone)).isoformat()[:19] == f"{days[0]['date']}T00:00:00"
    assert sum(day["credits"] for day in days) == sandbox.onepin.usage.credits(start, end)


def test_a_day_can_have_23_hours(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """The day on which the clocks change, 8 March in New York, ends at its local midnight."""
    runs = [Run(datetime(2026, 3, 8, 5, tzinfo=UTC)), Run(datetime(2026, 3, 9, 3, 59, tzinfo=UTC))]
    sandbox.onepin.usage.set([*runs, Run(datetime(2026, 3, 9, 4, tzinfo=UTC))])
    days = data(onepin, SUMMARY, timezone="America/New_York")["daily"]
    assert {day["date"]: day["runs"] for day in days if day["runs"]} == {"2026-03-08": 2, "2026-03-09": 1}


def test_credits_used_are_those_of_the_keys_owner(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """`credits.used` is the owner's billing period, all else the workspace, as the client's docstrings state."""
    owner, other = MEMBERS["default"][:2]
    sandbox.onepin.usage.set(
        [
            Run(datetime(2026, 3, 4, tzinfo=UTC), credits=1, member=owner),
            Run(datetime(2026, 3, 6, tzinfo=UTC), credits=10, member=owner),
            Run(datetime(2026, 3, 6, tzinfo=UTC), credits=100, member=other),
        ]
    )
    summary = data(onepin, SUMMARY)
    assert summary["credits"]["used"] == 10
    assert sum(day["credits"] for day in summary["daily"]) == 111


def test_a_run_counts_fully_once_it_settles(sandbox: Sandbox) -> None:
    """A run has no credits and no audio until it ends, then all of them on the day of its start, as the client states."""
    now = NOW
    with Sandbox(clock=lambda: now) as settling:
        settling.onepin.usage.set([Run(NOW, credits=9, minutes=2880, parked=True)])
        headers = {"Authorization": f"Bearer {settling.onepin.credential().api_key}"}
        with httpx.Client(base_url=settling.url, headers=headers) as client:
            states = []
            for minutes in (0, 1, 2880):
                now = NOW + timedelta(minutes=minutes)
                summary = data(client, SUMMARY)
                state = next(name for name in summary["runs"] if name != "total" and summary["runs"][name])
                day = next(day for day in summary["daily"] if day["runs"])
                states.append((state, day["date"], day["credits"], day["characters"], summary["audio"]["total_ms"]))
    assert states == [
        ("pending", "2026-03-18", 0, 0, 0),
        ("paused", "2026-03-18", 0, 4000, 0),
        ("completed", "2026-03-18", 9, 4000, 240_000),
    ]


def test_languages_add_up_to_the_total(onepin: httpx.Client) -> None:
    """Languages come by credits and add up with the untagged ones; `activity_view` replaces `range`, as documented."""
    body = data(onepin, LANGUAGES, range="90d")
    used = [row["credits"] for row in body["languages"]]
    assert used == sorted(used, reverse=True)
    assert sum(used) + body["untagged_credits"] == body["total_credits"]
    assert body["total_credits"] == sum(day["credits"] for day in data(onepin, SUMMARY, range="90d")["daily"])
    monthly = data(onepin, LANGUAGES, range="90d", activity_view="monthly")
    assert (monthly["range"], monthly["activity_view"]) == (None, "monthly")
    assert monthly["total_credits"] > body["total_credits"]


def test_the_feed_is_paged_by_a_cursor(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """The feed returns each event once, newest first, for every documented page size."""
    expected = [event.id for event in sandbox.onepin.usage.events("default", datetime(2026, 2, 17, tzinfo=UTC), NOW)]
    for limit in (20, 100):
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = onepin.get(ACTIVITY, params={"range": "30d", "limit": limit, **cursor}).json()
            found += page["data"]
            assert page["pagination"]["limit"] == limit
            if page["pagination"]["next"] is None:
                break
            cursor = {"cursor": page["pagination"]["next"]}
        assert [event["id"] for event in found] == expected
        times = [event["timestamp"] for event in found]
        assert times == sorted(times, reverse=True)


def test_arriving_events_shift_no_page(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """The second page continues where the first one ended, even if an event has arrived (inferred)."""
    events = [Event(NOW - timedelta(minutes=number), str(number)) for number in range(1, 5)]
    sandbox.onepin.usage.set(events=events)
    page = onepin.get(ACTIVITY, params={"limit": 2}).json()
    sandbox.onepin.usage.set(events=[Event(NOW, "new"), *events])
    following = onepin.get(ACTIVITY, params={"limit": 2, "cursor": page["pagination"]["next"]}).json()
    assert [event["id"] for event in page["data"] + following["data"]] == ["1", "2", "3", "4"]


def test_filters_select_events(onepin: httpx.Client) -> None:
    """`type` and `user_id` select events."""
    member = MEMBERS["default"][1].id
    found = data(onepin, ACTIVITY, range="90d", limit=100, type="voice_generated", user_id=member)
    assert found
    assert {(event["action"], event["user"]["id"]) for event in found} == {("voice_generated", member)}


@pytest.mark.parametrize(
    ("path", "parameters", "status", "code", "field"),
    [
        (SUMMARY, {"range": "7d"}, 422, "VALIDATION_ERROR", "range"),
        (SUMMARY, {"activity_view": "hourly"}, 422, "VALIDATION_ERROR", "activity_view"),
        (SUMMARY, {"timezone": "Mars/Olympus"}, 422, "VALIDATION_ERROR", "timezone"),
        (SUMMARY, {"timezone": "../etc/passwd"}, 422, "VALIDATION_ERROR", "timezone"),
        (LANGUAGES, {"timezone": ""}, 422, "VALIDATION_ERROR", "timezone"),
        (ACTIVITY, {"limit": "101"}, 422, "VALIDATION_ERROR", "limit"),
        (ACTIVITY, {"limit": "0"}, 422, "VALIDATION_ERROR", "limit"),
        (ACTIVITY, {"type": "lunch"}, 422, "VALIDATION_ERROR", "type"),
        (ACTIVITY, {"user_id": "somebody"}, 404, "NOT_FOUND", None),
        (ACTIVITY, {"cursor": "§"}, 400, "BAD_REQUEST", "cursor"),
    ],
)
def test_a_bad_parameter_is_an_error_that_names_it(
    onepin: httpx.Client, path: str, parameters: dict[str, str], status: int, code: str, field: str | None
) -> None:
    """A bad parameter gets 422, a stranger's `user_id` 404, as documented, and a bad cursor 400 (inferred)."""
    response = onepin.get(path, params=parameters)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert [detail["field"] for detail in error.get("details", [])] == ([field] if field else [])


def test_a_key_sees_its_own_workspace(sandbox: Sandbox, onepin: httpx.Client, http: httpx.Client) -> None:
    """A key gets its own workspace and 403 for another one (documented: a key is bound to one); a wrong key gets 401."""
    own, other = sandbox.onepin.credential("default"), sandbox.onepin.credential("podcast")
    assert onepin.get(SUMMARY, headers={"X-Workspace-Id": own.workspace_id}).status_code == 200
    assert onepin.get(SUMMARY, headers={"X-Workspace-Id": other.workspace_id}).json()["error"]["code"] == "FORBIDDEN"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": own.api_key}):
        response = http.get(sandbox.url + SUMMARY, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "INVALID_API_KEY")


def test_the_sdk_reads_all_responses(sandbox: Sandbox, onepin: httpx.Client, sdk: Any) -> None:
    """The models of Onepin's client accept every response, and its pages return the whole feed."""
    summary = sdk.usage.usage_summary(range="90d", activity_view="weekly", timezone="America/New_York").data
    assert [day.model_dump() for day in summary.daily] == (
        data(onepin, SUMMARY, range="90d", timezone="America/New_York")["daily"]
    )
    assert summary.audio.total_ms > 0
    languages = sdk.usage.usage_by_language(range="30d").data
    assert languages.languages[0].locale_code == "en-us"
    assert sdk.auth.whoami().data.workspace_id == sandbox.onepin.credential().workspace_id
    names: list[str] = []
    cursor = None
    while cursor is not None or not names:
        page = sdk.usage.usage_activity(range="60d", limit=50, cursor=cursor)
        names += [event.id for event in page.data]
        cursor = page.pagination.next
    expected = sandbox.onepin.usage.events("default", datetime(2026, 1, 18, tzinfo=UTC), NOW)
    assert names == [event.id for event in expected]


def test_the_sdk_raises_its_documented_errors(sdk: Any) -> None:
    """Onepin's client raises the exception that it documents for a 422."""
    errors = pytest.importorskip("onepin.errors")
    with pytest.raises(errors.UnprocessableEntityError):
        sdk.usage.usage_summary(timezone="Mars/Olympus")


def test_the_printed_example_works(sandbox: Sandbox, http: httpx.Client) -> None:
    """The documentation's example request works as printed, except for host and key."""
    headers = {"Authorization": f"Bearer {sandbox.onepin.credential().api_key}", "Content-Type": "application/json"}
    response = http.get(f"{sandbox.url}{SUMMARY}", headers=headers)
    assert response.status_code == 200
    assert (response.json()["data"]["range"], response.json()["data"]["activity_view"]) == ("30d", "daily")


@pytest.mark.parametrize(
    ("form", "wait"), [("Retry-After", "60"), ("Retry-After-Ms", "60000"), ("X-RateLimit-Reset", "reset")]
)
def test_a_429_states_how_long_to_wait(form: Any, wait: str, http: httpx.Client) -> None:
    """Responses state the remaining requests; a 429 has one of the three headers that the client 0.16.1 reads."""
    with Sandbox(clock=lambda: NOW) as sandbox:
        sandbox.onepin.options.requests_per_minute, sandbox.onepin.options.retry_header = 2, form
        headers = {"Authorization": f"Bearer {sandbox.onepin.credential().api_key}"}
        responses = [http.get(f"{sandbox.url}/api/v1/auth/whoami", headers=headers) for _ in range(3)]
    assert [response.headers["x-ratelimit-remaining"] for response in responses[:2]] == ["1", "0"]
    refused = responses[2]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.headers[form] == (str(int(NOW.timestamp()) + 60) if wait == "reset" else wait)
    assert [name for name in refused.headers if name.startswith(("retry", "x-rate"))] == [form.lower()]


def test_an_old_sdk_gets_a_426(sandbox: Sandbox, onepin: httpx.Client, sdk: Any) -> None:
    """An old version of Onepin's client gets 426 and the required version, as it documents; other clients are unaffected."""
    sandbox.onepin.options.required_version = "99.0.0"
    assert onepin.get(SUMMARY).status_code == 200
    with pytest.raises(Exception, match=r"99\.0\.0") as caught:
        sdk.usage.usage_summary()
    assert getattr(caught.value, "status_code", 426) == 426
    response = onepin.get(SUMMARY, headers={"User-Agent": "onepin/0.16.1"})
    assert (response.status_code, response.headers["x-onepin-required-version"]) == (426, "99.0.0")
