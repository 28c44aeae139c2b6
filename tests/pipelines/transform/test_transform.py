"""The dbt project, built in this process on raw tables as the loader writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import (
    MARTS,
    PROJECT,
    Warehouse,
    d,
    duckdb_warehouse,
    postgres_warehouse,
    usage,
    window,
)

# One load; each account is a case.
ROWS = (
    *(usage(f"2025-05-{day:02} 10:00", "image", 100_000, account="images") for day in range(1, 16)),
    *(usage(f"2025-05-{day:02} 10:00", "pdf-page", 400_000, account="pages", app_id=f"a{day}") for day in range(1, 6)),
    *(usage(f"2025-05-01 {hour:02}:00", "strokes-session", 500_000, account="sessions") for hour in range(4)),
    *(usage(f"2025-05-{day:02} 10:00", "image", 300_000, account="mixed") for day in range(1, 11)),
    *(usage(f"2025-05-{day:02} 10:00", "pdf-page", 80_000, account="mixed") for day in range(1, 11)),
    *(usage(f"2025-05-{day:02} 10:00", "strokes-session", 50_000, account="mixed") for day in range(1, 11)),
    usage("2025-02-28 23:00", "image", 150_000, account="history"),
    usage("2025-03-01 00:00", "image", 150_000, account="history"),
    usage("2024-11-30 23:00", "pdf-page", 50_000, account="history"),
    usage("2024-12-01 00:00", "pdf-page", 50_000, account="history"),
    usage("2022-06-05 23:00", "image", 10, account="history"),
    usage("2025-05-01 10:00", "conversion", 7, account="surprising"),
    usage("2025-05-01 10:00", "image-of-tomorrow", 8, account="surprising"),
    usage("2025-05-01 10:00", "image", 9, account="surprising"),
    usage("2025-05-01 11:00", "image", 0, account="surprising"),
    usage("2025-05-01 00:00", "image", 11, account="by_day", timespan="day"),
    usage("2025-05-05 00:00", "image", 12, account="by_week", timespan="week"),
    usage("2025-05-01 00:00", "image", 13, account="by_month", timespan="month"),
    usage("2025-05-31 22:00", "image", 14, account="running"),
    usage("2025-05-31 23:00", "image", 15, account="running", is_complete=False),
    *(
        window("2022-06-01 00:00", "2025-06-01 00:00", account=account)
        for account in ("images", "pages", "sessions", "mixed", "history", "surprising", "by_day", "by_week", "by_month")
    ),
    window("2022-06-01 00:00", "2025-05-31 23:00", account="running"),
)

PUBLIC_PRICES = {"prices", "skus"}
"""The marts that have rows without any usage."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The rows, built with all data tests of the project."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("built"), scratch)
    warehouse.load(*ROWS)
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert outcome.success
    return warehouse


def test_cost_monthly_matches_the_worked_examples_of_the_vendor(built: Warehouse) -> None:
    """Raw hours of the examples give the totals that Mathpix publishes."""
    totals = built.query("""
        select account, sum(billed_cost) from usage.cost_monthly
        where account in ('images', 'pages', 'sessions', 'mixed') group by account order by account
    """)
    assert totals == [
        ("images", d("2750")),
        ("mixed", d("13190")),
        ("pages", d("8500")),
        ("sessions", d("13190")),
    ]


def test_usage_is_priced_by_its_time(built: Warehouse) -> None:
    """The same amount of usage, an hour before and an hour after a price change."""
    months = built.query("""
        select sku_id, billing_month, billed_cost from usage.cost_monthly where account = 'history' order by 1, 2
    """)
    assert months == [
        ("mathpix/image", date(2025, 2, 1), d("516")),  # 1,000 x 0.02 + 99,000 x 0.004 + 50,000 x 0.002
        ("mathpix/image", date(2025, 3, 1), d("300")),  # 150,000 x 0.002
        ("mathpix/pdf-page", date(2024, 11, 1), d("1100")),  # 40,000 x 0.025 + 10,000 x 0.01
        ("mathpix/pdf-page", date(2024, 12, 1), d("250")),  # 50,000 x 0.005
    ]


def test_hour_across_a_tier_boundary_is_two_charges(built: Warehouse) -> None:
    """Quantity times unit price is the cost of every charge, even if an hour has two prices."""
    crossing = built.query("""
        select sku_price_id, quantity, unit_price from usage.charges
        where account = 'sessions' and charge_period_start = timestamp '2025-05-01 00:00' order by 1
    """)
    assert crossing == [
        ("mathpix/strokes-session/t1", d("1000"), d("0")),
        ("mathpix/strokes-session/t2", d("99000"), d("0.01")),
        ("mathpix/strokes-session/t3", d("400000"), d("0.008")),
    ]
    assert built.query("select count(*) from usage.charges where quantity * unit_price <> list_cost") == [(0,)]


def test_usage_without_a_price_is_unpriced_and_not_free(built: Warehouse) -> None:
    """An unknown meter or a time before the first price gives no row in a cost table."""
    unpriced = built.query("select account, meter, date, quantity, reason from usage.unpriced_usage order by 1, 2")
    assert unpriced == [
        ("history", "image", date(2022, 6, 5), d("10"), "no price at that time"),
        ("surprising", "conversion", date(2025, 5, 1), d("7"), "unknown meter"),
        ("surprising", "image-of-tomorrow", date(2025, 5, 1), d("8"), "unknown meter"),
    ]
    costs = built.query("select sku_id, quantity, billed_cost from usage.cost_monthly where account = 'surprising'")
    assert costs == [("mathpix/image", d("9"), d("0.018"))]


def test_long_buckets_are_left_out_of_fine_tables(built: Warehouse) -> None:
    """All timespans are billed; weeks and months are in no table by date, and only hours in the table by hour."""
    accounts = {
        table: [account for (account,) in built.table(table, "account", "account like 'by_%'")]
        for table in ("usage_hourly", "usage_daily", "cost_daily", "cost_monthly")
    }
    assert accounts == {
        "usage_hourly": [],
        "usage_daily": ["by_day"],
        "cost_daily": ["by_day"],
        "cost_monthly": ["by_day", "by_month", "by_week"],
    }


def test_running_time_is_incomplete_at_every_grain(built: Warehouse) -> None:
    """An hour that was running makes its day and its month incomplete, and leaves the hour before it complete."""
    assert built.query("select is_complete from usage.usage_hourly where account = 'running' order by hour") == [
        (True,),
        (False,),
    ]
    for table in ("usage_daily", "cost_daily", "cost_monthly"):
        assert built.table(table, "is_complete", "account = 'running'") == [(False,)]
    assert built.query("select distinct is_complete from usage.cost_monthly where account <> 'running'") == [(True,)]


@pytest.mark.thorough
def test_every_unit_test_of_the_models_passes(built: Warehouse) -> None:
    """Each carries a rule of a model; PostgreSQL runs them too."""
    assert set(built.dbt("test --resource-type unit_test").statuses.values()) == {"pass"}


@pytest.mark.thorough
def test_second_build_changes_nothing(built: Warehouse) -> None:
    """Every mart stays the same, including the keys of charges."""
    before = built.marts()
    assert built.dbt("run").success
    assert built.marts() == before


@pytest.mark.thorough
def test_session_time_zone_changes_nothing(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """A session in another time zone gives the same days and months."""
    elsewhere = duckdb_warehouse(tmp_path, scratch, session_timezone="Pacific/Kiritimati")
    elsewhere.load(*ROWS)
    assert elsewhere.dbt("build --exclude-resource-type unit_test").success
    assert elsewhere.marts() == built.marts()


QUOTIENTS = {
    "{{ divided('cast(12345678.123456789 as numeric(28, 9))', 'cast(3 as bigint)') }}": "4115226.041152263",
    "{{ divided('cast(1000000000000 as numeric(28, 9))', 'cast(-7 as bigint)') }}": "-142857142857.142857143",
    "{{ divided('cast(1000000000000 as bigint)', 'cast(7 as bigint)', 6) }}": "142857142857.142857",
    "{{ divided('cast(0.0000005 as numeric(28, 9))', '1', 6) }}": "0.000001",
    "{{ divided('cast(0.000000499 as numeric(28, 9))', '1', 6) }}": "0",
}
"""More digits than a double has, and halves, which are rounded away from zero."""


@pytest.mark.thorough
def test_postgresql_computes_the_same_rows(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """PostgreSQL gives the same rows and comments as DuckDB, and passes all tests, including unit tests."""
    with postgres_warehouse(tmp_path, scratch) as elsewhere:
        elsewhere.load(*ROWS, "alter database postgres set timezone to 'Pacific/Kiritimati'")
        outcome = elsewhere.dbt("build")
        assert outcome.having("error", "fail", "skipped", "warn") == []
        assert elsewhere.marts() == built.marts()
        assert elsewhere.comments() == built.comments()
        for engine in (built, elsewhere):
            for expression, exact in QUOTIENTS.items():
                assert engine.value(expression) == d(exact), (engine.target, expression)


@pytest.mark.thorough
def test_monthly_cost_matches_a_closed_formula(warehouse: Warehouse) -> None:
    """The month's total decides the cost, for any spread over hours, apps and the two meters of a SKU."""
    hours = [
        (f"2025-04-{day:02} {hour:02}:00", (day * 7919 + hour * 104_729) % 9_973)
        for day in range(1, 31)
        for hour in range(24)
    ]
    warehouse.load(
        *(
            usage(start, ("image", "image-async")[count % 2], count, app_id=("a", "b")[count % 3 % 2])
            for start, count in hours
        ),
    )
    assert warehouse.dbt("build --exclude-resource-type unit_test").success
    total = sum(count for _, count in hours)
    assert total > 1_000_000
    expected = d("2000") + (total - 1_000_000) * d("0.0015")
    assert warehouse.query("select sum(billed_cost) from usage.cost_daily") == [(expected,)]
    assert warehouse.query("select billed_cost from usage.cost_monthly") == [(expected,)]


@pytest.mark.thorough
def test_billing_time_zone_moves_late_hours_to_the_month_before(warehouse: Warehouse) -> None:
    """With billing in New York, usage at 3:00 UTC on the first is in the month before."""
    warehouse.load(usage("2025-06-01 03:00", "image", 1), usage("2025-06-01 04:00", "image", 2))
    arguments = ("--vars", json.dumps({"billing_timezones": {"mathpix": "America/New_York"}}))
    assert warehouse.dbt("build --exclude-resource-type unit_test", *arguments).success
    assert warehouse.query("select billing_month, quantity from usage.cost_monthly order by 1") == [
        (date(2025, 5, 1), d("1")),
        (date(2025, 6, 1), d("2")),
    ]


@pytest.mark.thorough
def test_empty_database_builds_without_rows(warehouse: Warehouse) -> None:
    """A database without raw schemas builds without an error."""
    warehouse.execute(["select 1"])
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert {mart for mart, rows in warehouse.marts().items() if rows} == PUBLIC_PRICES


@pytest.mark.thorough
def test_disabled_provider_has_no_rows(warehouse: Warehouse) -> None:
    """The raw tables of a disabled provider are ignored."""
    warehouse.load(usage("2025-05-01 10:00", "image", 1))
    assert warehouse.dbt("build --exclude-resource-type unit_test", "--vars", "mathpix_enabled: false").success
    assert {mart for mart, rows in warehouse.marts().items() if rows} == PUBLIC_PRICES


@pytest.mark.thorough
def test_two_accounts_that_report_one_app_fail_the_build(warehouse: Warehouse) -> None:
    """Two keys of one group fail the test, because they would bill all usage twice."""
    warehouse.load(*(usage("2025-05-01 10:00", "image", 5, account=account, app_id="app") for account in ("one", "two")))
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert not outcome.success
    assert outcome.having("fail") == ["assert_mathpix_accounts_do_not_overlap"]
    assert warehouse.query("select count(*) from mathpix.ocr_usage_by_usage_type") == [(2,)]


@pytest.mark.thorough
def test_renamed_account_does_not_count_as_two(warehouse: Warehouse) -> None:
    """One app under two account names passes if one follows the other."""
    warehouse.load(
        usage("2025-05-01 10:00", "image", 5, account="one", app_id="app"),
        usage("2025-05-01 11:00", "image", 5, account="two"),
    )
    assert warehouse.dbt("build --exclude-resource-type unit_test").success


@pytest.mark.parametrize(
    ("statements", "test"),
    [
        (
            [usage("2025-05-01 10:00", "image", 5), usage("2025-05-01 10:00", "image", 4, grouping="app_id")],
            "assert_mathpix_groupings_agree",
        ),
        ([usage("2025-05-26 00:00", "image", 5, timespan="week")], "assert_buckets_lie_in_one_billing_month"),
        ([usage("2025-05-01 10:00", "image", -5)], "assert_no_usage_is_negative"),
    ],
)
@pytest.mark.thorough
def test_doubtful_usage_warns_and_does_not_fail_the_build(
    warehouse: Warehouse, statements: Sequence[str], test: str
) -> None:
    """Doubtful usage is billed, and a data test warns of it."""
    warehouse.load(*statements)
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.success
    assert outcome.having("warn") == [test]


@pytest.mark.thorough
def test_freshness_is_read_from_the_log_of_loads(warehouse: Warehouse) -> None:
    """Failed loads do not make a source fresh."""
    loads = "insert into mathpix._dlt_loads select '{}', {}, now() - interval '{} hours'"
    warehouse.load(
        "create table mathpix._dlt_loads (load_id text, status bigint, inserted_at timestamptz)",
        loads.format("old", 0, 50),
        loads.format("failed", 1, 1),
    )
    assert set(warehouse.dbt("source freshness --select source:mathpix").statuses.values()) == {"warn"}
    warehouse.execute([loads.format("new", 0, 1)])
    assert set(warehouse.dbt("source freshness --select source:mathpix").statuses.values()) == {"pass"}


def test_every_model_is_described_and_every_mart_has_a_contract(warehouse: Warehouse) -> None:
    """Models, columns and sources have descriptions, and only marts enforce a contract."""
    assert warehouse.dbt("parse").success
    manifest = json.loads((warehouse.scratch / "target" / "manifest.json").read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed")]
    models = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
    public = {name for name, node in models.items() if node["access"] == "public"}
    assert public == set(MARTS)
    for node in (*nodes, *manifest["sources"].values()):
        assert node["description"].startswith(("One row per", "What Mathpix")), node["name"]
        assert all(column["description"] for column in node["columns"].values()), node["name"]
    for name, node in models.items():
        assert node["raw_code"].startswith("-- One row per"), name
        assert node["config"]["group"] == "billing", name
        assert node["config"]["contract"]["enforced"] == (name in public), name


def test_builds_write_nothing_into_the_project(built: Warehouse) -> None:
    """The project may be installed in a read-only folder."""
    assert not {path.name for path in PROJECT.iterdir()} & {"target", "logs", "dbt_packages", ".user.yml"}
