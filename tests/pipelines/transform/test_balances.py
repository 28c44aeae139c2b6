"""`credit_reconciliation`: the balances that vendors state, beside ours."""

from datetime import date
from typing import Any

import pytest
import yaml

from tests.pipelines.transform.warehouse import PROJECT, Warehouse, d

pytestmark = pytest.mark.thorough

TABLES = {
    "scopix": ("usage_daily", "usage_breakdown", "plan_utilization", "fetched_windows"),
    "onepin": ("usage_summary",),
    "billing": ("credit_grants",),
}


def raw_table(schema: str, table: str) -> str:
    """The statement that creates a raw table with the columns that its source declares."""
    declared = yaml.safe_load((PROJECT / "models" / "staging" / schema / f"_{schema}__sources.yml").read_text())
    (found,) = [t for source in declared["sources"] for t in source["tables"] if t["name"] == table]
    columns = ", ".join(f'"{column["name"]}" {column["data_type"]}' for column in found["columns"])
    return f"create table {schema}.{table} ({columns})"


def row(table: str, **values: Any) -> str:
    """The statement that stores one row."""
    names = ", ".join(f'"{name}"' for name in values)
    cells = ", ".join("null" if value is None else f"'{value}'" for value in values.values())
    return f"insert into {table} ({names}) values ({cells})"


def rows() -> list[str]:
    """Scopix: 250 credits on the first of May and 80 on the tenth, of 1,000; Onepin: 45 of 100 of the key's owner."""
    day = {"account": "default", "api_key_id": "", "total_requests": 1, "is_complete": True}
    window = {"resource": "usage_daily", "account": "default", "part": "", "row_count": 2}
    snapshot = {"account": "default", "snapshot_date": "2026-05-10", "is_complete": False}
    month = {
        "period": "month",
        "billing_start": "2026-05-01 00:00+00",
        "billing_end": "2026-05-31 00:00+00",
        "plan_name": "professional",
    }
    fetched = {"fetched_at": "2026-05-10 12:00:00+00"}
    start, end = "2026-05-01 00:00:00+00", "2026-05-11 00:00:00+00"
    complete = "2026-05-10 00:00:00+00"
    return [
        row("scopix.usage_daily", **day, date="2026-05-01", total_credits=250, **fetched),
        row("scopix.usage_daily", **day, date="2026-05-10", total_credits=80, **fetched),
        row("scopix.fetched_windows", **window, window_start=start, window_end=end, complete_until=complete, **fetched),
        row(
            "scopix.usage_breakdown", **snapshot, total_credits_used=300, monthly_limit=1000, remaining_credits=700,
            **fetched,
        ),
        row("scopix.plan_utilization", **snapshot, **month, requests_used=9, **fetched),
        row(
            "onepin.usage_summary", account="default", workspace_id="w", snapshot_date="2026-05-10", range="30d",
            credits_used=45, credits_quota=100, **fetched,
        ),
        row(
            "billing.credit_grants", provider="scopix", billing_account="default", grant_id="plan", kind="included",
            unit="credit", amount=1000, starts_on="2026-05-01", renews="monthly",
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("engine", ["warehouse", "postgres"])
def test_the_vendors_balance_stands_beside_ours(request: pytest.FixtureRequest, engine: str) -> None:
    """A snapshot taken on the tenth matches: it lies between the 250 credits before that day and the 330 including it.

    Onepin's quota is that of the key's owner, in an unknown period: it is listed and compared with nothing. Reducto and
    Mathpix state no balance and have no row.
    """
    warehouse: Warehouse = request.getfixturevalue(engine)
    warehouse.execute([f"create schema {schema}" for schema in TABLES])
    warehouse.execute([raw_table(schema, table) for schema, tables in TABLES.items() for table in tables])
    warehouse.execute(rows())
    select = ("build", "--select", "+credit_reconciliation", "--exclude-resource-type", "unit_test")
    outcome = warehouse.dbt(*select, "--indirect-selection", "cautious")
    assert outcome.having("error", "fail", "skipped") == []
    assert warehouse.query("select * from usage.credit_reconciliation order by provider") == [
        ("onepin", "default", date(2026, 5, 10), "credit", None, 45, 100, 55, None, None, None, None, "not comparable"),
        (
            *("scopix", "default", date(2026, 5, 10), "credit", date(2026, 5, 1), 300, 1000, 700),
            *(d("330"), d("1000"), d("670"), 0, "matched"),
        ),
    ]
    warehouse.execute(["update scopix.usage_breakdown set total_credits_used = 400, remaining_credits = 600"])
    assert warehouse.dbt("run --select int_scopix__balances credit_reconciliation").success
    assert warehouse.table("credit_reconciliation", "difference, status", "provider = 'scopix'") == [(d("70"), "over")]
