"""Plans, packs and fees as vendors bill them: raw rows in, marts out, with the figures of worked examples."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.test_exactness import build
from tests.pipelines.transform.warehouse import Warehouse, d

pytestmark = pytest.mark.thorough


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def account(provider: str, name: str, first: str, last: str) -> Account:
    """An account that pays for itself, loaded from the first day to the start of the last."""
    return Account(provider, name, name, "UTC", None, midnight(first), midnight(last))


def credits_used(provider: str, name: str, day: str, quantity: str) -> Use:
    start = midnight(day)
    return Use(provider, name, "credits", start, start + timedelta(days=1), Decimal(quantity))


def images(name: str, day: str, count: int) -> Use:
    start = midnight(day)
    return Use("mathpix", name, "image", start, start + timedelta(hours=1), Decimal(count))


def flat_credit_price(provider: str, name: str, unit_price: str) -> Price:
    tiers = ((Decimal(0), None, Decimal(unit_price)),)
    return Price(provider, name, f"{provider}/credit", "flat", tiers, "USD", date(2025, 1, 1), None, is_credit_price=True)


def fee(provider: str, name: str, fee_id: str, amount: str, start: str, **more: Any) -> Fee:
    """A fee in dollars; monthly and without an end by default."""
    end = more.pop("end", None)
    return Fee(
        *(provider, name, fee_id, more.pop("kind", "monthly"), Decimal(amount), "USD", date.fromisoformat(start)),
        **{"valid_to": date.fromisoformat(end) if end else None, "sku_id": "", **more},
    )


PLANS = Scenario(
    accounts=[account("scopix", name, "2026-01-01", "2026-03-20") for name in ("fifteenth", "last")],
    uses=[
        credits_used("scopix", "fifteenth", "2026-02-14", "900"),
        credits_used("scopix", "fifteenth", "2026-02-15", "600"),
        credits_used("scopix", "fifteenth", "2026-03-14", "500"),
        credits_used("scopix", "fifteenth", "2026-03-15", "800"),
    ],
    prices=[flat_credit_price("scopix", "fifteenth", "0.02")],
    grants=[
        Grant("scopix", "fifteenth", "plan", "included", "credit", Decimal(1000), date(2026, 1, 15), renews="monthly"),
        Grant("scopix", "last", "plan", "included", "credit", Decimal(10), date(2026, 1, 31), renews="monthly"),
    ],
    fees=[
        fee("scopix", "fifteenth", "plan", "49", "2026-01-15"),
        fee("scopix", "last", "plan", "9", "2026-01-31"),
        fee("scopix", "last", "licence", "500", "2024-02-29", kind="yearly"),
    ],
)


FEES = Scenario(
    accounts=[account("mathpix", name, "2026-01-01", "2026-04-01") for name in ("changing", "minimum")],
    uses=[
        images("minimum", "2026-02-03", 55_000),
        images("minimum", "2026-03-03", 55_000),
    ],
    grants=[
        Grant("mathpix", "minimum", "gift", "promotional", "USD", Decimal(29), date(2026, 3, 1)),
    ],
    fees=[
        fee("mathpix", "changing", "plan", "100", "2026-01-01", end="2026-02-15", prorate=True),
        fee("mathpix", "changing", "plan", "400", "2026-02-15", prorate=True),
        fee("mathpix", "changing", "whole", "100", "2026-01-01", end="2026-02-15"),
        fee("mathpix", "changing", "whole", "400", "2026-02-15"),
        fee("mathpix", "minimum", "gross", "100", "2026-02-01", kind="minimum"),
        fee("mathpix", "minimum", "net", "100", "2026-02-01", kind="minimum", after_credits=True),
        fee(
            "mathpix",
            "minimum",
            "net-images",
            "100",
            "2026-02-01",
            kind="minimum",
            after_credits=True,
            sku_id="mathpix/image",
        ),
    ],
)


@pytest.fixture(scope="module")
def built(scratch: Path) -> Warehouse:
    """The marts over all scenarios, whose accounts have different names."""
    return build(scratch, [PLANS, FEES])


def test_a_plan_renews_on_the_day_on_which_it_started(built: Warehouse) -> None:
    """A plan of 49 from 15 January is charged on each 15th, and its 1,000 credits run from the 15th to the 15th."""
    assert built.query("""
        select billing_month, cast(charge_period_start as date), cast(charge_period_end as date), billed_cost
        from usage.charges where billing_account = 'fifteenth' and charge_category = 'Purchase' order by 1
    """) == [
        (date(2026, 1, 1), date(2026, 1, 15), date(2026, 2, 15), d("49")),
        (date(2026, 2, 1), date(2026, 2, 15), date(2026, 3, 15), d("49")),
        (date(2026, 3, 1), date(2026, 3, 15), date(2026, 4, 15), d("49")),
    ]
    assert built.query("""
        select date, granted, used from usage.credit_balance_daily where account = 'fifteenth'
        and date in ('2026-01-15', '2026-02-14', '2026-02-15', '2026-03-14', '2026-03-15') order by 1
    """) == [
        (date(2026, 1, 15), d("1000"), d("0")),
        (date(2026, 2, 14), d("1000"), d("900")),
        (date(2026, 2, 15), d("1000"), d("600")),
        (date(2026, 3, 14), d("1000"), d("1000")),
        (date(2026, 3, 15), d("1000"), d("800")),
    ]
    assert built.query("""
        select billing_month, billed_cost from usage.cost_monthly
        where billing_account = 'fifteenth' and sku_id = 'scopix/credit' order by 1
    """) == [(date(2026, 2, 1), d("0")), (date(2026, 3, 1), d("2"))]  # 100 credits on 14 March are beyond the plan


def test_a_plan_from_the_last_day_of_a_month_never_drifts(built: Warehouse) -> None:
    """31 January, 28 February, 31 March; a year from 29 February ends on 28 February, and the next one starts there."""
    assert built.query("""
        select sku_id, cast(charge_period_start as date), cast(charge_period_end as date) from usage.charges
        where billing_account = 'last' and charge_period_start >= '2025-12-01' order by 1, 2
    """) == [
        ("scopix/fee/licence", date(2026, 2, 28), date(2027, 2, 28)),
        ("scopix/fee/plan", date(2026, 1, 31), date(2026, 2, 28)),
        ("scopix/fee/plan", date(2026, 2, 28), date(2026, 3, 31)),
        ("scopix/fee/plan", date(2026, 3, 31), date(2026, 4, 30)),
    ]
    assert built.query("""
        select cast(charge_period_start as date), cast(charge_period_end as date) from usage.charges
        where billing_account = 'last' and sku_id = 'scopix/fee/licence' and charge_period_start < '2025-12-01' order by 1
    """) == [(date(2024, 2, 29), date(2025, 2, 28)), (date(2025, 2, 28), date(2026, 2, 28))]


def test_a_prorated_fee_that_changes_is_charged_by_days(built: Warehouse) -> None:
    """100 until 15 February and 400 after are 250 in February: 100 x 14/28 + 400 x 14/28. Others charge the first amount."""
    assert built.query("""
        select sku_id, billing_month, sum(billed_cost), count(*) from usage.charges
        where billing_account = 'changing' and billing_month < '2026-04-01' group by 1, 2 order by 1, 2
    """) == [
        ("mathpix/fee/plan", date(2026, 1, 1), d("100"), 1),
        ("mathpix/fee/plan", date(2026, 2, 1), d("250"), 2),
        ("mathpix/fee/plan", date(2026, 3, 1), d("400"), 1),
        ("mathpix/fee/whole", date(2026, 1, 1), d("100"), 1),
        ("mathpix/fee/whole", date(2026, 2, 1), d("100"), 1),
        ("mathpix/fee/whole", date(2026, 3, 1), d("400"), 1),
    ]


def test_a_minimum_compares_with_usage_before_credits_unless_the_fee_says_so(built: Warehouse) -> None:
    """Images for 110 meet a minimum of 100 in spite of a credit of 29; after credits, 19 are missing."""
    assert built.query("""
        select sku_id, billing_month, billed_cost from usage.charges
        where billing_account = 'minimum' and charge_category <> 'Usage' order by 1, 2
    """) == [
        ("mathpix/credits/gift", date(2026, 3, 1), d("-29")),
        ("mathpix/fee/net", date(2026, 3, 1), d("19")),
        ("mathpix/fee/net-images", date(2026, 3, 1), d("19")),
    ]
