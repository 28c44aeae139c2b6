"""The cost of an account depends only on the table that is priced."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.random_scenarios import inserts
from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, d, window

pytestmark = pytest.mark.thorough

MONTHS = [datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)]
UNTIL = datetime(2026, 4, 6, tzinfo=UTC)


def plan(account: str) -> Scenario:
    """900 credits in each of two months, of which 1,000 a month are included; a fee of 49; 0.10 a credit beyond."""
    first = MONTHS[0].date()
    return Scenario(
        [Account("scopix", account, account, "UTC", None, MONTHS[0], UNTIL)],
        [Use("scopix", account, "credits", at, at + timedelta(days=1), Decimal(900)) for at in MONTHS],
        [Price("scopix", account, "scopix/credit", "flat", ((Decimal(0), None, d("0.10")),), "USD", first, None, True)],
        [Grant("scopix", account, "plan", "included", "credit", Decimal(1000), first, renews="monthly")],
        [Fee("scopix", account, "plan", "monthly", Decimal(49), "USD", first, None, "")],
    )


def side_table(table: str, account: str, part: str, complete_until: str | None) -> str:
    """The statement that logs a request for a table that is not priced; without a response if `complete_until` is None."""
    start, end = ("null", "null") if complete_until is None else ("'2026-02-01'", f"'{complete_until}'")
    return (
        f"insert into scopix.fetched_windows values ('{table}', '{account}', '{part}', {start}, {end}, {end}, 0,"
        " '2026-07-01 00:00:00+00')"
    )


def test_a_side_table_takes_no_fee_no_credit_and_no_month(warehouse: Warehouse) -> None:
    """Accounts with a silent or a late side table cost 147.00, like the one with all tables: three fees and no overage."""
    accounts = ("whole", "silent", "late")
    warehouse.execute(inserts([plan(account) for account in accounts]))
    warehouse.execute(
        [
            side_table("tokens_daily", "whole", "", "2026-04-06"),
            side_table("tokens_daily", "silent", "", None),
            side_table("usage_by_period", "late", "hour", "2026-02-10"),
        ]
    )
    outcome = warehouse.dbt(
        "build", "--select", "+cost_monthly", "+credit_balance_daily", "+usage_gaps", "--exclude-resource-type", "unit_test",
        "--indirect-selection", "cautious",
    )  # fmt: skip
    assert outcome.having("error", "fail", "skipped") == []
    months = [(date(2026, month, 1), d("49"), month < 4) for month in (2, 3, 4)]
    for account in accounts:
        cost = f"select billing_month, sum(billed_cost), bool_and(is_complete) from usage.cost_monthly \
            where billing_account = '{account}' group by billing_month order by billing_month"
        assert warehouse.query(cost) == months
        total = f"select sum(billed_cost) from usage.cost_monthly where billing_account = '{account}'"
        assert warehouse.query(total) == [(d("147"),)]
        balance = warehouse.table(
            "credit_balance_daily", "remaining", f"billing_account = '{account}' and date = '2026-03-31'"
        )
        assert balance == [(d("100"),)]
    # Each side table keeps its own completeness.
    gaps = warehouse.table("usage_gaps", "distinct account, resource", "resource <> 'usage_daily'")
    assert gaps == [("late", "usage_by_period"), ("whole", "tokens_daily")]


def test_windows_of_unfinished_loads_do_not_count(warehouse: Warehouse) -> None:
    """The log may be written before the rows: a window counts only if dlt has recorded its load, or if it has no load."""
    loads = {"whole": "2026-02-20", "failed": "2026-03-01", "cut": "2026-04-01"}
    warehouse.load(
        window("2026-02-01 00:00", "2026-02-10 00:00"),
        *(window("2026-02-10 00:00", f"{until} 00:00") for until in loads.values()),
        "alter table mathpix.fetched_windows add column load_id text",
        *(
            f"update mathpix.fetched_windows set load_id = '{load}' where window_end::date = '{loads[load]}'"
            for load in loads
        ),
        "create table mathpix._dlt_loads (load_id text, status bigint, inserted_at timestamptz)",
        "insert into mathpix._dlt_loads values ('whole', 0, now()), ('failed', 1, now())",
    )
    assert warehouse.dbt("build", "--select", "+data_freshness", *MODELS_ONLY).success
    until = warehouse.table("data_freshness", "complete_until::date::text", "resource = 'ocr_usage_by_usage_type'")
    assert until == [("2026-02-20",)]
