"""Closing in any order: random invoices and restatements over several builds, and what holds after each build."""

import calendar
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import time_machine

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Scenario, Use
from tests.pipelines.transform.invoices import TABLES, TRACE
from tests.pipelines.transform.random_scenarios import inserts
from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, d, duckdb_warehouse

pytestmark = pytest.mark.thorough

BUILDS, CUSTOMERS = 6, 70
MONTHS = [date(2026, month, 1) for month in range(1, 6)]
COUNTS = (0, 1_000, 2_000, 3_000, 5_000, 400_000, 900_000, 1_500_000)

Rows = dict[tuple[str, date], Decimal]
"""The billed cost by charge and day."""


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(month: date) -> date:
    return month + timedelta(days=calendar.monthrange(month.year, month.month)[1])


@dataclass
class Customer:
    """A billing account, and the periods that no invoice covers yet."""

    name: str
    accounts: list[str]
    rng: random.Random
    has_credits: bool
    from_the_15th: bool
    has_minimum: bool
    uninvoiced: list[tuple[date, date]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.from_the_15th:
            starts = [date(2026, month, 15) for month in range(1, 6)]
            self.uninvoiced = [(MONTHS[0], starts[0]), *pairwise(starts)]
        else:
            self.uninvoiced = [(month, end_of(month)) for month in MONTHS]

    def uses(self) -> Iterator[Use]:
        for month in MONTHS:
            for day in (9, 19):
                start = midnight(month.replace(day=day)) + timedelta(hours=10)
                count = self.rng.choice(COUNTS[1:])
                account = self.rng.choice(self.accounts)
                yield Use("mathpix", account, "pdf-page", start, start + timedelta(hours=1), Decimal(count))

    def restate(self) -> Iterator[str]:
        for _ in range(self.rng.randint(1, 2)):
            day = self.rng.choice(MONTHS).replace(day=self.rng.choice((9, 19)))
            yield (
                f"update mathpix.ocr_usage_by_usage_type set count = {self.rng.choice(COUNTS)}"
                f" where account like '{self.name}%' and cast(bucket_start at time zone 'UTC' as date) = '{day}'"
            )

    def invoice(self) -> str:
        """The statement that loads an invoice of the amount that the last build computed."""
        start, end = self.uninvoiced.pop(self.rng.randrange(len(self.uninvoiced)))
        return (
            f"insert into billing.invoices select 'mathpix', '{self.name}', '{self.name}-{start}', '{start}', '{end}',"
            f" '{end}', 'issued', 'USD', round(coalesce(sum(billed_cost), 0), 2), null, {TRACE} from usage.charges"
            f" where billing_account = '{self.name}' and billed_on >= '{start}' and billed_on < '{end}'"
        )

    def changes(self) -> Iterator[str]:
        if self.uninvoiced and self.rng.random() < 0.6:
            yield self.invoice()
        else:
            yield from self.restate()


@dataclass
class State:
    """What a build left: closed periods, and the cost of charges and of corrections, each by billing account."""

    closed: dict[str, list[tuple[date, date]]]
    charges: dict[str, Rows]
    corrections: dict[str, Rows]
    computed: dict[str, Decimal]

    def in_closed_periods(self, name: str, periods: list[tuple[date, date]]) -> tuple[Rows, Rows]:
        """The charges and corrections of these periods."""
        charges, corrections = (
            {key: cost for key, cost in rows.items() if any(start <= key[1] < end for start, end in periods)}
            for rows in (self.charges[name], self.corrections[name])
        )
        return charges, corrections


def state(warehouse: Warehouse) -> State:
    closed: dict[str, list[tuple[date, date]]] = defaultdict(list)
    for name, start, end in warehouse.query(
        "select distinct billing_account, period_start, period_end from usage_intermediate.int_usage__frozen"
        " inner join usage_intermediate.int_accounts__completed using (provider, account)"
        " where timespan = 'period' and event = 'closed'"
    ):
        closed[name].append((start, end))
    charges: dict[str, Rows] = defaultdict(dict)
    corrections: dict[str, Rows] = defaultdict(dict)
    for name, charge_id, day, charge_class, cost in warehouse.query(
        "select billing_account, charge_id, billed_on, charge_class, billed_cost from usage.charges"
    ):
        (corrections if charge_class else charges)[name][charge_id, day] = cost
    computed = dict(warehouse.query(
        "select billing_account, sum(billed_cost) from usage_intermediate.int_charges__computed"
        " where scenario = 'computed' group by 1"
    ))  # fmt: skip
    return State(closed, charges, corrections, computed)


@pytest.fixture(scope="module")
def states(scratch: Path) -> list[State]:
    """The state after each build. Before each later one, each customer has an invoice or restatements."""
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    warehouse = duckdb_warehouse(scratch, scratch)
    customers = []
    for number in range(CUSTOMERS):
        name, from_the_15th = f"c{number:02}", number % 3 == 0
        customers.append(Customer(
            name, [name, f"{name}-2"][: 1 + number % 4 // 3], random.Random(number), number % 2 == 0, from_the_15th,  # noqa: S311
            # A minimum is that of a calendar month.
            has_minimum=not from_the_15th and number % 5 < 2,
        ))  # fmt: skip
    scenario = Scenario(
        accounts=[
            Account(
                "mathpix", c.name, c.name, "UTC", None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
            )
            for c in customers
        ],
        uses=[use for customer in customers for use in customer.uses()],
        grants=[
            Grant("mathpix", c.name, "gift", "promotional", "USD", d("6000"), MONTHS[0]) for c in customers if c.has_credits
        ],
        fees=[
            Fee("mathpix", c.name, "least", "minimum", Decimal(4_000), "USD", MONTHS[0], None, "")
            for c in customers
            if c.has_minimum
        ],
    )
    warehouse.execute([*inserts([scenario]), *TABLES])
    states = []
    for build in range(BUILDS):
        if build:
            warehouse.execute([change for customer in customers for change in customer.changes()])
        # The clock of one build is ten days ahead.
        with time_machine.travel(datetime.now(UTC) + timedelta(days=2 * build + (10 if build == 2 else 0))):
            outcome = warehouse.dbt("build", "--select", "+int_usage__frozen", "int_charges__computed", *MODELS_ONLY)
        assert outcome.having("error", "fail", "skipped") == []
        states.append(state(warehouse))
    return states


def test_a_closed_period_never_changes(states: list[State]) -> None:
    """Later restatements and closings change neither its charges nor the corrections that its invoice covered."""
    compared = 0
    for before, after in pairwise(states):
        for name, periods in before.closed.items():
            charges, corrections = before.in_closed_periods(name, periods)
            charges_after, corrections_after = after.in_closed_periods(name, periods)
            assert charges_after == charges, name
            assert corrections_after == corrections, name
            compared += len(charges)
    assert compared > 1_000
    assert sum(len(rows) for rows in states[-1].corrections.values()) > 50


def test_charges_and_corrections_add_up_to_the_present_usage(states: list[State]) -> None:
    """The closed periods and all their corrections cost what the quantities that are loaded now cost."""
    for after in states:
        for name, cost in after.computed.items():
            assert sum(after.charges[name].values()) + sum(after.corrections[name].values()) == cost, name
