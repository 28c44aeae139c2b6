"""What a run did."""

from dataclasses import dataclass
from typing import Any

from meterhouse.pipelines.run.state import Fetched, RunState
from meterhouse.pipelines.transform import Outcome
from meterhouse.pipelines.warehouse.destination import Destination


@dataclass(frozen=True)
class RunResult:
    """What a run did: windows and failures, the models, and what the marts say now (rows as dicts, money as Decimal)."""

    destination: Destination
    record: RunState
    outcome: Outcome | None
    cost_monthly: list[dict[str, Any]] | None
    unpriced_usage: list[dict[str, Any]] | None

    @property
    def loaded(self) -> list[Fetched]:
        """The windows whose provider was loaded; what could not be written is not there, however well it was read.

        They came in side by side, and stand by provider and table here; those of a table as they came.
        """
        lost = {failure.provider for failure in self.record.failures if not failure.table}
        loaded = (entry for entry in self.record.fetched if entry.provider not in lost)
        return sorted(loaded, key=lambda entry: (entry.provider, entry.table))

    @property
    def failed_models(self) -> tuple[str, ...]:
        """A line for each model or test that failed."""
        return self.outcome.failures if self.outcome else ()

    @property
    def exit_status(self) -> int:
        """0 all done, 1 a provider, model or test failed."""
        return 1 if self.record.failures or self.failed_models else 0


COST_MONTHLY = """
    select billing_month, provider, account, sku_id, quantity, unit, billed_cost, currency, is_complete
    from usage.cost_monthly
    order by billing_month, provider, account, sku_id
"""


UNPRICED_USAGE = """
    select provider, account, meter, unit, reason, sum(quantity) as quantity, min(date) as first_date, max(date) as last_date
    from usage.unpriced_usage
    group by provider, account, meter, unit, reason
    order by provider, account, meter, reason
"""
