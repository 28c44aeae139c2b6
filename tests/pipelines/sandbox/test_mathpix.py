"""`GET /v3/ocr-usage` responds as docs.mathpix.com/reference/ocr-usage states and as Mathpix's own client mpxpy expects."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from mpxpy.errors import MathpixClientError
from mpxpy.mathpix_client import MathpixClient

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.mathpix import Series, Usage
from meterhouse.pipelines.sandbox.mathpix.api import truncated
from meterhouse.pipelines.sandbox.mathpix.parameters import Timespan

from .conftest import NOW, UsageClient

DAY = {"from_date": "2025-10-06T00:00:00.000Z", "to_date": "2025-10-07T00:00:00.000Z"}


def mpxpy_client(sandbox: Sandbox, account: str = "default") -> MathpixClient:
    """The client that Mathpix publishes."""
    credential = sandbox.mathpix.credential(account)
    return MathpixClient(app_id=credential.app_id, app_key=credential.app_key, api_url=sandbox.url)


def test_a_row_has_the_documented_fields(mathpix: UsageClient) -> None:
    """A row has the fields of the reference page, in its order and format."""
    row = mathpix.rows(**DAY, group_by="usage_type", timespan="hour")[0]
    assert list(row) == ["from_date", "app_id", "group_id", "usage_type", "request_args_hash", "count"]
    assert row["from_date"] == "2025-10-06T00:00:00.000Z"
    assert row["group_id"] == "lyceum"
    assert isinstance(row["count"], int)


@pytest.mark.parametrize("timespan", ["hour", "day", "week", "month", "year"])
def test_each_bucket_and_group_has_one_row(sandbox: Sandbox, mathpix: UsageClient, timespan: str) -> None:
    """For every documented timespan rows are unique and ordered by bucket and group, and together hold every count."""
    dimensions = ["usage_type", "app_id"] if timespan == "hour" else ["usage_type", "app_id", "request_args_hash"]
    rows = mathpix.rows(from_date="2024-12-30", to_date="2025-01-03", group_by=dimensions, timespan=timespan)
    keys = [(row["from_date"], *(row[name] for name in Series._fields if name in dimensions)) for row in rows]
    assert keys == sorted(set(keys))
    assert all(row["count"] > 0 for row in rows)
    assert sum(row["count"] for row in rows) == sandbox.mathpix.usage.total("2024-12-30", "2025-01-03")


@pytest.mark.parametrize(
    ("timespan", "start"),
    [
        ("hour", "2025-01-01T05"),
        ("day", "2025-01-01T00"),
        ("week", "2024-12-30T00"),
        ("month", "2025-01-01T00"),
        ("year", "2025-01-01T00"),
    ],
)
def test_a_bucket_starts_at_an_edge_of_its_timespan(timespan: Timespan, start: str) -> None:
    """A bucket starts at midnight UTC of its day, Monday, first of the month or 1 January (inferred)."""
    assert truncated(datetime(2025, 1, 1, 5, tzinfo=UTC), timespan) == datetime.fromisoformat(start).replace(tzinfo=UTC)


def test_a_bucket_can_start_before_the_window(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A window within a bucket gets the bucket's start and only the counts of the window (inferred)."""
    rows = mathpix.rows(from_date="2025-10-08", to_date="2025-10-09", timespan="week", group_by="usage_type")
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
def test_the_window_is_half_open(mathpix: UsageClient, start: str, end: str, expected: list[int]) -> None:
    """The reference includes `from_date` and excludes `to_date`; an empty window gets an empty list (inferred)."""
    rows = mathpix.rows(from_date=start, to_date=end, timespan="hour")
    assert [int(row["from_date"][11:13]) for row in rows] == expected


def test_empty_buckets_are_absent(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A bucket without usage has no row (inferred)."""
    sandbox.mathpix.usage.set([Usage("2025-10-06T03:00Z", "a", "image"), Usage("2025-10-06T20:00Z", "a", "image")])
    assert [row["from_date"][11:13] for row in mathpix.rows(timespan="hour")] == ["03", "20"]
    assert mathpix.rows(from_date="2025-10-07", timespan="day") == []


def test_there_is_no_usage_after_now(mathpix: UsageClient) -> None:
    """The last hour of a response is the running one."""
    rows = mathpix.rows(from_date="2026-03-18", to_date="2027-01-01", timespan="hour", group_by="usage_type")
    assert rows[-1]["from_date"] == "2026-03-18T14:00:00.000Z"
    assert mathpix.rows(from_date="2026-03-19", timespan="hour") == []


def test_the_running_hour_grows() -> None:
    """The running hour counts as far as it has run, and keeps its count once it is over (inferred)."""
    now = NOW.replace(minute=0)
    with Sandbox(clock=lambda: now) as sandbox:
        counts = []
        for minutes in (0, 15, 59, 60, 600):
            now = NOW.replace(minute=0) + timedelta(minutes=minutes)
            window = {"from_date": "2026-03-18T14:00:00Z", "to_date": "2026-03-18T15:00:00Z", "timespan": "hour"}
            counts.append(sum(row["count"] for row in mpxpy_client(sandbox).query_usage(**window)["ocr_usage"]))
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[1] == pytest.approx(counts[3] / 4, rel=0.01)
    assert counts[3] == counts[4]


def test_group_by_can_be_repeated(mathpix: UsageClient) -> None:
    """A repeated `group_by`, which mpxpy sends, groups by all its dimensions, in any order."""
    rows = mathpix.rows(**DAY, timespan="day", group_by=["usage_type", "app_id"])
    assert rows == mathpix.rows(**DAY, timespan="day", group_by=["app_id", "usage_type", "app_id"])
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


def test_several_groupings_can_be_one_or_refused(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """The reference page has one value of `group_by`: by option a server takes one of several, or refuses them."""
    query: dict[str, Any] = {**DAY, "timespan": "day"}
    kept: Any
    for kept, dimension in (("first", "usage_type"), ("last", "app_id")):
        sandbox.mathpix.options.group_by = kept
        assert mathpix.rows(**query, group_by=["usage_type", "app_id"]) == mathpix.rows(**query, group_by=dimension)
    sandbox.mathpix.options.group_by = "refused"
    assert mathpix.error(**query, group_by=["usage_type", "app_id"])[:2] == (200, "opts_bad")
    assert mathpix.rows(**query, group_by="app_id")


@pytest.mark.parametrize("dimension", Series._fields)
def test_filters_select_usage(mathpix: UsageClient, dimension: str) -> None:
    """The filters of mpxpy (app_id, usage_type, request_args_hash, the empty hash too) select usage in any grouping."""
    for row in mathpix.rows(**DAY, timespan="day", group_by=dimension):
        found = mathpix.rows(**DAY, timespan="day", group_by="usage_type", **{dimension: row[dimension]})
        assert sum(one["count"] for one in found) == row["count"]
    assert mathpix.rows(**DAY, timespan="day", **{dimension: "unknown"}) == []


def test_scalar_shape(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """As on the newer reference page, an ungrouped dimension is its value; where it has several it is '' (inferred)."""
    hour = "2025-10-06T03:00Z"
    sandbox.mathpix.usage.set(
        [
            Usage(hour, "a", "image", "1" * 40),
            Usage(hour, "a", "image-async", "1" * 40),
            Usage(hour, "b", "image-async", "2" * 40),
        ]
    )
    image, image_async = mathpix.rows(timespan="hour", group_by="usage_type")
    assert (image["app_id"], image["request_args_hash"]) == ("a", "1" * 40)
    assert (image_async["app_id"], image_async["request_args_hash"]) == ("", "")
    assert image_async["group_id"] == "lyceum"


def test_array_shape(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """As on the older reference page, an ungrouped dimension is the list of its values, and there is no `group_id`."""
    sandbox.mathpix.options.shape = "arrays"
    row = next(row for row in mathpix.rows(**DAY, timespan="day", group_by="usage_type") if row["usage_type"] == "pdf-page")
    assert row["app_id"] == ["lyceum_archive", "lyceum_search"]
    assert len(row["request_args_hash"]) == 2
    assert list(row) == ["from_date", "app_id", "usage_type", "request_args_hash", "count"]


def test_sparse_shape(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """As the OpenAPI text allows, an ungrouped dimension is absent."""
    sandbox.mathpix.options.shape = "sparse"
    rows = mathpix.rows(**DAY, timespan="day", group_by="app_id")
    assert {tuple(row) for row in rows} == {("from_date", "app_id", "count")}


def test_pages(mathpix: UsageClient) -> None:
    """Pages are cut from one order of rows, hold 100 rows by default (mpxpy), and end with an empty one."""
    query: dict[str, Any] = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type"]}
    whole = mathpix.rows(**query)
    assert mathpix.get(**query).json()["ocr_usage"] == whole[:100]
    assert mathpix.get(**query, page=2).json()["ocr_usage"] == whole[100:200]
    assert mathpix.rows(**query, page=3, per_page=7) == whole[14:21]
    assert mathpix.rows(**query, page=100) == []


def test_paging_can_be_ignored_or_capped(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """The reference page has no paging: by option a server ignores it, cuts every response, or has pages of its own size."""
    query: dict[str, Any] = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type"]}
    whole, options = mathpix.rows(**query), sandbox.mathpix.options
    options.per_page_cap = 100
    assert mathpix.rows(**query) == whole[:100]
    assert mathpix.rows(**query, page=2) == whole[100:200]
    options.paging = "ignored"
    assert mathpix.rows(**query, page=2, per_page=10) == whole[:100]
    options.per_page_cap = None
    assert mathpix.rows(**query, page=2, per_page=10) == whole


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("from_date", "yesterday"),
        ("to_date", ""),
        ("from_date", "0001-01-01T00:00:00+05:00"),
        ("timespan", "minute"),
        ("group_by", "group_id"),
        ("group_by", "app_id,usage_type"),
        ("page", "0"),
        ("page", "101"),
        ("page", "²"),
        ("per_page", "1001"),
        ("per_page", "9" * 5000),
    ],
)
def test_a_bad_parameter_is_an_error_with_status_200(mathpix: UsageClient, parameter: str, value: str) -> None:
    """A value that neither the reference nor mpxpy knows gets HTTP 200 and an error, as the page on errors states."""
    status, identifier, message = mathpix.error(**{parameter: value})
    assert (status, identifier) == (200, "opts_bad")
    assert parameter in message


def test_unknown_parameters_are_ignored(mathpix: UsageClient) -> None:
    """An unknown parameter changes nothing (inferred)."""
    assert mathpix.rows(**DAY, timespan="day", colour="blue") == mathpix.rows(**DAY, timespan="day")


def test_wrong_credentials_are_a_401(sandbox: Sandbox, http: httpx.Client) -> None:
    """Missing, wrong and mixed-up credentials get 401 with the body of issue Mathpix/api-examples#7."""
    notes, key = "lyceum_notes", "sandbox-key-of-lyceum_notes"
    for headers in (
        {},
        {"app_id": notes},
        {"app_key": key},
        {"app_id": notes, "app_key": "wrong"},
        {"app_id": notes, "app_key": "sandbox-key-of-lyceum_grader"},
        {"app_id": "nobody", "app_key": key},
        {"Authorization": f"Bearer {key}"},
    ):
        response = http.get(f"{sandbox.url}/v3/ocr-usage?timespan=minute", headers=headers)
        assert response.status_code == 401
        assert response.json() == {
            "error": "Invalid credentials",
            "error_info": {"id": "http_unauthorized", "message": "Invalid credentials"},
        }


def test_a_disabled_account_is_a_401(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """The keys of a disabled account get 401 and `account_disabled` (inferred); other accounts are unaffected."""
    sandbox.mathpix.options.disabled.add("default")
    assert mathpix.error()[:2] == (401, "account_disabled")
    assert mpxpy_client(sandbox, "press").query_usage(**DAY)["ocr_usage"]


def test_other_paths_and_methods_do_not_exist(sandbox: Sandbox, http: httpx.Client) -> None:
    """An unknown path is a 404, an unknown method a 405."""
    assert http.get(f"{sandbox.url}/v3/elsewhere").status_code == 404
    assert http.post(f"{sandbox.url}/v3/ocr-usage").status_code == 405


def test_mpxpy_gets_the_same_rows(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """mpxpy gets the usage of the store, row by row."""
    query = {**DAY, "timespan": "hour", "group_by": ["app_id", "usage_type", "request_args_hash"], "per_page": 1000}
    rows = mpxpy_client(sandbox).query_usage(**query)["ocr_usage"]
    assert rows == mathpix.rows(**query)
    counted = {(row["from_date"], row["app_id"], row["usage_type"], row["request_args_hash"]): row["count"] for row in rows}
    assert counted == {
        (usage.hour.strftime("%Y-%m-%dT%H:%M:%S.000Z"), usage.app_id, usage.usage_type, usage.request_args_hash): usage.count
        for usage in sandbox.mathpix.usage.rows("2025-10-06", "2025-10-07")
    }
    assert len(rows) > 100


def test_mpxpy_without_arguments(sandbox: Sandbox) -> None:
    """mpxpy's call without arguments, as in its own tests, gets rows by month, from the first usage on (inferred)."""
    rows = mpxpy_client(sandbox).query_usage()["ocr_usage"]
    assert rows[0]["from_date"] == "2024-06-01T00:00:00.000Z"
    assert rows[-1]["from_date"] == "2026-03-01T00:00:00.000Z"
    assert len(rows) == 22


def test_mpxpy_raises_an_error_status(sandbox: Sandbox) -> None:
    """mpxpy raises its own error for an injected status."""
    sandbox.faults.add(Fault(path="/v3", status=503))
    with pytest.raises(MathpixClientError, match="503"):
        mpxpy_client(sandbox).query_usage()


def test_a_key_sees_its_whole_account_and_no_other(sandbox: Sandbox) -> None:
    """Every key of an account gets the usage of all its apps, as `app_key` names the group (docs.mathpix.com)."""
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
