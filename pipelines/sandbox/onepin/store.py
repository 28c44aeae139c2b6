"""The runs and events of Onepin's workspaces."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from meterhouse.pipelines.sandbox.dates import Moment
from meterhouse.pipelines.sandbox.onepin.fixtures import Event, Run, UsageFixtures, event_of
from meterhouse.pipelines.sandbox.store import Edit, UsageStore, edited

_LONGEST_RUN = timedelta(days=6)
Runs = Sequence[Run]


class RunStore(UsageStore[Runs, Run]):
    """The runs and events of every workspace; the account is the workspace. A run belongs to the day of its start."""

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._fixtures = UsageFixtures(seed)
        self._events: list[Event] = []

    def set(self, runs: Iterable[Run] = (), events: Iterable[Event] = ()) -> None:
        """Replaces the fixtures with exactly these runs and events, until `reset`.

        The feed shows runs that have ended, too. It shows a given event even if the event is in the future.
        """
        days: dict[tuple[str, date], list[Run]] = {}
        for run in sorted(runs, key=lambda run: run.started_at):
            days.setdefault((run.account, run.started_at.astimezone(UTC).date()), []).append(run)
        with self._lock:
            self._events = list(events)
            self._replace({**days})

    def restate(self, start: Moment, end: Moment | None = None, *, factor: float, **match: str) -> None:
        """Changes the runs that were started in [start, end).

        Args:
            start: first moment.
            end: the moment after the last; None for the one UTC day that holds `start`.
            factor: multiplies credits, characters and lines, which are rounded down; 0 withdraws the runs.
            **match: only runs of this `account`.

        Raises:
            ValueError: a negative factor, or an empty window.
        """
        if factor < 0:
            raise ValueError("a factor is never negative")

        def change(run: Run) -> Run | None:
            if factor == 0:
                return None
            return replace(
                run,
                credits=int(run.credits * factor),
                characters=int(run.characters * factor),
                lines=int(run.lines * factor),
            )

        self._edit(start, end, match, change)

    def runs(self, account: str, start: Moment, end: Moment) -> list[Run]:
        """The runs that were started in [start, end), up to now, in order."""
        begin, stop = self._window(start, end)
        return [run for _, runs in self._days(account, begin, stop) for run in runs if begin <= run.started_at < stop]

    def events(self, account: str, start: datetime, end: datetime) -> list[Event]:
        """The events of the feed in [start, end), newest first; events of the fixtures only up to now."""
        with self._lock:
            now = self.now()
            found = [event_of(run) for run in self.runs(account, start - _LONGEST_RUN, end) if run.ended_at <= now]
            if self._given is not None:
                found += [event for event in self._events if event.account == account]
            else:
                days = self._known_days(account, start.date(), min(end, now).date())
                found += [event for day in days for event in self._fixtures.events(account, day) if event.timestamp <= now]
            found = [event for event in found if start <= event.timestamp < end]
            return sorted(found, key=lambda event: (event.timestamp.replace(microsecond=0), event.id), reverse=True)

    def credits(self, start: Moment, end: Moment | None = None, *, account: str = "default") -> int:
        """The credits of all runs that were started in [start, end), up to now, and have settled."""
        now = self.now()
        return sum(run.credits for run in self.runs(account, start, end or now) if run.ended_at <= now)

    def _fixture(self, account: str, day: date, now: datetime) -> Runs:
        del now  # runs that have not started yet are left out when they are read
        return self._fixtures.runs(account, day)

    def _empty(self) -> Runs:
        return ()

    def _edited(self, day: date, used: Runs, edits: Sequence[Edit[Run]]) -> Runs:
        del day
        return [new for run in used if (new := edited(edits, run.started_at, run, run)) is not None]
