"""The requests and rows of the Reducto source, over real HTTP and without a pipeline."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.reducto import FILTERS, GROUPINGS, Usage
from meterhouse.sources._core.errors import (
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
    UnexpectedValue,
)
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.windows import Window, from_date
from meterhouse.sources.reducto.client import ReductoClient
from meterhouse.sources.reducto.constants import ENDPOINT
from meterhouse.sources.reducto.errors import error_from_response
from meterhouse.sources.reducto.reader import read_window
from meterhouse.sources.reducto.tables import usage_by

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
HARBOUR, LEGAL, QUILL = "org_harbour", "org_harbour_legal", "org_quill"

Read = Callable[..., FetchResult]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """A morning in March, for the sandbox and the source."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def export(sandbox: Sandbox) -> Iterator[ReductoClient]:
    """The default account's own organisation; retries do not wait."""
    key = sandbox.reducto.credential().api_key
    client = Client(
        "reducto", sandbox.url, auth=BearerAuth(key), error_from_response=error_from_response, sleep=lambda _: None
    )
    yield ReductoClient(client)
    client.close()


@pytest.fixture
def read(export: ReductoClient) -> Read:
    def read(start: str = "2026-03-10", end: str = "2026-03-21", grouping: str = "feature") -> FetchResult:
        window = Window(from_date(date.fromisoformat(start)), from_date(date.fromisoformat(end)))
        return read_window(export, window, table=usage_by(grouping), grouping=grouping)

    return read


def days(reading: FetchResult) -> list[str]:
    return sorted({found.isoformat() for found in reading.rows.column("date").to_pylist()})


def summed(reading: FetchResult) -> tuple[Decimal, int]:
    credits_, requests = (reading.rows.column(name).to_pylist() for name in ("credits", "request_count"))
    return sum(credits_, Decimal(0)), sum(requests)


ERROR_BODIES: tuple[tuple[Any, str], ...] = (
    (None, ""),
    ({"error": {"message": "Not KEY today.", "type": "x", "code": None}}, "Not *** today. "),
    ({"error": "Not KEY today"}, "Not *** today. "),
    ({"detail": [{"loc": ["query"], "message": "Not Bearer KEY today"}]}, "Not Bearer *** today. "),
    ({"error": {"code": 7}}, ""),
    ({"error": 7, "message": None}, ""),
    ('"Not KEY today"', "Not *** today. "),
    ([], ""),
    ("", ""),
)


def answer(*rows: dict[str, Any], **head: Any) -> dict[str, Any]:
    """A response to `read()`."""
    whole = {"orgId": HARBOUR, "startDate": "2026-03-09", "endDate": "2026-03-21", "groupBy": "feature", "data": list(rows)}
    return whole | head


def row(**changes: Any) -> dict[str, Any]:
    return {"date": "2026-03-19", "group": "standard_page", "credits": 1.5, "requestCount": 2} | changes


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_each_grouping_has_all_usage(sandbox: Sandbox, read: Read, grouping: str) -> None:
    """All rows of the window and none around it, with the dimension's own name."""
    reading = read(grouping=grouping)
    assert summed(reading) == sandbox.reducto.usage.total("2026-03-10", "2026-03-21")
    assert (days(reading)[0], days(reading)[-1]) == ("2026-03-10", "2026-03-20")
    assert reading.rows.column_names == ["org_id", "date", grouping, "credits", "request_count", "is_unrated"]


@pytest.mark.parametrize("end_in_future", ["taken", "clamped", "refused"])
@pytest.mark.parametrize("end_date", ["included", "excluded"])
@pytest.mark.parametrize(
    ("start", "end"), [("2026-03-10", "2026-03-21"), ("2026-03-10", "2026-03-20"), ("2026-03-10", "2026-03-11")]
)
def test_no_day_that_has_ended_is_missing(
    sandbox: Sandbox, read: Read, start: str, end: str, end_date: Any, end_in_future: Any
) -> None:
    """This holds for each interpretation of the reference, and a day that may not be covered is not claimed."""
    sandbox.reducto.options.end_date = end_date
    sandbox.reducto.options.end_in_future = end_in_future
    reading = read(start, end)
    assert reading.window is not None
    held = reading.window.end.to_date_string()
    untold_today = end == "2026-03-21" and end_date == "excluded" and end_in_future != "taken"
    assert held == ("2026-03-20" if untold_today else end)
    assert summed(reading) == sandbox.reducto.usage.total(start, held)


def test_claims_nothing_for_a_today_that_is_missing(sandbox: Sandbox, read: Read) -> None:
    """A window of today alone, from a server that ends before it, covers nothing."""
    sandbox.reducto.options.end_date, sandbox.reducto.options.end_in_future = "excluded", "clamped"
    reading = read("2026-03-20", "2026-03-21")
    assert (reading.rows.num_rows, reading.window) == (0, None)


def test_bounds_in_another_time_zone_leave_complete_days(sandbox: Sandbox, read: Read) -> None:
    """The server cuts the first and the last requested day, and these two are dropped."""
    cut = [row(date="2026-03-09", credits=0.1), row(date="2026-03-10"), row(date="2026-03-21", credits=0.1)]
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(*cut)))
    assert days(read()) == ["2026-03-10"]


@pytest.mark.parametrize(
    ("head", "kind", "said"),
    [
        ({"startDate": "2026-03-15"}, IncompleteResponse, "begins with 2026-03-15, but the request began with 2026-03-09"),
        ({"startDate": "2026-01-05"}, IncompleteResponse, "begins with 2026-01-05"),
        ({"endDate": "2026-03-15"}, IncompleteResponse, "ends with 2026-03-15, but the request ended with 2026-03-21"),
        ({"endDate": "2026-04-15"}, IncompleteResponse, "ends with 2026-04-15"),
        ({"startDate": None}, UnexpectedValue, "field startDate holds None"),
        ({"endDate": "soon"}, UnexpectedValue, "field endDate holds 'soon'"),
        ({"groupBy": "product"}, UnexpectedValue, "field groupBy holds 'product', but the request was for 'feature'"),
        ({"orgId": None}, UnexpectedValue, "field orgId holds None"),
    ],
)
def test_rejects_a_response_to_another_request(
    sandbox: Sandbox, read: Read, head: dict[str, Any], kind: type[SourceError], said: str
) -> None:
    """A response for a shorter window or another grouping must not delete rows."""
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(row(), **head)))
    with pytest.raises(kind, match=said):
        read()


def test_the_hint_for_a_missing_past_works(sandbox: Sandbox, read: Read) -> None:
    """The message names the day to begin with, and a window that begins there is read."""
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(row(), startDate="2026-03-15")))
    with pytest.raises(IncompleteResponse, match=r"set sources\.reducto\.initial_date to 2026-03-15"):
        read()
    assert read("2026-03-15").rows.num_rows == 1


def test_rejects_a_response_of_another_organisation(sandbox: Sandbox, export: ReductoClient, read: Read) -> None:
    """The expected one is configured, or known from the first response."""
    assert export.own_organisation() == {"org_id": HARBOUR}
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(row(), orgId=QUILL)))
    for org_id in ("", HARBOUR):
        export.org_id = org_id
        with pytest.raises(UnexpectedValue, match=f"field orgId holds '{QUILL}', but the request was for '{HARBOUR}'"):
            read()


@pytest.mark.parametrize("own", ["org' or 1=1 --", "", "two words", "{}"])
def test_rejects_an_organisation_id_that_is_not_an_identifier(sandbox: Sandbox, export: ReductoClient, own: str) -> None:
    """The id becomes part of a SQL condition."""
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(groupBy="product", orgId=own)))
    with pytest.raises(UnexpectedValue, match="not an identifier"):
        export.own_organisation()


@pytest.mark.parametrize(("unrated", "credits_"), [("null", None), ("absent", None), ("zero", Decimal(0))])
def test_missing_credits_are_neither_invented_nor_zero(
    sandbox: Sandbox, read: Read, unrated: Any, credits_: Decimal | None
) -> None:
    """On the pricing of 2026-09-01 requests keep their count, credits stay as sent, and the row is flagged."""
    sandbox.reducto.usage.set(Usage(day, credits="2.5") for day in ("2026-08-31", "2026-09-01"))
    sandbox.reducto.options.on_new_pricing.add(HARBOUR)
    sandbox.reducto.options.unrated = unrated
    with time_machine.travel(datetime(2026, 9, 2, tzinfo=UTC)):
        rows = read("2026-08-31", "2026-09-02").rows.select(["credits", "request_count", "is_unrated"]).to_pylist()
    assert [tuple(found.values()) for found in rows] == [(Decimal("2.5"), 1, False), (credits_, 1, True)]


def test_a_row_without_requests_is_not_unrated(sandbox: Sandbox, read: Read) -> None:
    """No credits for no requests is right."""
    nothing = [row(credits=0, requestCount=0), row(group="other", credits=None, requestCount=0)]
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(*nothing)))
    assert read().rows.column("is_unrated").to_pylist() == [False, False]


@pytest.mark.parametrize(
    ("text", "credits_"),
    [
        ("0.5", "0.5"),
        ("150.0", "150"),
        ("7", "7"),
        ("1234567890123.123456789", "1234567890123.123456789"),
        ("0.30000000000000004", "0.3"),
        ("1e-3", "0.001"),
        ("-2.5", "-2.5"),
    ],
)
def test_decimals_are_exact(sandbox: Sandbox, read: Read, text: str, credits_: str) -> None:
    """They are parsed from text; binary noise from the tenth digit on is rounded away."""
    body = json.dumps(answer(row(credits="here"))).replace('"here"', text)
    sandbox.faults.add(Fault(path=ENDPOINT, body=body))
    assert read().rows.column("credits").to_pylist() == [Decimal(credits_)]


def test_a_group_without_a_name_is_empty(sandbox: Sandbox, read: Read) -> None:
    """It can be part of the key."""
    sandbox.faults.add(Fault(path=ENDPOINT, body=answer(row(group=None), row(group="x"))))
    assert read().rows.column("feature").to_pylist() == ["", "x"]


@pytest.mark.parametrize(("parameter", "name"), FILTERS.items())
def test_sends_filters(sandbox: Sandbox, export: ReductoClient, read: Read, parameter: str, name: str) -> None:
    """Each value repeats its parameter, and only matching usage is returned."""
    values = sorted({getattr(used, name) for used in sandbox.reducto.usage.rows("2026-03-10", "2026-03-21")})[-2:]
    export.filters = {parameter: values}
    totals = [sandbox.reducto.usage.total("2026-03-10", "2026-03-21", **{name: value}) for value in values]
    assert summed(read()) == (sum(one.credits or 0 for one in totals), sum(one.requests for one in totals))
    assert sandbox.requests[-1].query[parameter] == values


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (answer(row(credits="many")), UnexpectedValue, "field credits holds 'many'"),
        (answer(row(credits=True)), UnexpectedValue, "field credits holds True"),
        (answer(row(requestCount=None)), UnexpectedValue, "field requestCount holds nothing"),
        (answer(row(requestCount=1.5)), UnexpectedValue, "field requestCount holds Decimal"),
        (answer(row(date="2026-03-19T10:00:00")), UnexpectedValue, "field date holds '2026-03-19T10:00:00', a time"),
        (answer(row(date=None)), UnexpectedValue, "field date holds nothing"),
        (answer(row(group=7)), UnexpectedValue, "field group holds 7"),
        (answer(row(date="2026-01-01")), UnexpectedValue, "a row is dated 2026-01-01"),
        (answer(row(), row(credits=3)), UnexpectedValue, "two rows have the same key"),
        (answer(data=[7]), UnexpectedValue, "an item is 7, not an object"),
        (answer(data=None), MalformedResponse, "the response has no list data"),
        ({"message": "Try later."}, MalformedResponse, "the response has no list data: Try later. Run"),
        ([], MalformedResponse, "the response has no list data"),
        ("<html></html>", MalformedResponse, "the response is not JSON"),
    ],
)
def test_rejects_undocumented_responses(sandbox: Sandbox, read: Read, body: Any, kind: type[SourceError], said: str) -> None:
    """The message names endpoint, field and value."""
    sandbox.faults.add(Fault(path=ENDPOINT, body=body))
    with pytest.raises(kind, match=f"^reducto {ENDPOINT}.*{said}"):
        read()


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, RequestRejected, "the API refuses a parameter"),
        (401, CredentialsRejected, "personal key from Studio"),
        (403, RequestRejected, "not a member"),
        (404, RequestRejected, "this address has no usage export"),
        (418, RequestRejected, "refuses the request"),
        (429, RateLimited, "Lower sources.reducto.requests_per_minute"),
        (500, ServiceUnavailable, "Reducto reports an internal error"),
        (503, ServiceUnavailable, "Reducto reports an internal error"),
    ],
)
def test_each_error_has_its_own_message_without_a_secret(
    sandbox: Sandbox, export: ReductoClient, status: int, kind: type[SourceError], said: str
) -> None:
    """The message shows the API's text from any body, and redacts the key."""
    key = sandbox.reducto.credential().api_key
    export.org_id = LEGAL
    for body, shown in ERROR_BODIES:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        sandbox.faults.clear()
        sandbox.faults.add(Fault(path=ENDPOINT, status=status, body=text and text.replace("KEY", key)))
        with pytest.raises(kind) as caught:
            export.check_credentials()
        message = str(caught.value)
        assert message.startswith(f"reducto {ENDPOINT} (HTTP {status}): organisation {LEGAL}: ")
        assert said in message
        assert status == 418 or shown in message
        assert key not in message + repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


def test_does_not_shorten_a_refused_past_window(sandbox: Sandbox, read: Read) -> None:
    """Only a day that has not begun is a reason to request less."""
    sandbox.faults.add(Fault(path=ENDPOINT, status=400))
    with pytest.raises(RequestRejected):
        read("2026-03-10", "2026-03-20")
    assert len(sandbox.requests) == 1


def test_a_leap_day_is_a_day(sandbox: Sandbox, read: Read) -> None:
    """The margin around a window crosses months."""
    sandbox.reducto.usage.set(Usage(date(2024, 2, number)) for number in (27, 28, 29))
    assert days(read("2024-02-28", "2024-03-01")) == ["2024-02-28", "2024-02-29"]
    assert sandbox.requests[-1].query["endDate"] == ["2024-03-01"]
