"""The usage API as the vendor documents it, asked over HTTP and by the vendor's own client."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpxpy.errors import MathpixClientError
from mpxpy.mathpix_client import MathpixClient

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.mathpix import Series, Usage, problem
from meterhouse.pipelines.sandbox.mathpix.api import Timespan, truncated

from .conftest import NOW, Asking

DAY = {"from_date": "2025-10-06T00:00:00.000Z", "to_date": "2025-10-07T00:00:00.000Z"}


def vendors_client(sandbox: Sandbox, account: str = "default") -> MathpixClient:
    """The client that Mathpix publishes."""
    credential = sandbox.mathpix.credential(account)
    return MathpixClient(app_id=credential.app_id, app_key=credential.app_key, api_url=sandbox.url)


def everything(ask: Asking, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of all pages."""
    rows: list[dict[str, Any]] = []
    for page in range(1, 101):
        found = ask.rows(page=page, **parameters)
        rows += found
        if len(found) < parameters.get("per_page", 1000):
            return rows
    pytest.fail("more than 100 pages")


def test_the_fields_of_a_row(ask: Asking) -> None:
    """A row has the fields of the vendor's reference page, in its order, its time as the page writes it."""
    row = ask.rows(**DAY, group_by="usage_type", timespan="hour")[0]
    assert list(row) == ["from_date", "app_id", "group_id", "usage_type", "request_args_hash", "count"]
    assert row["from_date"] == "2025-10-06T00:00:00.000Z"
    assert row["group_id"] == "lyceum"
    assert isinstance(row["count"], int)


@pytest.mark.parametrize("dimension", Series._fields)
@pytest.mark.parametrize("timespan", ["hour", "day", "week", "month", "year"])
def test_one_row_a_bucket_and_value(sandbox: Sandbox, ask: Asking, timespan: str, dimension: str) -> None:
    """A bucket and a grouped value have one row, rows are ordered by them, and every count is in exactly one row."""
    window = {"from_date": "2024-12-30", "to_date": "2025-01-20"}
    rows = everything(ask, **window, group_by=dimension, timespan=timespan)
    keys = [(row["from_date"], row[dimension]) for row in rows]
    assert keys == sorted(set(keys))
    assert all(row["count"] > 0 for row in rows)
    assert sum(row["count"] for row in rows) == sandbox.mathpix.usage.total("2024-12-30", "2025-01-20")


def test_the_vendors_client_gets_the_same_rows(sandbox: Sandbox, ask: Asking) -> None:
    """mpxpy, with its list of dimensions and its default page, gets what the sandbox's book holds."""
    asked = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type", "request_args_hash"], "per_page": 1000}
    rows = vendors_client(sandbox).query_usage(**asked)["ocr_usage"]
    assert rows == ask.rows(**asked)
    counted = {(row["from_date"], row["app_id"], row["usage_type"], row["request_args_hash"]): row["count"] for row in rows}
    assert counted == {
        (usage.hour.strftime("%Y-%m-%dT%H:%M:%S.000Z"), usage.app_id, usage.usage_type, usage.request_args_hash): usage.count
        for usage in sandbox.mathpix.usage.rows("2025-10-06", "2025-10-07")
        if isinstance(usage.hour, datetime)
    }
    assert len(rows) > 100


def test_the_vendors_client_without_arguments(sandbox: Sandbox) -> None:
    """The vendor's client, asked for nothing, gets an answer: by month, without grouping, from the first usage until now."""
    rows = vendors_client(sandbox).query_usage()["ocr_usage"]
    assert rows[0]["from_date"] == "2024-06-01T00:00:00.000Z"
    assert rows[-1]["from_date"] == "2026-03-01T00:00:00.000Z"
    assert len(rows) == 22


def test_the_vendors_client_sees_an_error_status(sandbox: Sandbox) -> None:
    """The vendor's client raises where the sandbox is told to answer with a status of failure."""
    sandbox.faults.add(Fault(path="/v3", status=503))
    with pytest.raises(MathpixClientError, match="503"):
        vendors_client(sandbox).query_usage()


@pytest.mark.parametrize("timespan", ["hour", "day", "week", "month", "year"])
@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001 - hypothesis takes naive bounds
def test_a_bucket_is_cut_at_the_edge_of_its_timespan(timespan: Timespan, moment: datetime) -> None:
    """A bucket starts at midnight UTC of the day, Monday, first of the month or of January that its hour belongs to."""
    hour = moment.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    bucket = truncated(hour, timespan)
    longest = {"hour": 0, "day": 1, "week": 7, "month": 31, "year": 366}[timespan]
    assert bucket <= hour
    assert hour - bucket <= timedelta(days=longest)
    assert truncated(bucket, timespan) == bucket
    assert timespan == "hour" or bucket.hour == 0
    assert timespan != "week" or bucket.weekday() == 0
    assert timespan not in ("month", "year") or bucket.day == 1
    assert timespan != "year" or bucket.month == 1


def test_a_bucket_starts_before_the_window(sandbox: Sandbox, ask: Asking) -> None:
    """A window inside a bucket is answered with the bucket's start, and counts only what lies in the window."""
    rows = ask.rows(from_date="2025-10-08", to_date="2025-10-09", timespan="week", group_by="usage_type")
    assert {row["from_date"] for row in rows} == {"2025-10-06T00:00:00.000Z"}
    assert sum(row["count"] for row in rows) == sandbox.mathpix.usage.total("2025-10-08", "2025-10-09")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2025-10-06T05:00:00Z", "2025-10-06T07:00:00Z", [5, 6]),
        ("2025-10-06T05:00:00", "2025-10-06T06:00:00.000Z", [5]),
        ("2025-10-06T07:00:00+02:00", "2025-10-06T08:00:00+02:00", [5]),
        ("2025-10-06T05:30:00Z", "2025-10-06T06:30:00Z", [6]),
        ("2025-10-06T05:00:00Z", "2025-10-06T05:00:00Z", []),
        ("2025-10-06T07:00:00Z", "2025-10-06T05:00:00Z", []),
    ],
)
def test_the_window_is_half_open(ask: Asking, start: str, end: str, expected: list[int]) -> None:
    """from_date is included and to_date excluded, offsets count, and an empty window is an empty list."""
    rows = ask.rows(from_date=start, to_date=end, timespan="hour")
    assert [int(row["from_date"][11:13]) for row in rows] == expected


def test_empty_buckets_are_absent(sandbox: Sandbox, ask: Asking) -> None:
    """Hours without usage have no row."""
    sandbox.mathpix.usage.set([Usage("2025-10-06T03:00Z", "a", "image"), Usage("2025-10-06T20:00Z", "a", "image")])
    assert [row["from_date"][11:13] for row in ask.rows(timespan="hour")] == ["03", "20"]
    assert ask.rows(from_date="2025-10-07", timespan="day") == []


def test_several_dimensions(ask: Asking) -> None:
    """A repeated group_by groups by all of its dimensions, whatever their order."""
    rows = ask.rows(**DAY, timespan="day", group_by=["usage_type", "app_id"])
    assert rows == ask.rows(**DAY, timespan="day", group_by=["app_id", "usage_type", "app_id"])
    assert [(row["app_id"], row["usage_type"]) for row in rows] == [
        ("lyceum_archive", "conversion"),
        ("lyceum_archive", "pdf-page"),
        ("lyceum_grader", "image"),
        ("lyceum_grader", "image-async"),
        ("lyceum_notes", "image"),
        ("lyceum_notes", "strokes-session"),
        ("lyceum_search", "image"),
        ("lyceum_search", "pdf-page"),
    ]


@pytest.mark.parametrize("dimension", Series._fields)
def test_filters(sandbox: Sandbox, ask: Asking, dimension: str) -> None:
    """app_id, usage_type and request_args_hash, the empty hash too, answer only their own usage, whatever is grouped by."""
    for row in ask.rows(**DAY, timespan="day", group_by=dimension):
        found = ask.rows(**DAY, timespan="day", group_by="usage_type", **{dimension: row[dimension]})
        assert sum(one["count"] for one in found) == row["count"]
    assert ask.rows(**DAY, timespan="day", **{dimension: "nobody's"}) == []


def test_scalars(sandbox: Sandbox, ask: Asking) -> None:
    """A dimension that was not grouped by is its value where there is one, and '' where there are several."""
    hour = "2025-10-06T03:00Z"
    sandbox.mathpix.usage.set(
        [
            Usage(hour, "a", "image", "1" * 40),
            Usage(hour, "a", "image-async", "1" * 40),
            Usage(hour, "b", "image-async", "2" * 40),
        ]
    )
    image, image_async = ask.rows(timespan="hour", group_by="usage_type")
    assert (image["app_id"], image["request_args_hash"]) == ("a", "1" * 40)
    assert (image_async["app_id"], image_async["request_args_hash"]) == ("", "")
    assert image_async["group_id"] == "lyceum"


def test_arrays(sandbox: Sandbox, ask: Asking) -> None:
    """In the shape of the older page a dimension that was not grouped by is the list of its values; there is no group."""
    sandbox.mathpix.options.shape = "arrays"
    row = next(row for row in ask.rows(**DAY, timespan="day", group_by="usage_type") if row["usage_type"] == "pdf-page")
    assert row["app_id"] == ["lyceum_archive", "lyceum_search"]
    assert len(row["request_args_hash"]) == 2
    assert list(row) == ["from_date", "app_id", "usage_type", "request_args_hash", "count"]


def test_sparse(sandbox: Sandbox, ask: Asking) -> None:
    """In the sparse shape a dimension that was not grouped by is not there."""
    sandbox.mathpix.options.shape = "sparse"
    assert {tuple(row) for row in ask.rows(**DAY, timespan="day", group_by="app_id")} == {("from_date", "app_id", "count")}


def test_pages(ask: Asking) -> None:
    """Pages are cut from one order of rows; without per_page they hold 100, and after the last one comes an empty one."""
    asked = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type"]}
    whole = ask.rows(**asked)
    assert ask.get(**asked).json()["ocr_usage"] == whole[:100]
    assert ask.get(**asked, page=2).json()["ocr_usage"] == whole[100:200]
    assert ask.rows(**asked, page=3, per_page=7) == whole[14:21]
    assert ask.rows(**asked, page=100) == []


def test_paging_ignored(sandbox: Sandbox, ask: Asking) -> None:
    """A server that ignores paging answers each page with everything."""
    asked = {**DAY, "timespan": "hour", "group_by": "usage_type"}
    whole = ask.rows(**asked)
    sandbox.mathpix.options.paging = "ignored"
    assert ask.rows(**asked, page=2, per_page=10) == whole
    sandbox.mathpix.options.per_page_cap = 100
    assert ask.rows(**asked, page=2, per_page=10) == whole[:100]


def test_a_capped_page(sandbox: Sandbox, ask: Asking) -> None:
    """A server with a cap of its own answers pages of that size, however large a page is asked for."""
    asked = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type"]}
    whole = ask.rows(**asked)
    sandbox.mathpix.options.per_page_cap = 100
    assert ask.rows(**asked) == whole[:100]
    assert ask.rows(**asked, page=2) == whole[100:200]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("from_date", "yesterday"),
        ("to_date", ""),
        ("to_date", "2025-13-01"),
        ("from_date", "0001-01-01T00:00:00+05:00"),
        ("timespan", "minute"),
        ("timespan", ""),
        ("group_by", "group_id"),
        ("group_by", "app_id,usage_type"),
        ("page", "0"),
        ("page", "101"),
        ("page", "one"),
        ("page", "²"),
        ("per_page", "1001"),
        ("per_page", "-1"),
        ("per_page", "9" * 5000),
    ],
)
def test_a_bad_parameter_is_an_error_inside_a_200(ask: Asking, parameter: str, value: str) -> None:
    """A parameter outside of its documented range is answered with HTTP 200 and an error that names it."""
    status, identifier, message = ask.problem(**{parameter: value})
    assert (status, identifier) == (200, "opts_bad")
    assert parameter in message


def test_unknown_parameters_are_passed_over(ask: Asking) -> None:
    """A parameter that is not documented changes nothing."""
    assert ask.rows(**DAY, timespan="day", colour="blue") == ask.rows(**DAY, timespan="day")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"app_id": "lyceum_notes"},
        {"app_key": "sandbox-key-of-lyceum_notes"},
        {"app_id": "lyceum_notes", "app_key": "wrong"},
        {"app_id": "lyceum_notes", "app_key": "sandbox-key-of-lyceum_grader"},
        {"app_id": "nobody", "app_key": "sandbox-key-of-lyceum_notes"},
        {"Authorization": "Bearer sandbox-key-of-lyceum_notes"},
    ],
)
def test_wrong_credentials(sandbox: Sandbox, headers: dict[str, str]) -> None:
    """Missing, wrong and mixed-up credentials are a 401 with the documented body, before any parameter is read."""
    answer = httpx.get(f"{sandbox.url}/v3/ocr-usage?timespan=minute", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "Invalid credentials",
        "error_info": {"id": "http_unauthorized", "message": "Invalid credentials"},
    }


def test_a_disabled_account(sandbox: Sandbox, ask: Asking) -> None:
    """The keys of a disabled account are answered with 401 and `account_disabled`, those of others as ever."""
    sandbox.mathpix.options.disabled.add("default")
    assert ask.problem()[:2] == (401, "account_disabled")
    assert vendors_client(sandbox, "press").query_usage()["ocr_usage"]


def test_a_quota_error_has_its_documented_fields() -> None:
    """The body of a 429 can be had for a fault: with the limit's name, its value and the count."""
    body = problem("http_max_requests", "Quota", limit_name="image_monthly_limit", limit_value=20_000, count=20_001)
    assert body["error_info"] == {
        "id": "http_max_requests",
        "message": "Quota",
        "limit_name": "image_monthly_limit",
        "limit_value": 20_000,
        "count": 20_001,
    }


def test_a_key_sees_its_whole_account_and_no_other(sandbox: Sandbox) -> None:
    """Every key of an account gets the same answer, about all apps of the account and none of another."""
    apps: dict[str, set[str]] = {}
    for credential in sandbox.mathpix.credentials:
        client = MathpixClient(app_id=credential.app_id, app_key=credential.app_key, api_url=sandbox.url)
        rows = client.query_usage(**DAY, timespan="day", group_by=["app_id"])["ocr_usage"]
        assert {row["group_id"] for row in rows} == {credential.group_id}
        assert apps.setdefault(credential.account, {row["app_id"] for row in rows}) == {row["app_id"] for row in rows}
    assert apps == {
        "default": {"lyceum_archive", "lyceum_grader", "lyceum_notes", "lyceum_search"},
        "press": {"quarto_intake", "quarto_proofs"},
    }


def test_nothing_after_now(ask: Asking) -> None:
    """The last hour that is answered is the one that is running, however far ahead the window reaches."""
    rows = ask.rows(from_date="2026-03-18", to_date="2027-01-01", timespan="hour", group_by="usage_type")
    assert rows[-1]["from_date"] == "2026-03-18T14:00:00.000Z"
    assert ask.rows(from_date="2026-03-19", timespan="hour") == []


def test_the_running_hour_grows() -> None:
    """The running hour counts as far as it has run, and when it is over it counts what it always would have."""
    now = NOW.replace(minute=0)
    with Sandbox(clock=lambda: now) as sandbox:
        client, counts = vendors_client(sandbox), []
        for minutes in (0, 1, 15, 59, 60, 600):
            now = NOW.replace(minute=0) + timedelta(minutes=minutes)
            rows = client.query_usage(
                from_date="2026-03-18T14:00:00Z", to_date="2026-03-18T15:00:00Z", timespan="hour", group_by=["usage_type"]
            )["ocr_usage"]
            counts.append(Counter({row["usage_type"]: row["count"] for row in rows}).total())
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[2] == pytest.approx(counts[4] / 4, rel=0.01)
    assert counts[4] == counts[5]


def test_other_paths_and_methods(sandbox: Sandbox) -> None:
    """What the API does not have is a 404 or a 405."""
    assert httpx.get(f"{sandbox.url}/v3/elsewhere").status_code == 404
    assert httpx.post(f"{sandbox.url}/v3/ocr-usage").status_code == 405
