"""`GET /api/v1/usage/export` responds as docs.reducto.ai/reference/usage-export-api states."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.reducto import FILTERS, GROUPINGS

PATH = "/api/v1/usage/export"
WEEK = {"startDate": "2026-03-02", "endDate": "2026-03-08"}
HARBOUR, LEGAL, QUILL = "org_harbour", "org_harbour_legal", "org_quill"

Get = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def get(running_sandbox: Sandbox) -> Iterator[Get]:
    """Sends a request with the default account's key; a list value is a repeated parameter."""
    headers = {"Authorization": f"Bearer {running_sandbox.reducto.credential().api_key}"}
    with httpx.Client(base_url=running_sandbox.url, headers=headers, timeout=60) as client:
        yield lambda **parameters: client.get(PATH, params=parameters)


def rows(response: httpx.Response) -> list[dict[str, Any]]:
    """The rows of a successful response, with exact numbers."""
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = json.loads(response.text, parse_float=Decimal)["data"]
    return data


def summed(found: list[dict[str, Any]]) -> tuple[Any, int]:
    return sum(row["credits"] for row in found), sum(row["requestCount"] for row in found)


def test_the_defaults_are_as_documented(get: Get) -> None:
    """Without parameters the response covers 30 days until today, by product, of the key's own organisation."""
    body = get().json()
    assert list(body) == ["orgId", "startDate", "endDate", "groupBy", "data"]
    assert [*body.values()][:4] == [HARBOUR, "2026-02-16", "2026-03-18", "product"]
    days = [row["date"] for row in body["data"]]
    assert (days[0], days[-1]) == ("2026-02-16", "2026-03-18")
    assert {tuple(row) for row in body["data"]} == {("date", "group", "credits", "requestCount")}


@pytest.mark.parametrize("group_by", GROUPINGS)
def test_each_day_and_group_has_one_row(sandbox: Sandbox, get: Get, group_by: str) -> None:
    """Every grouping adds up to the same exact credits and requests; credits have a decimal place, as the page's 150.0."""
    response = get(**WEEK, groupBy=group_by)
    found = rows(response)
    keys = [(row["date"], row["group"]) for row in found]
    assert keys == sorted(set(keys))
    assert summed(found) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09")
    assert any(row["credits"] != int(row["credits"]) for row in found)
    assert '"credits":"' not in response.text
    assert all(row["credits"].as_tuple().exponent <= -1 for row in found)


@pytest.mark.parametrize(("end_date", "last"), [("included", "2026-03-08"), ("excluded", "2026-03-07")])
def test_the_end_date_can_be_included_or_excluded(sandbox: Sandbox, get: Get, end_date: str, last: str) -> None:
    """The page does not state whether `endDate` is included, so the sandbox can do either."""
    sandbox.reducto.options.end_date = end_date
    assert max(row["date"] for row in rows(get(**WEEK))) == last


@pytest.mark.parametrize(
    ("end_in_future", "status", "echoed"),
    [("taken", 200, "2026-04-01"), ("clamped", 200, "2026-03-18"), ("refused", 400, None)],
)
def test_an_end_date_in_the_future(sandbox: Sandbox, get: Get, end_in_future: str, status: int, echoed: str | None) -> None:
    """The page does not mention future end dates: by option they are accepted, replaced by today, or refused."""
    sandbox.reducto.options.end_in_future = end_in_future
    response = get(startDate="2026-03-17", endDate="2026-04-01")
    assert (response.status_code, response.json().get("endDate")) == (status, echoed)
    if status == 200:
        assert max(row["date"] for row in rows(response)) == "2026-03-18"
    assert get(endDate="2026-03-18").status_code == 200


@pytest.mark.parametrize(("parameter", "name"), FILTERS.items())
def test_filters_select_usage(sandbox: Sandbox, get: Get, parameter: str, name: str) -> None:
    """A filter, repeated or not, selects usage in any grouping."""
    for value in {getattr(row, name) for row in sandbox.reducto.usage.rows("2026-03-02", "2026-03-09")}:
        found = rows(get(**WEEK, groupBy="feature", **{parameter: value}))
        assert summed(found) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09", **{name: value})
    several = rows(get(**WEEK, groupBy=name, **{parameter: ["pdf", "xlsx", "parse", "standard_page", "mail-intake"]}))
    assert {row["group"] for row in several} <= {"pdf", "xlsx", "parse", "standard_page", "mail-intake"}
    assert several
    assert rows(get(**WEEK, **{parameter: "unknown"})) == []


def test_a_key_sees_its_organisations(sandbox: Sandbox, get: Get) -> None:
    """A key gets the usage of the organisations it is a member of, and 403 for others."""
    for org_id in (HARBOUR, LEGAL):
        response = get(**WEEK, orgId=org_id)
        assert response.json()["orgId"] == org_id
        assert summed(rows(response)) == sandbox.reducto.usage.total("2026-03-02", "2026-03-09", org_id=org_id)
    assert get(orgId=QUILL).status_code == 403
    assert get(orgId="org_of_nobody").status_code == 403


@pytest.mark.parametrize(
    "parameters", [{"groupBy": "day"}, {"groupBy": ""}, {"startDate": "yesterday"}, {"endDate": "2026-02-30"}]
)
def test_a_bad_parameter_is_a_400(get: Get, parameters: dict[str, str]) -> None:
    """A bad `groupBy` gets 400, as documented, and so does a bad date (inferred); the message names the parameter."""
    response = get(**parameters)
    assert response.status_code == 400
    assert next(iter(parameters)) in response.json()["error"]["message"]


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "sandbox-key-of-harbour"])
def test_a_wrong_key_is_a_401(sandbox: Sandbox, authorization: str | None, http: httpx.Client) -> None:
    """A missing or invalid key gets 401, as documented, before other errors (inferred)."""
    headers = {} if authorization is None else {"Authorization": authorization}
    assert http.get(f"{sandbox.url}{PATH}?groupBy=day", headers=headers).status_code == 401


@pytest.mark.parametrize(("unrated", "shown"), [("null", {"credits": None}), ("zero", {"credits": 0}), ("absent", {})])
def test_the_new_pricing_can_hide_credits(unrated: Any, shown: dict[str, Any], http: httpx.Client) -> None:
    """Under the pricing of 2026-09-01 an organisation has requests and, by option, null, zero or no credits."""
    with Sandbox(clock=lambda: datetime(2026, 9, 2, tzinfo=UTC)) as sandbox:
        sandbox.reducto.options.on_new_pricing.add(LEGAL)
        sandbox.reducto.options.unrated = unrated
        headers = {"Authorization": f"Bearer {sandbox.reducto.credential().api_key}"}
        for org_id in (HARBOUR, LEGAL):
            query = {"startDate": "2026-08-31", "endDate": "2026-09-01", "orgId": org_id}
            for row in rows(http.get(sandbox.url + PATH, params=query, headers=headers)):
                credits_ = {name: row[name] for name in row if name == "credits"}
                assert row["requestCount"] > 0
                assert (credits_ == shown) == (org_id == LEGAL and row["date"] == "2026-09-01")


def test_today_grows() -> None:
    """Today counts as far as it has run, and keeps its count once it is over (inferred)."""
    now = datetime(2026, 3, 18, tzinfo=UTC)
    sandbox = Sandbox(clock=lambda: now)
    counts = []
    for minutes in (0, 1, 300, 1439, 1440, 5000):
        now = datetime(2026, 3, 18, tzinfo=UTC) + timedelta(minutes=minutes)
        counts.append(sandbox.reducto.usage.total("2026-03-18", "2026-03-19").requests)
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-2] == counts[-1]


def test_the_printed_examples_work(http: httpx.Client) -> None:
    """The page's example requests work as printed, except for host and key, on the day of the printed response."""
    with Sandbox(clock=lambda: datetime(2026, 6, 18, 12, tzinfo=UTC)) as sandbox:
        url, headers = sandbox.url + PATH, {"Authorization": f"Bearer {sandbox.reducto.credential().api_key}"}
        assert rows(http.get(url, headers=headers))
        custom = {"startDate": "2026-06-01", "endDate": "2026-06-15", "groupBy": "file_type"}
        response = http.get(url, headers=headers, params=custom)
        assert {row["group"] for row in rows(response)} >= {"pdf", "html"}
        assert {name: response.json()[name] for name in custom} == custom
        filters: Any = [("groupBy", "feature"), ("product", "parse"), ("product", "extract")]
        filtered = http.get(url, headers=headers, params=filters)
        assert {row["group"] for row in rows(filtered)} >= {"standard_page", "extract_page"}
        of_one = http.get(f"{url}?orgId=org_abc123", headers=headers)
        assert {row["group"] for row in rows(of_one)} == {"parse", "extract"}
        head = {name: value for name, value in of_one.json().items() if name != "data"}
        assert head == {
            "orgId": "org_abc123", "startDate": "2026-05-19", "endDate": "2026-06-18", "groupBy": "product"
        }  # fmt: skip
