"""The Mathpix source against the sandbox, over real HTTP, without a pipeline: its requests and its rows."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pyarrow as pa
import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources._core.errors import (
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    UnexpectedValue,
    Unsupported,
)
from meterhouse.sources._core.http.auth import HeaderAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.windows import Unit, Window
from meterhouse.sources.mathpix.client import MathpixClient
from meterhouse.sources.mathpix.constants import ENDPOINT, GROUPINGS
from meterhouse.sources.mathpix.errors import error_from_response
from meterhouse.sources.mathpix.reader import read_window
from meterhouse.sources.mathpix.tables import ocr_usage_by

START = datetime(2026, 3, 1, tzinfo=UTC)
APP = "lyceum_notes"

Read = Callable[..., pa.Table]


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def read(sandbox: Sandbox, waits: list[float]) -> Iterator[Read]:
    """Reads a window of some hours from START, as the source does."""
    key = sandbox.mathpix.credential()
    auth = HeaderAuth({"app_id": key.app_id, "app_key": key.app_key})
    client = Client("mathpix", sandbox.url, auth=auth, error_from_response=error_from_response, sleep=waits.append)

    def read(hours: int = 24, *group_by: str, unit: Unit = "hour", page_size: int = 1000) -> pa.Table:
        start, group_by = pendulum.instance(START), group_by or ("usage_type",)
        table = ocr_usage_by(*group_by)
        window = Window(start, start.add(hours=hours))
        return read_window(
            MathpixClient(client), window, table=table, group_by=group_by, unit=unit, page_size=page_size
        ).rows

    yield read
    client.close()


def usage(hours: int, kinds: int, *, count: int = 3) -> list[dict[str, Any]]:
    return [
        {"hour": START + timedelta(hours=hour), "app_id": APP, "usage_type": f"kind-{kind:03}", "count": count + kind}
        for hour in range(hours)
        for kind in range(kinds)
    ]


def total(table: pa.Table) -> int:
    return sum(table.column("count").to_pylist())


@pytest.mark.parametrize("shape", ["scalars", "arrays", "sparse"])
@pytest.mark.parametrize("group_by", GROUPINGS)
def test_every_documented_form_becomes_the_same_table(
    sandbox: Sandbox, read: Read, shape: Any, group_by: tuple[str, ...]
) -> None:
    """Scalars, arrays, empty strings and absent fields give the same columns, types and totals."""
    sandbox.mathpix.options.shape = shape
    table = read(48, *group_by)
    assert total(table) == sandbox.mathpix.usage.total(START, START + timedelta(hours=48))
    assert table.schema.field("count").type == pa.int64()
    assert {str(table.schema.field(name).type) for name in ("app_id", "group_id", "usage_type", "request_args_hash")} == {
        "string"
    }
    for dimension in group_by:
        assert None not in table.column(dimension).to_pylist()


def test_both_dimensions_come_with_one_request(sandbox: Sandbox, read: Read) -> None:
    """Each row has one type and one app, as the vendor's clients request it, and the window takes one page and its end."""
    sandbox.mathpix.options.shape = "sparse"
    counted: dict[tuple[str, str], int] = {}
    for row in read(24, "usage_type", "app_id").to_pylist():
        key = (row["app_id"], row["usage_type"])
        counted[key] = counted.get(key, 0) + row["count"]
    assert [request.query["group_by"] for request in sandbox.requests] == [["usage_type", "app_id"]] * 2
    assert len(counted) > 5
    assert counted == {
        (app, kind): sandbox.mathpix.usage.total(START, START + timedelta(hours=24), app_id=app, usage_type=kind)
        for app, kind in counted
    }


def test_a_refusal_of_two_dimensions_is_no_failure(sandbox: Sandbox, read: Read) -> None:
    """Whatever the error says. The tables of one dimension have their rows; a refusal of one dimension is an error."""
    sandbox.mathpix.options.group_by = "refused"
    with pytest.raises(Unsupported):
        read(24, "usage_type", "app_id")
    assert read(24, "app_id").num_rows > 0
    for fault in (Fault(path=ENDPOINT, body=error("opts_bad")), Fault(path=ENDPOINT, status=400, body={"error": "no"})):
        sandbox.faults.clear()
        sandbox.faults.add(fault)
        with pytest.raises(Unsupported):
            read(24, "usage_type", "app_id")
        with pytest.raises(RequestRejected):
            read(24, "app_id")


@pytest.mark.parametrize("kept", ["first", "last"])
def test_a_server_that_ignores_a_dimension_loses_no_count(sandbox: Sandbox, read: Read, kept: Any) -> None:
    """The rows are those of one dimension, and the total stays."""
    sandbox.mathpix.options.group_by, sandbox.mathpix.options.shape = kept, "arrays"
    assert total(read(24, "usage_type", "app_id")) == sandbox.mathpix.usage.total(START, START + timedelta(hours=24))


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_longer_buckets_have_the_same_total(sandbox: Sandbox, read: Read, unit: Unit) -> None:
    """This holds for every timespan."""
    hours = {"hour": 24, "day": 48, "week": 24, "month": 31 * 24}[unit]
    if unit == "week":  # 2026-03-01 is a Sunday: a window that cuts a week is the plan's to refuse, not this function's
        hours = 31 * 24
    table = read(hours=hours, unit=unit)
    assert total(table) == sandbox.mathpix.usage.total(START, START + timedelta(hours=hours))
    assert set(table.column("timespan").to_pylist()) == {unit}


@pytest.mark.parametrize(("rows", "requests"), [(0, 1), (99, 2), (100, 2), (999, 2), (1000, 2), (1001, 2), (2500, 3)])
def test_reads_all_pages_with_few_requests(sandbox: Sandbox, read: Read, rows: int, requests: int) -> None:
    """One request confirms the end, because any first page may be cut by the server."""
    sandbox.mathpix.usage.set(usage(1, rows))
    assert read(hours=1).num_rows == rows
    assert len(sandbox.requests) == requests


@pytest.mark.parametrize("rows", [20, 80, 140, 1000, 2500])
def test_reads_a_server_that_ignores_paging(sandbox: Sandbox, read: Read, rows: int) -> None:
    """Every page has all rows, and they are taken once."""
    sandbox.mathpix.options.paging = "ignored"
    sandbox.mathpix.usage.set(usage(20, rows // 20))
    assert read().num_rows == rows // 20 * 20


@pytest.mark.parametrize("cap", [25, 99, 100, 250, 512])
def test_reads_a_server_with_its_own_page_length(sandbox: Sandbox, read: Read, cap: int) -> None:
    """A first page shorter than requested does not count as the last."""
    sandbox.mathpix.options.per_page_cap = cap
    sandbox.mathpix.usage.set(usage(24, 50))
    assert read().num_rows == 1200


@pytest.mark.parametrize("cap", [100, 250])
def test_halves_windows_for_a_server_that_cuts_responses(sandbox: Sandbox, read: Read, cap: int) -> None:
    """A server that ignores paging and cuts its responses gets smaller windows until each is complete."""
    sandbox.mathpix.options.paging = "ignored"
    sandbox.mathpix.options.per_page_cap = cap
    sandbox.mathpix.usage.set(usage(24, 30))
    assert read().num_rows == 720


def test_a_bucket_that_cannot_be_read_whole_is_an_error(sandbox: Sandbox, read: Read) -> None:
    """130 rows in one hour of a server that returns a hundred are not loaded as a hundred."""
    sandbox.mathpix.options.paging = "ignored"
    sandbox.mathpix.options.per_page_cap = 100
    sandbox.mathpix.usage.set(usage(2, 130))
    for page_size in (1000, 100, 99):
        with pytest.raises(IncompleteResponse, match="same 100 rows"):
            read(page_size=page_size)


def test_splits_a_window_of_more_than_a_hundred_pages(sandbox: Sandbox, read: Read) -> None:
    """The first page is enough to decide it."""
    sandbox.mathpix.usage.set(usage(500, 4))
    assert read(hours=500, page_size=13).num_rows == 2000
    pages = [int(request.query["page"][0]) for request in sandbox.requests]
    assert max(pages) <= 100
    assert len(pages) < 2 * 2000 / 13  # so small pages overlap by much


def test_splits_a_window_whose_hundredth_page_is_full(sandbox: Sandbox, read: Read) -> None:
    """This happens if the first page suggested fewer pages."""
    sandbox.mathpix.usage.set(usage(1, 1) + usage(48, 30)[30:])
    assert read(hours=48, page_size=13).num_rows == 1 + 47 * 30
    assert max(int(request.query["page"][0]) for request in sandbox.requests) == 100


def test_notices_a_row_that_moves_to_the_next_page(sandbox: Sandbox, read: Read) -> None:
    """A row that is added while pages are read pushes another one on, so the window is read again."""
    sandbox.mathpix.usage.set(usage(1, 15))
    first = {
        "ocr_usage": [
            {"from_date": "2026-03-01T00:00:00.000Z", "usage_type": f"kind-{kind:03}", "count": 3 + kind}
            for kind in range(10)
        ]
    }
    shifted = {
        "ocr_usage": [
            {"from_date": "2026-03-01T00:00:00.000Z", "usage_type": f"kind-{kind:03}", "count": 3 + kind}
            for kind in range(9, 15)
        ]
    }
    sandbox.faults.add(Fault(path=ENDPOINT, query={"page": "1"}, times=1, body=first))
    sandbox.faults.add(Fault(path=ENDPOINT, query={"page": "2"}, times=1, body=shifted))
    table = read(hours=1, page_size=10)
    assert table.num_rows == 15
    assert total(table) == sum(3 + kind for kind in range(15))


def test_never_loads_two_rows_of_one_key(sandbox: Sandbox, read: Read) -> None:
    """A key that comes twice in every attempt is an error, not twice the bill."""
    row = {"from_date": "2026-03-01T00:00:00.000Z", "usage_type": "image", "count": 3}
    sandbox.faults.add(Fault(path=ENDPOINT, body={"ocr_usage": [row, row]}))
    with pytest.raises(IncompleteResponse, match="same key"):
        read()


def error(identifier: str, **details: Any) -> dict[str, Any]:
    return {"error": "It says no", "error_info": {"id": identifier, "message": "It says no", **details}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "retried"),
    [
        (401, error("http_unauthorized"), CredentialsRejected, False),
        (200, error("http_unauthorized"), CredentialsRejected, False),
        (401, error("account_disabled"), CredentialsRejected, False),
        (200, error("opts_bad"), RequestRejected, False),
        (200, error("opts_value_out_of_range"), RequestRejected, False),
        (200, {"error": "Something"}, ServiceUnavailable, True),
        (200, {"error_info": "broken"}, ServiceUnavailable, True),
        (200, error("nobody_knows"), ServiceUnavailable, True),
        (200, error("sys_exception"), ServiceUnavailable, True),
        (503, {"error": "Service Unavailable"}, ServiceUnavailable, True),
        (429, {"error": "Too Many Requests"}, RateLimited, True),
        (504, error("nobody_knows"), ServiceUnavailable, True),
        (401, {"error": "no"}, CredentialsRejected, False),
        (400, {"error": "no"}, RequestRejected, False),
        (429, error("http_max_requests"), RateLimited, True),
        (429, error("http_max_requests", limit_name="minute_limit", limit_value=200, count=201), RateLimited, True),
        (
            429,
            error("http_max_requests", limit_name="page_monthly_limit", limit_value=5000, count=5001),
            QuotaExhausted,
            False,
        ),
        (200, {"data": []}, MalformedResponse, True),
        (200, {"ocr_usage": None}, MalformedResponse, True),
        (200, [], MalformedResponse, True),
        (200, {"ocr_usage": [1]}, UnexpectedValue, False),
        (200, {"ocr_usage": [{"from_date": "2026-03-01T00:00:00Z", "usage_type": "image"}]}, UnexpectedValue, False),
    ],
)
def test_maps_errors_by_id(
    sandbox: Sandbox, read: Read, waits: list[float], status: int, body: Any, kind: type[SourceError], retried: bool
) -> None:
    """This holds inside a 200, too; a monthly quota is not retried, a transient error is."""
    sandbox.faults.add(Fault(path=ENDPOINT, status=status, body=body))
    with pytest.raises(kind, match=r"^mathpix /v3/ocr-usage"):
        read()
    assert bool(waits) == retried


@pytest.mark.parametrize("identifier", ["sys_exception", "nobody_knows"])
def test_a_transient_error_inside_a_200_loses_no_row(sandbox: Sandbox, read: Read, identifier: str) -> None:
    """A page with an error object, documented or not, is requested again, and all rows arrive."""
    sandbox.mathpix.usage.set(usage(24, 50))
    sandbox.faults.add(Fault(path=ENDPOINT, query={"page": "2"}, times=2, body=error(identifier)))
    assert read(page_size=401).num_rows == 1200


def test_rows_equal_those_of_the_vendors_client(sandbox: Sandbox, read: Read) -> None:
    """mpxpy, pointed at the sandbox, and our source agree row by row."""
    mathpix_client = pytest.importorskip("mpxpy.mathpix_client")
    key = sandbox.mathpix.credential()
    theirs = mathpix_client.MathpixClient(app_id=key.app_id, app_key=key.app_key, api_url=sandbox.url).query_usage(
        from_date="2026-03-01T00:00:00Z",
        to_date="2026-03-03T00:00:00Z",
        timespan="hour",
        group_by=["usage_type"],
        per_page=1000,
    )["ocr_usage"]
    ours = read(hours=48).to_pylist()
    assert ours
    assert [(row["bucket_start"], row["usage_type"], row["count"]) for row in ours] == [
        (datetime.fromisoformat(row["from_date"]), row["usage_type"], row["count"]) for row in theirs
    ]
