"""Cost in the reporting currency, and unit costs: from raw rows to marts."""

from decimal import ROUND_HALF_UP, Decimal

from tests.pipelines.transform.rows import RATES
from tests.pipelines.transform.warehouse import Warehouse, d

LAST_DAY = "2026-05-15"
"""The last day on which a rate applies: the 366th."""


def test_every_charge_is_converted_at_the_rate_of_its_day(built: Warehouse) -> None:
    """Without a rate on its day, the cost in the reporting currency is null, and never the original cost."""
    rows = built.query(
        """
        select cast(charge_period_start as date), currency, billed_cost, effective_cost, reporting_currency, reporting_cost,
            reporting_effective_cost, fx_rate, fx_date
        from usage.charges
        """
    )
    places = Decimal("1e-9")
    for day, currency, billed, effective, reporting, *converted in rows:
        assert (currency, reporting) == ("USD", "EUR")
        known = [date for date in RATES if date <= str(day) <= LAST_DAY]
        if not known:
            cost = None if billed or effective else 0
            assert converted == [cost, cost, None, None]
            continue
        rate = RATES[known[-1]]
        costs = [(cost * rate).quantize(places, ROUND_HALF_UP) for cost in (billed, effective)]
        assert [*converted[:3], str(converted[3])] == [*costs, rate, known[-1]]
    assert {row[-1] is None for row in rows} == {True, False}


def test_days_months_and_owners_add_up_to_the_charges(built: Warehouse) -> None:
    """To the last decimal, in the reporting currency, too."""
    day = "provider, billing_account, account, {} as day, sum({}), sum({})"
    columns = "reporting_cost", "reporting_effective_cost"
    charges = built.query(
        f"select {day.format('cast(charge_period_start as date)', *columns)} from usage.charges"
        f" where charge_period_end <= cast(charge_period_start as date) + interval '1 day' and fx_rate is not null"
        " group by all order by all"
    )
    for mart in ("cost_daily", "cost_by_owner_daily"):
        query = (
            f"select {day.format('date', *columns)} from usage.{mart} where fx_rate is not null group by all order by all"
        )
        assert built.query(query) == charges != [], mart
    monthly = (
        "select sum(reporting_cost), sum(reporting_effective_cost) from usage.{} where billing_month < date '2026-05-01'"
    )
    assert built.query(monthly.format("cost_monthly")) == built.query(
        monthly.format("charges") + " and billing_month >= date '2025-01-01'"
    )
    assert built.query("select count(*) from usage.cost_monthly where fx_rate is null and reporting_cost is not null")[0][0]


def test_budgets_have_their_cost_in_the_reporting_currency(built: Warehouse) -> None:
    """Each day at its own rate: the account cost 0.37 on each of two days, and the values of a dimension 0.15."""
    rates, places = sum(RATES.values()), Decimal("1e-9")
    rows = "select budget, reporting_cost, fx_rate from usage.budget_status_monthly where month = '2025-05-01'"
    found = {budget: values for budget, *values in built.query(rows)}
    assert found["mathpix/owned"] == [(d("0.37") * rates).quantize(places, ROUND_HALF_UP), None]
    assert found["mathpix/owned app_id team-*"] == [(d("0.15") * rates).quantize(places, ROUND_HALF_UP), None]
    (owner,) = built.query(
        "select sum(reporting_effective_cost) from usage.cost_by_owner_daily"
        " where team = 'c' and date between date '2025-05-01' and date '2025-05-31'"
    )
    assert found["team c"][0] == owner[0] > 0
    (month,) = built.query("select sum(reporting_cost) from usage.cost_monthly where billing_month = '2025-05-01'")
    assert found["total"][0] == month[0] > 0


def test_unit_cost_is_the_effective_cost_of_a_scope_by_its_metric(built: Warehouse) -> None:
    """100 pages in May, and 5 in July, in which the team has no cost."""
    columns = "cast(month as text), metric_value, effective_cost, unit_cost, currency, reporting_unit_cost"
    rows = {row[0]: row[1:] for row in built.table("unit_cost_monthly", columns)}
    (cost, reported), *_ = built.query(
        "select sum(effective_cost), sum(reporting_effective_cost) from usage.cost_by_owner_daily"
        " where team = 'c' and date between date '2025-05-01' and date '2025-05-31'"
    )
    places = Decimal("1e-9")
    unit, reported_unit = ((amount / 100).quantize(places, ROUND_HALF_UP) for amount in (cost, reported))
    assert rows["2025-05-01"] == (100, cost, unit, "USD", reported_unit)
    assert rows["2025-07-01"] == (5, 0, None, None, None)
