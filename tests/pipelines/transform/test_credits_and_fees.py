"""Plans, packs and fees as vendors bill them: raw rows in, marts out, with the figures of worked examples."""

import shutil
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.random_scenarios import build, inserts
from tests.pipelines.transform.test_completeness import plan, side_table
from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, d, duckdb_warehouse

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


PLANS_ONLY = "provider = 'scopix'"

FEES = Scenario(
    accounts=[
        *(account("mathpix", name, "2026-01-01", "2026-04-01") for name in ("changing", "minimum")),
        replace(account("mathpix", "tokyo", "2026-01-01", "2026-04-01"), timezone="Asia/Tokyo"),
    ],
    uses=[
        images("tokyo", "2026-02-03", 5_000),
        images("minimum", "2026-02-03", 55_000),
        images("minimum", "2026-03-03", 55_000),
    ],
    grants=[
        Grant("mathpix", "minimum", "gift", "promotional", "USD", Decimal(29), date(2026, 3, 1)),
        Grant("mathpix", "tokyo", "gift", "promotional", "USD", Decimal(29), date(2026, 1, 1)),
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


def pack(name: str, grant_id: str, amount: str, cost: str, *, unit: str = "credit", until: str | None = None) -> Grant:
    """Bought on 1 May for dollars; Reducto has a public price of 0.015 a credit then."""
    end = date.fromisoformat(until) if until else None
    provider = "reducto" if unit == "credit" else "mathpix"
    amounts: dict[str, Any] = {"amount": Decimal(amount), "cost": Decimal(cost), "currency": "USD"}
    return Grant(provider, name, grant_id, "purchased", unit, starts_on=date(2026, 5, 1), expires_on=end, **amounts)


PREPAID = Scenario(
    accounts=[
        *(account("reducto", name, "2026-05-01", "2026-06-20") for name in ("packs", "thirds")),
        account("reducto", "behind", "2026-05-01", "2026-05-31"),
        account("mathpix", "money", "2026-05-01", "2026-06-20"),
        account("mathpix", "half", "2026-05-01", "2026-06-20"),
    ],
    uses=[
        credits_used("reducto", "packs", "2026-05-10", "150"),
        credits_used("reducto", "packs", "2026-05-31", "250"),
        credits_used("reducto", "packs", "2026-06-02", "30"),
        credits_used("reducto", "behind", "2026-05-10", "400"),
        credits_used("reducto", "thirds", "2026-05-10", "1"),
        credits_used("reducto", "thirds", "2026-05-11", "1"),
        images("money", "2026-05-03", 100_000),
        images("money", "2026-05-13", 60_000),
        images("half", "2026-05-03", 100_000),
    ],
    prices=[flat_credit_price("reducto", "packs", "0.02")],
    grants=[
        pack("packs", "pack", "1000", "10", until="2026-06-01"),
        pack("behind", "pack", "1000", "10", until="2026-06-01"),
        pack("thirds", "pack", "3", "1"),
        pack("money", "deposit", "300", "270", unit="USD"),
        pack("half", "deposit", "300", "270", unit="USD", until="2026-06-01"),
    ],
)
COSTS = "sum(quantity), sum(billed_cost), sum(effective_cost), sum(contracted_cost), sum(list_cost)"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The marts over all scenarios, whose accounts have different names."""
    return build(tmp_path_factory.mktemp("credits"), scratch, [PLANS, FEES, PREPAID])


def test_a_plan_renews_on_the_day_on_which_it_started(built: Warehouse) -> None:
    """A plan of 49 from 15 January is charged on each 15th, and its 1,000 credits last until the next 15th."""
    assert built.query("""
        select billing_month, cast(charge_period_start as date), cast(charge_period_end as date), billed_cost
        from usage.charges where billing_account = 'fifteenth' and charge_category = 'Purchase' order by 1
    """) == [
        (date(2026, 1, 1), date(2026, 1, 15), date(2026, 2, 15), d("49")),
        (date(2026, 2, 1), date(2026, 2, 15), date(2026, 3, 15), d("49")),
        (date(2026, 3, 1), date(2026, 3, 15), date(2026, 4, 15), d("49")),
    ]
    assert built.query("""
        select date, granted, used from usage.credit_balance_daily where billing_account = 'fifteenth'
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
    """100 until 15 February, then 400: 100 x 14/28 + 400 x 14/28 = 250 in February. Others charge the first amount."""
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
    """Images for 110 meet a minimum of 100 despite a credit of 29; after credits, the shortfall is 19."""
    assert built.query("""
        select sku_id, billing_month, billed_cost from usage.charges
        where billing_account = 'minimum' and charge_category <> 'Usage' order by 1, 2
    """) == [
        ("mathpix/credits/gift", date(2026, 3, 1), d("-29")),
        ("mathpix/fee/net", date(2026, 3, 1), d("19")),
        ("mathpix/fee/net-images", date(2026, 3, 1), d("19")),
    ]


def test_a_free_credit_is_in_the_costs_of_its_day_in_any_time_zone(built: Warehouse) -> None:
    """In Tokyo's day of 3 February, a credit pays for images of 10."""
    assert built.query("""
        select charge_category, date, billed_cost from usage.cost_daily where billing_account = 'tokyo' order by 1
    """) == [("Credit", date(2026, 2, 3), d("-10")), ("Usage", date(2026, 2, 3), d("10"))]


def costs(built: Warehouse, billing_account: str, condition: str) -> tuple[Any, ...]:
    """Quantity, billed, effective, contracted and list cost of its charges, after a check that FOCUS has the same."""
    (charged,) = built.query(f"""
        select {COSTS} from usage.charges where billing_account = '{billing_account}' and {condition}
    """)
    (of_focus,) = built.query(f"""
        select sum(coalesce(consumed_quantity, pricing_quantity)), {COSTS.split(", ", 1)[1]}
        from usage_intermediate.int_focus__charges where billing_account = '{billing_account}' and {condition}
    """)
    assert charged == of_focus
    return charged


def test_a_pack_costs_what_was_paid_for_it_drawn_or_expired(built: Warehouse) -> None:
    """1,000 credits for 10 at a public price of 0.015: 400 are drawn, 600 expire unused on 1 June."""
    by_grant = "grant_id = 'pack' and charge_category"
    assert costs(built, "packs", f"{by_grant} = 'Purchase'") == (d("1000"), d("10"), d("0"), d("10"), d("15"))
    assert costs(built, "packs", f"{by_grant} = 'Usage' and account <> ''") == (d("400"), d("0"), d("4"), d("4"), d("6"))
    unused = "charge_description = 'unused credits of pack'"
    assert costs(built, "packs", unused) == (d("600"), d("0"), d("6"), d("6"), d("9"))
    assert built.query(f"""
        select charge_category, cast(charge_period_start as date), billing_month, list_unit_price, unit_price
        from usage.charges where billing_account = 'packs' and {unused}
    """) == [("Usage", date(2026, 6, 1), date(2026, 6, 1), d("0.015"), d("0.01"))]
    # Beyond the pack, a credit costs the contract's 0.02.
    assert costs(built, "packs", "charge_category = 'Usage' and grant_id is null")[1:3] == (d("0.6"), d("0.6"))


def test_a_pack_does_not_expire_before_its_last_day_is_loaded(built: Warehouse) -> None:
    """Usage is loaded up to 30 May. A pack expires on 1 June, so its remaining credits are still in the balance."""
    assert costs(built, "behind", "grant_id = 'pack'")[1:3] == (d("10"), d("4"))
    assert built.query("""
        select remaining, remaining_cost, currency from usage.credit_balance_daily
        where billing_account = 'behind' and unit = 'credit' and date = '2026-05-31'
    """) == [(d("600"), d("6"), "USD")]
    assert built.query("""
        select date, remaining, remaining_cost from usage.credit_balance_daily
        where billing_account = 'packs' and unit = 'credit'
        and date in ('2026-05-09', '2026-05-10', '2026-05-31', '2026-06-01') order by 1
    """) == [
        (date(2026, 5, 9), d("1000"), d("10")),
        (date(2026, 5, 10), d("850"), d("8.5")),
        (date(2026, 5, 31), d("600"), d("6")),
        (date(2026, 6, 1), d("0"), d("0")),
    ]


def test_effective_cost_of_a_pack_adds_up_to_its_price_exactly(built: Warehouse) -> None:
    """What is drawn, expired and in the balance adds up, even if a credit costs a third of a dollar."""
    assert built.query("""
        select spent.billing_account, paid, spent.cost + remaining_cost
        from (
            select billing_account, sum(billed_cost) as paid, sum(effective_cost) as cost from usage.charges
            where provider = 'reducto' and grant_id is not null group by 1
        ) as spent
        inner join usage.credit_balance_daily as balance on spent.billing_account = balance.billing_account
        where date = (
            select max(date) from usage.credit_balance_daily as latest where latest.billing_account = balance.billing_account
        )
        order by 1
    """) == [("behind", d("10"), d("10")), ("packs", d("10"), d("10")), ("thirds", d("1"), d("1"))]


def test_usage_that_prepaid_money_pays_costs_the_price_of_the_money(built: Warehouse) -> None:
    """A credit of 300 USD costs 270: usage of 300 that it pays for has an effective cost of 270, and nothing is billed.

    The balance shows the remaining money and its cost.
    """
    assert costs(built, "money", "charge_category = 'Purchase'")[1:] == (d("270"), d("0"), d("270"), d("300"))
    paid = "charge_category = 'Usage' and charge_period_start < '2026-05-10'"
    assert costs(built, "money", paid)[1:] == (d("0"), d("180"), d("200"), d("200"))
    usage = "charge_category = 'Usage'"
    assert costs(built, "money", usage)[1:] == (d("20"), d("290"), d("320"), d("320"))  # 20 are beyond the 300
    assert built.query("""
        select date, granted, used, remaining, overage, remaining_cost from usage.credit_balance_daily
        where billing_account = 'money' and unit = 'USD' and date in ('2026-05-03', '2026-05-13') order by 1
    """) == [
        (date(2026, 5, 3), d("300"), d("200"), d("100"), d("0"), d("90")),
        (date(2026, 5, 13), d("300"), d("300"), d("0"), d("20"), d("0")),
    ]
    assert costs(built, "half", f"{usage} and meter is not null and meter <> ''")[1:] == (
        d("0"),
        d("180"),
        d("200"),
        d("200"),
    )
    assert costs(built, "half", f"{usage} and coalesce(meter, '') = ''") == (d("100"), d("0"), d("90"), d("90"), d("100"))
    assert built.query("select distinct charge_category from usage.charges where provider = 'mathpix' and billing_account"
                       " in ('money', 'half') order by 1") == [("Purchase",), ("Usage",)]  # fmt: skip


def test_usage_always_has_a_list_price(built: Warehouse) -> None:
    """Without a public price, it is the price paid, also for included credits. Quantity times price is the list cost."""
    assert built.query("""
        select count(*) from usage.charges
        where charge_category = 'Usage' and (list_unit_price is null or quantity * list_unit_price <> list_cost)
    """) == [(0,)]


def test_a_database_of_an_earlier_version_costs_the_same(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """Its fees and seeds lack the columns added since, and its closed months have frozen charges instead of quantities.

    Each month closes once, with the quantities of its charges. A quantity restated since is a correction, as before.
    """
    models = ("build", "--select", "+cost_monthly", "+int_usage__frozen")
    tests = ("--exclude-resource-type", "unit_test", "--indirect-selection", "cautious")
    warehouse = duckdb_warehouse(tmp_path, scratch)
    ((file,),) = built.query("select path from duckdb_databases() where not internal")
    shutil.copy(file, tmp_path)
    billed = "billing_account, account, sku_id, billing_month, billed_cost, effective_cost"
    costs = warehouse.table("cost_monthly", billed, PLANS_ONLY)
    assert costs
    added = {"billing.fees": ("prorate", "after_credits"), "usage_seeds.price_list": ("verified_on",)}
    intermediate = "usage_intermediate"
    warehouse.execute(
        [
            # Accounts that would report one app or organisation.
            *(f"delete from {table}" for table in ("mathpix.ocr_usage_by_usage_type", "reducto.usage_by_product")),
            *(f"alter table {table} drop column {name}" for table, names in added.items() for name in names),
            f"""create table {intermediate}.int_charges__closed as
                select charges.* exclude (corrects_month, discovered_at, quantity_before, quantity_after)
                replace (case when charge_period_start = '2026-02-15' then quantity - 100 else quantity end as quantity)
                from usage.charges where {PLANS_ONLY} and billing_month <= '2026-02-01'""",
        ]
    )
    corrections = """
        select billing_account, billing_month, corrects_month, quantity, quantity_before, quantity_after, billed_cost
        from usage.charges where charge_class = 'Correction'
    """
    march, february = date(2026, 3, 1), date(2026, 2, 1)
    for kinds in (MODELS_ONLY, tests):
        outcome = warehouse.dbt(*models, *kinds)
        assert outcome.having("error", "fail", "skipped") == []
        assert warehouse.table("cost_monthly", billed, PLANS_ONLY) == costs
        assert warehouse.query(corrections) == [("fifteenth", march, february, d("100"), d("500"), d("600"), d("0"))]
        events = f"select event, timespan, count(*), sum(quantity) from {intermediate}.int_usage__frozen group by 1, 2"
        assert sorted(warehouse.query(events)) == [
            ("closed", "day", 2, d("1400")),
            ("closed", "period", 6, d("0")),  # with two months of the yearly fee
            ("restated", "day", 1, d("600")),
        ]


def test_postgresql_gives_the_same_costs(built: Warehouse, postgres: Warehouse) -> None:
    """All plans, fees and packs of this file, to the last decimal. A silent side table does not change the cost, either."""
    postgres.execute([*inserts([PLANS, FEES, PREPAID, plan("silent")]), side_table("tokens_daily", "silent", "", None)])
    marts = ("charges", "cost_daily", "cost_monthly", "credit_balance_daily")
    outcome = postgres.dbt("build", "--select", *(f"+{mart}" for mart in marts), *MODELS_ONLY)
    assert outcome.success, outcome.having("error", "skipped")
    silent = "select sum(billed_cost) from usage.cost_monthly where billing_account = 'silent'"
    assert postgres.query(silent) == [(d("147"),)]
    for mart in marts:
        columns = ", ".join(name for (name,) in built.query(f"select column_name from (describe usage.{mart})"))
        assert postgres.table(mart, columns, "billing_account <> 'silent'") == built.table(mart, columns)
