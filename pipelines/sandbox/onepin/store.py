"""The book of usage: what every workspace ran, and what a test makes the vendor say instead."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from meterhouse.pipelines.sandbox.onepin.fixtures import Event, Run, World, event_of

_DAY = timedelta(days=1)
_LONGEST_RUN = timedelta(days=6)

Moment = datetime | date | str
"""A UTC time: a datetime (naive is UTC), a date (its midnight) or ISO 8601 text of either."""


@dataclass(frozen=True, slots=True)
class _Edit:
    start: datetime
    end: datetime
    account: str | None
    factor: float

    def apply(self, run: Run) -> Run | None:
        if not self.start <= run.started_at < self.end or self.account not in {None, run.account}:
            return run
        if self.factor == 0:
            return None
        return replace(
            run,
            credits=int(run.credits * self.factor),
            characters=int(run.characters * self.factor),
            lines=int(run.lines * self.factor),
        )


class UsageBook:
    """The runs and events of every workspace; safe to change while the server answers.

    The world of the seed is the vendor's truth until `set` replaces it.
    """

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self._world = world
        self._clock = clock
        self._lock = threading.RLock()
        self._stated: tuple[list[Run], list[Event]] | None = None
        self._edits: list[_Edit] = []

    def now(self) -> datetime:
        """This moment, in UTC, as the sandbox's clock has it."""
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError(f"the sandbox's clock gave {now!r}, a time without a timezone")
        return now.astimezone(UTC)

    def set(self, runs: Iterable[Run] = (), events: Iterable[Event] = ()) -> None:
        """Replaces the world with exactly these runs and events, until `reset`.

        Runs that have ended are in the feed, too. An event is shown as it stands here, even one that is still to come.
        """
        with self._lock:
            self._stated, self._edits = (sorted(runs, key=lambda run: run.started_at), list(events)), []

    def restate(self, start: Moment, end: Moment | None = None, *, factor: float, account: str | None = None) -> None:
        """Makes the vendor count anew what was started in [start, end); without `end` on the one UTC day of `start`.

        Args:
            start: first moment.
            end: the moment after the last.
            factor: what credits, characters and lines are multiplied by, rounded down; 0 takes the runs away.
            account: only of this workspace; None for all.

        Raises:
            ValueError: a negative factor, or an empty window.
        """
        first = moment(start)
        last = moment(end) if end is not None else datetime.combine(first.date(), time(), UTC) + _DAY
        if factor < 0 or first >= last:
            raise ValueError(f"nothing can be restated by {factor} from {first} to {last}")
        with self._lock:
            self._edits.append(_Edit(first, last, account, factor))

    def vanish(self, start: Moment, end: Moment | None = None, *, account: str | None = None) -> None:
        """Withdraws the runs that were started in [start, end); arguments as of `restate`."""
        self.restate(start, end, factor=0, account=account)

    def reset(self) -> None:
        """Back to the seed's world, as if nothing had been set, restated or withdrawn."""
        with self._lock:
            self._stated, self._edits = None, []

    def runs(self, account: str, start: datetime, end: datetime) -> list[Run]:
        """What was started in [start, end) and not after now, in order."""
        with self._lock:
            end = min(end, self.now() + timedelta(microseconds=1))
            if self._stated is not None:
                known = [run for run in self._stated[0] if run.account == account]
            else:
                known = [run for day in _days(start, end) for run in self._world.runs(account, day)]
            found: list[Run] = []
            for run in known:
                kept: Run | None = run
                for edit in self._edits:
                    kept = edit.apply(kept) if kept is not None else None
                if kept is not None and start <= kept.started_at < end:
                    found.append(kept)
            return found

    def events(self, account: str, start: datetime, end: datetime) -> list[Event]:
        """What the feed holds of [start, end), newest first; nothing of the world's after now."""
        with self._lock:
            now = self.now()
            ended = [event_of(run) for run in self.runs(account, start - _LONGEST_RUN, end) if run.ended_at <= now]
            if self._stated is not None:
                others = [event for event in self._stated[1] if event.account == account]
            else:
                others = [event for day in _days(start, min(end, now)) for event in self._world.events(account, day)]
                others = [event for event in others if event.timestamp <= now]
            found = [event for event in [*ended, *others] if start <= event.timestamp < end]
            return sorted(found, key=lambda event: (event.timestamp.replace(microsecond=0), event.id), reverse=True)

    def credits(self, start: Moment, end: Moment | None = None, *, account: str = "default") -> int:
        """The credits of all runs that were started in [start, end), up to now, and have settled."""
        now = self.now()
        runs = self.runs(account, moment(start), moment(end) if end is not None else now)
        return sum(run.credits for run in runs if run.ended_at <= now)


def moment(value: Moment) -> datetime:
    """The UTC time that `value` means.

    Raises:
        ValueError: the text is no ISO 8601 date or time.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _days(start: datetime, end: datetime) -> Iterable[date]:
    day = max(start.date(), World.first_day)
    while day <= end.date():
        yield day
        day += _DAY
