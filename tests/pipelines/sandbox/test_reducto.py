"""The usage export as the vendor documents it, asked over HTTP."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.reducto import FILTERS, GROUPINGS, Usage

from .conftest import NOW

PATH = "/api/v1/usage/export"
WEEK = {"startDate": "2026-03-02", "endDate": "2026-03-08"}
HARBOUR, LEGAL, QUILL = "org_harbour", "org_harbour_legal", "org_quill"

Get = Callable[..., httpx.Response]


@pytest.fixture
def get(sandbox: Sandbox) -> Iterator[Get]:
    """The answer to one request of the default account's key; a list value is a repeated parameter."""
    headers = {"Authorization": f"Bearer {sandbox.reducto.credential().api_key}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=10) as client:
        yield lambda **parameters: client.get(PATH, params=parameters)


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    """The rows of an answer that must be one, with exact numbers."""
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = json.loads(answer.text, parse_float=Decimal)["data"]
    return data


def summed(found: list[dict[str, Any]]) -> tuple[Any, int]:
    return sum(row["credits"] for row in found), sum(row["requestCount"] for row in found)


def test_the_defaults(get: Get) -> None:
    """Thirty days ago until today, by product, of the key's own organisation; the fields are those of the page."""
    answer = get().json()
    assert list(answer) == ["orgId", "startDate", "endDate", "groupBy", "data"]
    assert {name: answer[name] for name in list(answer)[:4]} == {
        "orgId": HARBOUR,
        "startDate": "2026-02-16",
        "endDate": "2026-03-18",
        "groupBy": "product",
    }
    days = [row["date"] for row in answer["data"]]
    assert (days[0], days[-1]) == ("2026-02-16", "2026-03-18")
    assert {tuple(row) for row in answer["data"]} == {("date", "group", "credits", "requestCount")}


@pytest.mark.parametrize("group_by", GROUPINGS)
def test_one_row_a_day_and_group(sandbox: Sandbox, get: Get, group_by: str) -> None:
    """Ordered by both, and each grouping adds up to the same exact credits and requests."""
    found = rows(get(**WEEK, groupBy=group_by))
    keys = [(row["date"], row["group"]) for row in found]
    assert keys == sorted(set(keys))
    assert summed(found) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09")
    assert any(row["credits"] != int(row["credits"]) for row in found)


def test_credits_have_a_digit_after_the_point(get: Get) -> None:
    """As on the page, which shows 150.0."""
    assert '"credits":"' not in get(**WEEK).text
    assert all(row["credits"].as_tuple().exponent <= -1 for row in rows(get(**WEEK)))


@pytest.mark.parametrize(("end_date", "last"), [("included", "2026-03-08"), ("excluded", "2026-03-07")])
def test_the_end_is_included_or_not(sandbox: Sandbox, get: Get, end_date: Any, last: str) -> None:
    """The page leaves it open, so it is an option."""
    sandbox.reducto.options.end_date = end_date
    assert max(row["date"] for row in rows(get(**WEEK))) == last


@pytest.mark.parametrize(
    ("end_in_future", "status", "echoed"), [("taken", 200, "2026-04-01"), ("clamped", 200, "2026-03-18")]
)
def test_an_end_in_the_future(sandbox: Sandbox, get: Get, end_in_future: Any, status: int, echoed: str) -> None:
    """It is taken or answered as today; nothing is used after now either way."""
    sandbox.reducto.options.end_in_future = end_in_future
    answer = get(startDate="2026-03-17", endDate="2026-04-01")
    assert (answer.status_code, answer.json()["endDate"]) == (status, echoed)
    assert max(row["date"] for row in rows(answer)) == "2026-03-18"


def test_an_end_in_the_future_refused(sandbox: Sandbox, get: Get) -> None:
    """Or it is a bad request."""
    sandbox.reducto.options.end_in_future = "refused"
    assert get(endDate="2026-03-19").status_code == 400
    assert get(endDate="2026-03-18").status_code == 200


@pytest.mark.parametrize(("parameter", "name"), FILTERS.items())
def test_filters(sandbox: Sandbox, get: Get, parameter: str, name: str) -> None:
    """A value, or several by repeating the parameter; whatever is grouped by."""
    for value in {getattr(row, name) for row in sandbox.reducto.usage.rows("2026-03-02", "2026-03-09")}:
        found = rows(get(**WEEK, groupBy="feature", **{parameter: value}))
        assert summed(found) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09", **{name: value})
    several = rows(get(**WEEK, groupBy=name, **{parameter: ["pdf", "xlsx", "parse", "standard_page", "mail-intake"]}))
    assert {row["group"] for row in several} <= {"pdf", "xlsx", "parse", "standard_page", "mail-intake"}
    assert several
    assert rows(get(**WEEK, **{parameter: "nothing of the kind"})) == []


def test_organisations(sandbox: Sandbox, get: Get) -> None:
    """A key is answered about the organisations that it is a member of, and refused about others."""
    for org_id in (HARBOUR, LEGAL):
        answer = get(**WEEK, orgId=org_id)
        assert answer.json()["orgId"] == org_id
        assert summed(rows(answer)) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09", org_id=org_id)
    assert get(orgId=QUILL).status_code == 403
    assert get(orgId="org_of_nobody").status_code == 403


@pytest.mark.parametrize(
    "parameters",
    [{"groupBy": "day"}, {"groupBy": ""}, {"startDate": "yesterday"}, {"endDate": "2026-02-30"}, {"startDate": ""}],
)
def test_a_bad_parameter(get: Get, parameters: dict[str, str]) -> None:
    """400 with a message that names it."""
    answer = get(**parameters)
    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["error"]["message"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "sandbox-key-of-harbour"])
def test_a_wrong_key(sandbox: Sandbox, authorization: str | None) -> None:
    """401 before any parameter is read."""
    headers = {} if authorization is None else {"Authorization": authorization}
    assert httpx.get(f"{sandbox.url}{PATH}?groupBy=day", headers=headers).status_code == 401


def test_a_fault_of_the_server(sandbox: Sandbox, get: Get) -> None:
    """The documented 500, by order."""
    sandbox.faults.add(Fault(path=PATH, status=500, times=1))
    assert get().status_code == 500
    assert get().status_code == 200


@pytest.mark.parametrize(("unrated", "shown"), [("null", {"credits": None}), ("zero", {"credits": 0}), ("absent", {})])
def test_the_pricing_of_september(unrated: Any, shown: dict[str, Any]) -> None:
    """From 2026-09-01 on an organisation on the new pricing has requests, and credits as the option says; others as ever."""
    with Sandbox(clock=lambda: datetime(2026, 9, 2, tzinfo=UTC)) as sandbox:
        sandbox.reducto.options.on_new_pricing.add(LEGAL)
        sandbox.reducto.options.unrated = unrated
        headers = {"Authorization": f"Bearer {sandbox.reducto.credential().api_key}"}
        for org_id in (HARBOUR, LEGAL):
            query = {"startDate": "2026-08-31", "endDate": "2026-09-01", "orgId": org_id}
            for row in rows(httpx.get(sandbox.url + PATH, params=query, headers=headers)):
                credits_ = {name: row[name] for name in row if name == "credits"}
                assert row["requestCount"] > 0
                assert (credits_ == shown) == (org_id == LEGAL and row["date"] == "2026-09-01")


def test_today_grows_and_nothing_is_after_it() -> None:
    """Today counts as far as it has run, and when it is over it counts what it always would have."""
    now = datetime(2026, 3, 18, tzinfo=UTC)
    with Sandbox(clock=lambda: now) as sandbox:
        counts = []
        for minutes in (0, 1, 300, 1439, 1440, 5000):
            now = datetime(2026, 3, 18, tzinfo=UTC) + timedelta(minutes=minutes)
            counts.append(sandbox.reducto.usage.total("2026-03-18", "2026-03-19").requests)
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-2] == counts[-1]


def test_the_world_is_the_same_for_the_same_seed(sandbox: Sandbox) -> None:
    """And another one for another seed; nothing is before its first day."""
    with Sandbox(seed=7, clock=lambda: NOW) as same, Sandbox(seed=8, clock=lambda: NOW) as other:
        assert same.reducto.usage.rows("2026-03-01") == sandbox.reducto.usage.rows("2026-03-01")
        assert other.reducto.usage.rows("2026-03-01") != sandbox.reducto.usage.rows("2026-03-01")
    assert sandbox.reducto.usage.total(None, "2024-06-01").requests == 0
    assert sandbox.reducto.usage.total("2024-06-01", "2024-06-02").requests > 0


def test_the_world_is_believable(sandbox: Sandbox) -> None:
    """It grows, rests at weekends, and has one storm."""
    usage = sandbox.reducto.usage
    assert usage.total("2025-10-01", "2025-11-01").requests > 1.1 * usage.total("2024-10-01", "2024-11-01").requests
    assert usage.total("2026-03-07", "2026-03-08").requests < usage.total("2026-03-10", "2026-03-11").requests / 2
    storm = usage.total("2025-05-14", product="parse").requests
    assert usage.total("2025-05-14", "2025-05-15").requests > 2 * usage.total("2025-05-07", "2025-05-08").requests
    assert storm > 0


def test_the_book(sandbox: Sandbox, get: Get) -> None:
    """What is set, restated and withdrawn is what is answered, until it is reset."""
    usage = sandbox.reducto.usage
    before = get(**WEEK).text
    usage.set([Usage("2026-03-03", credits="0.5"), Usage("2026-03-03", credits=1, requests=2), Usage("2026-03-04", "split")])
    assert [tuple(row.values()) for row in rows(get(**WEEK))] == [
        ("2026-03-03", "parse", Decimal("1.5"), 3),
        ("2026-03-04", "split", Decimal(1), 1),
    ]
    usage.restate("2026-03-03", factor="2")
    usage.restate("2026-03-01", "2026-03-09", credits="0.125", requests=7, product="split")
    assert [tuple(row.values()) for row in rows(get(**WEEK))] == [
        ("2026-03-03", "parse", Decimal(3), 6),
        ("2026-03-04", "split", Decimal("0.125"), 7),
    ]
    usage.vanish(date(2026, 3, 3))
    assert [row["group"] for row in rows(get(**WEEK))] == ["split"]
    usage.set(usage.rows())
    assert [row["group"] for row in rows(get(**WEEK))] == ["split"]
    usage.reset()
    assert get(**WEEK).text == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either a factor or credits"),
        ({"factor": 2, "requests": 1}, "either a factor or credits"),
        ({"factor": 2, "end": "2026-03-01"}, "is empty"),
        ({"factor": 2, "colour": "blue"}, "usage has no colour"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(sandbox: Sandbox, arguments: dict[str, Any], said: str) -> None:
    """And changes nothing."""
    with pytest.raises(ValueError, match=said):
        sandbox.reducto.usage.restate("2026-03-03", **arguments)


def test_other_processes_change_the_book_over_http(sandbox: Sandbox, get: Get) -> None:
    """`/_sandbox/reducto/{restate,vanish,reset}` take the arguments as JSON."""
    before = rows(get(**WEEK))
    control = f"{sandbox.url}/_sandbox/reducto"
    body = {"start": "2026-03-03", "factor": "0.5", "product": "parse"}
    assert httpx.post(f"{control}/restate", json=body).status_code == 204
    assert summed(rows(get(**WEEK)))[0] < summed(before)[0]
    assert httpx.post(f"{control}/vanish", json={"start": "2026-01-01", "end": "2026-04-01"}).status_code == 204
    assert rows(get(**WEEK)) == []
    assert httpx.post(f"{control}/vanish", json={"start": "2026-01-01", "colour": "blue"}).status_code == 422
    assert httpx.post(f"{control}/reset").status_code == 204
    assert rows(get(**WEEK)) == before


def test_the_printed_examples_work() -> None:
    """All calls of the vendor's page as printed, but for host and key, on the day that its answer is of."""
    with Sandbox(clock=lambda: datetime(2026, 6, 18, 12, tzinfo=UTC)) as sandbox:
        url, headers = sandbox.url + PATH, {"Authorization": f"Bearer {sandbox.reducto.credential().api_key}"}
        assert rows(httpx.get(url, headers=headers))
        custom = {"startDate": "2026-06-01", "endDate": "2026-06-15", "groupBy": "file_type"}
        answer = httpx.get(url, headers=headers, params=custom)
        assert {row["group"] for row in rows(answer)} >= {"pdf", "html"}
        assert {name: answer.json()[name] for name in custom} == custom
        filters: Any = [("groupBy", "feature"), ("product", "parse"), ("product", "extract")]
        filtered = httpx.get(url, headers=headers, params=filters)
        assert {row["group"] for row in rows(filtered)} >= {"standard_page", "extract_page"}
        of_one = httpx.get(f"{url}?orgId=org_abc123", headers=headers)
        assert {row["group"] for row in rows(of_one)} == {"parse", "extract"}
        head = {name: value for name, value in of_one.json().items() if name != "data"}
        assert head == {
            "orgId": "org_abc123", "startDate": "2026-05-19", "endDate": "2026-06-18", "groupBy": "product"
        }  # fmt: skip
