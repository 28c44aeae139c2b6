"""Cost in the reporting currency: its sum, and the exchange rates that are missing."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from meterhouse.pipelines.warehouse.cost_type import CostType
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt
from meterhouse.pipelines.warehouse.query import Query, Row, queries
from meterhouse.sources.billing.currencies import rounded_to_currency


@dataclass(frozen=True, slots=True)
class MissingRate:
    """Cost in a currency without a rate into the reporting currency, from the first to the last day of such cost."""

    currency: str
    reporting_currency: str
    first_date: date
    last_date: date
    billed_cost: Decimal

    def __str__(self) -> str:
        days = f"on {self.first_date}" if self.first_date == self.last_date else f"{self.first_date} to {self.last_date}"
        cost = f"{rounded_to_currency(self.billed_cost, self.currency):,} {self.currency}"
        return f"no exchange rate {self.currency} to {self.reporting_currency}: {cost}, {days}"


def missing_rates(query: Query) -> list[MissingRate]:
    """The missing rates, ordered by currency; none without a reporting currency."""
    return [MissingRate(**row) for row in if_converted(query)(queries()["missing_rates"])]


def reporting_total(query: Query, month: date, cost_type: CostType) -> Row | None:
    """A month's cost in the reporting currency, None without one; `cost` is None if a rate is missing."""
    rows = if_converted(query)(queries()["reporting_total"].format(**cost_type.columns), month)
    return rows[0] if rows else None


def if_converted(query: Query) -> Query:
    """The same query, without rows if the marts or their reporting columns do not exist.

    The marts of an earlier version lack these columns.
    """

    def rows(sql: str, *parameters: object) -> list[Row]:
        try:
            return query(sql, *parameters)
        except NotBuilt:
            return []
        except LoadError:
            if _has_reporting_columns(query):
                raise
            return []

    return rows


def _has_reporting_columns(query: Query) -> bool:
    """Whether `cost_monthly` has them. Engines have no common error for a missing column, so another column is read first.

    Raises:
        LoadError: the mart cannot be read at all.
    """
    query("select billing_month from usage.cost_monthly where billing_month is null")
    try:
        query("select reporting_cost from usage.cost_monthly where billing_month is null")
    except LoadError:
        return False
    return True
