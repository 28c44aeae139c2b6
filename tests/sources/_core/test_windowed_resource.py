"""How windows replace windows, with a provider that returns what a test prescribes, on a real DuckDB file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Timer
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
import time_machine
from deltalake import DeltaTable
from dlt.pipeline.exceptions import PipelineStepFailed
from pendulum import DateTime

from meterhouse.sources._core import package
from meterhouse.sources._core.errors import (
    AccountConflict,
    IncompleteResponse,
    ServiceUnavailable,
    SourceError,
    UnexpectedValue,
    Unsupported,
)
from meterhouse.sources._core.events import Event as ObservedEvent
from meterhouse.sources._core.events import (
    FetchFailed,
    Place,
    RequestSent,
    TimeSpent,
    WindowFetched,
    WindowMissed,
    WindowRequested,
    WindowsPlanned,
    current_place,
)
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.package import bounded_package
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table, count, day, dimension, text
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Window, from_date

NOW = "2026-03-20T10:30:00Z"
TODAY = from_date(date(2026, 3, 20))
TABLE = Table("vendor", "/usage", "usage", (dimension("team", "who"), day("date", "when"), count("used", "what")),
              ("team", "date"), "date")  # fmt: skip
EVENTS = Table("vendor", "/events", "events", (text("id", "which", nullable=False), text("kind", "what"),
               day("date", "when")), ("id",), "date", is_event=True)  # fmt: skip

Fetch = Callable[[Window], FetchResult]


class Observed:
    """The events of a run; a failure does not stop it."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.missed: list[Window] = []
        self.errors: list[SourceError] = []

    def __call__(self, event: ObservedEvent) -> None:
        match event:
            case WindowFetched():
                self.windows.append(event.window)
            case WindowMissed():
                self.missed.append(event.window)
            case FetchFailed():
                self.errors.append(event.error)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


class Database:
    """A DuckDB file, and runs that load one table into it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.capabilities: dict[str, Any] = {}

    def run(self, *partitions: Partition, table: Table = TABLE) -> Observed:
        observed = Observed()
        self.pipeline().run(windowed_resource(table, partitions, observer=observed))
        return observed

    def run_in_packages(self, *partitions: Partition, table: Table = TABLE) -> Observed:
        observed = Observed()
        resource = windowed_resource(table, partitions, observer=observed)
        has_more = True
        while has_more:
            with bounded_package() as current:
                self.pipeline().run(resource)
            has_more = current.has_more
        return observed

    def pipeline(self) -> dlt.Pipeline:
        destination = dlt.destinations.duckdb(str(self.file), **self.capabilities)
        return dlt.pipeline("vendor", destination=destination, dataset_name="vendor")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.sql(query).fetchall()

    def days(self, where: str = "true") -> list[str]:
        return [found.isoformat()[5:] for (found,) in self.rows(f"select date from vendor.usage where {where} order by 1")]


@pytest.fixture
def database(tmp_path: Path, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    return Database(tmp_path / "usage.duckdb")


def plan(first: str, longest: int = 2, **changes: Any) -> Plan:
    settings: dict[str, Any] = {"lookback": timedelta(days=30), "longest": timedelta(days=longest)}
    return Plan("day", at(first), **settings | changes)


def at(text_: str) -> DateTime:
    return from_date(date.fromisoformat(f"2026-{text_}"))


def usage(window: Window, used: int = 1, team: str | None = "a") -> pa.Table:
    """One row a day."""
    found = [window.start.add(days=number).to_date_string() for number in range((window.end - window.start).days)]
    return TABLE.rows({"team": team, "date": day_, "used": used} for day_ in found)


def whole(window: Window) -> FetchResult:
    return FetchResult(usage(window), window)


def only(first: str = "01-01", until: str = "12-31", longest: int = 100) -> Fetch:
    """Fetches the part of a window that lies in [first, until), at most so many days of it."""

    def fetch(window: Window) -> FetchResult:
        start, end = max(window.start, at(first)), min(window.end, at(until), window.start.add(days=longest))
        returned = Window(start, end) if start < end else None
        return FetchResult(usage(returned) if returned else TABLE.rows([]), returned)

    return fetch


def without(first: str, until: str) -> Fetch:
    """Fetches whole windows, but nothing of those that have a day of [first, until)."""

    def fetch(window: Window) -> FetchResult:
        is_missing = window.start < at(until) and at(first) < window.end
        return FetchResult(TABLE.rows([]), None) if is_missing else whole(window)

    return fetch


def test_requests_the_rest_of_a_window_that_ends_early(database: Database) -> None:
    """An API that returns three days a request is requested until the window is complete, and no row is deleted."""
    observed = database.run(Partition("a", plan("03-10", longest=100), only(longest=3)))
    assert len(database.days()) == 11
    assert [(window.end - window.start).days for window in observed.windows] == [3, 3, 3, 2]
    assert database.run(Partition("a", plan("03-10", longest=100), only(longest=3))).errors == []
    assert len(database.days()) == 11


@pytest.mark.parametrize(
    "fetch",
    [
        pytest.param(without("03-14", "03-16"), id="a hole"),
        pytest.param(only(until="03-14"), id="an early end", marks=pytest.mark.thorough),
    ],
)
def test_missing_time_stays_and_stops_the_partition(database: Database, fetch: Fetch) -> None:
    """Its rows are not deleted, the cursor stays before it, and the error names it."""
    database.run(Partition("a", plan("03-10"), whole))
    observed = database.run(Partition("a", plan("03-10"), fetch))
    assert [type(error) for error in observed.errors] == [IncompleteResponse]
    assert "[2026-03-14" in str(observed.errors[0])
    assert observed.windows[-1].end == at("03-14")
    assert len(database.days()) == 11
    assert database.run(Partition("a", plan("03-10", lookback=timedelta()), whole)).windows[0].start == at("03-14")


@pytest.mark.parametrize(("rows", "seconds"), [(3, 60.0), (1000, 0.0)])
def test_a_long_sync_is_loaded_in_packages(
    database: Database, monkeypatch: pytest.MonkeyPatch, rows: int, seconds: float
) -> None:
    """A package ends with the window in which it is full; no window is requested twice, and no failure reported twice."""
    monkeypatch.setattr(package, "MAX_ROWS", rows)
    monkeypatch.setattr(package, "MAX_SECONDS", seconds)
    requested: list[Window] = []

    def fetch(window: Window) -> FetchResult:
        requested.append(window)
        return whole(window)

    def fail(_: Window) -> FetchResult:
        raise ServiceUnavailable("down", hint="")

    observed, nothing = Observed(), lambda _: FetchResult(TABLE.rows([]), None)
    partitions = [Partition(name, plan("03-10"), each) for name, each in (("a", fetch), ("b", fail), ("c", nothing))]
    resource, days = windowed_resource(TABLE, partitions, observer=observed), []
    has_more = True
    while has_more:
        with bounded_package() as current:
            database.pipeline().run(resource)
        has_more = current.has_more
        days.append(len(database.days()))
    assert days == ([4, 8, 11, 11] if rows == 3 else [2, 4, 6, 8, 10, 11, 11])  # the last one has the others
    assert [window.start for window in requested] == [at(f"03-{day}") for day in range(10, 21, 2)]
    assert len(observed.errors) == 1
    logged = "select account, count(*), count(window_start) from vendor.fetched_windows group by 1 order by 1"
    assert database.rows(logged) == [("a", 6, 6), ("b", 1, 0), ("c", 1, 0)]
    short = plan("03-10", lookback=timedelta())
    assert database.run(Partition("a", short, whole)).windows == [Window(at("03-20"), at("03-21"))]


def test_an_unsupported_request_changes_nothing(database: Database, clock: time_machine.Traveller) -> None:
    """It is no failure, even without an observer. Once the server supports it, the next run loads what is missing."""
    requested: list[Window] = []

    def unsupported(window: Window) -> FetchResult:
        requested.append(window)
        raise Unsupported("no such option", hint="")

    new = Partition("b", plan("03-15"), unsupported)
    database.run(Partition("a", plan("03-15"), whole), new)
    database.pipeline().run(windowed_resource(TABLE, [Partition("a", plan("03-15"), unsupported)]))
    assert len(requested) == 2
    assert database.rows("select distinct account from vendor.usage") == [("a",)]
    assert database.rows("select distinct account from vendor.fetched_windows") == [("a",)]
    clock.shift(timedelta(days=9))
    short = plan("03-15", lookback=timedelta(days=1))
    assert database.run(Partition("a", short, whole)).windows[0].start == at("03-19")
    assert database.run(replace(new, fetch=whole)).windows[0].start == at("03-15")


def test_does_not_delete_a_hole_between_two_windows(database: Database, clock: time_machine.Traveller) -> None:
    """The windows do not adjoin, so the scope has one condition for each."""

    def fetch(window: Window) -> FetchResult:
        returned = Window(max(window.start, at("03-15")), window.end) if window.start == at("03-14") else window
        return FetchResult(usage(returned, used=2), returned)

    database.run(Partition("a", plan("03-10"), whole))
    observed = database.run(Partition("a", plan("03-10"), fetch))
    assert database.rows("select date::text, used from vendor.usage where used = 1") == [("2026-03-14", 1)]
    assert observed.missed == [Window(at("03-14"), at("03-15"))]


def test_the_last_day_may_be_late(database: Database) -> None:
    """An API that does not yet return today or yesterday is no error; the cursor waits there."""
    observed = database.run(Partition("a", plan("03-10"), only(until="03-19")))
    assert (observed.errors, observed.missed) == ([], [])
    assert database.days()[-1] == "03-18"
    assert len(database.run(Partition("a", plan("03-10", lookback=timedelta()), whole)).windows) == 1
    assert database.days()[-1] == "03-20"


def test_requests_time_before_the_first_data_once(database: Database) -> None:
    """It is no error of a first run, and later runs do not request it again."""
    observed = database.run(Partition("a", plan("03-01"), only(first="03-15")))
    assert (database.days()[0], observed.errors, observed.missed) == ("03-15", [], [])
    assert database.run(Partition("a", plan("03-01", lookback=timedelta()), only(first="03-15"))).windows[0].start == TODAY


@pytest.mark.parametrize(
    ("since", "until", "gap"),
    [("03-01", "03-05", ("03-01", "03-05")), ("03-01", "03-18", ("03-01", "03-15")), ("03-16", "03-18", None)],
)
def test_a_backfill_without_data_is_a_missed_window(
    database: Database, since: str, until: str, gap: tuple[str, str] | None
) -> None:
    """It is reported, and time that was not read does not count as loaded."""
    backfill = Window(at(since), at(until))
    observed = database.run(Partition("a", plan("03-01", backfill=backfill), only(first="03-15")))
    assert observed.missed == ([Window(at(gap[0]), at(gap[1]))] if gap else [])
    assert all(window.start >= at("03-15") for window in observed.windows)


def test_a_backfill_beyond_the_reach_is_a_missed_window(database: Database) -> None:
    """No request is sent, and the window is reported."""
    backfill = Window(at("01-01"), at("01-05"))
    assert database.run(Partition("a", plan("01-01", reach=10, backfill=backfill), whole)).missed == [backfill]


def test_reports_the_missed_window_before_a_new_time_zone(database: Database, clock: time_machine.Traveller) -> None:
    """A new time zone begins its own history; time that neither history has is reported."""
    table = Table("vendor", "/usage", "usage", (dimension("timezone", "calendar"), day("date", "when"), count("used", "n")),
                  ("timezone", "date"), "date", is_utc=False)  # fmt: skip

    def part(zone: str, reach: int = 10) -> Partition:
        def fetch(window: Window) -> FetchResult:
            return FetchResult(usage(window).drop_columns(["team"]), window)

        return Partition("a", plan("01-01", reach=reach, longest=100, timezone=zone), fetch, {"timezone": zone})

    database.run(part("UTC"), table=table)
    clock.move_to(TODAY.add(days=20, hours=5))
    observed = database.run(part("Asia/Tokyo"), table=table)
    assert observed.missed == [Window(at("03-20"), at("03-31"))]
    assert database.rows("select timezone, count(*) from vendor.usage group by 1 order by 1") == [
        ("Asia/Tokyo", 10),
        ("UTC", 10),
    ]


def events(*rows: tuple[str, str]) -> Fetch:
    stated = [{"id": name, "kind": kind, "date": "2026-03-19"} for name, kind in rows]
    return lambda window: FetchResult(EVENTS.rows(stated), window)


def of(kind: str, fetch: Fetch) -> Partition:
    return Partition("a", plan("03-19"), fetch, {"kind": kind})


def test_rejects_rows_of_another_partition(database: Database) -> None:
    """A server that ignores a filter would return each row once a partition, and no run would delete the extra rows."""
    observed = database.run(of("x", events(("1", "x"), ("2", "y"))), of("y", events(("2", "y"))), table=EVENTS)
    assert [str(error) for error in observed.errors if isinstance(error, UnexpectedValue)] == [
        "vendor /events: a row has kind 'y', but the request was for kind 'x'. The response differs from the documentation,"
        " so events is unchanged; please report it."
    ]
    assert database.rows("select id, kind from vendor.events") == [("2", "y")]


def test_rejects_a_key_in_two_partitions(database: Database) -> None:
    """It would be two rows with one key."""
    observed = database.run(of("x", events(("1", "x"))), of("y", events(("1", "y"))), table=EVENTS)
    assert "a row with the same key ('1',)" in str(observed.errors[0])
    assert database.rows("select id, kind from vendor.events") == [("1", "x")]


def test_a_later_package_knows_what_the_run_has_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rejects a key of an earlier package. An account that returned rows of another one starts anew in the next run."""
    monkeypatch.setattr(package, "MAX_ROWS", 0)
    observed = database.run_in_packages(of("x", events(("1", "x"))), of("y", events(("1", "y"))), table=EVENTS)
    assert "a row with the same key ('1',)" in str(observed.errors[0])

    def of_team(team: str, first: str) -> Partition:
        def fetch(window: Window) -> FetchResult:
            return FetchResult(usage(window, team=team) if window.start >= at(first) else TABLE.rows([]), window)

        return Partition(team, plan("03-15"), fetch)

    table = replace(TABLE, identity=("team",))
    database.run(of_team("a", "03-15"), table=table)
    observed = database.run_in_packages(of_team("a", "03-15"), replace(of_team("a", "03-17"), account="b"), table=table)
    assert [type(error) for error in observed.errors] == [AccountConflict]
    other = database.run(replace(of_team("c", "03-15"), account="b"), table=table)
    assert (other.errors, other.windows[0].start) == ([], at("03-15"))


def test_rejects_a_key_twice_in_one_response(database: Database) -> None:
    """A merge would keep either row at random."""
    observed = database.run(
        Partition("a", plan("03-19"), lambda window: FetchResult(pa.concat_tables([usage(window)] * 2), window))
    )
    assert "two rows have the same key" in str(observed.errors[0])


def test_fills_fixed_columns(database: Database) -> None:
    """If the response lacks the column, it gets the fixed value, even one from resolve_columns."""
    part = Partition("a", plan("03-19"), lambda window: FetchResult(usage(window).drop_columns(["team"]), window),
                resolve_columns=lambda: {"team": "red"})  # fmt: skip
    database.run(part)
    assert database.rows("select distinct team from vendor.usage") == [("red",)]


def test_a_response_of_unknown_form_fails_its_partition_alone(database: Database) -> None:
    """This holds for fetch and resolve_columns; other accounts are loaded."""

    def raising(surprise: Exception) -> Callable[..., Any]:
        def call(*_: object) -> Any:
            raise surprise

        return call

    surprises = (KeyError("data"), TypeError("no"), AttributeError("no"), IndexError("no"))
    partitions = [
        partition
        for number, surprise in enumerate(surprises)
        for partition in (
            Partition(f"fetch {number}", plan("03-19"), raising(surprise)),
            Partition(f"resolve {number}", plan("03-19"), whole, resolve_columns=raising(surprise)),
        )
    ]
    observed = database.run(*partitions, Partition("c", plan("03-19"), whole))
    assert [type(error) for error in observed.errors] == [UnexpectedValue] * len(partitions)
    assert database.rows("select distinct account from vendor.usage") == [("c",)]


@pytest.mark.parametrize("strategies", [["delete-insert", "scd2"], ["delete-insert", "upsert", "cdc"]])
@pytest.mark.thorough
def test_replaces_a_window_with_any_merge_strategy(
    database: Database, clock: time_machine.Traveller, strategies: list[str]
) -> None:
    """Redshift and ClickHouse only delete and insert: vanished days vanish there too, and all other rows stay."""
    database.capabilities = {"supported_merge_strategies": strategies}

    def of(team: str, used: int, days: Fetch = whole) -> Fetch:
        def fetch(window: Window) -> FetchResult:
            _, returned = days(window)
            return FetchResult(usage(returned, used, team).slice(1) if returned else TABLE.rows([]), returned)

        return fetch

    database.run(
        Partition("a", plan("03-10", longest=100), of("x", 1)), Partition("b", plan("03-10", longest=100), of("y", 1))
    )
    assert len(database.days()) == 20
    before = database.rows("select fetched_at from vendor.usage where account = 'b'")
    clock.move_to("2026-03-20T11:30:00Z")
    backfill = plan("03-10", longest=100, backfill=Window(at("03-14"), at("03-17")))
    database.run(Partition("a", backfill, of("x", 5)))
    assert database.days("account = 'a' and used = 1") == ["03-11", "03-12", "03-13", "03-17", "03-18", "03-19", "03-20"]
    assert database.days("account = 'a' and used = 5") == ["03-15", "03-16"]
    assert database.rows("select fetched_at from vendor.usage where account = 'b'") == before
    strategy = database.rows("select schema from vendor._dlt_version order by version desc limit 1")[0][0]
    assert f'"x-merge-strategy":"{strategies[-1] if "cdc" in strategies else "delete-insert"}"' in strategy.replace(" ", "")


@pytest.mark.parametrize("table_format", [None, "iceberg"])
def test_refuses_a_destination_that_cannot_replace_a_window(database: Database, table_format: Any) -> None:
    """dlt would append the rows of each run. Nothing is requested."""
    files = dlt.destinations.filesystem(str(database.file.parent / "lake"))
    pipeline = dlt.pipeline("vendor", destination=files, dataset_name="vendor")
    requested: list[Window] = []
    resource = windowed_resource(TABLE, [Partition("a", plan("03-19"), requested.append)])  # type: ignore[arg-type]
    with pytest.raises(PipelineStepFailed, match="filesystem cannot replace the rows of a window in usage") as caught:
        pipeline.run(resource, table_format=table_format)
    assert "table_format='delta'" in str(caught.value)
    assert requested == []


def test_replaces_a_window_in_a_delta_table_of_a_pipeline_of_ones_own(
    database: Database, clock: time_machine.Traveller
) -> None:
    """The second response lacks the first two of eleven days."""
    lake = database.file.parent / "lake"
    pipeline = dlt.pipeline("vendor", destination=dlt.destinations.filesystem(str(lake)), dataset_name="vendor")
    for first in (0, 2):
        fetch = lambda window, first=first: FetchResult(usage(window).slice(first), window)  # noqa: E731
        pipeline.run(windowed_resource(TABLE, [Partition("a", plan("03-10", longest=100), fetch)]), table_format="delta")
    assert DeltaTable(lake / "vendor" / "usage").to_pyarrow_table().num_rows == 9


def test_moved_windows_store_no_new_schema(database: Database, clock: time_machine.Traveller) -> None:
    """The condition of each run's merge is stored with its load package only."""
    for day_ in range(20, 24):
        clock.move_to(f"2026-03-{day_}T10:30:00Z")
        database.run(Partition("a", plan("03-10", lookback=timedelta(days=1)), whole))
    assert len(database.days()) == 14
    assert database.rows("select count(*) from vendor._dlt_version") == [(1,)]


def test_accounts_that_were_loaded_before_are_read_first(database: Database) -> None:
    """A new account that is configured before them cannot claim their organisation."""
    database.run(Partition("b", plan("03-19"), whole))
    read: list[str] = []
    resource = windowed_resource(
        TABLE,
        [Partition(name, plan("03-19"), whole) for name in ("a", "b")],
        observer=lambda event: read.append(event.place.account) if isinstance(event, WindowRequested) else None,
    )
    database.pipeline().run(resource)
    assert list(dict.fromkeys(read)) == ["b", "a"]


def test_reports_only_stored_windows_as_fetched(database: Database) -> None:
    """Neither a window without data nor one with rejected rows is reported."""
    outside = Partition("a", plan("03-19"), lambda window: FetchResult(usage(Window(at("01-01"), at("01-02"))), window))
    nothing = Partition("b", plan("03-20"), only(until="01-02"))
    observed = database.run(outside, nothing)
    assert observed.windows == []
    assert "outside the requested window" in str(observed.errors[0])


def test_logs_a_partition_that_never_returns_data(database: Database) -> None:
    """It has a row without a window; a partition that returned some windows has only those."""

    def down(window: Window) -> FetchResult:
        if window.start >= at("03-17"):
            raise ServiceUnavailable("down", hint="Wait.")
        return whole(window)

    parts = [Partition("a", plan("03-15"), whole, {"team": "a"}), Partition("a", plan("03-15"), down, {"team": "a"})]
    later = Partition("a", plan("03-19"), down, {"team": "b"})
    observed = database.run(parts[0], later)
    assert len(observed.errors) == 1
    assert database.rows("select part, window_start is null, row_count from vendor.fetched_windows order by all") == [
        ("a", False, 2), ("a", False, 2), ("a", False, 2), ("b", True, 0),
    ]  # fmt: skip
    database.run(parts[1])
    assert database.rows("select count(*) from vendor.fetched_windows where window_start is null") == [(1,)]


def test_cursor_keys_are_unambiguous(database: Database) -> None:
    """Blanks do not confuse account and partition, and an empty value adds nothing."""
    assert (
        Partition("a b", plan("03-19"), whole, {"team": "c"}).cursor_key
        != Partition("a", plan("03-19"), whole, {"team": "b c"}).cursor_key
    )
    where: Mapping[str, str] = {"team": "day", "kind": ""}
    assert Partition("a", plan("03-19"), whole, where).name == "day"


def test_reads_tables_side_by_side(database: Database) -> None:
    """Each of three tables waits until the other two have sent a request, and each request names its table."""
    all_three = Barrier(3, timeout=60)
    tables = [replace(TABLE, name=name) for name in ("by_product", "by_key", "by_team")]
    events: list[ObservedEvent] = []

    def fetch(window: Window) -> FetchResult:
        all_three.wait()
        events.append(RequestSent(current_place("vendor"), None))
        return whole(window)

    partitions = [Partition("a", plan("03-18"), fetch)]
    database.pipeline().run([windowed_resource(table, partitions, observer=events.append) for table in tables])
    assert not [event for event in events if isinstance(event, FetchFailed)]
    for table in tables:
        place = Place("vendor", "a", table.name)
        assert database.rows(f"select count(*) from vendor.{table.name}") == [(3,)]
        requests = [event for event in events if isinstance(event, RequestSent) and event.place == place]
        assert len(requests) == len([e for e in events if isinstance(e, WindowFetched) and e.place == place]) > 0


def test_reports_what_happens_in_order(database: Database) -> None:
    """The whole plan first, then each window: requested, time spent, fetched."""
    events: list[ObservedEvent] = []
    place = Place("vendor", "a", "usage")
    partition = Partition("a", plan("03-18"), whole)
    database.pipeline().run(windowed_resource(TABLE, [partition], observer=events.append))
    assert all(event.place == place for event in events)
    kinds = [type(event) for event in events if not isinstance(event, TimeSpent)]
    assert kinds == [WindowsPlanned] + [WindowRequested, WindowFetched] * 2
    spent = [event.seconds for event in events if isinstance(event, TimeSpent)]
    assert spent
    assert all(seconds >= 0 for seconds in spent)


def test_all_tables_estimate_before_any_is_read(database: Database) -> None:
    """This holds for any number of threads."""
    calls: list[str] = []

    def estimate(windows: Sequence[Window]) -> None:
        calls.append("estimate")

    def fetch(window: Window) -> FetchResult:
        calls.append("fetch")
        return whole(window)

    tables = [replace(TABLE, name=f"by_{number}") for number in range(8)]
    partitions = [Partition("a", plan("03-18"), fetch, estimate=estimate)]
    database.pipeline().run([windowed_resource(table, partitions, observer=Observed()) for table in tables])
    assert calls[:8] == ["estimate"] * 8
    assert "estimate" not in calls[8:]
    assert len(calls) > 8


def test_without_an_observer_a_failure_ends_the_pipeline(database: Database) -> None:
    """In your own pipeline nothing of that run is loaded."""
    resource = windowed_resource(TABLE, [Partition("a", plan("03-10"), only(until="03-14"))])
    with pytest.raises(PipelineStepFailed, match="returns nothing"):
        database.pipeline().run(resource)
    with duckdb.connect(str(database.file), read_only=True) as connection:
        assert not connection.sql("from duckdb_tables() where table_name = 'usage'").fetchall()


def test_raises_the_failure_while_another_table_is_still_reading(database: Database) -> None:
    """The pipeline raises the first failure, not dlt's error about a generator that it cannot close."""
    failed = Event()

    def wait(window: Window) -> FetchResult:
        failed.wait(timeout=60)
        return whole(window)

    def fail(window: Window) -> FetchResult:
        raise ServiceUnavailable("down", hint="Wait.")

    tables = [
        windowed_resource(replace(TABLE, name=name), [Partition("a", plan("03-19"), fetch)])
        for name, fetch in {"waits": wait, "fails": fail}.items()
    ]
    Timer(4, failed.set).start()  # dlt waits 2 seconds for running steps
    with pytest.raises(PipelineStepFailed, match="down"):
        database.pipeline().run(tables)


def test_the_schema_does_not_depend_on_the_order_in_which_tables_finish(database: Database) -> None:
    """Otherwise every run would store a new version of the schema."""
    names = ["by_product", "by_key", "by_team"]
    read = {name: Event() for name in names}

    def load(*, last_first: bool) -> None:
        for event in read.values():
            event.clear()
        turns = names[::-1] if last_first else names

        def fetch(window: Window, name: str) -> FetchResult:
            before = turns[turns.index(name) - 1] if name != turns[0] else ""
            assert not before or read[before].wait(timeout=60)
            read[name].set()
            return whole(window)

        tables = [
            windowed_resource(
                replace(TABLE, name=name),
                [Partition("a", plan("03-19"), partial(fetch, name=name))],
                observer=Observed(),
            )
            for name in names
        ]
        database.pipeline().run(tables)

    load(last_first=False)
    load(last_first=False)
    stored = database.rows("select count(*) from vendor._dlt_version")
    load(last_first=True)
    load(last_first=False)
    assert database.rows("select count(*) from vendor._dlt_version") == stored
