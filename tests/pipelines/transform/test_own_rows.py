"""The data tests of the project find usage of Reducto and Onepin that is loaded twice or missing."""

from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import WINDOW_COLUMNS, Outcome, Warehouse, duckdb_warehouse

pytestmark = pytest.mark.thorough

GROUPINGS = ("product", "feature", "api_key", "file_type")


def reducto(grouping: str, day: str, credits_: int | None, requests: int = 1, value: str = "any") -> str:
    return (
        f"insert into reducto.usage_by_{grouping} values ('default', 'org', date '{day}', '{value}',"
        f" {'null' if credits_ is None else credits_}, {requests}, {credits_ is None}, true,"
        f" timestamptz '{day} 12:00:00+00', 'v')"
    )


def onepin(account: str, workspace_id: str, day: str) -> str:
    return (
        f"insert into onepin.usage_daily values ('{account}', '{workspace_id}', 'UTC', date '{day}', 1, 1, 1, 1, true,"
        f" timestamptz '{day} 12:00:00+00', 'v')"
    )


def fetched(provider: str, resource: str, part: str, start: str, end: str, account: str = "default") -> str:
    return (
        f"insert into {provider}.fetched_windows values ("
        f"'{resource}', '{account}', '{part}', timestamptz '{start} 00:00+00',"
        f" timestamptz '{end} 00:00+00', timestamptz '{end} 00:00+00', 1, timestamptz '{end} 12:00+00')"
    )


COMMON = "is_complete boolean, fetched_at timestamptz, row_version text"
TABLES = (
    "create schema reducto",
    *(
        f"create table reducto.usage_by_{grouping} (account text, org_id text, date date, {grouping} text,"
        f" credits decimal(28,9), request_count bigint, is_unrated boolean, {COMMON})"
        for grouping in GROUPINGS
    ),
    f"create table reducto.fetched_windows ({WINDOW_COLUMNS})",
    "create schema onepin",
    "create table onepin.usage_daily (account text, workspace_id text, timezone text, date date, credits decimal(28,9),"
    f" characters bigint, lines bigint, runs bigint, {COMMON})",
    f"create table onepin.fetched_windows ({WINDOW_COLUMNS})",
)
ROWS = (
    # All four agree on the first day. Features were requested for the second day and lack it; files were not requested.
    *(reducto(grouping, "2026-05-01", 5) for grouping in GROUPINGS),
    *(reducto(grouping, "2026-05-02", 7) for grouping in ("product", "api_key")),
    *(
        fetched("reducto", f"usage_by_{name}", "org", "2026-05-01", "2026-05-03")
        for name in ("product", "feature", "api_key")
    ),
    fetched("reducto", "usage_by_file_type", "org", "2026-05-01", "2026-05-02"),
    # Only the file types show that the requests for PDFs have no credits.
    *(reducto(grouping, "2026-05-03", 5, requests=105) for grouping in GROUPINGS[:3]),
    reducto("file_type", "2026-05-03", 5, requests=5, value="xlsx"),
    reducto("file_type", "2026-05-03", None, requests=100, value="pdf"),
    # Two keys of one workspace; and two workspaces of one account.
    *(onepin(account, "shared", "2026-05-01") for account in ("a", "b")),
    *(onepin("c", workspace_id, "2026-05-01") for workspace_id in ("own", "former")),
)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("own"), scratch)
    warehouse.load(*TABLES, *ROWS)
    return warehouse


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Outcome:
    return warehouse.dbt("build", "--select", "+cost_monthly", "+usage_daily", "+unpriced_usage", "+usage_by_dimension",
                         "assert_reducto_groupings_agree", "assert_dimensions_add_up_to_total",
                         "assert_onepin_accounts_do_not_overlap", "assert_reducto_accounts_do_not_overlap",
                         "--exclude-resource-type", "unit_test", "--store-failures")  # fmt: skip


def failures(warehouse: Warehouse, test: str, columns: str) -> list[tuple[object, ...]]:
    return warehouse.query(f"select {columns} from usage_dbt_test__audit.{test} order by all")


def test_finds_a_day_that_a_grouping_lacks(warehouse: Warehouse, built: Outcome) -> None:
    """A requested day without rows fails the comparison with the 7 credits of the products."""
    assert "assert_reducto_groupings_agree" in built.having("warn")
    assert failures(warehouse, "assert_reducto_groupings_agree", "date::text, grouped_by, credits, product_credits") == [
        ("2026-05-02", "feature", 0, 7)
    ]


def test_lists_requests_whose_credits_only_one_grouping_lacks(warehouse: Warehouse, built: Outcome) -> None:
    """100 of 105 requests are for PDFs, without credits: they are unpriced, and the dimensions add up to 105 requests."""
    assert warehouse.table("usage_daily", "meter, quantity", "date = '2026-05-03' and provider = 'reducto'") == [
        ("credits", 5),
        ("unrated-requests", 100),
    ]
    assert warehouse.table("unpriced_usage", "quantity, reason", "meter = 'unrated-requests'") == [
        (100, "no credits stated")
    ]
    assert warehouse.table(
        "usage_by_dimension", "value, unit, quantity", "date = '2026-05-03' and dimension = 'file_type'"
    ) == [
        ("pdf", "request", 100),
        ("xlsx", "credit", 5),
        ("xlsx", "request", 5),
    ]
    assert warehouse.table(
        "usage_by_dimension", "value, unit, quantity", "date = '2026-05-03' and dimension = 'product'"
    ) == [
        ("any", "credit", 5),
        ("any", "request", 105),
    ]
    assert built.statuses["assert_dimensions_add_up_to_total"] == "pass"


def test_finds_a_workspace_that_two_accounts_report(warehouse: Warehouse, built: Outcome) -> None:
    """Two accounts of one workspace fail the test; two workspaces of one account pass."""
    assert built.having("fail") == ["assert_onepin_accounts_do_not_overlap"]
    assert failures(warehouse, "assert_onepin_accounts_do_not_overlap", "workspace_id, account, other_account") == [
        ("shared", "a", "b")
    ]
    assert warehouse.table("usage_daily", "quantity", "account = 'c' and meter = 'credits'") == [(2,)]
