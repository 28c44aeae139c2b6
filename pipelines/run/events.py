"""What a run reports besides the events of its sources: frozen events, passed to the same observer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meterhouse.sources._core.events import Event as SourceEvent
from meterhouse.sources._core.events import Place

if TYPE_CHECKING:
    from meterhouse.pipelines.run.budgets import BudgetStatus
    from meterhouse.pipelines.run.freshness import StaleTable
    from meterhouse.pipelines.transform.build import BuildResult
    from meterhouse.sources.billing import RowError


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """The command has begun."""

    command: str


@dataclass(frozen=True, slots=True)
class CommandStopped:
    """An error that the user can correct ended the command."""

    error: Exception


@dataclass(frozen=True, slots=True)
class CommandCrashed:
    """An error of meterhouse itself ended the command."""

    error: Exception


@dataclass(frozen=True, slots=True)
class CommandFinished:
    """The command ends with `exit_status` after `seconds`."""

    exit_status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something may be wrong; the exit status is unaffected."""

    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another run uses the destination at `location`, or another process has its file open; this one waits for it."""

    location: str


@dataclass(frozen=True, slots=True)
class ProviderLoaded:
    """A provider was fetched and loaded in `seconds`."""

    provider: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A table could not be loaded; without a table in `place`, the whole provider."""

    place: Place
    error: Exception


@dataclass(frozen=True, slots=True)
class BillingLoaded:
    """The user's prices, credits and invoices were loaded: by table, the file or table that they came from."""

    tables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """dbt has finished a model or test, passed or failed."""

    name: str


@dataclass(frozen=True, slots=True)
class ModelsBuilt:
    """The models are built, or were up to date."""

    result: "BuildResult"


@dataclass(frozen=True, slots=True)
class AlertsSent:
    """The webhook accepted the alerts of these subjects."""

    subjects: list[str]


@dataclass(frozen=True, slots=True)
class CredentialsChecked:
    """One account's credentials were tried; `error` is None if they work."""

    provider: str
    account: str
    error: Exception | None


@dataclass(frozen=True, slots=True)
class TableIsStale:
    """A table is older than the allowed age."""

    table: "StaleTable"


@dataclass(frozen=True, slots=True)
class BudgetExceeded:
    """A month's cost is more than its budget."""

    budget: "BudgetStatus"


@dataclass(frozen=True, slots=True)
class BillingRejected:
    """A row, column or file of the user's billing data is wrong."""

    error: "RowError"


RunEvent = (
    CommandStarted
    | CommandStopped
    | CommandCrashed
    | CommandFinished
    | Warned
    | Waiting
    | ProviderLoaded
    | LoadFailed
    | BillingLoaded
    | ModelFinished
    | ModelsBuilt
    | AlertsSent
    | CredentialsChecked
    | TableIsStale
    | BudgetExceeded
    | BillingRejected
)
Event = SourceEvent | RunEvent
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The default observer: ignores every event."""
