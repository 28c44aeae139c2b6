"""How late each provider restates usage, compared with the `lookback`: a run sees no later restatement."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from inspect import signature

import dlt

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.query import queries
from meterhouse.sources._core.config.parse import parse_duration
from meterhouse.sources.registry import PROVIDERS

DAY = timedelta(days=1)
RECENT = timedelta(days=7)
"""How long `status` and alerts show an anomaly or a restatement. An older one is new only because a run loaded old usage."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Days from the end of a bucket to the run that saw it restated or withdrawn: the 50th, 95th and 100th percentile.

    `lookback` is None if every run requests all usage again.
    """

    provider: str
    restatements: int
    median: Decimal
    percentile_95: Decimal
    maximum: Decimal
    lookback: timedelta | None

    def __str__(self) -> str:
        days = f"half within {self.median}, 95 % within {self.percentile_95}, all within {self.maximum} days"
        setting = f"; lookback: {self.lookback / DAY:g} days" if self.lookback is not None else ""
        restatements = f"{self.restatements:,} restatement{'' if self.restatements == 1 else 's'}"
        return f"{self.provider}  {restatements}, {days} of the bucket's end{setting}"

    @property
    def warning(self) -> str | None:
        """A warning if usage was restated after the lookback had ended."""
        # A run that follows the last one a day later sees changes up to a day older than the lookback.
        if self.lookback is None or timedelta(days=float(self.maximum)) <= self.lookback + DAY:
            return None
        return (
            f"{self.provider} restated usage {self.maximum} days after its bucket's end, but a run looks back"
            f" {self.lookback / DAY:g} days: raise sources.{self.provider}.lookback"
        )


def lateness(destination: Destination) -> list[Lateness]:
    """How late usage was restated, by provider; empty without restatements, or before the first build.

    Raises:
        ConfigurationError: a lookback is not a duration.
        LoadError: the destination cannot be read.
    """
    if not destination.exists():
        return []
    with destination.reader() as reader:
        rows = reader.rows_if_built(queries()["lateness"])
    return [Lateness(**row, lookback=_lookback(row["provider"])) for row in rows if row["provider"] in PROVIDERS]


def _lookback(name: str) -> timedelta | None:
    """The configured lookback, or the default of the provider's source; None if all usage is read in every run."""
    provider = PROVIDERS[name]
    if provider.rereads_usage:
        return None
    setting = f"sources.{name}.lookback"
    of_source = dlt.config.get(f"sources.{name}.{provider.source_name}.lookback", str)
    default = signature(provider.source).parameters["lookback"].default
    return parse_duration(of_source or dlt.config.get(setting, str) or default, setting=setting)
