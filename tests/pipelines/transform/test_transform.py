"""The dbt project, built in this process on raw tables as the loader writes them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.duckdb.environments.local import LocalEnvironment

from tests.pipelines.transform.rows import FORMULA_HOURS, raw_rows, raw_tables
from tests.pipelines.transform.warehouse import (
    IN_EUROS,
    MARTS,
    MODELS_ONLY,
    PROJECT,
    TEST_VARIABLES,
    Outcome,
    Warehouse,
    d,
    duckdb_warehouse,
    usage,
)

BACKTEST = (
    "select * from usage_intermediate.int_cost__backtested order by provider, billing_account, billing_month, known_days"
)


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
    """Quantity times unit price is the cost of every usage charge, even if an hour has two prices."""
    crossing = built.query("""
        select sku_price_id, quantity, unit_price from usage.charges
        where account = 'sessions' and charge_period_start = timestamp '2025-05-01 00:00' order by 1
    """)
    assert crossing == [
        ("mathpix/strokes-session/t1", d("1000"), d("0")),
        ("mathpix/strokes-session/t2", d("99000"), d("0.01")),
        ("mathpix/strokes-session/t3", d("400000"), d("0.008")),
    ]
    wrong = "charge_category = 'Usage' and quantity * unit_price <> list_cost"
    assert built.query(f"select count(*) from usage.charges where {wrong}") == [(0,)]


def test_usage_without_a_price_is_unpriced_and_not_free(built: Warehouse) -> None:
    """An unknown meter or a time before the first price gives no row in a cost table."""
    unpriced = built.query(
        "select account, meter, date, quantity, reason from usage.unpriced_usage"
        " where provider = 'mathpix' and account not in ('parts', 'apps') order by 1, 2"
    )
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
    others = "provider = 'mathpix' and account not in ('running', 'default', 'holed', 'parts', 'owned', 'whole')"
    assert built.query(f"select distinct is_complete from usage.cost_monthly where {others}") == [(True,)]


def test_monthly_cost_matches_a_closed_formula(built: Warehouse) -> None:
    """The month's total decides the cost, for any spread over hours, apps and the two meters of a SKU."""
    total = sum(count for _, count in FORMULA_HOURS)
    assert total > 1_000_000
    expected = d("2000") + (total - 1_000_000) * d("0.0015")
    assert built.query("select sum(billed_cost) from usage.cost_daily where account = 'formula'") == [(expected,)]
    assert built.query("select billed_cost from usage.cost_monthly where account = 'formula'") == [(expected,)]


@pytest.mark.thorough
def test_every_unit_test_of_the_models_passes(built: Warehouse) -> None:
    """Each carries a rule of a model."""
    assert set(built.dbt("test --resource-type unit_test").statuses.values()) == {"pass"}


@pytest.mark.thorough
def test_a_second_build_in_another_time_zone_changes_nothing(built: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mart stays the same, including the keys of charges, and so does the backtest of the forecast."""
    before, backtest = built.marts(), built.query(BACKTEST)
    initialize = LocalEnvironment.initialize_cursor
    zones = []

    def in_kiribati(credentials: Any, cursor: Any, *arguments: Any) -> Any:
        cursor.execute("set TimeZone = 'Pacific/Kiritimati'")
        zones.extend(cursor.execute("select current_setting('TimeZone')").fetchone())
        return initialize(credentials, cursor, *arguments)

    # As a profile's `settings` do; but for another profile, dbt would parse the project again.
    monkeypatch.setattr(LocalEnvironment, "initialize_cursor", staticmethod(in_kiribati))
    assert built.dbt("run").success
    assert set(zones) == {"Pacific/Kiritimati"}
    assert built.marts() == before
    assert built.query(BACKTEST) == backtest


QUOTIENTS = {
    "{{ divided('cast(12345678.123456789 as numeric(28, 9))', 'cast(3 as bigint)') }}": "4115226.041152263",
    "{{ divided('cast(1000000000000 as numeric(28, 9))', 'cast(-7 as bigint)') }}": "-142857142857.142857143",
    "{{ divided('cast(1000000000000 as bigint)', 'cast(7 as bigint)', 6) }}": "142857142857.142857",
    "{{ divided('cast(0.0000005 as numeric(28, 9))', '1', 6) }}": "0.000001",
    "{{ divided('cast(0.000000499 as numeric(28, 9))', '1', 6) }}": "0",
}
"""More digits than a double has, and halves, which are rounded away from zero."""


@pytest.mark.thorough
def test_postgresql_computes_the_same_rows(built: Warehouse, postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL gives the same rows and comments as DuckDB, and passes all data tests."""
    postgres.execute(list(raw_rows()))
    for name, value in IN_EUROS.items():
        monkeypatch.setenv(name, value)
    outcome = postgres.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped") == []
    assert outcome.having("warn") == ["assert_mathpix_groupings_agree", "assert_named_values_are_used"]  # as in `built`
    assert postgres.marts() == built.marts()
    assert postgres.query(BACKTEST) == built.query(BACKTEST) != []
    assert postgres.comments() == built.comments()
    for engine in (built, postgres):
        assert engine.values(QUOTIENTS) == [d(exact) for exact in QUOTIENTS.values()], engine.target


@pytest.mark.thorough
def test_variables_set_the_billing_time_zone_and_disable_a_provider(warehouse: Warehouse) -> None:
    """With billing in New York, usage at 3:00 UTC on the first is in the month before. A disabled provider has no rows."""
    warehouse.variables = TEST_VARIABLES
    scopix = "insert into scopix.usage_daily (account, date, total_requests, total_credits, is_complete) values"
    warehouse.load(
        usage("2025-06-01 03:00", "image", 1),
        usage("2025-06-01 04:00", "image", 2),
        *raw_tables("scopix"),
        f"{scopix} ('default', '2025-06-01', 5, 7, true)",
    )
    assert warehouse.dbt("build", *MODELS_ONLY).success
    assert warehouse.query("select billing_month, quantity from usage.cost_monthly order by 1") == [
        (date(2025, 5, 1), d("1")),
        (date(2025, 6, 1), d("2")),
    ]
    marts = warehouse.marts()
    assert {mart for mart, rows in marts.items() if "scopix" in str(rows).lower()} == {"skus"}


OVERLAP = "assert_mathpix_accounts_do_not_overlap"


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> tuple[Warehouse, Outcome]:
    """Accounts with doubtful usage, built up to `cost_monthly` with its data tests, except the one that fails."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("doubtful"), scratch)
    warehouse.load(
        usage("2025-05-01 10:00", "image", 5, account="cut"),
        usage("2025-05-01 10:00", "image", 4, account="cut", grouping="app_id"),
        usage("2025-05-26 00:00", "image", 5, account="by_week", timespan="week"),
        usage("2025-05-01 10:00", "image", -5, account="negative"),
        *(usage("2025-05-01 10:00", "image", 5, account=account, app_id="shared") for account in ("one", "two")),
        usage("2025-05-01 10:00", "image", 5, account="old name", app_id="renamed"),
        usage("2025-05-01 11:00", "image", 5, account="new name", app_id="renamed"),
    )
    selection = f"--select +cost_monthly assert_mathpix_groupings_agree --indirect-selection cautious --exclude {OVERLAP}"
    return warehouse, warehouse.dbt(f"build --exclude-resource-type unit_test {selection}")


@pytest.mark.thorough
def test_finds_two_accounts_that_report_one_app(doubtful: tuple[Warehouse, Outcome]) -> None:
    """Two keys of one group would bill all usage twice. One app under two account names passes if one follows the other.

    A run refuses the second account; see tests/sources/test_account_conflicts.py. This test covers rows that were loaded in
    another way.
    """
    warehouse, _ = doubtful
    outcome = warehouse.dbt(f"test --select {OVERLAP} --store-failures")
    assert not outcome.success
    assert outcome.statuses == {OVERLAP: "fail"}
    found = warehouse.query(f"select app_id, account, other_account from usage_dbt_test__audit.{OVERLAP}")
    assert found == [("shared", "one", "two")]


@pytest.mark.thorough
def test_doubtful_usage_warns_and_does_not_fail_the_build(doubtful: tuple[Warehouse, Outcome]) -> None:
    """Groupings that differ, a week in two months and a negative count are billed, and a data test warns of each."""
    warehouse, outcome = doubtful
    warnings = ["assert_buckets_lie_in_one_billing_month", "assert_mathpix_groupings_agree", "assert_no_usage_is_negative"]
    assert outcome.success
    assert outcome.having("warn") == warnings
    assert outcome.having("error", "fail", "skipped") == []
    billed = warehouse.query("select distinct account from usage.cost_monthly")
    assert {account for (account,) in billed} >= {"cut", "by_week", "negative"}


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
    manifest = warehouse.manifest()
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
