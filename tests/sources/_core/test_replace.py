"""How windows replace windows, with a provider that says whatever a test wants it to, on a real DuckDB file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Barrier, Event, Timer
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
import time_machine
from dlt.pipeline.exceptions import PipelineStepFailed
from pendulum import DateTime

from meterhouse.pipelines.run.state import RecordingJournal, RunState
from meterhouse.sources._core.errors import IncompleteResponse, ServiceUnavailable, SourceError, UnexpectedValue
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.journal import Journal
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

Answer = Callable[[Window], FetchResult]


class Heard(Journal):
    """What a run told."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.gaps: list[Window] = []
        self.errors: list[SourceError] = []

    def fetched(self, table: str, account: str, window: Window, rows: int) -> None:  # noqa: ARG002
        self.windows.append(window)

    def gap(self, table: str, account: str, window: Window) -> None:  # noqa: ARG002
        self.gaps.append(window)

    def failed(self, table: str, account: str, error: SourceError) -> None:  # noqa: ARG002
        self.errors.append(error)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


class Loaded:
    """A database, and runs that load one table into it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.capabilities: dict[str, Any] = {}

    def run(self, *parts: Partition[Any], table: Table = TABLE) -> Heard:
        heard = Heard()
        resource = windowed_resource(table, parts=parts, fetch=lambda answer, window: answer(window), journal=heard)
        self.pipeline().run(resource)
        return heard

    def pipeline(self) -> dlt.Pipeline:
        destination = dlt.destinations.duckdb(str(self.file), **self.capabilities)
        return dlt.pipeline("vendor", destination=destination, dataset_name="vendor")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.sql(query).fetchall()

    def days(self, where: str = "true") -> list[str]:
        return [found.isoformat()[5:] for (found,) in self.rows(f"select date from vendor.usage where {where} order by 1")]


@pytest.fixture
def cli(tmp_path: Path, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    return Loaded(tmp_path / "cli.duckdb")


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


def only(first: str = "01-01", until: str = "12-31", longest: int = 100) -> Answer:
    """Answers the part of a window that lies in [first, until), at most so many days of it."""

    def answer(window: Window) -> FetchResult:
        start, end = max(window.start, at(first)), min(window.end, at(until), window.start.add(days=longest))
        told = Window(start, end) if start < end else None
        return FetchResult(usage(told) if told else TABLE.rows([]), told)

    return answer


def without(first: str, until: str) -> Answer:
    """Answers whole windows, but nothing of those that have a day of [first, until)."""

    def answer(window: Window) -> FetchResult:
        untold = window.start < at(until) and at(first) < window.end
        return FetchResult(TABLE.rows([]), None) if untold else whole(window)

    return answer


def test_an_answer_that_ends_early_is_asked_on(cli: Loaded) -> None:
    """A server that tells three days a call is asked until the window is whole, and nothing of it is deleted."""
    heard = cli.run(Partition("a", only(longest=3), plan("03-10", longest=100)))
    assert len(cli.days()) == 11
    assert [(window.end - window.start).days for window in heard.windows] == [3, 3, 3, 2]
    assert cli.run(Partition("a", only(longest=3), plan("03-10", longest=100))).errors == []
    assert len(cli.days()) == 11


@pytest.mark.parametrize("answer", [without("03-14", "03-16"), only(until="03-14")], ids=["a hole", "an early end"])
def test_what_is_not_told_stays_and_stops_the_part(cli: Loaded, answer: Answer) -> None:
    """Neither is it deleted, nor does the cursor move beyond it; the error names it."""
    cli.run(Partition("a", whole, plan("03-10")))
    heard = cli.run(Partition("a", answer, plan("03-10")))
    assert [type(error) for error in heard.errors] == [IncompleteResponse]
    assert "[2026-03-14" in str(heard.errors[0])
    assert heard.windows[-1].end == at("03-14")
    assert len(cli.days()) == 11
    assert cli.run(Partition("a", whole, plan("03-10", lookback=timedelta()))).windows[0].start == at("03-14")


def test_a_hole_within_one_answer_is_not_deleted(cli: Loaded, clock: time_machine.Traveller) -> None:
    """Its windows do not adjoin, so that the scope has one condition for each."""

    def answer(window: Window) -> FetchResult:
        told = Window(max(window.start, at("03-15")), window.end) if window.start == at("03-14") else window
        return FetchResult(usage(told, used=2), told)

    cli.run(Partition("a", whole, plan("03-10")))
    heard = cli.run(Partition("a", answer, plan("03-10")))
    assert cli.rows("select date::text, used from vendor.usage where used = 1") == [("2026-03-14", 1)]
    assert heard.gaps == [Window(at("03-14"), at("03-15"))]


def test_the_last_day_may_be_late(cli: Loaded) -> None:
    """A provider that does not tell today yet, or yesterday, is no error; the cursor waits there."""
    heard = cli.run(Partition("a", only(until="03-19"), plan("03-10")))
    assert (heard.errors, heard.gaps) == ([], [])
    assert cli.days()[-1] == "03-18"
    assert len(cli.run(Partition("a", whole, plan("03-10", lookback=timedelta()))).windows) == 1
    assert cli.days()[-1] == "03-20"


def test_a_memory_that_begins_later_is_asked_once(cli: Loaded) -> None:
    """What lies before is no error of a first run, and later runs do not begin there again."""
    heard = cli.run(Partition("a", only(first="03-15"), plan("03-01")))
    assert (cli.days()[0], heard.errors, heard.gaps) == ("03-15", [], [])
    assert cli.run(Partition("a", only(first="03-15"), plan("03-01", lookback=timedelta()))).windows[0].start == TODAY


@pytest.mark.parametrize(
    ("since", "until", "gap"),
    [("03-01", "03-05", ("03-01", "03-05")), ("03-01", "03-18", ("03-01", "03-15")), ("03-16", "03-18", None)],
)
def test_a_backfill_that_is_not_answered_is_a_gap(
    cli: Loaded, since: str, until: str, gap: tuple[str, str] | None
) -> None:
    """It is told, and what was not read is not said to be loaded."""
    backfill = Window(at(since), at(until))
    heard = cli.run(Partition("a", only(first="03-15"), plan("03-01", backfill=backfill)))
    assert heard.gaps == ([Window(at(gap[0]), at(gap[1]))] if gap else [])
    assert all(window.start >= at("03-15") for window in heard.windows)


def test_a_backfill_beyond_the_reach_is_a_gap(cli: Loaded) -> None:
    """Nobody is even asked then, and it is told all the same."""
    backfill = Window(at("01-01"), at("01-05"))
    assert cli.run(Partition("a", whole, plan("01-01", reach=10, backfill=backfill))).gaps == [backfill]


def test_the_gap_before_a_new_calendar(cli: Loaded, clock: time_machine.Traveller) -> None:
    """A new time zone begins a history of its own, and what neither has is told."""
    table = Table("vendor", "/usage", "usage", (dimension("timezone", "calendar"), day("date", "when"), count("used", "n")),
                  ("timezone", "date"), "date", is_utc=False)  # fmt: skip

    def part(zone: str, reach: int = 10) -> Partition[Answer]:
        def answer(window: Window) -> FetchResult:
            return FetchResult(usage(window).drop_columns(["team"]), window)

        return Partition("a", answer, plan("01-01", reach=reach, longest=100, timezone=zone), {"timezone": zone})

    cli.run(part("UTC"), table=table)
    clock.move_to(TODAY.add(days=20, hours=5))
    heard = cli.run(part("Asia/Tokyo"), table=table)
    assert heard.gaps == [Window(at("03-20"), at("03-31"))]
    assert cli.rows("select timezone, count(*) from vendor.usage group by 1 order by 1") == [
        ("Asia/Tokyo", 10),
        ("UTC", 10),
    ]


def events(*rows: tuple[str, str]) -> Answer:
    stated = [{"id": name, "kind": kind, "date": "2026-03-19"} for name, kind in rows]
    return lambda window: FetchResult(EVENTS.rows(stated), window)


def of(kind: str, answer: Answer) -> Partition[Answer]:
    return Partition("a", answer, plan("03-19"), {"kind": kind})


def test_rows_of_another_part_are_refused(cli: Loaded) -> None:
    """A server that ignores a filter would bring each row once a part, and rows that nothing ever takes away."""
    heard = cli.run(of("x", events(("1", "x"), ("2", "y"))), of("y", events(("2", "y"))), table=EVENTS)
    assert [str(error) for error in heard.errors if isinstance(error, UnexpectedValue)] == [
        "vendor /events: a row is of kind 'y', and kind 'x' was asked for. The answer is not as documented, so events was"
        " left as it was; please report it."
    ]
    assert cli.rows("select id, kind from vendor.events") == [("2", "y")]


def test_a_key_that_comes_in_two_parts_is_refused(cli: Loaded) -> None:
    """It would be two rows with one key."""
    heard = cli.run(of("x", events(("1", "x"))), of("y", events(("1", "y"))), table=EVENTS)
    assert "a row with the same key ('1',)" in str(heard.errors[0])
    assert cli.rows("select id, kind from vendor.events") == [("1", "x")]


def test_a_key_that_comes_twice_in_an_answer_is_refused(cli: Loaded) -> None:
    """A merge would keep either, and nobody knows which."""
    heard = cli.run(
        Partition("a", lambda window: FetchResult(pa.concat_tables([usage(window)] * 2), window), plan("03-19"))
    )
    assert "two rows have the same key" in str(heard.errors[0])


def test_a_column_that_the_part_fixes_is_filled(cli: Loaded) -> None:
    """Where the answer leaves it to the question; even what had to be learned."""
    part = Partition("a", lambda window: FetchResult(usage(window).drop_columns(["team"]), window), plan("03-19"),
                learn=lambda: {"team": "red"})  # fmt: skip
    cli.run(part)
    assert cli.rows("select distinct team from vendor.usage") == [("red",)]


@pytest.mark.parametrize("surprise", [KeyError("data"), TypeError("no"), AttributeError("no"), IndexError("no")])
def test_an_answer_of_unforeseen_form_fails_its_table_alone(cli: Loaded, surprise: Exception) -> None:
    """Whether it was to be read, or to tell whose it is; other accounts are loaded."""

    def raising(*_: object) -> Any:
        raise surprise

    learning = Partition("b", whole, plan("03-19"), learn=raising)
    heard = cli.run(Partition("a", raising, plan("03-19")), learning, Partition("c", whole, plan("03-19")))
    assert [type(error) for error in heard.errors] == [UnexpectedValue] * 2
    assert cli.rows("select distinct account from vendor.usage") == [("c",)]


@pytest.mark.parametrize("strategies", [["delete-insert", "scd2"], ["delete-insert", "upsert", "cdc"]])
def test_a_window_is_replaced_by_whatever_the_destination_can(
    cli: Loaded, clock: time_machine.Traveller, strategies: list[str]
) -> None:
    """Redshift and ClickHouse can only delete and insert: there, too, vanished days vanish, and all else stays."""
    cli.capabilities = {"supported_merge_strategies": strategies}

    def of(team: str, used: int, days: Answer = whole) -> Answer:
        def answer(window: Window) -> FetchResult:
            _, told = days(window)
            return FetchResult(usage(told, used, team).slice(1) if told else TABLE.rows([]), told)

        return answer

    cli.run(Partition("a", of("x", 1), plan("03-10", longest=100)), Partition("b", of("y", 1), plan("03-10", longest=100)))
    assert len(cli.days()) == 20
    before = cli.rows("select fetched_at from vendor.usage where account = 'b'")
    clock.move_to("2026-03-20T11:30:00Z")
    backfill = plan("03-10", longest=100, backfill=Window(at("03-14"), at("03-17")))
    cli.run(Partition("a", of("x", 5), backfill))
    assert cli.days("account = 'a' and used = 1") == ["03-11", "03-12", "03-13", "03-17", "03-18", "03-19", "03-20"]
    assert cli.days("account = 'a' and used = 5") == ["03-15", "03-16"]
    assert cli.rows("select fetched_at from vendor.usage where account = 'b'") == before
    strategy = cli.rows("select schema from vendor._dlt_version order by version desc limit 1")[0][0]
    assert f'"x-merge-strategy":"{strategies[-1] if "cdc" in strategies else "delete-insert"}"' in strategy.replace(" ", "")


def test_only_what_was_kept_is_said_to_be_loaded(cli: Loaded) -> None:
    """Neither a window of which nothing can be said, nor one whose rows were refused."""
    outside = Partition("a", lambda window: FetchResult(usage(Window(at("01-01"), at("01-02"))), window), plan("03-19"))
    untold = Partition("b", only(until="01-02"), plan("03-20"))
    heard = cli.run(outside, untold)
    assert heard.windows == []
    assert "outside the window" in str(heard.errors[0])


def test_a_part_that_never_answers_is_in_the_log(cli: Loaded) -> None:
    """Without a window; one that answered in part has only its windows."""

    def down(window: Window) -> FetchResult:
        if window.start >= at("03-17"):
            raise ServiceUnavailable("down", hint="Wait.")
        return whole(window)

    parts = [Partition("a", whole, plan("03-15"), {"team": "a"}), Partition("a", down, plan("03-15"), {"team": "a"})]
    later = Partition("a", down, plan("03-19"), {"team": "b"})
    heard = cli.run(parts[0], later)
    assert len(heard.errors) == 1
    assert cli.rows("select part, window_start is null, row_count from vendor.fetched_windows order by all") == [
        ("a", False, 2), ("a", False, 2), ("a", False, 2), ("b", True, 0),
    ]  # fmt: skip
    cli.run(parts[1])
    assert cli.rows("select count(*) from vendor.fetched_windows where window_start is null") == [(1,)]


def test_names_of_parts_cannot_be_confused(cli: Loaded) -> None:
    """Account and part are told apart, whatever blanks they have, and an empty value leaves no trace."""
    assert (
        Partition("a b", whole, plan("03-19"), {"team": "c"}).slot
        != Partition("a", whole, plan("03-19"), {"team": "b c"}).slot
    )
    where: Mapping[str, str] = {"team": "day", "kind": ""}
    assert Partition("a", whole, plan("03-19"), where).name == "day"


def test_tables_are_read_side_by_side(cli: Loaded) -> None:
    """Each of three tables gets its answer only when the other two have asked, too; what is asked is noted for each."""
    all_three = Barrier(3, timeout=60)
    record = RunState()

    def fetch(answer: Answer, window: Window) -> FetchResult:
        all_three.wait()
        journal.requested(None)
        return answer(window)

    journal = RecordingJournal("vendor", record)
    tables = [replace(TABLE, name=name) for name in ("by_product", "by_key", "by_team")]
    parts = [Partition("a", whole, plan("03-18"))]
    cli.pipeline().run([windowed_resource(table, parts=parts, fetch=fetch, journal=journal) for table in tables])
    assert not record.failures
    for table in tables:
        assert cli.rows(f"select count(*) from vendor.{table.name}") == [(3,)]
        assert record.asked["vendor", "a", table.name].requests == len(heard_windows(record, table))


def heard_windows(record: RunState, table: Table) -> list[Window]:
    return [entry.window for entry in record.fetched if entry.table == table.name]


def test_all_tables_foresee_before_any_is_read(cli: Loaded) -> None:
    """However many threads there are."""
    told: list[str] = []

    def foresee(answer: Answer, windows: Sequence[Window]) -> None:
        told.append("foreseen")

    def fetch(answer: Answer, window: Window) -> FetchResult:
        told.append("read")
        return answer(window)

    tables = [replace(TABLE, name=f"by_{number}") for number in range(8)]
    parts = [Partition("a", whole, plan("03-18"))]
    cli.pipeline().run(
        [windowed_resource(table, parts=parts, fetch=fetch, journal=Heard(), foresee=foresee) for table in tables]
    )
    assert told[:8] == ["foreseen"] * 8
    assert "foreseen" not in told[8:]
    assert len(told) > 8


def test_without_a_journal_a_failure_ends_the_pipeline(cli: Loaded, tmp_path: Path) -> None:
    """In a pipeline of one's own nothing of that run is loaded."""
    resource = windowed_resource(
        TABLE,
        parts=[Partition("a", only(until="03-14"), plan("03-10"))],
        fetch=lambda ask, window: ask(window),
        journal=Journal(),
    )
    destination = dlt.destinations.duckdb(str(tmp_path / "cli.duckdb"))
    with pytest.raises(PipelineStepFailed, match="tells nothing"):
        dlt.pipeline("vendor", destination=destination, dataset_name="vendor").run(resource)


def test_a_failure_is_told_while_another_table_is_still_asking(cli: Loaded) -> None:
    """In a pipeline of one's own: what went wrong, and not what dlt could not close on its account."""
    failed = Event()

    def fetch(answer: Answer, window: Window) -> FetchResult:
        if answer is whole:
            failed.wait(timeout=60)
            return whole(window)
        raise ServiceUnavailable("down", hint="Wait.")

    parts: dict[str, Partition[Answer]] = {
        "waits": Partition("a", whole, plan("03-19")),
        "fails": Partition("a", only(until="03-14"), plan("03-19")),
    }
    tables = [
        windowed_resource(replace(TABLE, name=name), parts=[part], fetch=fetch, journal=Journal())
        for name, part in parts.items()
    ]
    Timer(4, failed.set).start()  # dlt waits 2 seconds for what is at work
    with pytest.raises(PipelineStepFailed, match="down"):
        cli.pipeline().run(tables)


@pytest.mark.parametrize("first", ["by_product", "by_team"])
def test_whichever_table_is_read_first_the_schema_stays_the_same(cli: Loaded, first: str) -> None:
    """A schema that changed with each run would be stored with each run."""
    read, names = {name: Event() for name in ("by_product", "by_key", "by_team")}, ["by_product", "by_key", "by_team"]

    def load(last_first: bool) -> None:
        for event in read.values():
            event.clear()
        turns = names[::-1] if last_first else names

        def fetch_of(name: str) -> Callable[[Answer, Window], FetchResult]:
            def fetch(answer: Answer, window: Window) -> FetchResult:
                before = turns[turns.index(name) - 1] if name != turns[0] else ""
                assert not before or read[before].wait(timeout=60)
                read[name].set()
                return answer(window)

            return fetch

        parts = [Partition("a", whole, plan("03-19"))]
        tables = [
            windowed_resource(replace(TABLE, name=name), parts=parts, fetch=fetch_of(name), journal=Heard())
            for name in names
        ]
        cli.pipeline().run(tables)

    load(first == "by_team")
    load(first == "by_team")
    stored = cli.rows("select count(*) from vendor._dlt_version")
    load(first != "by_team")
    load(first == "by_team")
    assert cli.rows("select count(*) from vendor._dlt_version") == stored
