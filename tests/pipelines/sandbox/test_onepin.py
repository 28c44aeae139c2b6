"""The usage API as the vendor documents it, asked over HTTP and by the vendor's own client."""

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


@pytest.fixture
def onepin(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """The key of the default workspace."""
    headers = {"Authorization": f"Bearer {sandbox.onepin.credential().api_key}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=5) as client:
        yield client


@pytest.fixture
def vendors(sandbox: Sandbox) -> Any:
    """The client that Onepin publishes."""
    package = pytest.importorskip("onepin")
    return package.OnepinClient(api_key=sandbox.onepin.credential().api_key, base_url=sandbox.url)


def data(client: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_the_fields_of_a_summary(onepin: httpx.Client) -> None:
    """Those of the reference, in its order, with what the newer client knows."""
    answer = onepin.get(SUMMARY).json()
    assert set(answer["meta"]) == {"request_id", "timestamp"}
    summary = answer["data"]
    assert list(summary) == [
        "range", "activity_view", "timezone", "period", "credits", "characters", "corrected",
        "lines", "audio", "runs", "activity", "daily",
    ]  # fmt: skip
    assert (summary["range"], summary["activity_view"], summary["timezone"]) == ("30d", "daily", "UTC")
    assert list(summary["daily"][0]) == ["date", "credits", "characters", "lines", "runs"]
    assert list(summary["activity"]) == ["view", "bucket_unit", "range_label", "total", "avg", "buckets", "peak"]
    runs = summary["runs"]
    assert runs["total"] == sum(runs[state] for state in runs if state != "total")


def test_an_older_version_knows_less(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """No audio, no corrected words, no paused runs."""
    sandbox.onepin.options.version = "older"
    summary = data(onepin, SUMMARY)
    assert not {"audio", "corrected"} & set(summary)
    assert "paused" not in summary["runs"]
    assert "corrected" not in data(onepin, LANGUAGES)["languages"][0]


@pytest.mark.parametrize(("view", "count", "first"), [("daily", 7, 12), ("weekly", 12, 29), ("monthly", 12, 1)])
def test_the_views(onepin: httpx.Client, view: str, count: int, first: int) -> None:
    """Seven days, twelve weeks from Monday, twelve months; they adjoin, and their sum is the chart's total in credits."""
    activity = data(onepin, SUMMARY, activity_view=view)["activity"]
    buckets = activity["buckets"]
    assert len(buckets) == count
    assert datetime.fromisoformat(buckets[0]["start"]).day == first
    assert [bucket["end"] for bucket in buckets[:-1]] == [bucket["start"] for bucket in buckets[1:]]
    assert activity["total"] == sum(bucket["credits"] for bucket in buckets)
    assert activity["peak"]["value"] == max(bucket["credits"] for bucket in buckets)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])
@pytest.mark.parametrize("range_", ["30d", "60d", "90d"])
def test_days_are_local(sandbox: Sandbox, onepin: httpx.Client, range_: str, zone: str) -> None:
    """So many of them up to today, each with the credits of the runs that were started on it."""
    summary = data(onepin, SUMMARY, range=range_, timezone=zone)
    days = summary["daily"]
    assert len(days) == int(range_[:2])
    assert days[-1]["date"] == NOW.astimezone(ZoneInfo(zone)).date().isoformat()
    start, end = (datetime.fromisoformat(summary["period"][edge]) for edge in ("start", "end"))
    assert start.astimezone(ZoneInfo(zone)).isoformat()[:19] == f"{days[0]['date']}T00:00:00"
    assert sum(day["credits"] for day in days) == sandbox.onepin.usage.credits(start, end)


def test_the_day_of_the_change_of_clocks(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """8 March in New York has 23 hours."""
    runs = [Run(datetime(2026, 3, 8, 5, tzinfo=UTC)), Run(datetime(2026, 3, 9, 3, 59, tzinfo=UTC))]
    sandbox.onepin.usage.set([*runs, Run(datetime(2026, 3, 9, 4, tzinfo=UTC))])
    days = data(onepin, SUMMARY, timezone="America/New_York")["daily"]
    assert {day["date"]: day["runs"] for day in days if day["runs"]} == {"2026-03-08": 2, "2026-03-09": 1}


def test_own_credits_are_another_population(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """`credits.used` is of the key's owner since the fifth; everything else is the workspace's."""
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


def test_a_run_settles(sandbox: Sandbox) -> None:
    """Pending, then running or paused without credits and audio, then all at once on the day of its start."""
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


def test_languages(onepin: httpx.Client) -> None:
    """By credits, with what belongs to none; a view's period takes the place of the range."""
    answer = data(onepin, LANGUAGES, range="90d")
    used = [row["credits"] for row in answer["languages"]]
    assert used == sorted(used, reverse=True)
    assert sum(used) + answer["untagged_credits"] == answer["total_credits"]
    assert answer["total_credits"] == sum(day["credits"] for day in data(onepin, SUMMARY, range="90d")["daily"])
    monthly = data(onepin, LANGUAGES, range="90d", activity_view="monthly")
    assert (monthly["range"], monthly["activity_view"]) == (None, "monthly")
    assert monthly["total_credits"] > answer["total_credits"]


def test_the_feed_is_paged_by_a_cursor(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """Newest first, each event once, whatever the size of a page."""
    expected = [event.id for event in sandbox.onepin.usage.events("default", datetime(2026, 2, 17, tzinfo=UTC), NOW)]
    for limit in (7, 100):
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


def test_events_that_arrive_meanwhile_shift_no_page(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """The second page goes on where the first one ended."""
    events = [Event(NOW - timedelta(minutes=number), str(number)) for number in range(1, 5)]
    sandbox.onepin.usage.set(events=events)
    page = onepin.get(ACTIVITY, params={"limit": 2}).json()
    sandbox.onepin.usage.set(events=[Event(NOW, "new"), *events])
    following = onepin.get(ACTIVITY, params={"limit": 2, "cursor": page["pagination"]["next"]}).json()
    assert [event["id"] for event in page["data"] + following["data"]] == ["1", "2", "3", "4"]


def test_the_feed_can_be_filtered(onepin: httpx.Client) -> None:
    """By action, by member, and by both."""
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
def test_requests_that_are_refused(
    onepin: httpx.Client, path: str, parameters: dict[str, str], status: int, code: str, field: str | None
) -> None:
    """With status, code and the parameter that is to blame."""
    answer = onepin.get(path, params=parameters)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert [detail["field"] for detail in error.get("details", [])] == ([field] if field else [])


def test_keys_and_workspaces(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """A key sees its own workspace, may name it, and no other; without a key there is nothing."""
    own, other = sandbox.onepin.credential("default"), sandbox.onepin.credential("podcast")
    assert onepin.get(SUMMARY, headers={"X-Workspace-Id": own.workspace_id}).status_code == 200
    assert onepin.get(SUMMARY, headers={"X-Workspace-Id": other.workspace_id}).json()["error"]["code"] == "FORBIDDEN"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": own.api_key}):
        answer = httpx.get(sandbox.url + SUMMARY, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "INVALID_API_KEY")


def test_the_past_can_be_changed_from_another_process(sandbox: Sandbox, onepin: httpx.Client) -> None:
    """Restated, withdrawn and put back over HTTP."""
    before = data(onepin, SUMMARY)["daily"]
    assert httpx.post(f"{sandbox.url}/_sandbox/onepin/restate", json={"start": "2026-03-10", "factor": 0}).status_code == 204
    assert next(day for day in data(onepin, SUMMARY)["daily"] if day["date"] == "2026-03-10")["runs"] == 0
    assert httpx.post(f"{sandbox.url}/_sandbox/onepin/reset").status_code == 204
    assert data(onepin, SUMMARY)["daily"] == before


def test_the_vendors_client_reads_everything(sandbox: Sandbox, onepin: httpx.Client, vendors: Any) -> None:
    """All three endpoints fit the models that the vendor publishes, every page of the feed included."""
    summary = vendors.usage.usage_summary(range="90d", activity_view="weekly", timezone="America/New_York").data
    assert [day.model_dump() for day in summary.daily] == (
        data(onepin, SUMMARY, range="90d", timezone="America/New_York")["daily"]
    )
    assert summary.audio.total_ms > 0
    languages = vendors.usage.usage_by_language(range="30d").data
    assert languages.languages[0].locale_code == "en-us"
    assert vendors.auth.whoami().data.workspace_id == sandbox.onepin.credential().workspace_id
    names: list[str] = []
    cursor = None
    while cursor is not None or not names:
        page = vendors.usage.usage_activity(range="60d", limit=50, cursor=cursor)
        names += [event.id for event in page.data]
        cursor = page.pagination.next
    expected = sandbox.onepin.usage.events("default", datetime(2026, 1, 18, tzinfo=UTC), NOW)
    assert names == [event.id for event in expected]


def test_the_vendors_client_gets_its_errors(vendors: Any) -> None:
    """As the exceptions that it documents."""
    errors = pytest.importorskip("onepin.errors")
    with pytest.raises(errors.UnprocessableEntityError):
        vendors.usage.usage_summary(timezone="Mars/Olympus")


def test_the_same_seed_is_the_same_usage() -> None:
    """In every process; another seed is another."""

    def answer(seed: int) -> Any:
        with Sandbox(seed=seed, clock=lambda: NOW) as running:
            headers = {"Authorization": f"Bearer {running.onepin.credential().api_key}"}
            return httpx.get(running.url + SUMMARY, headers=headers).json()["data"]["daily"]

    assert answer(7) == answer(7) != answer(8)


def test_the_printed_example_works(sandbox: Sandbox) -> None:
    """The call of the vendor's page as printed, but for host and key."""
    headers = {"Authorization": f"Bearer {sandbox.onepin.credential().api_key}", "Content-Type": "application/json"}
    answer = httpx.get(f"{sandbox.url}{SUMMARY}", headers=headers)
    assert answer.status_code == 200
    assert (answer.json()["data"]["range"], answer.json()["data"]["activity_view"]) == ("30d", "daily")


@pytest.mark.parametrize(
    ("form", "wait"), [("Retry-After", "60"), ("Retry-After-Ms", "60000"), ("X-RateLimit-Reset", "reset")]
)
def test_a_key_has_a_limit(sandbox: Sandbox, onepin: httpx.Client, form: Any, wait: str) -> None:
    """Every answer says what is left; one too many says how long to wait, in one of the three forms."""
    sandbox.onepin.options.requests_per_minute, sandbox.onepin.options.asks_to_wait = 2, form
    left = [onepin.get(SUMMARY).headers["x-ratelimit-remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    refused = onepin.get(SUMMARY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.headers[form] == (str(int(NOW.timestamp()) + 60) if wait == "reset" else wait)
    assert [name for name in refused.headers if name.startswith(("retry", "x-rate"))] == [form.lower()]


def test_a_client_that_is_too_old(sandbox: Sandbox, onepin: httpx.Client, vendors: Any) -> None:
    """The vendor's own is told what to upgrade to; ours is no client of theirs."""
    sandbox.onepin.options.required_version = "99.0.0"
    assert onepin.get(SUMMARY).status_code == 200
    with pytest.raises(Exception, match=r"99\.0\.0") as caught:
        vendors.usage.usage_summary()
    assert getattr(caught.value, "status_code", 426) == 426
    answer = onepin.get(SUMMARY, headers={"User-Agent": "onepin/0.16.1"})
    assert (answer.status_code, answer.headers["x-onepin-required-version"]) == (426, "99.0.0")
