"""The models against a calculation in Python, for random usage, prices, credits, fees and accounts, to the last decimal.

A small build takes seconds too, so each example has many scenarios at once, which are independent of each other.
More examples: METERHOUSE_EXAMPLES=100 python -m pytest tests/pipelines/transform/test_exactness.py
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pipelines.transform.by_hand import (
    Balance,
    Calculator,
    Charge,
    ClosedPeriods,
    Price,
    Scenario,
)
from tests.pipelines.transform.invoices import Invoice, statements
from tests.pipelines.transform.random_scenarios import (
    CREDITS_FROM,
    MATHPIX_FROM,
    SCENARIOS,
    SCHEMA,
    build,
    examples,
    inserts,
    named,
    prices_of_all,
    scenarios,
)
from tests.pipelines.transform.warehouse import Warehouse, duckdb_warehouse

pytestmark = pytest.mark.thorough

CHARGE_COLUMNS = [column.name for column in fields(Charge) if column.name not in ("counted_sku_id", "list_sku_price_id")]
MONTHLY = "provider, billing_account, account, sku_id, charge_category, billing_month, unit, currency"
DAILY = "provider, billing_account, account, sku_id, charge_category, date, unit, currency"
COST_COLUMNS = "quantity, list_cost, contracted_cost, billed_cost, effective_cost, cost_high"
QUERIES = {
    "charges": f"select billing_account, {', '.join(CHARGE_COLUMNS)} from usage.charges",
    "cost_monthly": f"select billing_account, {MONTHLY}, {COST_COLUMNS} from usage.cost_monthly",
    "cost_daily": f"select billing_account, {DAILY}, {COST_COLUMNS} from usage.cost_daily",
    "credit_balance_daily": (
        f"select billing_account, {', '.join(c.name for c in fields(Balance))} from usage.credit_balance_daily"
        " where unit = 'credit'"
    ),
}


NOT_WHOLE = """
    with costs as (
        select
            charges.provider, charges.billing_account, balances.remaining_cost,
            sum(charges.billed_cost) as paid, sum(charges.effective_cost) as spent
        from usage.charges as charges
        inner join usage.credit_balance_daily as balances
            on charges.provider = balances.provider and charges.billing_account = balances.billing_account
        where
            charges.grant_id is not null and charges.unit = 'credit' and charges.charge_category <> 'Credit'
            and balances.unit = 'credit'
            and charges.charge_period_start < balances.date + interval 1 day
            and balances.date = (
                select max(date) from usage.credit_balance_daily as latest
                where latest.provider = balances.provider and latest.billing_account = balances.billing_account
            )
        group by charges.provider, charges.billing_account, balances.remaining_cost
    )
    select * from costs where paid <> spent + remaining_cost
"""
"""Billing accounts whose packs have a cost (drawn, expired and still in the balance) other than the price paid."""


def naive(value: object) -> object:
    """Times of the models are in UTC without a zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def differing(by_hand: list[tuple[object, ...]], built: list[tuple[object, ...]]) -> list[str]:
    """Rows of only one side; numbers are compared as numbers."""
    left, right = set(by_hand), set(built)
    found = [("by hand", row) for row in left - right] + [("models ", row) for row in right - left]
    lines = [f"{side} {tuple(map(str, row))}" for side, row in sorted(found, key=lambda item: (*map(str, item[1]), item[0]))]
    return lines + [f"rows: {len(by_hand)} by hand, {len(built)} of the models"] * (len(by_hand) != len(built))


def rows_by_scenario(warehouse: Warehouse, query: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a query by scenario: the first column starts with its name and is left out."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for owner, *row in warehouse.query(query):
        found[owner[:3]].append(tuple(row))
    return found


def compared(scenario: Scenario, built: dict[str, list[tuple[Any, ...]]]) -> str:
    """The differences between models and calculation, with the whole scenario; empty if they agree."""
    calculator = Calculator(scenario)
    by_hand: dict[str, list[tuple[Any, ...]]] = {
        "charges": [tuple(naive(getattr(c, name)) for name in CHARGE_COLUMNS) for c in calculator.charges()],
        "cost_monthly": [(*key, *costs) for key, costs in calculator.monthly().items()],
        "cost_daily": [(*key, *costs) for key, costs in calculator.daily().items()],
        "credit_balance_daily": [astuple(balance) for balance in calculator.balances()],
    }
    for mart, rows in by_hand.items():
        if differences := differing(rows, built[mart]):
            inputs = [str(item) for column in fields(scenario) for item in getattr(scenario, column.name)]
            return "\n".join([mart, *differences[:40], "", *inputs])
    return ""


def invoices(scenarios_: list[Scenario]) -> Iterator[Invoice]:
    """Issued invoices of 0 for one month, two adjoining ones, every second one, or a month that starts on the tenth."""
    payers = sorted({(a.provider, a.billing_account) for scenario in scenarios_ for a in scenario.accounts})
    for number, (provider, payer) in enumerate(payers):
        first = MATHPIX_FROM if provider == "mathpix" else CREDITS_FROM
        second, third = (first + timedelta(days=32)).replace(day=1), (first + timedelta(days=63)).replace(day=1)
        fourth = (first + timedelta(days=93)).replace(day=1)
        periods = [
            [(first, second)],
            [(first, second), (second, third)],
            [(first, second), (third, fourth)],
            [(first.replace(day=10), second.replace(day=10))],
            [],
        ][number % 5]
        for start, end in periods:
            yield Invoice(provider, payer, str(start), start, end, total=Decimal(0))


def restated(scenario: Scenario) -> Scenario:
    """The scenario after the vendor has restated some uses, withdrawn others and found new ones."""
    uses = []
    for number, use in enumerate(scenario.uses):
        if number % 5 == 1:
            use = replace(use, quantity=use.quantity * 2 + 3)
        if number % 5 == 2:
            length = use.end - use.start
            uses.append(replace(use, start=use.start + 60 * length, end=use.end + 60 * length))
        if number % 5 != 3:
            uses.append(use)
    unique = {(use.provider, use.account, use.meter, use.start): use for use in uses}
    return replace(scenario, uses=list(unique.values()))


def rerated(scenario: Scenario) -> Scenario:
    """The scenario after edits of its files: some prices and all fees are higher, and grants are larger."""
    return replace(
        scenario,
        # Scenarios share some prices, so each scenario edits them in the same way.
        prices=[
            replace(price, tiers=tuple((start, end, amount + Decimal("0.01")) for start, end, amount in price.tiers))
            if price.valid_from.day % 2
            else price
            for price in scenario.prices
        ],
        fees=[replace(fee, amount=fee.amount + 3) for fee in scenario.fees],
        grants=[replace(grant, amount=grant.amount + 7) for grant in scenario.grants],
    )


CORRECTIONS = """
    select
        billing_account, provider, billing_account, account, meter, sku_id, charge_category, charge_period_start, currency,
        corrects_month, billed_on, sum(quantity), sum(list_cost), sum(contracted_cost), sum(billed_cost), sum(effective_cost)
    from usage.charges where charge_class = 'Correction' group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
"""


@examples(1)
@given(drawn=st.lists(scenarios(), min_size=SCENARIOS, max_size=SCENARIOS), shared=prices_of_all())
def test_restatements_agree_with_a_calculation_by_hand(scratch: Path, drawn: list[Scenario], shared: list[Price]) -> None:
    """Closed periods keep the quantities that they closed with, even if prices, fees and credits are edited.

    Corrections, in a later month, are the difference.
    """
    assume(any(scenario.grants for scenario in drawn))
    before = [named(scenario, number, shared) for number, scenario in enumerate(drawn)]
    after = [rerated(restated(scenario)) for scenario in before]
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    warehouse = duckdb_warehouse(scratch, scratch)
    stored = [statement for statement in inserts(after) if statement.startswith("insert into ")]
    edited = [table for table in SCHEMA if "usage" in table or table.startswith("billing.")]
    for changes in (
        [*inserts(before), *statements(invoices(before))],
        # Two days later, invoices that differ close their periods.
        ["update usage_intermediate.int_usage__frozen set closed_at = closed_at - interval 2 day where event = 'differs'"],
        [
            *(f"delete from {table}" for table in edited),
            *(statement for statement in stored if statement.split()[2] in edited),
        ],
    ):
        warehouse.execute(changes)
        outcome = warehouse.dbt(
            "build", "--select", "+int_usage__frozen", "--exclude-resource-type", "test",
            "--exclude-resource-type", "unit_test",
        )  # fmt: skip
        assert outcome.success, outcome.having("error", "skipped")
    closed: dict[tuple[str, str], list[tuple[date, date]]] = defaultdict(list)
    open_: dict[tuple[str, str], list[tuple[date, date]]] = defaultdict(list)
    # An invoice that differed can agree at edited prices. Then the last build closes its period with the present quantities.
    for provider, account, event, start, end in warehouse.query("""
        select provider, account, event, period_start, period_end from usage_intermediate.int_usage__frozen_before
        where timespan = 'period' and event in ('closed', 'open')
            and closed_at < (select max(closed_at) from usage_intermediate.int_usage__frozen_before where event = 'restated')
    """):
        (open_ if event == "open" else closed)[provider, account].append((start, end))
    assert closed
    assert open_
    charges = rows_by_scenario(warehouse, f"{QUERIES['charges']} where charge_class is null")
    corrections = {
        name: [row for row in rows if any(row[-5:])] for name, rows in rows_by_scenario(warehouse, CORRECTIONS).items()
    }
    assert sum(map(len, corrections.values())) > SCENARIOS
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        closed_periods = ClosedPeriods(old, new, closed, open_)
        by_hand = {
            "charges": [tuple(naive(getattr(c, name)) for name in CHARGE_COLUMNS) for c in closed_periods.charges()],
            "corrections": [tuple(map(naive, (*key, *costs))) for key, costs in closed_periods.corrections().items()],
        }
        for kind, built in (("charges", charges), ("corrections", corrections)):
            found = differing(by_hand[kind], built.get(f"w{number:02}", []))
            inputs = [str(item) for column in fields(new) for item in getattr(new, column.name)]
            assert not found, "\n".join([kind, *found[:40], "", *map(str, old.uses), "", *inputs, "", str(dict(closed))])


def require_agreement(warehouse: Warehouse, scenarios_: list[Scenario]) -> None:
    """Checks that the marts equal the calculation by hand, for each scenario."""
    built = {mart: rows_by_scenario(warehouse, query) for mart, query in QUERIES.items()}
    assert warehouse.query(NOT_WHOLE) == []
    for number, scenario in enumerate(scenarios_):
        found = compared(scenario, {mart: rows[f"w{number:02}"] for mart, rows in built.items()})
        assert not found, found


@examples(1)
@given(drawn=st.lists(scenarios(), min_size=SCENARIOS, max_size=SCENARIOS), shared=prices_of_all())
def test_models_agree_with_a_calculation_by_hand(
    tmp_path: Path, scratch: Path, drawn: list[Scenario], shared: list[Price]
) -> None:
    """Charges, costs and balances; a second example of them is in test_invoice_lines.py."""
    assume(any(scenario.grants for scenario in drawn))  # the first examples are too simple to be worth a build
    scenarios_ = [named(scenario, number, shared) for number, scenario in enumerate(drawn)]
    require_agreement(build(tmp_path, scratch, scenarios_), scenarios_)
