"""Single responses: errors, wrong types, and the calendar of weeks."""

from collections.abc import Callable, Iterator
from typing import Any

import pendulum
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.onepin import error_body
from meterhouse.sources._core.errors import (
    CredentialsRejected,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    UnexpectedValue,
)
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window
from meterhouse.sources.onepin.client import OnepinClient
from meterhouse.sources.onepin.errors import error_from_response
from meterhouse.sources.onepin.fields import flatten
from meterhouse.sources.onepin.reader import _first_day, read_daily
from meterhouse.sources.onepin.tables import USAGE_ACTIVITY, USAGE_BUCKETS, USAGE_DAILY, USAGE_SUMMARY
from tests.conftest import Cli
from tests.sources.onepin.conftest import NEW_YORK, SUMMARY, loaded


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[OnepinClient]:
    """The default workspace, with the client of the source."""
    key = sandbox.onepin.credential().api_key
    client = Client(
        "onepin", sandbox.url, auth=BearerAuth(key), error_from_response=error_from_response, sleep=lambda _: None
    )
    yield OnepinClient(client, "UTC")
    client.close()


def read_days(workspace: OnepinClient) -> Any:
    window = Window(pendulum.datetime(2025, 12, 1), pendulum.datetime(2026, 3, 21))
    return read_daily(workspace, window, table=USAGE_DAILY)


def error(code: str, message: str = "It says no", field: str | None = None) -> dict[str, Any]:
    return error_body(code, message, field)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, error("BAD_REQUEST"), RequestRejected, r"It says no \(BAD_REQUEST\)"),
        (401, error("INVALID_API_KEY"), CredentialsRejected, "Correct api_key"),
        (200, error("INVALID_API_KEY"), CredentialsRejected, "Correct api_key"),
        (403, error("FORBIDDEN"), CredentialsRejected, "workspace:read"),
        (404, error("NOT_FOUND"), RequestRejected, "activity_user_ids"),
        (409, error("CONFLICT"), ServiceUnavailable, "Run again later"),
        (422, error("VALIDATION_ERROR", "Bad", "timezone"), RequestRejected, "Set sources.onepin.timezone"),
        (422, {"detail": [{"loc": ["query", "timezone"], "msg": "unknown"}]}, RequestRejected, "timezone: unknown.*IANA"),
        (422, error("VALIDATION_ERROR", "Bad", "limit"), RequestRejected, "limit: Bad"),
        (426, error("UPGRADE_REQUIRED"), RequestRejected, "update meterhouse"),
        (429, error("RATE_LIMITED"), RateLimited, "requests_per_minute"),
        (200, error("SOMETHING_NEW"), ServiceUnavailable, r"It says no \(SOMETHING_NEW\)"),
        (200, {"error": "maintenance"}, ServiceUnavailable, "maintenance"),
        (200, error("RATE_LIMITED"), RateLimited, "requests_per_minute"),
        (202, {}, MalformedResponse, "HTTP 202"),
        (203, {"data": {}}, MalformedResponse, "HTTP 203"),
        (503, error("UNAVAILABLE"), ServiceUnavailable, "Run again later"),
        (503, None, ServiceUnavailable, "Run again later"),
        (200, {"meta": {}}, MalformedResponse, "no data"),
        (200, {"data": [], "meta": {}}, MalformedResponse, "whether it continues"),
        (200, [], MalformedResponse, "not an object"),
        (200, {"data": {"range": "90d", "activity_view": "weekly", "timezone": "UTC"}}, UnexpectedValue, "no list daily"),
        (200, {"data": {"range": "30d", "activity_view": "weekly", "timezone": "UTC"}}, UnexpectedValue, "has range '30d'"),
        (200, {"data": {"range": "90d", "activity_view": "weekly", "timezone": "Etc/UTC"}}, UnexpectedValue, "Etc/UTC.*set"),
    ],
)  # fmt: skip
def test_each_error_has_its_own_message(
    sandbox: Sandbox, workspace: OnepinClient, status: int, body: Any, kind: type[SourceError], said: str
) -> None:
    """Each has its hint, and none shows the key."""
    sandbox.faults.add(Fault(path=SUMMARY, status=status, body=body))
    with pytest.raises(kind, match=rf"^onepin {SUMMARY}.*{said}"):
        read_days(workspace)


def test_messages_do_not_show_the_key(sandbox: Sandbox, workspace: OnepinClient) -> None:
    """The key is redacted even if the API repeats it."""
    key = sandbox.onepin.credential().api_key
    sandbox.faults.add(Fault(path=SUMMARY, status=401, body=error("INVALID_API_KEY", f"No such key: {key}")))
    with pytest.raises(CredentialsRejected, match=r"No such key: \*\*\*") as caught:
        read_days(workspace)
    assert key not in repr(caught.value)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ({"date": "2026-03-01", "credits": "many", "characters": 1, "lines": 1, "runs": 1}, "credits holds 'many'"),
        ({"date": "2026-03-01", "credits": 1, "characters": 1.5, "lines": 1, "runs": 1}, "characters holds Decimal"),
        ({"date": "2026-03-01T10:00:00", "credits": 1, "characters": 1, "lines": 1, "runs": 1}, "a time, not a date"),
        ({"date": "2026-03-01", "credits": 1, "characters": 1, "lines": 1}, "runs holds nothing"),
        ("2026-03-01", "not an object"),
    ],
)
def test_rejects_a_field_of_the_wrong_type(sandbox: Sandbox, workspace: OnepinClient, day: Any, said: str) -> None:
    """The error names endpoint, field and value."""
    data = {"range": "90d", "activity_view": "weekly", "timezone": "UTC", "daily": [day]}
    sandbox.faults.add(Fault(path=SUMMARY, body={"data": data}))
    with pytest.raises(UnexpectedValue, match=said):
        read_days(workspace)


def test_a_missing_list_leaves_the_table_unchanged(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """A missing list is not an empty one."""
    load("usage_daily")
    before = loaded(cli, "usage_daily")
    sandbox.faults.add(
        Fault(path=SUMMARY, body={"data": {"range": "90d", "activity_view": "weekly", "timezone": "UTC"}, "meta": {}})
    )
    assert "no list daily" in load("usage_daily", status=1)["failures"][0]["error"]
    assert loaded(cli, "usage_daily") == before


@pytest.mark.parametrize(
    ("zone", "start", "first"),
    [
        (NEW_YORK, "2026-03-09T04:00:00Z", "2026-03-09"),
        (NEW_YORK, "2026-03-09T00:00:00Z", "2026-03-09"),
        ("Asia/Kolkata", "2026-03-08T18:30:00Z", "2026-03-09"),
        ("Asia/Kolkata", "2026-03-09T00:00:00Z", "2026-03-09"),
        ("UTC", "2026-03-10T00:00:00Z", None),
        ("UTC", "Week 1", None),
        ("UTC", None, None),
    ],
)
def test_finds_the_first_day_of_a_week(zone: str, start: Any, first: str | None) -> None:
    """It accepts the documented form and the sample's; a bucket that begins on another day is an error."""
    if first is None:
        with pytest.raises(UnexpectedValue, match="not the first day of a week"):
            _first_day(start, "week", zone, USAGE_BUCKETS)
    else:
        assert _first_day(start, "week", zone, USAGE_BUCKETS).isoformat() == first


def test_an_empty_error_envelope_is_no_error(sandbox: Sandbox, workspace: OnepinClient) -> None:
    """Some servers send one."""
    data = {"range": "90d", "activity_view": "weekly", "timezone": "UTC", "daily": []}
    sandbox.faults.add(Fault(path=SUMMARY, body={"data": data, "error": None}))
    assert read_days(workspace).rows.num_rows == 0


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        (USAGE_SUMMARY, {"audio": 12345}, "field audio holds 12345, not an object"),
        (USAGE_SUMMARY, {"corrected": "many"}, "field corrected holds 'many', not an object"),
        (USAGE_SUMMARY, {"activity": {"peak": [1]}}, r"field activity.peak holds \[1\], not an object"),
        (USAGE_ACTIVITY, {"user": "someone"}, "field user holds 'someone', not an object"),
        (USAGE_ACTIVITY, {"resource": False}, "field resource holds False, not an object"),
    ],
)
def test_rejects_a_value_where_an_object_is_declared(table: Table, changes: dict[str, Any], said: str) -> None:
    """Its columns would silently be null."""
    with pytest.raises(UnexpectedValue, match=said):
        flatten(changes, table)
    assert flatten(dict.fromkeys(changes), table) == {}


PERIODS = [
    ("UTC", "2026-03-01T00:00:00Z", "2026-03-21T00:00:00Z"),
    ("UTC", "2026-03-01T00:00:00Z", "2026-03-20T23:59:59Z"),
    (NEW_YORK, "2026-03-01T05:00:00Z", "2026-03-21T04:00:00Z"),
    (NEW_YORK, "2026-03-01T00:00:00Z", "2026-03-20T23:59:59Z"),
    ("Asia/Kolkata", "2026-02-28T18:30:00Z", "2026-03-20T18:30:00Z"),
    ("Asia/Kolkata", "2026-03-01T00:00:00Z", "2026-03-20T23:59:59Z"),
]


@pytest.mark.parametrize(("zone", "start", "end"), PERIODS)
@pytest.mark.parametrize("days", [[], ["2026-03-10"]])
def test_the_period_decides_which_days_are_replaced(
    sandbox: Sandbox, workspace: OnepinClient, zone: str, start: str, end: str, days: list[str]
) -> None:
    """It accepts the documented form and the sample's, with any rows."""
    workspace.timezone = zone
    assert read_days_of(sandbox, workspace, {"start": start, "end": end}, days) == ("2026-03-01", "2026-03-21")


@pytest.mark.parametrize(
    "period",
    [
        None,
        {},
        "March",
        {"start": "2026-03-01T00:00:00Z", "end": None},
        {"start": "2026-03-01T10:17:00Z", "end": "2026-03-21T00:00:00Z"},
        {"start": "2026-03-10T00:00:00Z", "end": "2026-03-21T00:00:00Z"},
    ],
)
def test_an_implausible_period_is_ignored(sandbox: Sandbox, workspace: OnepinClient, period: Any) -> None:
    """With rows outside, or without bounds, the response covers the time from its first row to its last."""
    found = read_days_of(sandbox, workspace, period, ["2026-03-05", "2026-03-11"])
    assert found == ("2026-03-05", "2026-03-12")


def read_days_of(sandbox: Sandbox, workspace: OnepinClient, period: Any, days: list[str]) -> tuple[str, str]:
    counts = {"credits": 1, "characters": 1, "lines": 1, "runs": 1}
    data = {"range": "90d", "activity_view": "weekly", "timezone": workspace.timezone, "period": period}
    sandbox.faults.add(Fault(path=SUMMARY, body={"data": data | {"daily": [{"date": day, **counts} for day in days]}}))
    window = read_days(workspace).window
    return window.start.to_date_string(), window.end.to_date_string()


@pytest.mark.parametrize(("form", "least"), [("Retry-After", 59), ("Retry-After-Ms", 59), ("X-RateLimit-Reset", 59)])
def test_waits_as_long_as_the_api_asks(sandbox: Sandbox, clock: time_machine.Traveller, form: Any, least: float) -> None:
    """Any header counts, and the wait is no shorter."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.shift(seconds + 1)

    sandbox.onepin.options.requests_per_minute, sandbox.onepin.options.retry_header = 1, form
    auth = BearerAuth(sandbox.onepin.credential().api_key)
    for _ in range(2):  # two programs with one key, neither of which knows of the other
        OnepinClient(
            Client("onepin", sandbox.url, auth=auth, error_from_response=error_from_response, sleep=sleep), "UTC"
        ).check_credentials()
    (wait,) = waits
    assert least <= wait <= 61
