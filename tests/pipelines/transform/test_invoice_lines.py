"""Invoices against a calculation in Python: random lines, drafts, credit notes and taxes for charges of random scenarios.

More examples: METERHOUSE_EXAMPLES=100 python -m pytest tests/pipelines/transform/test_invoice_lines.py
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pipelines.transform.by_hand import Price, Scenario, first_whole_day
from tests.pipelines.transform.invoices import Charge, Invoice, Item, Line, Reconciliation, cents, statements
from tests.pipelines.transform.random_scenarios import SCENARIOS, build, examples, named, prices_of_all, scenarios
from tests.pipelines.transform.test_exactness import require_agreement
from tests.pipelines.transform.warehouse import Warehouse, d

pytestmark = pytest.mark.thorough

Owner = tuple[str, str]
"""Provider and billing account."""

CHARGES = """
    select charge_id, provider, billing_account, currency, sku_id, charge_category, billed_on, billed_cost from usage.charges
"""
MATCHED = ("matched", "within tolerance")


def loaded_days(scenarios_: Sequence[Scenario]) -> dict[Owner, tuple[date, date]]:
    """The first and last day, on the billing calendar, that all accounts of each billing account have loaded."""
    found: dict[Owner, tuple[date, date]] = {}
    for account in (account for scenario in scenarios_ for account in scenario.accounts):
        zone = ZoneInfo(account.timezone)
        span = (first_whole_day(account.loaded_from, zone), account.loaded_until.astimezone(zone).date())
        owner = (account.provider, account.billing_account)
        first, last = found.get(owner, span)
        found[owner] = (max(first, span[0]), min(last, span[1]))
    return found


def drawn_line(random: Random, skus: Sequence[str], start: date) -> Line:
    category, sku = random.choice([("Usage", ""), ("Purchase", ""), ("Credit", ""), ("Adjustment", ""), ("Tax", "")])
    if random.random() < 0.5:
        category, sku = random.choice(("Usage", "Purchase")), random.choice(skus)
    shifted = start + timedelta(days=random.choice((0, 5, 31))) if random.random() < 0.2 else None
    end = shifted + timedelta(days=random.choice((1, 15, 40))) if shifted else None
    return Line(category, sku, Decimal(random.choice((-1, 1, 1, 1))), start=shifted, end=end)


def drawn_invoices(random: Random, owner: Owner, days: tuple[date, date], skus: Sequence[str]) -> list[Invoice]:
    """Up to five invoices of one billing account, with amounts of 1 or -1."""
    found = []
    for number in range(random.randint(0, 5)):
        start = days[0] + timedelta(days=random.randint(-3, (days[1] - days[0]).days))
        start = start.replace(day=1) if random.random() < 0.5 else start
        end = start + timedelta(days=random.choice((1, 15, 28, 31, 90)))
        lines = tuple(drawn_line(random, skus, start) for _ in range(random.randint(0, 4)))
        status = random.choice(("issued", "issued", "issued", "issued", "open", "voided"))
        invoice = Invoice(*owner, f"{owner[0]}-{owner[1]}-{number}", start, end, lines, status=status)
        if not lines:
            invoice = replace(invoice, total=Decimal(random.choice((-1, 1, 1, 1))), tax=random.choice((None, Decimal(1))))
        found.append(replace(invoice, currency=random.choice(("USD", "USD", "USD", "EUR"))))
    return found


def priced(random: Random, invoices: Sequence[Invoice], charges: Sequence[Charge]) -> list[Invoice]:
    """The invoices with amounts that often match. The charges that a line covers do not depend on its amount."""
    reconciliation = Reconciliation(invoices, charges)
    items = {item.key: item for item in reconciliation.items}

    def amount(item: Item, sign: Decimal) -> Decimal:
        notes = sum((1 for part in reconciliation.items if reconciliation.mains[part] is item and part.amount < 0), 0)
        cost = reconciliation.computed(item) if reconciliation.mains[item] is item else None
        if sign < 0:
            return Decimal(-1)
        change = random.choice([d("0"), d("0"), d("0.03"), d("7")])
        return max((cost if cost is not None else random.choice((d("0"), d("3")))) + notes + change, d("0"))

    found = []
    for invoice in invoices:
        if invoice.status == "voided":
            found.append(invoice)
        elif invoice.lines:
            lines = [
                replace(line, amount=amount(items[invoice.invoice_id, number], line.amount))
                for number, line in enumerate(invoice.lines, 1)
            ]
            found.append(replace(invoice, lines=tuple(lines)))
        else:
            tax = Decimal(0) if invoice.tax is None else cents(Decimal("0.5"))
            total = amount(items[invoice.invoice_id, 0], invoice.total or Decimal(0)) + tax
            found.append(replace(invoice, total=total, tax=tax or None))
    return found


def covering_lines(warehouse: Warehouse) -> dict[str, tuple[str, int]]:
    """The invoice line that covers each charge, by `charge_id`; charges on no invoice are omitted."""
    rows = warehouse.query("""
        select charge_id, invoice_id, line_number
        from usage.charges
        inner join usage_intermediate.int_invoices__claims
            using (provider, billing_account, currency, sku_id, charge_category, billed_on)
        where is_covered
    """)
    return {charge_id: (invoice_id, number) for charge_id, invoice_id, number in rows}


@examples(1)
@given(
    drawn=st.lists(scenarios(), min_size=SCENARIOS, max_size=SCENARIOS),
    shared=prices_of_all(),
    seed=st.integers(0, 10**9),
)
def test_invoices_agree_with_a_calculation_by_hand(
    tmp_path: Path, scratch: Path, drawn: list[Scenario], shared: list[Price], seed: int
) -> None:
    """They agree on the line that covers each charge, each line's comparison and status, and each invoice's FOCUS costs."""
    assume(any(scenario.grants for scenario in drawn))
    scenarios_ = [named(scenario, number, shared) for number, scenario in enumerate(drawn)]
    warehouse = build(tmp_path, scratch, scenarios_)
    require_agreement(warehouse, scenarios_)
    charges = [Charge(*row) for row in warehouse.query(CHARGES)]
    days, random = loaded_days(scenarios_), Random(seed)  # noqa: S311 - test data
    invoices: list[Invoice] = []
    for owner, span in days.items():
        own = [charge for charge in charges if (charge.provider, charge.billing_account) == owner]
        skus = sorted({charge.sku_id for charge in own}) or [f"{owner[0]}/credit"]
        invoices += priced(random, drawn_invoices(random, owner, span, skus), own)
    warehouse.execute(list(statements(invoices)))
    outcome = warehouse.dbt("run", "--select", "+invoice_reconciliation", "+focus_1_2_cost_and_usage")
    assert outcome.success, outcome.having("error", "skipped")

    # Closing freezes quantities, which nothing restates here: the charges stay the same.
    assert sorted(warehouse.query(CHARGES)) == sorted((*vars(charge).values(),) for charge in charges)
    newest = max(account.loaded_until for scenario in scenarios_ for account in scenario.accounts)
    by_hand: dict[tuple[str, int], tuple[Any, ...]] = {}
    bills: dict[str, list[Decimal]] = {}
    covered: dict[str, tuple[str, int]] = {}
    for owner in days:
        own = [charge for charge in charges if (charge.provider, charge.billing_account) == owner]
        reconciliation = Reconciliation([i for i in invoices if (i.provider, i.billing_account) == owner], own)
        covered |= {charge.charge_id: item.key for charge, item in reconciliation.line_of.items() if item is not None}
        for item in reconciliation.items:
            result = reconciliation.result(item, days, newest.astimezone(UTC).replace(tzinfo=None))
            by_hand[item.key] = (reconciliation.computed(item), reconciliation.net(item), item.tax, result)
            if item.is_issued:
                cost = sum((charge.billed_cost for charge in reconciliation.covered[item]), Decimal(0))
                known = item.amount if result in MATCHED else cost
                tax = item.tax if not item.category else Decimal(0)
                bills.setdefault(item.invoice.invoice_id, []).append(
                    known + tax + (item.tax if result == "not computed" else 0)
                )
    assert covering_lines(warehouse) == covered
    found = warehouse.query("""
        select invoice_id, line_number, computed, net, tax, status
        from usage.invoice_reconciliation where invoice_id is not null
    """)
    assert {(invoice_id, number): tuple(rest) for invoice_id, number, *rest in found} == by_hand
    focus = dict(
        warehouse.query("""
            select "InvoiceId", sum("BilledCost") from usage.focus_1_2_cost_and_usage
            where "InvoiceId" is not null group by all
        """)
    )
    assert focus == {invoice_id: sum(costs) for invoice_id, costs in bills.items() if invoice_id in focus or sum(costs) != 0}
    too_early = warehouse.query("""
        select * from usage.focus_1_2_cost_and_usage
        where "ChargePeriodStart" < "BillingPeriodStart" and "ChargeClass" is null
    """)
    assert too_early == []
    results = {result for *_, result in by_hand.values()}
    assert {"matched", "within tolerance", "over", "not loaded whole", "missing usage", "draft"} <= results
