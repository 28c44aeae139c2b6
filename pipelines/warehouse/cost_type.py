"""The type of cost, billed or effective, that `status` and the report show, and its columns in the marts."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any


class CostType(StrEnum):
    """The billed cost is what invoices charge; the effective cost spreads prepaid credits over the usage that draws them."""

    BILLED = "billed"
    EFFECTIVE = "effective"

    @property
    def columns(self) -> Mapping[str, str]:
        """The column of the marts, by the name that stands for it in a query."""
        forecasts = ("cost_to_date", "forecast", "forecast_low", "forecast_high")
        names = (*forecasts, "change", "volume_change", "price_change", "mix_change")
        if self is CostType.BILLED:
            same = {name: name for name in (*names, "allocated_cost", "reporting_cost", "reporting_cost_to_date")}
            return {"cost": "billed_cost", **same}
        return {
            "cost": "effective_cost",
            "allocated_cost": "allocated_effective_cost",
            "reporting_cost": "reporting_effective_cost",
            "reporting_cost_to_date": "reporting_effective_cost_to_date",
            **{name: f"effective_{name}" for name in names},
        }


def default_cost_type(query: Callable[[str], list[dict[str, Any]]]) -> CostType:
    """Effective if anything is prepaid, so that the two costs of a month differ; else billed."""
    differing = query("select billing_month from usage.cost_monthly where billed_cost <> effective_cost limit 1")
    return CostType.EFFECTIVE if differing else CostType.BILLED
