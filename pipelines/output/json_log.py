"""The log of a command: the observer that writes a line for each event worth logging."""

from dataclasses import asdict
from typing import Any

from meterhouse.pipelines.output.json_lines import CRITICAL, ERROR, INFO, WARNING, write_line
from meterhouse.pipelines.output.summary import models_as_dict
from meterhouse.pipelines.run.events import (
    AlertsSent,
    BillingRejected,
    BudgetExceeded,
    CommandCrashed,
    CommandFinished,
    CommandStarted,
    CommandStopped,
    CredentialsChecked,
    Event,
    LoadFailed,
    ModelsBuilt,
    ProviderLoaded,
    TableIsStale,
    Waiting,
    Warned,
)
from meterhouse.sources._core.events import (
    DurationEstimated,
    FetchFailed,
    Place,
    RequestDelayed,
    RequestRetried,
    WindowFetched,
    WindowMissed,
)
from meterhouse.sources._core.windows import Window


def log_event(event: Event) -> None:  # noqa: C901 - a case for each event
    """Writes the event's line. The event names and fields are a contract; progress within a window is not logged."""
    match event:
        case CommandStarted(command):
            write_line("started", command=command)
        case CommandStopped(error):
            write_line("stopped", ERROR, kind=type(error).__name__, error=str(error))
        case CommandCrashed(error):
            write_line("crashed", CRITICAL, traceback_of=error, error=str(error))
        case CommandFinished(exit_status, seconds):
            write_line("finished", exit_status=exit_status, seconds=round(seconds, 3))
        case Warned(message):
            write_line("warning", WARNING, warning=message)
        case Waiting(location):
            write_line("waiting", location=location)
        case RequestRetried(place, endpoint, error, attempt, wait):
            write_line(
                "retry", WARNING, **_place(place), endpoint=endpoint, attempt=attempt, wait=round(wait, 3), error=error
            )
        case RequestDelayed(place, wait, requests_per_minute):
            write_line("delayed", **_place(place), wait=round(wait, 3), requests_per_minute=requests_per_minute)
        case DurationEstimated(place, requests, seconds):
            write_line("slow", **_place(place), requests=requests, seconds=round(seconds))
        case WindowFetched(place, window, rows):
            write_line("window_read", **_place(place), **_window(window), rows=rows)
        case WindowMissed(place, window):
            write_line("gap", WARNING, **_place(place), **_window(window))
        case FetchFailed(place, error) | LoadFailed(place, error):
            write_line("failed", ERROR, **_place(place), kind=type(error).__name__, error=str(error))
        case ProviderLoaded(provider, seconds):
            write_line("loaded", provider=provider, seconds=round(seconds, 3))
        case ModelsBuilt(result):
            write_line(
                "models",
                ERROR if result.failures else INFO,
                **models_as_dict(result),
            )
        case AlertsSent(subjects):
            write_line("alerted", subjects=subjects)
        case CredentialsChecked(provider, account, error):
            write_line("checked", ERROR if error else INFO, provider=provider, account=account, error=error and str(error))
        case TableIsStale(table):
            write_line(
                "stale",
                ERROR,
                **_place(Place(table.provider, table.account, table.resource)),
                known_until=table.known_until,
                hours=table.hours,
            )
        case BudgetExceeded(budget):
            write_line("over_budget", ERROR, **asdict(budget))
        case BillingRejected(error):
            write_line("billing_error", ERROR, table=error.table, error=str(error))


def _place(place: Place) -> dict[str, Any]:
    return {"provider": place.provider, "resource": place.table, "account": place.account}


def _window(window: Window) -> dict[str, Any]:
    return {"window_start": window.start, "window_end": window.end}
