"""The status of budgets, from raw rows to the mart."""

from tests.pipelines.transform.warehouse import Warehouse, d

MAY = "2025-05-01"


def test_a_budget_counts_the_cost_of_its_scope(built: Warehouse) -> None:
    """It is a sum of the mart for the scope. The apps `team-1` and `team-2` used 75 images at 0.002 on two days."""
    rows = built.query(
        f"""
        select budget, actual, forecast, share_used, is_over, thresholds, forecast_thresholds
        from usage.budget_status_monthly
        where month = '{MAY}'
        """
    )
    found = {budget: values for budget, *values in rows}

    def cost(sum_of: str, mart: str, where: str) -> object:
        return built.query(f"select sum({sum_of}) from usage.{mart} where {where}")[0][0]

    month = f"billing_month = '{MAY}' and currency = 'USD'"
    days = f"date >= '{MAY}' and date < '2025-06-01' and currency = 'USD'"
    assert found["total"][0] == cost("billed_cost", "cost_monthly", month)
    assert found["total"][1] == cost("coalesce(forecast, cost_to_date)", "cost_forecast_monthly", month)
    forecast = cost(
        "coalesce(effective_forecast, effective_cost_to_date)", "cost_forecast_monthly", f"{month} and provider = 'mathpix'"
    )
    assert found["mathpix"][:2] == [cost("effective_cost", "cost_monthly", f"{month} and provider = 'mathpix'"), forecast]
    assert found["mathpix/owned"] == [d("0.74"), None, d("1.48"), True, "50;80;100", "100"]
    assert found["team c"][0] == cost("effective_cost", "cost_by_owner_daily", f"{days} and team = 'c'")
    assert found["team c"][0] > 0
    assert found["mathpix/owned app_id team-*"][:4] == [d("0.3"), None, d("0.3"), False]


def test_a_budget_has_a_row_for_each_loaded_month_until_it_ends(built: Warehouse) -> None:
    """A month without cost has an actual cost of 0."""
    rows = "select month, actual from usage.budget_status_monthly where budget = '{}' order by month"
    assert [(str(month), actual) for month, actual in built.query(rows.format("mathpix/owned"))] == [
        (MAY, d("0.74")),
        ("2025-06-01", d("0")),
    ]
    months = "select distinct billing_month from usage.billing_periods where billing_month >= '{}' order by 1"
    assert [month for month, _ in built.query(rows.format("total"))] == [
        month for (month,) in built.query(months.format(MAY))
    ]
