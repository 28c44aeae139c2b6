"""A row that a load replaces or withdraws goes to `<table>__history`, tested with a made-up provider."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import count as count_from
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import time_machine
from deltalake import DeltaTable
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.pipeline.exceptions import PipelineStepFailed
from pendulum import DateTime

from meterhouse.sources._core.history import HistorySettings
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table, count, day, dimension
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Window, from_date

START = datetime.fromisoformat("2026-03-20T10:30:00+00:00")
TABLE = Table(
    "vendor",
    "/usage",
    "usage",
    (dimension("team", "who"), day("date", "when"), count("used", "what")),
    ("team", "date"),
    "date",
)
HISTORY = (
    "select team, date, used, fetched_at, run_id, superseded_at, superseded_by, is_withdrawn from vendor.usage__history"
)


def at(text: str) -> DateTime:
    return from_date(date.fromisoformat(f"2026-{text}"))


class Vendor:
    """Its usage by day, and a pipeline that loads it."""

    def __init__(self, clock: time_machine.Traveller, destination: Any, **options: Any) -> None:
        self.clock, self.destination, self.options = clock, destination, options
        self.usage: dict[str, int | None] = {}
        self.more: Mapping[str, Any] = {}
        self.history = HistorySettings()

    def pipeline(self) -> dlt.Pipeline:
        return dlt.pipeline("vendor", destination=self.destination, dataset_name="vendor")

    def fetch(self, window: Window) -> FetchResult:
        days = {at(day_): (day_, used) for day_, used in self.usage.items()}
        rows = [
            {"team": "a", "date": f"2026-{day_}", "used": used, **self.more}
            for when, (day_, used) in days.items()
            if used is not None and window.start <= when < window.end
        ]
        return FetchResult(TABLE.rows(rows), window)

    def run(self, hours: int = 1, **usage: int | None) -> str:
        """Loads an hour later; returns the id of the load. `d0318=3` sets what is used on 18 March, None withdraws it."""
        self.usage |= {f"{name[1:3]}-{name[3:]}": used for name, used in usage.items()}
        self.clock.shift(timedelta(hours=hours))
        plan = Plan("day", at("03-16"), timedelta(days=30), timedelta(days=2))
        resource = windowed_resource(TABLE, [Partition("default", plan, self.fetch)], history=self.history)
        return self.pipeline().run(resource, **self.options).loads_ids[0]


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.duckdb"


@pytest.fixture
def vendor(clock: time_machine.Traveller, file: Path) -> Vendor:
    return Vendor(clock, dlt.destinations.duckdb(str(file)))


def rows(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.sql("set timezone = 'UTC'")
        return connection.sql(sql).fetchall()


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def test_keeps_the_replaced_and_the_withdrawn_row_as_they_were(vendor: Vendor, file: Path) -> None:
    """`superseded_at` of a replaced row is the `fetched_at` of its replacement, that of a withdrawn row its window's."""
    first = vendor.run(d0317=1, d0318=1, d0319=1)
    assert rows(file, HISTORY) == []
    second = vendor.run(d0317=2, d0319=None)
    kept = [
        (17, 1, hour(1), first, hour(2), second, False),
        (19, 1, hour(1), first, hour(2), second, True),
    ]
    sql = HISTORY.replace("team, date", "day(date)") + " order by 1, superseded_at"
    assert rows(file, sql) == kept
    assert rows(file, "select day(date), used, fetched_at, run_id from vendor.usage order by all") == [
        (17, 2, hour(2), second),
        (18, 1, hour(1), first),
    ]
    third = vendor.run(d0317=1, d0319=4)
    assert rows(file, sql) == [kept[0], (17, 2, hour(2), second, hour(3), third, False), kept[1]]


def test_a_destination_that_rewrites_windows_keeps_only_what_changed(clock: time_machine.Traveller, file: Path) -> None:
    """Redshift and others have no MERGE: dlt deletes the rows of the window and inserts them again."""
    vendor = Vendor(clock, dlt.destinations.duckdb(str(file), supported_merge_strategies=["delete-insert"]))
    vendor.run(d0317=1, d0318=1, d0319=1)
    vendor.run(d0317=2, d0319=None)
    sql = "select day(date), used, superseded_at, is_withdrawn from vendor.usage__history order by 1"
    assert rows(file, sql) == [(17, 1, hour(2), False), (19, 1, hour(2), True)]


def test_an_unchanged_run_writes_nothing(vendor: Vendor, file: Path) -> None:
    vendor.run(d0317=1, d0318=1)
    before = rows(file, "from vendor.usage order by all")
    vendor.run()
    vendor.run()
    assert rows(file, "from vendor.usage order by all") == before
    assert rows(file, "from vendor.usage__history") == []


def test_two_hundred_unchanged_merges_add_no_row_and_no_byte(
    vendor: Vendor, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SQL of the merge of an unchanged run, two hundred times on the rows that the run staged."""
    vendor.run(d0317=1, d0318=1, d0319=1)
    vendor.run(d0317=2, d0319=None)
    merges, execute = [], DuckDbSqlClient.execute_query

    @contextmanager
    def spy(client: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        if "MERGE INTO" in str(query):
            merges.append(str(query))
        with execute(client, query, *arguments, **options) as cursor:
            yield cursor

    monkeypatch.setattr(DuckDbSqlClient, "execute_query", spy)
    vendor.run()
    (merge,) = merges
    assert 'INTO "vendor"."usage__history"' in merge
    before, sizes = rows(file, f"{HISTORY} order by all"), set()
    assert len(before) == 2
    table = rows(file, "from vendor.usage order by all")
    with duckdb.connect(str(file)) as connection:
        for _ in range(4):
            connection.execute(f"begin; {merge} commit;" * 50 + "force checkpoint")
            sizes.add(file.stat().st_size)
    assert len(sizes) == 1
    assert rows(file, f"{HISTORY} order by all") == before
    assert rows(file, "from vendor.usage order by all") == table


def test_the_row_of_a_running_bucket_is_kept_only_if_configured(vendor: Vendor, file: Path) -> None:
    vendor.run(d0320=1)
    vendor.run(d0320=2)
    assert rows(file, HISTORY) == []
    vendor.history = HistorySettings(only_complete=False)
    vendor.run(d0320=3)
    assert rows(file, "select used, is_complete from vendor.usage__history") == [(2, False)]


def test_each_row_has_the_time_at_which_its_own_window_was_fetched(vendor: Vendor, file: Path) -> None:
    """A run reads several windows, one after the other."""
    vendor.run(d0317=1, d0319=1)
    fetch, clock = vendor.fetch, vendor.clock

    def slow(window: Window) -> FetchResult:
        clock.shift(timedelta(seconds=1))
        return fetch(window)

    vendor.fetch = slow  # type: ignore[method-assign]
    vendor.run(d0317=None, d0319=None)
    assert rows(
        file, "select day(date), second(superseded_at), second(fetched_at) from vendor.usage__history order by 1"
    ) == [
        (17, 0, 0),
        (19, 1, 0),
    ]


def test_a_column_that_the_vendor_adds_reaches_the_history(vendor: Vendor, file: Path) -> None:
    vendor.run(d0317=1)
    vendor.more = {"region": "eu"}
    vendor.run(d0317=2)
    vendor.run(d0317=3)
    assert rows(file, "select used, region from vendor.usage__history order by 1") == [(1, None), (2, "eu")]


def test_a_table_of_an_earlier_version_gets_a_history_and_a_run_id(vendor: Vendor, file: Path) -> None:
    """Its rows have no run_id; added columns are in its history, too."""
    vendor.more = {"region": "eu"}
    vendor.run(d0317=1)
    with duckdb.connect(str(file)) as connection:
        connection.execute("drop table vendor.usage__history; alter table vendor.usage drop column run_id")
    pipeline = vendor.pipeline()
    schema = pipeline.default_schema
    del schema.tables["usage__history"]
    del schema.tables["usage"]["columns"]["run_id"]
    pipeline._schema_storage.save_schema(schema)
    vendor.more = {}
    second = vendor.run(d0317=2)
    assert rows(file, "select used, region, run_id, superseded_by from vendor.usage__history") == [(1, "eu", None, second)]


def test_prunes_rows_that_were_superseded_before_the_retention(vendor: Vendor, file: Path) -> None:
    vendor.history = HistorySettings(retention=timedelta(hours=5))
    vendor.run(d0317=1)
    vendor.run(d0317=2)
    vendor.run(d0317=3, hours=4)
    assert rows(file, "select used from vendor.usage__history order by 1") == [(1,), (2,)]
    vendor.run(hours=2)
    assert rows(file, "select used from vendor.usage__history order by 1") == [(2,)]


@pytest.mark.thorough
def test_delta_tables_keep_the_same_rows(vendor: Vendor, tmp_path: Path, file: Path) -> None:
    lake = Vendor(vendor.clock, dlt.destinations.filesystem(str(tmp_path / "lake")), table_format="delta")
    kept = []
    for each in (vendor, lake):
        vendor.clock.move_to(START, tick=False)
        each.history = HistorySettings(retention=timedelta(hours=20))
        for used in (1, 2):
            each.run(d0317=used, d0318=1, d0319=None if used == 2 else 1)
        each.more = {"region": "eu"}
        each.run(d0317=3)
        each.run(d0317=4)
    with duckdb.connect() as connection:
        lake_rows = DeltaTable(str(tmp_path / "lake/vendor/usage__history")).to_pyarrow_table()
        columns = "team, date, used, region, fetched_at, superseded_at, is_withdrawn, superseded_by <> run_id"
        kept = connection.sql(f"select {columns} from lake_rows order by all").fetchall()
        assert lake_rows.num_rows == 5
    assert kept == rows(file, f"select {columns} from vendor.usage__history order by all")
    lake.run(hours=19)
    left = DeltaTable(str(tmp_path / "lake/vendor/usage__history")).to_pyarrow_table()
    assert sorted(left["used"].to_pylist()) == [1, 2, 3]


@pytest.mark.thorough
def test_a_load_that_fails_at_any_statement_neither_loses_nor_duplicates_a_row(
    clock: time_machine.Traveller, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version of a row is in the table or in its history; the next run completes both, with its own time."""
    vendor = Vendor(clock, dlt.destinations.duckdb(str(file), supports_multiple_statements=False))
    vendor.run(d0317=1, d0318=1, d0319=1)
    saved, execute = file.read_bytes(), DuckDbSqlClient.execute_query
    changes: dict[str, Any] = {"d0317": 2, "d0319": None}
    outcomes = set()
    for failing in count_from(1):
        file.write_bytes(saved)
        clock.move_to(START + timedelta(hours=2), tick=False)
        statements = count_from(1)

        @contextmanager
        def fail(client: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            if next(statements) == failing:  # noqa: B023 - used within the turn
                raise DatabaseTerminalException(Exception("the disk is full"))
            with execute(client, query, *arguments, **options) as cursor:
                yield cursor

        vendor.pipeline().drop()
        vendor.pipeline().sync_destination()
        with monkeypatch.context() as patched:
            patched.setattr(DuckDbSqlClient, "execute_query", fail)
            try:
                vendor.run(**changes)
            except PipelineStepFailed:
                done = False
            else:
                done = True
        known = "select day(date), used from vendor.usage where used = 1"
        kept = "select day(date), used from vendor.usage__history"
        assert rows(file, f"{known} union all {kept} order by all") == [(17, 1), (18, 1), (19, 1)]
        outcomes.add(tuple(rows(file, kept)))
        if done:
            break
        vendor.pipeline().drop()
        vendor.pipeline().sync_destination()
        vendor.run(**changes)
        assert rows(file, "select day(date), used from vendor.usage order by 1") == [(17, 2), (18, 1)]
        times = set(rows(file, "select superseded_at from vendor.usage__history"))
        assert times <= {(hour(3),), (hour(4),)}
        assert len(times) == 1
    assert failing > 10
    assert len(outcomes) == 2
