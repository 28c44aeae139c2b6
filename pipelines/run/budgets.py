"""The status of the budgets in a month, from the mart `budget_status_monthly`."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from meterhouse.pipelines.warehouse.query import Query, queries
from meterhouse.sources.billing.currencies import rounded_to_currency


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget's month: what its scope has cost so far, and the forecast, if there is one.

    `other_currencies` names the currencies whose cost does not count. `actual` may be too low if `has_missing_cost`.
    """

    budget: str
    month: date
    cost_type: str
    amount: Decimal
    currency: str
    actual: Decimal
    forecast: Decimal | None
    variance: Decimal
    share_used: Decimal
    is_over: bool
    other_currencies: str | None
    has_missing_cost: bool
    thresholds: str
    forecast_thresholds: str

    def __str__(self) -> str:
        actual, amount = (f"{rounded_to_currency(value, self.currency):,}" for value in (self.actual, self.amount))
        cost = "" if self.cost_type == "billed" else ", effective cost"
        others = f"; cost in {self.other_currencies} does not count" if self.other_currencies else ""
        missing = "; some cost is not known yet" if self.has_missing_cost else ""
        used = f"{actual} of {amount} {self.currency} used in {self.month:%Y-%m}, {self.percent} %"
        return f"{self.budget}: {used}{cost}{others}{missing}"

    @property
    def percent(self) -> int:
        """The used percentage, rounded down: 100 is never shown before it is reached."""
        return int(self.share_used * 100 // 1)


def budget_statuses(query: Query, since: date) -> list[BudgetStatus]:
    """The budgets of all months from `since` on, ordered by month and by their row.

    Raises:
        NotBuilt: the mart does not exist.
    """
    return [BudgetStatus(**row) for row in query(queries()["budgets"], since)]


def budgets_of_month(query: Query, month: date) -> list[BudgetStatus]:
    """The budgets of one month, ordered by their row.

    Raises:
        NotBuilt: the mart does not exist.
    """
    return [budget for budget in budget_statuses(query, month) if budget.month == month]
