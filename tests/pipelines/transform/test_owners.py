"""The cost of owners: a worked example from raw rows to marts, on DuckDB and PostgreSQL."""

import json
from collections.abc import Iterator

import pytest

from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, d, usage, window

pytestmark = pytest.mark.thorough

OWNERS = """create table billing.owners (provider text, account text, dimension text, value text, team text,
    cost_centre text, tags text, share text, valid_from date, valid_to date, source text, row_number bigint,
    loaded_at timestamptz)"""
ROWS = (
    "mathpix,default,app_id,one,a,1,,,2026-01-01,2026-05-15",
    "mathpix,default,app_id,one,b,,,,2026-05-15,",
    "mathpix,default,app_id,team-*,c,3,,,2026-01-01,",
    "mathpix,default,,,a,1,,0.5,2026-01-01,",
    "mathpix,default,,,b,,,0.25,2026-01-01,",
    'mathpix,whole,,,d,4,{"env": "prod"},,2026-01-01,2026-05-15',
    "mathpix,whole,,,e,,,,2026-05-15,",
)
LOADED = "cast('2026-05-16 00:00+00' as timestamptz)"
DAYS = ("2026-05-14", "2026-05-15")
APPS = {"one": 100, "team-1": 50, "team-2": 25, "other": 10}
"""Images of the account `default` a day, at 0.002."""


def statements() -> Iterator[str]:
    """The raw rows and the owners."""
    for day in DAYS:
        yield usage(f"{day} 10:00", "image", sum(APPS.values()))
        for app, images in APPS.items():
            yield usage(f"{day} 10:00", "image", images, app_id=app, grouping="app_id")
        for account in ("whole", "none"):
            yield usage(f"{day} 10:00", "image", 500, account=account)
    for account in ("default", "whole", "none"):
        yield window("2026-05-14 00:00", "2026-05-16 00:00", account=account)
    yield "create schema billing"
    yield OWNERS
    for number, line in enumerate(ROWS, 2):
        cells = ", ".join(f"'{cell}'" if cell else "null" for cell in line.split(","))
        yield f"insert into billing.owners values ({cells}, 'owners.csv', {number}, {LOADED})"


@pytest.mark.parametrize("engine", ["warehouse", "postgres"])
def test_owners_divide_each_day_exactly(engine: str, request: pytest.FixtureRequest) -> None:
    """A value belongs to its owner of the day, shares divide the rest, and `unowned` is what is left."""
    warehouse: Warehouse = request.getfixturevalue(engine)
    warehouse.load(*statements())
    outcome = warehouse.dbt("build", "--select", "+cost_by_owner_daily", "+focus_1_2_cost_and_usage", *MODELS_ONLY)
    assert outcome.success
    columns = "account, cast(date as text), team, cost_centre, billed_cost, effective_cost"
    assert warehouse.table("cost_by_owner_daily", columns) == sorted(
        [
            (account, day, team, centre, d(cost), d(cost))
            for account, day, team, centre, cost in (
                ("default", DAYS[0], "a", "1", "0.21"),
                ("default", DAYS[0], "b", "", "0.005"),
                ("default", DAYS[0], "c", "3", "0.15"),
                ("default", DAYS[0], "unowned", "", "0.005"),
                ("default", DAYS[1], "a", "1", "0.01"),
                ("default", DAYS[1], "b", "", "0.205"),
                ("default", DAYS[1], "c", "3", "0.15"),
                ("default", DAYS[1], "unowned", "", "0.005"),
                ("none", DAYS[0], "unowned", "", "1"),
                ("none", DAYS[1], "unowned", "", "1"),
                ("whole", DAYS[0], "d", "4", "1"),
                ("whole", DAYS[1], "e", "", "1"),
            )
        ],
        key=repr,
    )
    tags = warehouse.table("focus_1_2_cost_and_usage", '"SubAccountId", cast("ChargePeriodStart" as date), "Tags"')
    found = {(account, str(day)): json.loads(text) for account, day, text in tags}
    assert found == {
        **{(account, day): {} for account in ("default", "none") for day in DAYS},
        ("whole", DAYS[0]): {"team": "d", "cost_centre": "4", "env": "prod"},
        ("whole", DAYS[1]): {"team": "e"},
    }
    if engine == "warehouse":
        tests = ("assert_owners_add_up_to_cost", "cost_by_owner_daily", "int_usage__owned", "stg_billing__owners")
        assert warehouse.dbt("test", "--select", *tests, "--indirect-selection", "cautious").success
