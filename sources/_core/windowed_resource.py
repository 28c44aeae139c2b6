"""Partitions and windows as a dlt resource."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.sources import DltResource
from pendulum import DateTime

from meterhouse.sources._core.dlt_compat.extract import NEXT_RESOURCE, in_thread_pool, into_table, with_write_disposition
from meterhouse.sources._core.errors import READ_ERRORS, AccountConflict, IncompleteResponse, SourceError, Unsupported
from meterhouse.sources._core.events import (
    FetchFailed,
    Observer,
    Place,
    TimeSpent,
    WindowFetched,
    WindowMissed,
    WindowRequested,
    WindowsPlanned,
    at,
    fail_fast,
)
from meterhouse.sources._core.fetched_windows import FETCHED_WINDOWS, window_rows
from meterhouse.sources._core.history import HistorySettings, history_items
from meterhouse.sources._core.identities import Claimed, Identities
from meterhouse.sources._core.incremental import Cursor
from meterhouse.sources._core.merge import (
    ACCOUNT,
    ReplacedWindow,
    bucket_starts,
    keep_replaced,
    merge_strategy,
    raw_schema,
    stamped,
    write_disposition,
)
from meterhouse.sources._core.package import Package, current_package
from meterhouse.sources._core.partition import SEPARATOR, FetchResult, Partition
from meterhouse.sources._core.run_id import current_run_id
from meterhouse.sources._core.schema import TIMESTAMP, Table, first_duplicate
from meterhouse.sources._core.state import CURSORS, IDENTITIES
from meterhouse.sources._core.windows import Unit, Window, utc_now

Cursors = dict[str, dict[str, str]]
"""The cursors of a table's partitions in dlt's state, by `Partition.cursor_key`."""


_Keys = dict[str, set[tuple[Any, ...]]]
"""By account, the keys that a run has read. Empty if the fixed columns are part of the key: partitions then share no key."""

KEEP_COMPLETE = HistorySettings()


def windowed_resource(
    table: Table,
    partitions: Sequence[Partition],
    *,
    observer: Observer | None = None,
    history: HistorySettings = KEEP_COMPLETE,
) -> DltResource:
    """A dlt resource that keeps `table` equal to what the API returns for each window.

    The windows of a table are read one after the other, because each moves its cursor. The tables of a source are read side
    by side, as many at a time as dlt's `extract.workers` allows; they share the rate limiter of their client. Within
    `package.bounded_package`, a full package ends the extract; the next extract reads the remaining windows.

    Args:
        table: name, columns, key and time column.
        partitions: the rows to request, each partition with its own plan and cursor.
        observer: receives the events; `fail_fast` by default.
        history: which rows that a load replaces go to the history of the table.

    Iterating raises ConfigurationError if the pipeline's destination cannot replace a window.
    """
    observe = observer or fail_fast
    progress: dict[int, _Progress] = {}
    keys: _Keys = {}

    def windows() -> Iterator[Any]:
        package = current_package()
        if package is None:
            progress.clear()
            keys.clear()
        strategy = merge_strategy(table.name)
        cursors: Cursors = dlt.current.resource_state().setdefault(CURSORS, {})
        if not progress and any(partition.estimate for partition in partitions):
            _estimate(table, partitions, cursors, observe)
            yield NEXT_RESOURCE
        accounts = {partition.account for partition in partitions}
        resources = dlt.current.source().selected_resources.keys()
        identities = Identities(table, accounts, resources, dlt.current.source_state().setdefault(IDENTITIES, {}))
        read = _TableRead(table, observe, cursors, identities, current_run_id(), package, keys)
        # Accounts that were loaded before come first: a new account cannot take away what identifies them.
        loaded = {key.partition(SEPARATOR)[0] for key in cursors}
        order = sorted(range(len(partitions)), key=lambda number: partitions[number].account not in loaded)
        yield from in_thread_pool(
            read.partitions([(partitions[number], progress.setdefault(number, _Progress())) for number in order])
        )
        if read.schemas:
            yield from history_items(table.name, pa.unify_schemas([raw_schema(table), *read.schemas]))
            if read.run_id and read.replaced:
                keep_replaced(table, read.replaced, read.run_id, history)
            yield with_write_disposition(raw_schema(table).empty_table(), write_disposition(table, read.replaced, strategy))
        if read.replaced or read.unanswered:
            yield from into_table(window_rows(table, read.replaced, read.unanswered), FETCHED_WINDOWS)

    return dlt.resource(windows, name=table.name, primary_key=[ACCOUNT.name, *table.key], write_disposition="merge")


@dataclass
class _Progress:
    """How far a run has read a partition, in one package or several."""

    planned: Window | None = None
    """The time that all planned windows span; None if there are none."""
    windows: list[Window] | None = None
    """The windows that are not requested yet; None before they are planned."""
    read_until: DateTime | None = None
    stored: dict[str, str] | None = None
    """The cursor of earlier runs; None if there was none."""
    has_rows: bool = False


@dataclass
class _TableRead:
    """What one package reads of one table."""

    table: Table
    observe: Observer
    cursors: Cursors
    identities: Identities
    run_id: str | None
    package: Package | None
    keys: _Keys
    schemas: list[pa.Schema] = field(default_factory=list)
    """The distinct schemas of the Arrow tables yielded so far."""
    replaced: list[ReplacedWindow] = field(default_factory=list)
    unanswered: list[Partition] = field(default_factory=list)
    """The partitions that were requested and returned no window."""

    def partitions(self, partitions: Sequence[tuple[Partition, _Progress]]) -> Generator[pa.Table, None, None]:
        """Reads the partitions one after the other; one that fails keeps the windows it has read, and their cursor."""
        for partition, progress in partitions:
            if progress.windows == []:
                continue
            place = _place(self.table, partition)
            try:
                with _requests_for(self.table, place, self.observe):
                    resolved = partition.resolved()
                    resolved_columns = resolved.fixed_columns.keys() - partition.fixed_columns.keys()
                    known = self.identities.check_partition(resolved, resolved_columns)
                yield from self.partition(resolved, place, known, progress)
            except Unsupported:
                progress.windows = []
            except SourceError as error:
                progress.windows = []
                if progress.planned and not progress.read_until and not isinstance(error, AccountConflict):
                    self.unanswered.append(resolved)
                self.observe(FetchFailed(place, error))

    def partition(self, partition: Partition, place: Place, known: Claimed, progress: _Progress) -> Iterator[pa.Table]:
        """Reads the windows of a partition, oldest first, and moves its cursor with each, until the package is full."""
        plan = partition.plan
        cursor = _cursor(self.cursors, partition)
        loaded = cursor or self._cursor_of_other_time_zone(partition)
        if progress.windows is None:
            progress.stored = self.cursors.get(partition.cursor_key)
            progress.windows = list(plan.windows(cursor, utc_now()))
            if progress.windows:
                progress.planned = Window(progress.windows[0].start, progress.windows[-1].end)
                self.observe(WindowsPlanned(place, progress.planned))
        for requested, rows, window, fetched_at in self._results(partition, place, progress):
            rows = self._checked(rows, partition)
            _require_inside(rows, self.table, window, plan.unit)
            self._claim(partition, known, rows, progress)
            result = stamped(rows, self.table, partition, fetched_at, self.run_id)
            if result.schema not in self.schemas:
                self.schemas.append(result.schema)
            self._report_missed(place, plan.missed(loaded, window.start, progress.read_until))
            self.observe(WindowFetched(place, window, rows.num_rows))
            yield result
            self.replaced.append(ReplacedWindow(partition, window, rows.num_rows, fetched_at))
            begun = progress.planned.start if progress.planned and progress.read_until is None else requested.start
            cursor = plan.cursor_after(cursor, Window(begun, window.end), fetched_at)
            if cursor is not None:
                self.cursors[partition.cursor_key] = cursor.to_state()
                loaded = cursor
            progress.read_until = window.end
            progress.has_rows = progress.has_rows or rows.num_rows > 0
            if self.package is not None:
                self.package.add_window(rows.num_rows)
        if not progress.windows and progress.read_until is None:
            self._end_without_window(partition, place, progress.planned, loaded)

    def _end_without_window(self, partition: Partition, place: Place, planned: Window | None, loaded: Cursor | None) -> None:
        if planned is not None:
            self.unanswered.append(partition)
        if partition.plan.backfill is not None:
            self._report_missed(place, partition.plan.missed(loaded, (planned or partition.plan.backfill).end))
        elif planned is not None:
            self._report_missed(place, partition.plan.missed(loaded, planned.start))

    def _results(
        self, partition: Partition, place: Place, progress: _Progress
    ) -> Iterator[tuple[Window, pa.Table, Window, DateTime]]:
        """Requested window, rows, the window that they cover, and time of each fetch; the rest of a window is fetched again.

        The API may return nothing before the start of its history, and nothing for the last day, which it may still be
        counting. Any other hole is an error, because the cursor would move past it.
        """
        while progress.windows:
            if self.package is not None and self.package.is_full:
                self.package.has_more = True
                return
            rest: Window | None = progress.windows.pop(0)
            while rest is not None:
                self.observe(WindowRequested(place, rest))
                fetched_at = utc_now()
                with _requests_for(self.table, place, self.observe):
                    result: FetchResult = partition.fetch(rest)
                if result.window is None and progress.read_until is None:
                    break
                if result.window is None:
                    if partition.plan.may_be_late(rest.start, fetched_at):
                        progress.windows.clear()
                        return
                    raise self._incomplete(rest)
                yield rest, result.rows, result.window, fetched_at
                end = result.window.end
                if end < rest.end and end >= partition.plan.complete_until(rest, fetched_at):
                    progress.windows.clear()  # all buckets that have ended are read
                    return
                rest = Window(end, rest.end) if end < rest.end else None

    def _checked(self, rows: pa.Table, partition: Partition) -> pa.Table:
        """The rows with the fixed columns. A row of another partition would lie outside the scope, or be loaded twice."""
        table = self.table
        for name, value in partition.fixed_columns.items():
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.repeat(pa.scalar(value, table.type_of(name)), rows.num_rows))
            for found in pc.unique(rows.column(name)).to_pylist():
                if found != value:
                    raise table.unexpected(f"a row has {name} {found!r}, but the request was for {name} {value!r}")
        if duplicate := first_duplicate(rows, table.key):
            raise table.unexpected(f"two rows have the same key {duplicate}")
        if not set(partition.fixed_columns) <= set(table.key):  # otherwise no two partitions share a key
            seen = self.keys.setdefault(partition.account, set())
            for key in zip(*(rows.column(name).to_pylist() for name in table.key), strict=True):
                if key in seen:
                    raise table.unexpected(f"two responses have a row with the same key {key}")
                seen.add(key)
        return rows

    def _claim(self, partition: Partition, known: Claimed, rows: pa.Table, progress: _Progress) -> None:
        """Refuses the rows of another account. Restores the cursor of earlier runs if the run has read no other rows.

        Otherwise, a cursor that moved over empty windows would mark the account as loaded.
        """
        try:
            self.identities.claim(partition, known, rows)
        except AccountConflict:
            if not progress.has_rows:
                self.replaced = [done for done in self.replaced if done.partition is not partition]
                self.cursors.pop(partition.cursor_key, None)
                if progress.stored is not None:
                    self.cursors[partition.cursor_key] = progress.stored
            raise

    def _cursor_of_other_time_zone(self, partition: Partition) -> Cursor | None:
        """The latest cursor of the same rows in another time zone; None for a table without time zones."""
        if "timezone" not in partition.fixed_columns:
            return None
        stem = partition.cursor_key.removesuffix(partition.fixed_columns["timezone"])
        others = [
            Cursor.from_state(state)
            for key, state in self.cursors.items()
            if key.startswith(stem) and SEPARATOR not in key[len(stem) :]
        ]
        return max(others, key=lambda cursor: cursor.until, default=None)

    def _report_missed(self, place: Place, missed: Window | None) -> None:
        if missed is not None:
            self.observe(WindowMissed(place, missed))

    def _incomplete(self, rest: Window) -> IncompleteResponse:
        return IncompleteResponse(
            f"the API returns nothing for {rest}, although it returned the time before",
            provider=self.table.provider,
            endpoint=self.table.endpoint,
            hint="The time before is loaded. Run again later; if the error stays, please report it.",
        )


@contextmanager
def _requests_for(table: Table, place: Place, observe: Observer) -> Iterator[None]:
    """Attributes the requests in the block to `place`; a response of unknown form becomes an error of this table alone."""
    began = time.monotonic()
    try:
        with at(place):
            yield
    except READ_ERRORS as error:
        raise table.unexpected(f"the response cannot be read ({type(error).__name__}: {error})") from None
    finally:
        observe(TimeSpent(place, time.monotonic() - began))


def _estimate(table: Table, partitions: Sequence[Partition], cursors: Cursors, observe: Observer) -> None:
    for partition in partitions:
        place = _place(table, partition)
        # The same error occurs when the partition is read, and is reported then.
        with suppress(SourceError), _requests_for(table, place, observe):
            resolved = partition.resolved()
            if resolved.estimate is not None:
                resolved.estimate(list(resolved.plan.windows(_cursor(cursors, resolved), utc_now())))


def _place(table: Table, partition: Partition) -> Place:
    return Place(table.provider, partition.account, table.name)


def _cursor(cursors: Mapping[str, dict[str, str]], partition: Partition) -> Cursor | None:
    return Cursor.from_state(cursors[partition.cursor_key]) if partition.cursor_key in cursors else None


def _require_inside(rows: pa.Table, table: Table, window: Window, unit: Unit) -> None:
    """A row outside of `window` would lie outside the scope, where no later run would ever delete it.

    A bucket that does not begin on an edge of `unit` follows another calendar, so its computed end would be wrong.
    """
    starts = pc.unique(rows.column(table.time).cast(TIMESTAMP))
    for start in (found.as_py() for found in pc.min_max(starts).values()):
        if start is not None and not window.start <= start < window.end:
            raise table.unexpected(f"a row is dated {start.isoformat()}, outside the requested window {window}")
    if not table.is_event:
        for start in starts.filter(pc.not_equal(starts, bucket_starts(starts, unit))).to_pylist():
            raise table.unexpected(f"a bucket begins at {start.isoformat()}, which is not the start of a {unit} in UTC")
