"""The cost of owners: a worked example, from raw rows to marts."""

import json

from tests.pipelines.transform.rows import OWNED_DAYS
from tests.pipelines.transform.warehouse import Warehouse, d


def test_owners_divide_each_day_exactly(built: Warehouse) -> None:
    """A value belongs to its owner of the day, shares divide the rest, and `unowned` is what is left.

    The app `one` used 100 images at 0.002, `team-1` and `team-2` 75, and an app without an owner 10.
    """
    columns = "cast(date as text), team, cost_centre, billed_cost, effective_cost"
    assert built.table("cost_by_owner_daily", columns, "account = 'owned'") == [
        (day, team, "", d(cost), d(cost))
        for day, team, cost in (
            (OWNED_DAYS[0], "a", "0.21"),
            (OWNED_DAYS[0], "b", "0.005"),
            (OWNED_DAYS[0], "c", "0.15"),
            (OWNED_DAYS[0], "unowned", "0.005"),
            (OWNED_DAYS[1], "a", "0.01"),
            (OWNED_DAYS[1], "b", "0.205"),
            (OWNED_DAYS[1], "c", "0.15"),
            (OWNED_DAYS[1], "unowned", "0.005"),
        )
    ]


def test_owners_divide_each_forecast_exactly(built: Warehouse) -> None:
    """The cost to date and the forecast of each account and month, billed and effective."""
    amounts = "sum(cost_to_date), sum(forecast), sum(effective_cost_to_date), sum(effective_forecast)"
    of_marts = [
        built.query(
            f"select provider, billing_account, account, billing_month, currency, {amounts} from usage.{mart}"
            " where cost_to_date <> 0 or forecast <> 0 or effective_cost_to_date <> 0 or effective_forecast <> 0"
            " group by all order by all"
        )
        for mart in ("cost_forecast_by_owner_monthly", "cost_forecast_monthly")
    ]
    assert of_marts[0] == of_marts[1] != []
    assert built.query("select count(*) from usage.cost_forecast_by_owner_monthly where team <> 'unowned'")[0][0] > 0


def test_owners_divide_the_converted_cost(built: Warehouse) -> None:
    """In the reporting currency, the owners of a month add up to its cost; null if a rate is missing."""
    key = "provider, billing_account, account, billing_month, currency"
    sums = [
        f"select {key}, case when count(*) = count({cost}) then sum({cost}) end as cost from usage.{mart} group by all"
        for cost, mart in (
            ("reporting_cost_to_date", "cost_forecast_by_owner_monthly"), ("reporting_cost", "cost_monthly"),
        )
    ]  # fmt: skip
    both = f"from ({sums[0]}) owners inner join ({sums[1]}) months using ({key})"
    assert built.query(f"select count(*) {both} where (owners.cost is null) <> (months.cost is null)") == [(0,)]
    # Without an `unowned` row, a rounding difference of its share is in no row.
    assert built.query(f"select count(*) {both} where abs(owners.cost - months.cost) > 0.0000001") == [(0,)]
    ((known, missing),) = built.query(f"select count(owners.cost), count(*) - count(owners.cost) {both}")
    assert known > 20
    assert missing > 0


def test_cost_without_an_owner_is_unowned(built: Warehouse) -> None:
    """Accounts and days that no row names keep their whole cost, in one row a day."""
    where = "provider = 'mathpix' and account = 'images'"
    cost = built.table("cost_daily", "date, billed_cost, effective_cost", where)
    assert cost
    owners = "date, billed_cost, effective_cost, team, cost_centre, tags"
    assert built.table("cost_by_owner_daily", owners, where) == [(*row, "unowned", "", None) for row in cost]


def test_focus_tags_name_the_only_owner_of_a_day(built: Warehouse) -> None:
    """Team, cost centre and tags; an empty object where a day has several owners, or none."""
    tags = built.query(
        """
        select distinct "SubAccountId", cast(cast("ChargePeriodStart" as date) as text), "Tags"
        from usage.focus_1_2_cost_and_usage
        where "SubAccountId" in ('owned', 'whole', 'images')
        """
    )
    found = {(account, day): json.loads(text) for account, day, text in tags}
    assert [found["owned", day] for day in OWNED_DAYS] == [{}, {}]
    assert [found["whole", day] for day in OWNED_DAYS] == [
        {"team": "d", "cost_centre": "4711", "env": "prod"},
        {"team": "e"},
    ]
    assert found["images", "2025-05-01"] == {}
