"""The state of a run: what it has requested, fetched and failed to load so far, built from its events."""

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock

from meterhouse.pipelines.run.events import (
    BillingLoaded,
    Event,
    LoadFailed,
    ModelFinished,
    Observer,
    Warned,
    ignore,
)
from meterhouse.sources._core.events import (
    DurationEstimated,
    FetchFailed,
    Place,
    RequestRetried,
    RequestSent,
    TimeSpent,
    WindowFetched,
    WindowMissed,
    WindowRequested,
    WindowsPlanned,
)
from meterhouse.sources._core.windows import Window


def new_run_id() -> str:
    """A unique id for a run."""
    return uuid.uuid4().hex


@dataclass
class TableProgress:
    """The progress of one account's table: windows from `start` to `end` were requested, which took `seconds`.

    `planned` and `read` are lengths of usage time: all that the run will read, and what it has read so far. `began` is a
    time of `time.monotonic`.
    """

    began: float = field(default_factory=lambda: time.monotonic())  # a lambda, so that a test can replace the clock
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    planned: timedelta = timedelta()
    read: timedelta = timedelta()
    start: datetime | None = None
    end: datetime | None = None

    def extend_to(self, window: Window) -> None:
        """Includes `window` in the requested time."""
        self.start = min(self.start or window.start, window.start)
        self.end = max(self.end or window.end, window.end)


@dataclass
class RunState:
    """The state of a run. Threads of several providers update it through `observe`, which forwards every event."""

    observer: Observer = ignore
    run_id: str = field(default_factory=new_run_id)
    started_at: datetime = field(default_factory=partial(datetime.now, UTC))
    tables: dict[Place, TableProgress] = field(default_factory=dict)
    fetched: list[WindowFetched] = field(default_factory=list)
    missed: list[WindowMissed] = field(default_factory=list)
    failures: list[FetchFailed | LoadFailed] = field(default_factory=list)
    remaining: dict[str, int | None] = field(default_factory=dict)
    """By provider, how many requests its rate limit still allows at once; None without a known limit."""
    estimated_end: dict[str, float] = field(default_factory=dict)
    """By provider, the `time.monotonic` at which its source expects to be done."""
    finished_models: list[str] = field(default_factory=list)
    billing: dict[str, str] = field(default_factory=dict)
    """The billing tables that were loaded, and where from."""
    warnings: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent to each provider."""
        sent: dict[str, int] = {}
        for place, progress in list(self.tables.items()):
            sent[place.provider] = sent.get(place.provider, 0) + progress.requests
        return sent

    def observe(self, event: Event) -> None:
        """Updates the state and forwards the event. A failure is recorded, not raised, so that the rest is loaded."""
        with self._lock:
            self._update(event)
        self.observer(event)

    def _update(self, event: Event) -> None:  # noqa: C901 - a case for each event
        match event:
            case RequestSent(place, remaining):
                self.remaining[place.provider] = remaining
                self._progress(place).requests += 1
            case RequestRetried(place):
                self._progress(place).retries += 1
            case WindowsPlanned(place, window):
                self._progress(place).planned += window.end - window.start
            case WindowRequested(place, window):
                self._progress(place).extend_to(window)
            case WindowFetched(place, window):
                self._progress(place).read += window.end - window.start
                self.fetched.append(event)
            case WindowMissed():
                self.missed.append(event)
            case TimeSpent(place, seconds):
                self._progress(place).seconds += seconds
            case DurationEstimated(place, _, seconds):
                end = time.monotonic() + seconds
                self.estimated_end[place.provider] = max(end, self.estimated_end.get(place.provider, end))
            case FetchFailed() | LoadFailed():
                self.failures.append(event)
            case BillingLoaded(tables):
                self.billing.update(tables)
            case ModelFinished(name):
                self.finished_models.append(name)
            case Warned(message):
                self.warnings.append(message)

    def _progress(self, place: Place) -> TableProgress:
        return self.tables.setdefault(place, TableProgress())
