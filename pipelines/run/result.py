"""The result of a run."""

from dataclasses import dataclass

from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.build import BuildResult
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import Row
from meterhouse.sources._core.events import WindowFetched


@dataclass(frozen=True)
class RunResult:
    """What a run did: its state, the build of the models, and the costs in the marts (money as Decimal)."""

    destination: Destination
    state: RunState
    models: BuildResult | None = None
    cost_monthly: list[Row] | None = None
    unpriced_usage: list[Row] | None = None

    @property
    def loaded(self) -> list[WindowFetched]:
        """The fetched windows of all providers that could also be loaded, by provider and table, in order of fetching."""
        not_loaded = {failure.place.provider for failure in self.state.failures if not failure.place.table}
        loaded = (window for window in self.state.fetched if window.place.provider not in not_loaded)
        return sorted(loaded, key=lambda window: (window.place.provider, window.place.table))

    @property
    def failed_models(self) -> tuple[str, ...]:
        """A line for each model or test that failed."""
        return self.models.failures if self.models else ()

    @property
    def exit_status(self) -> int:
        """0 all done, 1 a provider, model or test failed."""
        return 1 if self.state.failures or self.failed_models else 0
