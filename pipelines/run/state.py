"""What a run has done so far: what it asked, what it read, what failed. It is shown, logged and kept from here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock, local
from typing import Any

from meterhouse.pipelines.output.json_log import ERROR, WARNING, new_run_id, tell
from meterhouse.sources._core.errors import SourceError
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.windows import Window


@dataclass(frozen=True, slots=True)
class Fetched:
    """One window that was read whole: `rows` of one account's table."""

    provider: str
    table: str
    account: str
    window: Window
    rows: int


@dataclass(frozen=True, slots=True)
class Failure:
    """What kept a table, or with table '' a whole provider, from being loaded."""

    provider: str
    table: str
    account: str
    error: Exception


@dataclass(frozen=True, slots=True)
class MissedWindow:
    """Time that a provider does not tell any more and that no regular run has loaded."""

    provider: str
    table: str
    account: str
    window: Window


@dataclass(frozen=True, slots=True)
class Estimate:
    """A table that takes its time: how many requests are to come, and how many seconds they take at the allowed pace."""

    provider: str
    table: str
    account: str
    requests: int
    seconds: float
    announced_at: float = field(default_factory=lambda: time.monotonic())  # as that of `Tally`


@dataclass
class Tally:
    """What was asked for one account's table: windows from `start` to `end`, and for how many seconds that took.

    `planned` is how much time of usage is to be read, `read` how much of it has been, and `began` when (`time.monotonic`).
    """

    began: float = field(default_factory=lambda: time.monotonic())  # a lambda, so that a test may set the clock
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    planned: timedelta = timedelta()
    read: timedelta = timedelta()
    start: datetime | None = None
    end: datetime | None = None

    def widen(self, window: Window) -> None:
        """Notes that `window` is asked for."""
        self.start = min(self.start or window.start, window.start)
        self.end = max(self.end or window.end, window.end)


@dataclass
class RunState:
    """What a run has done so far. Several providers write to it at once."""

    run_id: str = field(default_factory=new_run_id)
    started_at: datetime = field(default_factory=partial(datetime.now, UTC))
    fetched: list[Fetched] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    gaps: list[MissedWindow] = field(default_factory=list)
    expectations: list[Estimate] = field(default_factory=list)
    asked: dict[tuple[str, str, str], Tally] = field(default_factory=dict)
    """By provider, account and table."""
    left: dict[str, int | None] = field(default_factory=dict)
    """How many requests each provider's budget still holds; None where no limit is known."""
    models: list[str] = field(default_factory=list)
    billing: dict[str, str] = field(default_factory=dict)
    """The tables of billing that were loaded, and what from."""
    warnings: list[str] = field(default_factory=list)
    """What went wrong and has kept nothing from being loaded."""
    on_expectation: Callable[["Estimate"], None] = lambda expected: None  # noqa: ARG005
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent to each provider."""
        sent: dict[str, int] = {}
        for (provider, _, _), tally in list(self.asked.items()):
            sent[provider] = sent.get(provider, 0) + tally.requests
        return sent

    def add(self, entry: Fetched | Failure | MissedWindow | Estimate) -> None:
        """Notes what happened."""
        with self._lock:
            match entry:
                case Fetched():
                    self.fetched.append(entry)
                case Failure():
                    self.failures.append(entry)
                case MissedWindow():
                    self.gaps.append(entry)
                case Estimate():
                    self.expectations.append(entry)
                    self.on_expectation(entry)
        _tell(entry)

    def warn(self, warning: str) -> None:
        """Notes what whoever runs this should know, though nothing was kept from being loaded."""
        self.warnings.append(warning)
        tell("warning", WARNING, warning=warning)

    def change(self, provider: str, account: str, table: str, note: Callable[[Tally], object]) -> None:
        """Notes what is asked for a table."""
        with self._lock:
            note(self.asked.setdefault((provider, account, table), Tally()))

    def note_model(self, name: str) -> None:
        """Notes a model or test that dbt has finished."""
        with self._lock:
            self.models.append(name)


def _tell(entry: Fetched | Failure | MissedWindow | Estimate) -> None:
    place: dict[str, Any] = {"provider": entry.provider, "resource": entry.table, "account": entry.account}
    match entry:
        case Fetched():
            window = entry.window
            tell("window_read", **place, window_start=window.start, window_end=window.end, rows=entry.rows)
        case Failure():
            tell("failed", ERROR, **place, kind=type(entry.error).__name__, error=str(entry.error))
        case MissedWindow():
            tell("gap", WARNING, **place, window_start=entry.window.start, window_end=entry.window.end)
        case Estimate():
            tell("slow", **place, requests=entry.requests, seconds=round(entry.seconds))


class RecordingJournal(Journal):
    """Writes what a source tells into the run's record, and lets it go on after a failure.

    Tables are read in several threads, and a thread asks for one table at a time: so it is known for which a request is.
    """

    def __init__(self, provider: str, record: RunState) -> None:
        self._provider, self._record = provider, record
        self._asking = local()

    @contextmanager
    def asking(self, table: str, account: str) -> Iterator[None]:
        """Counts what is requested in the block, and for how long."""
        began = time.monotonic()
        self._asking.place = account, table
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            self._note(lambda tally: setattr(tally, "seconds", tally.seconds + seconds))
            del self._asking.place

    def requested(self, left: int | None) -> None:
        """Counts a request."""
        self._record.left[self._provider] = left
        self._note(lambda tally: setattr(tally, "requests", tally.requests + 1))

    def retrying(self, endpoint: str, error: str, attempt: int, wait: float) -> None:
        """Counts a request that is sent again."""
        self._note(lambda tally: setattr(tally, "retries", tally.retries + 1))
        account, table = self._place()
        place: dict[str, Any] = {
            "provider": self._provider,
            "resource": table,
            "account": account,
            "endpoint": endpoint,
        }
        tell("retry", WARNING, **place, attempt=attempt, wait=round(wait, 3), error=error)

    def planned(self, table: str, account: str, window: Window) -> None:
        """Notes how much is to be read."""
        length = window.end - window.start
        self._record.change(self._provider, account, table, lambda tally: setattr(tally, "planned", tally.planned + length))

    def fetching(self, table: str, account: str, window: Window) -> None:
        """Notes a window that is asked for."""
        self._record.change(self._provider, account, table, lambda tally: tally.widen(window))

    def fetched(self, table: str, account: str, window: Window, rows: int) -> None:
        """Notes a window."""
        length = window.end - window.start
        self._record.change(self._provider, account, table, lambda tally: setattr(tally, "read", tally.read + length))
        self._record.add(Fetched(self._provider, table, account, window, rows))

    def gap(self, table: str, account: str, window: Window) -> None:
        """Notes a gap."""
        self._record.add(MissedWindow(self._provider, table, account, window))

    def expecting(self, table: str, account: str, requests: int, seconds: float) -> None:
        """Notes how long a table will take."""
        self._record.add(Estimate(self._provider, table, account, requests, seconds))

    def failed(self, table: str, account: str, error: SourceError) -> None:
        """Notes a failure and returns, so that the other accounts are loaded."""
        self._record.add(Failure(self._provider, table, account, error))

    def _note(self, note: Callable[[Tally], object]) -> None:
        self._record.change(self._provider, *self._place(), note)

    def _place(self) -> tuple[str, str]:
        """Account and table that this thread asks for; '' for what is of none, such as a look at the credentials."""
        place: tuple[str, str] = getattr(self._asking, "place", ("", ""))
        return place
