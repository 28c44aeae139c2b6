"""Partitions and windows as a dlt resource."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.sources import DltResource
from pendulum import DateTime

from meterhouse.sources._core.errors import IncompleteResponse, SourceError
from meterhouse.sources._core.incremental import Cursor
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.merge import ACCOUNT, _floors, _merge, _schema, _stamped
from meterhouse.sources._core.partition import SEPARATOR, C, FetchResult, Partition, _Replaced
from meterhouse.sources._core.schema import TIMESTAMP, Table, arrow_schema, computed, count, first_duplicate, instant
from meterhouse.sources._core.windows import Unit, Window, utc_now

FETCHED_WINDOWS = arrow_schema(
    [
        computed("resource", pa.string(), "the table that was asked for"),
        ACCOUNT,
        computed("part", pa.string(), "which part of the account's rows, such as one organisation; '' for all"),
        instant("window_start", "start of the window, included; null where a run got no answer for the part", nullable=True),
        instant("window_end", "end of the window, excluded", nullable=True),
        instant("complete_until", "all buckets up to here had ended when they were fetched", nullable=True),
        count("row_count", "rows that the window held"),
        instant("fetched_at", "when the window was fetched"),
    ]
)


@dataclass
class _Load(Generic[C]):
    """One run of one table: what was read of it so far."""

    table: Table
    fetch: Callable[[C, Window], FetchResult]
    journal: Journal
    cursors: dict[str, dict[str, str]]
    replaced: list[_Replaced] = field(default_factory=list)
    asked: list[Partition[C]] = field(default_factory=list)
    keys: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)

    def read(self, part: Partition[C]) -> Iterator[pa.Table]:
        """Reads the windows of a part, oldest first, and moves its cursor with each."""
        plan = part.plan
        cursor = _stands_at(self.cursors, part)
        loaded = cursor or self._of_another_calendar(part)
        windows = list(plan.windows(cursor, utc_now()))
        if windows:
            self.asked.append(part)
            self.journal.planned(self.table.name, part.account, Window(windows[0].start, windows[-1].end))
        read_until: DateTime | None = None
        for asked, (rows, window), asked_at in self._answers(part, windows):
            rows = self._of_part(rows, part)
            _require_inside(rows, self.table, window, plan.unit)
            stamped = _stamped(rows, self.table, part, asked_at)
            self._tell_gap(part, plan.gap(loaded, window.start, read_until))
            self.journal.fetched(self.table.name, part.account, window, rows.num_rows)
            yield stamped
            self.replaced.append(_Replaced(part, window, rows.num_rows, asked_at))
            begun = windows[0].start if read_until is None else asked.start
            cursor = plan.moved(cursor, Window(begun, window.end), asked_at)
            if cursor is not None:
                self.cursors[part.slot] = cursor.to_state()
                loaded = cursor
            read_until = window.end
        if read_until is None and plan.backfill is not None:
            self._tell_gap(part, plan.gap(loaded, windows[-1].end if windows else plan.backfill.end))
        elif read_until is None and windows:
            self._tell_gap(part, plan.gap(loaded, windows[0].start))

    def _answers(
        self, part: Partition[C], windows: Sequence[Window]
    ) -> Iterator[tuple[Window, tuple[pa.Table, Window], DateTime]]:
        """Each answer with the window that was asked for: the windows, and again the rest of one that it told in part.

        Nothing is passed over but what lies before the first answer, where the provider's memory begins, and the last
        day, which it may still be counting: what came after a hole would seem to adjoin what came before.
        """
        told = False
        for window in windows:
            rest: Window | None = window
            while rest is not None:
                self.journal.fetching(self.table.name, part.account, rest)
                asked_at = utc_now()
                with _asking(self.table, part, self.journal):
                    reading = self.fetch(part.client, rest)
                if reading.window is None and not told:
                    break
                if reading.window is None:
                    if part.plan.may_be_late(rest.start, asked_at):
                        return
                    raise self._incomplete(rest)
                told = True
                yield rest, (reading.rows, reading.window), asked_at
                end = reading.window.end
                if end < rest.end and end >= part.plan.complete_until(rest, asked_at):
                    return  # all that has ended is told
                rest = Window(end, rest.end) if end < rest.end else None

    def unanswered(self) -> list[Partition[C]]:
        """The parts that were asked for and of which nothing came."""
        return [part for part in self.asked if not any(done.part is part for done in self.replaced)]

    def _of_part(self, rows: pa.Table, part: Partition[C]) -> pa.Table:
        """The rows with what the part fixes: a row of another part would be written outside the scope, or twice."""
        table = self.table
        for name, value in part.where.items():
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.repeat(pa.scalar(value, table.type_of(name)), rows.num_rows))
            for found in pc.unique(rows.column(name)).to_pylist():
                if found != value:
                    raise table.unexpected(f"a row is of {name} {found!r}, and {name} {value!r} was asked for")
        if twice := first_duplicate(rows, table.key):
            raise table.unexpected(f"two rows have the same key {twice}")
        if not set(part.where) <= set(table.key):  # else what the parts fix is in their keys, and tells them apart
            seen = self.keys.setdefault(part.account, set())
            for key in zip(*(rows.column(name).to_pylist() for name in table.key), strict=True):
                if key in seen:
                    raise table.unexpected(f"two answers have a row with the same key {key}")
                seen.add(key)
        return rows

    def _of_another_calendar(self, part: Partition[C]) -> Cursor | None:
        """What is loaded of the same rows by the calendar of another time zone, where this one is new."""
        if "timezone" not in part.where:
            return None
        stem = part.slot.removesuffix(part.where["timezone"])
        others = [
            Cursor.from_state(state)
            for slot, state in self.cursors.items()
            if slot.startswith(stem) and SEPARATOR not in slot[len(stem) :]
        ]
        return max(others, key=lambda cursor: cursor.until, default=None)

    def _tell_gap(self, part: Partition[C], gap: Window | None) -> None:
        if gap is not None:
            self.journal.gap(self.table.name, part.account, gap)

    def _incomplete(self, rest: Window) -> IncompleteResponse:
        return IncompleteResponse(
            f"asked for {rest}, it tells nothing of it, though it told what lies before",
            provider=self.table.provider,
            endpoint=self.table.endpoint,
            hint="What was told is loaded. Run again later; if it stays so, please report it.",
        )


def windowed_resource(
    table: Table,
    *,
    parts: Sequence[Partition[C]],
    fetch: Callable[[C, Window], FetchResult],
    journal: Journal,
    foresee: Callable[[C, Sequence[Window]], None] | None = None,
) -> DltResource:
    """A dlt resource that keeps `table` equal to what the provider says of each window.

    The windows of a table are read one after the other, because each moves its cursor; the tables of a source are read side
    by side, as many at a time as dlt's `extract.workers` says, and the rate_limiter of their client is theirs together.

    Args:
        table: name, columns, key and time column.
        parts: whom to ask and which windows, each part by a cursor of its own.
        fetch: reads one window whole, as a table of the declared columns without the stamps, or raises SourceError; it is
            called in several threads at once where it is given to several tables.
        journal: hears of windows, gaps and failures.
        foresee: hears of each part which windows are to come. All tables of a source foresee, one after the other, before
            any of them fetches, so that it can be said beforehand how long all of them take together.
    """
    key = [ACCOUNT.name, *table.key]

    def windows() -> Iterator[Any]:
        cursors: dict[str, dict[str, str]] = dlt.current.resource_state().setdefault("cursors", {})
        load = _Load(table, fetch, journal, cursors)
        if foresee is not None:
            _foresee(table, parts, cursors, foresee, journal)
            yield None  # to dlt this is no item, and the next resource's turn
        with _one_after_the_other(dlt.current.source_state()) as is_ones_turn:
            yield from _in_threads(read(load))
            while not is_ones_turn():
                yield None
            yield from last_words(load)

    def read(load: _Load[C]) -> Iterator[Any]:
        for part in parts:
            try:
                with _asking(table, part, journal):
                    known = part.known()
                yield from load.read(known)
            except SourceError as error:
                # What was read before stays, with a scope and a cursor that end where the reading ended.
                journal.failed(table.name, part.account, error)

    def last_words(load: _Load[C]) -> Iterator[Any]:
        if load.replaced:
            yield dlt.mark.with_hints(
                _schema(table).empty_table(),
                dlt.mark.make_hints(write_disposition=_merge(table, load.replaced)),
            )
        if load.asked:
            yield dlt.mark.with_hints(
                _log(load),
                dlt.mark.make_hints(table_name="fetched_windows", write_disposition="append", primary_key=[]),
                create_table_variant=True,
            )

    return dlt.resource(windows, name=table.name, primary_key=key, write_disposition="merge")


_queues: dict[int, list[object]] = {}
"""Of each source that is being read, by its state: the tables that have not said their last words."""


@contextmanager
def _one_after_the_other(state: object) -> Iterator[Callable[[], bool]]:
    """A turn among the tables of a source: they take it in the order in which they have begun, whichever is read first.

    dlt's schema names the table that has written last into `fetched_windows`, and a schema that changed would be stored in
    the destination anew, with each run in which another table is the last.
    """
    me, queue = object(), _queues.setdefault(id(state), [])
    queue.append(me)
    try:
        yield lambda: queue[0] is me
    finally:
        queue.remove(me)
        if not queue:
            _queues.pop(id(state), None)


def _in_threads(steps: Iterator[Any]) -> Iterator[Callable[[], Any] | None]:
    """Each step as a function, which dlt calls in a thread of its pool; None, another table's turn, while one is at work.

    As dlt's own `parallelized`, which closes the steps where another table has failed: an error while one is at work, which
    would be told in place of the failure.
    """
    is_busy = is_done = False

    def step() -> Any:
        nonlocal is_busy, is_done
        try:
            return next(steps)
        except StopIteration:
            is_done = True
            return None
        finally:
            is_busy = False

    while not is_done:
        if is_busy:
            yield None
        else:
            is_busy = True
            yield step


@contextmanager
def _asking(table: Table, part: Partition[Any], journal: Journal) -> Iterator[None]:
    """What is asked is for this part; an answer of a form that nobody foresaw is this table's failure, and no other's."""
    try:
        with journal.asking(table.name, part.account):
            yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as surprise:
        raise table.unexpected(f"the answer cannot be read ({type(surprise).__name__}: {surprise})") from None


def _foresee(
    table: Table,
    parts: Sequence[Partition[C]],
    cursors: Mapping[str, dict[str, str]],
    foresee: Callable[[C, Sequence[Window]], None],
    journal: Journal,
) -> None:
    for part in parts:
        with (
            suppress(SourceError),
            _asking(table, part, journal),
        ):  # whatever is wrong will be so when it fetches, and is told then
            known = part.known()
            foresee(known.client, list(known.plan.windows(_stands_at(cursors, known), utc_now())))


def _stands_at(cursors: Mapping[str, dict[str, str]], part: Partition[Any]) -> Cursor | None:
    return Cursor.from_state(cursors[part.slot]) if part.slot in cursors else None


def _require_inside(rows: pa.Table, table: Table, window: Window, unit: Unit) -> None:
    """A row of another time would be written outside the scope, where nothing would ever take it away again.

    A bucket that begins elsewhere is cut by another calendar than the one that its length is reckoned by.
    """
    starts = pc.unique(rows.column(table.time).cast(TIMESTAMP))
    for start in (found.as_py() for found in pc.min_max(starts).values()):
        if start is not None and not window.start <= start < window.end:
            raise table.unexpected(f"a row is of {start.isoformat()}, outside the window {window} that was asked for")
    if not table.is_event:
        for start in starts.filter(pc.not_equal(starts, _floors(starts, unit))).to_pylist():
            raise table.unexpected(f"a bucket begins at {start.isoformat()}, which is not the start of a {unit} in UTC")


def _log(load: _Load[Any]) -> pa.Table:
    """The windows that were read; and a row without a window for a part that was asked for in vain.

    Without it an organisation that never answers would not be missed: its account looks complete by the others.
    """
    rows: list[dict[str, Any]] = [
        {
            **_named(load.table, done.part),
            "window_start": done.window.start,
            "window_end": done.window.end,
            "complete_until": done.part.plan.complete_until(done.window, done.asked_at),
            "row_count": done.rows,
            "fetched_at": done.asked_at,
        }
        for done in load.replaced
    ]
    rows += [{**_named(load.table, part), "row_count": 0, "fetched_at": utc_now()} for part in load.unanswered()]
    return pa.Table.from_pylist(rows, FETCHED_WINDOWS)


def _named(table: Table, part: Partition[Any]) -> dict[str, Any]:
    return {"resource": table.name, "account": part.account, "part": part.name}
