"""After a run that is killed, interrupted or out of disk space, the next run leaves no row lost or doubled."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.run.freshness import fetched
from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.scopix import Event
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from tests.conftest import Cli
from tests.faults.conftest import LOAD, START, TODAY, Start, require_complete
from tests.pipelines.transform.warehouse import MARTS
from tests.providers import DESCRIPTIONS

ALL = tuple(DESCRIPTIONS)
TWO = ALL[:2]
FIRST = DESCRIPTIONS[TWO[0]]


@pytest.fixture
def providers() -> tuple[str, ...]:
    return TWO


STEPS_OF_A_FIRST_RUN, STEPS_OF_A_LATER_RUN = 108, 73


STEPS_OF_A_LOAD = range(30, 40)
"""The steps of a later run of one provider in which dlt writes to the database."""


def last_fetched(provider: str) -> dict[str, datetime]:
    """By table, when it was last fetched, as `check --max-age` and the models know."""
    return {row["resource"]: row["fetched_at"] for row in fetched(resolve_destination(None), provider)}


def restate(sandbox: Sandbox, providers: tuple[str, ...]) -> None:
    """Changes the vendors' past, so that a later run has something to write."""
    for provider in providers:
        DESCRIPTIONS[provider].usage.restate(sandbox, TODAY - timedelta(days=2))


Versions = dict[str, Counter[tuple[object, ...]]]


def versions(cli: Cli, providers: tuple[str, ...]) -> Versions:
    """By table, every version of each row of an ended bucket, from the table and from its history."""
    names, kept = ", ".join(f"'{provider}'" for provider in providers), "superseded_at, superseded_by, is_withdrawn"
    tables = [
        table
        for (table,) in cli.rows(
            "select table_schema || '.' || replace(table_name, '__history', '') from information_schema.tables"
            f" where table_schema in ({names}) and ends_with(table_name, '__history')"
        )
    ]
    rows = cli.rows_of_each(
        f"select * from {table} where is_complete union all by name select * exclude ({kept}) from {table}__history"
        for table in tables
    )
    return dict(zip(tables, map(Counter, rows), strict=True))


def require_each_once(cli: Cli, known: Versions) -> None:
    """No version that was known is lost, and none is both in the table and in its history."""
    now = versions(cli, tuple({table.partition(".")[0] for table in known}))
    for table, rows in known.items():
        assert rows
        assert all(now[table][row] == 1 for row in rows), table


def marts(cli: Cli, schema: str = "usage") -> dict[str, list[tuple[object, ...]]]:
    rows = cli.rows_of_each(f"select * from {schema}.{mart} order by all" for mart in MARTS)
    return dict(zip(MARTS, rows, strict=True))


def outcomes(cli: Cli) -> list[str]:
    """The outcomes of all runs, the earliest first."""
    runs = cli.rows("select outcome from meterhouse.runs where resource = 'run' order by started_at")
    return [outcome for (outcome,) in runs]


@pytest.mark.thorough
def test_a_run_has_as_many_steps_as_the_kill_points_assume(recent_cli: Cli, sandbox: Sandbox, start: Start) -> None:
    """Otherwise the kill at nine tenths would come after the end of the run, or long before it."""
    first = start(*LOAD)
    assert first.wait() == 0
    restate(sandbox, TWO)
    later = start(*LOAD)
    assert later.wait() == 0
    assert first.steps == pytest.approx(STEPS_OF_A_FIRST_RUN, rel=0.1)
    assert later.steps == pytest.approx(STEPS_OF_A_LATER_RUN, rel=0.1)
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "tenth",
    [
        1,  # requests
        3,  # the tables of a provider exist
        5,  # its rows are merged, but its load is not recorded
        7,  # the tables of the next provider exist
        9,  # all rows are loaded, but the run is not recorded
    ],
)
def test_the_next_run_repairs_a_first_run_killed_at_any_point(
    recent_cli: Cli, sandbox: Sandbox, start: Start, tenth: int
) -> None:
    """The kill comes while the run sends requests, creates tables, loads rows, or records itself."""
    assert start(*LOAD, at=STEPS_OF_A_FIRST_RUN * tenth // 10).wait() == -signal.SIGKILL
    recent_cli(*LOAD)
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.parametrize(
    "tenth",
    [
        pytest.param(2, marks=pytest.mark.thorough),  # requests
        4,  # before the rows of a provider
        pytest.param(5, marks=pytest.mark.thorough),  # its rows are staged
        pytest.param(6, marks=pytest.mark.thorough),  # its rows are merged, but its load is not recorded
        pytest.param(7, marks=pytest.mark.thorough),  # a provider is loaded
        pytest.param(8, marks=pytest.mark.thorough),  # the rows of the next one are staged
        pytest.param(9, marks=pytest.mark.thorough),  # all rows are loaded, but the run is not recorded
    ],
)
def test_the_next_run_repairs_a_later_run_killed_at_any_point(
    loaded_cli: Cli, sandbox: Sandbox, start: Start, tenth: int
) -> None:
    """The kill comes while the run sends requests, replaces rows, or records itself; the history of runs shows it."""
    known = versions(loaded_cli, TWO)
    restate(sandbox, TWO)
    assert start(*LOAD, at=1 + STEPS_OF_A_LATER_RUN * tenth // 10).wait() == -signal.SIGKILL
    assert outcomes(loaded_cli)[-1] == "running"
    loaded_cli(*LOAD)
    require_complete(loaded_cli, sandbox, TWO)
    require_each_once(loaded_cli, known)
    assert outcomes(loaded_cli)[-2:] == ["killed", "ok"]


@pytest.mark.thorough
@pytest.mark.parametrize("providers", [TWO[:1]])
def test_kills_at_each_step_of_a_load_change_nothing_that_was_known(
    loaded_cli: Cli, sandbox: Sandbox, start: Start, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten runs are killed, one at each step, and a build as of the moment before them has the marts of that moment.

    After each kill, every replaced row is in its table or in the history of its table. Either no table counts as fetched by
    the killed run, or all rows are there: dlt commits the tables of a load one by one, and the log of fetched windows may be
    the first of them.
    """
    monkeypatch.setenv(f"SOURCES__{providers[0].upper()}__HISTORY", "all")  # today's usage changes, too
    with time_machine.travel(datetime.now(UTC), tick=False):
        moment = datetime.now(UTC)
        loaded_cli("models", "--tests", "none")
    usage, found = marts(loaded_cli), set()
    for step in STEPS_OF_A_LOAD:
        before, known = last_fetched(providers[0]), versions(loaded_cli, providers)
        restate(sandbox, providers)
        assert start(*LOAD, at=step).wait() == -signal.SIGKILL
        require_each_once(loaded_cli, known)
        is_fetched = last_fetched(providers[0]) != before
        if is_fetched:
            require_complete(loaded_cli, sandbox, providers)
        found.add(is_fetched)
    assert found == {False, True}
    loaded_cli("models", "--tests", "none", "--as-of", moment.isoformat())
    usage_as_of = marts(loaded_cli, "usage_as_of")
    assert {mart for mart in MARTS if usage_as_of[mart] != usage[mart]} == set()


@pytest.mark.parametrize("providers", [("scopix",)])
@pytest.mark.thorough
def test_a_first_sync_goes_on_after_its_last_package(
    recent_cli: Cli, sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first sync of a year is killed after two thirds of its requests: the next run requests the last third only."""
    load, year_ago = ("run", "scopix.usage_events", "--no-models"), TODAY - timedelta(days=365)
    monkeypatch.setenv("SOURCES__SCOPIX__INITIAL_DATE", year_ago.date().isoformat())
    monkeypatch.setenv("SOURCES__SCOPIX__REQUESTS_PER_MINUTE", "1000000")
    monkeypatch.setenv("PACKAGE_ROWS", "20")
    sandbox.scopix.usage.set(Event(str(number), year_ago + timedelta(days=number)) for number in range(365))
    sandbox.faults.add(Fault(path="/api/v2/usage/details", after=36, stall=True))
    run = start(*load)
    run.wait_for_request(sandbox, 37)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    sandbox.faults.clear()
    sandbox.requests.clear()
    recent_cli(*load)
    requested_from = datetime.fromisoformat(min(request.query["start_date"][0] for request in sandbox.requests))
    assert timedelta(days=220) < requested_from - year_ago < timedelta(days=250)
    assert len(sandbox.requests) < 25
    assert recent_cli.rows("select count(*), count(distinct id) from scopix.usage_events") == [(365, 365)]


@pytest.mark.parametrize("providers", [ALL])
@pytest.mark.thorough
def test_the_next_run_repairs_a_run_killed_between_two_providers(recent_cli: Cli, sandbox: Sandbox, start: Start) -> None:
    """A provider that never responds delays no other one; those loaded before the kill stay, and the last one follows."""
    *_, last = DESCRIPTIONS.values()
    sandbox.faults.add(Fault(path=last.prefix, stall=True))
    run = start(*LOAD, action="announce-loads")
    run.wait_for_step(len(ALL) - 1)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    sandbox.faults.clear()
    recent_cli(*LOAD)
    require_complete(recent_cli, sandbox, ALL)


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("load", signal.SIGTERM),
        pytest.param("extract", signal.SIGINT, marks=pytest.mark.thorough),
        pytest.param("extract", signal.SIGTERM, marks=pytest.mark.thorough),
        pytest.param("load", signal.SIGINT, marks=pytest.mark.thorough),
    ],
)
def test_a_signal_ends_a_run_within_two_seconds(
    recent_cli: Cli, sandbox: Sandbox, start: Start, phase: str, number: signal.Signals
) -> None:
    """While a provider sends nothing, and while DuckDB is busy: one line, status 130 or 143; the next run is complete."""
    if phase == "extract":
        sandbox.faults.add(Fault(path=FIRST.prefix, stall=True))
        run = start(*LOAD)
        run.wait_for_request(sandbox)
    else:
        run = start(*LOAD, at=STEPS_OF_A_FIRST_RUN * 7 // 10, action="hang")
        run.wait_for_step()
    signalled = time.monotonic()
    run.send_signal(number)
    assert run.wait() == 128 + number
    assert time.monotonic() - signalled < 2
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert run.stderr == f"meterhouse: {word}; loaded data stays, and the next run continues from there\n"
    sandbox.faults.clear()
    recent_cli(*LOAD)
    require_complete(recent_cli, sandbox, TWO)


def test_a_signal_during_start_up_ends_the_run() -> None:
    """Also while Python imports the program, with --json too."""
    run = subprocess.Popen([sys.executable, "-m", "meterhouse.pipelines.cli", "run", "--json"])
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) in {143, -signal.SIGTERM}


@pytest.mark.parametrize("providers", [TWO[:1]])
@pytest.mark.parametrize("size", [pytest.param(4096, marks=pytest.mark.thorough), 8192])
def test_a_database_file_cut_in_its_headers_is_replaced(recent_cli: Cli, sandbox: Sandbox, size: int) -> None:
    """A full disk or a kill can leave a new file with incomplete headers; such a file holds no rows."""
    duckdb.connect(str(recent_cli.database)).close()
    os.truncate(recent_cli.database, size)
    recent_cli(*LOAD)
    require_complete(recent_cli, sandbox, TWO[:1])


def test_a_short_file_that_is_not_a_database_stays(recent_cli: Cli) -> None:
    """A wrong path is an error, and the file there is left alone."""
    recent_cli.database.write_text("a short note")
    recent_cli(*LOAD, status=1)
    assert recent_cli.database.read_text() == "a short note"


@pytest.mark.thorough
@pytest.mark.parametrize("room", ["16k", "300k", "3m"])
def test_a_full_disk_is_reported_and_the_next_run_repairs_it(
    recent_cli: Cli, sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    """Status 1 and one line, whether tables or rows no longer fit; with free space again, the next run is complete.

    Near the end, only the run history may be left to write: then a warning, status 0, and every row is there.
    """
    disk = recent_cli.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return  # only root can mount a small disk; the tests above show what can be shown without one
    try:
        recent_cli.database = disk / "meterhouse.duckdb"
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(recent_cli.database))
        run = start(*LOAD)
        status = run.wait()
        assert status == 1 or (status == 0 and room == "3m")
        assert ("FAILED" if status else "WARNING") in run.stderr
        assert "No space left on device" in run.stderr
        if status == 0:
            require_complete(recent_cli, sandbox, TWO)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        recent_cli(*LOAD)
        require_complete(recent_cli, sandbox, TWO)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_second_run_at_the_same_time_is_refused(recent_cli: Cli, sandbox: Sandbox, start: Start) -> None:
    """It fails with one line and status 1 before any request. The first run continues; after it, a new run succeeds."""
    first, second = TWO
    sandbox.faults.add(Fault(path=FIRST.prefix, times=1, delay=2))
    run = start("run", first, "--no-models")
    run.wait_for_request(sandbox)
    recent_cli("run", second, "--no-models", status=1)
    assert "another run is using" in recent_cli.output
    assert not [request for request in sandbox.requests if request.path.startswith(DESCRIPTIONS[second].prefix)]
    assert run.wait() == 0
    recent_cli("run", second, "--no-models")
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["link.duckdb", "folder/../meterhouse.duckdb"])
def test_locks_a_file_through_links_and_relative_paths(
    recent_cli: Cli, sandbox: Sandbox, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A run under another name of the file and with another dlt data folder is refused, or waits with `--wait`."""
    first, second = TWO
    sandbox.faults.add(Fault(path=FIRST.prefix, times=1, delay=2))
    run = start("run", first, "--no-models")
    run.wait_for_request(sandbox)
    Path("folder").mkdir(exist_ok=True)
    if name.startswith("link"):
        Path(name).symlink_to(recent_cli.database)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", name)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "elsewhere"))
    recent_cli("run", second, "--no-models", status=1)
    assert "another run is using" in recent_cli.output
    assert "waiting for another process" in recent_cli("run", second, "--no-models", "--wait", "2m")
    assert run.wait() == 0
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("broken", "options"),
    [(("stdout",), ()), (("stdout",), ("--json",)), (("stderr",), ("--log-format", "json")), (("stdout", "stderr"), ())],
)
def test_output_that_cannot_be_written_does_not_stop_a_run(
    recent_cli: Cli, sandbox: Sandbox, start: Start, broken: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """On a full disk, the rows are loaded, the exit status is 0, and the other stream has a warning."""
    run = start(*LOAD, *options, full=broken)
    assert run.wait() == 0
    if len(broken) == 1 and "--log-format" not in options:
        assert "WARNING  <stdout> cannot be written (No space left on device); the command goes on" in run.stderr
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.thorough
def test_a_run_outlives_the_reader_of_its_output(recent_cli: Cli, sandbox: Sandbox) -> None:
    """As with `meterhouse run | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "meterhouse.pipelines.cli", *LOAD]
    run = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert run.returncode == 0
    assert "cannot be written (Broken pipe)" in run.stderr
    require_complete(recent_cli, sandbox, TWO)


@pytest.mark.thorough
def test_a_working_directory_removed_during_a_run(
    loaded_cli: Cli, sandbox: Sandbox, start: Start, dlt_data_dir: Path
) -> None:
    """The exit status says whether every row was loaded, and the next run is complete."""
    restate(sandbox, TWO)
    sandbox.faults.add(Fault(path=FIRST.prefix, times=1, delay=1))
    run = start(*LOAD)
    run.wait_for_request(sandbox)
    gone = dlt_data_dir.with_suffix(".gone")
    dlt_data_dir.rename(gone)  # atomic, unlike a removal of files that the run writes
    status = run.wait()
    shutil.rmtree(gone)
    assert status in {0, 1}
    if status == 0:
        require_complete(loaded_cli, sandbox, TWO)
    loaded_cli(*LOAD)
    require_complete(loaded_cli, sandbox, TWO)


@pytest.mark.thorough
@pytest.mark.parametrize("providers", [TWO[:1]])
def test_the_next_run_repairs_lost_state(loaded_cli: Cli, sandbox: Sandbox, dlt_data_dir: Path) -> None:
    """With any of dlt's own tables empty, and the working directory lost or kept, the run requests everything again."""
    for lost, directory_too in (
        ("_dlt_pipeline_state", False),
        ("_dlt_pipeline_state", True),
        ("_dlt_loads", False),
        ("_dlt_version", True),
    ):
        with duckdb.connect(str(loaded_cli.database)) as connection:
            connection.execute(f"delete from {FIRST.name}.{lost}")
        if directory_too:
            shutil.rmtree(dlt_data_dir)
        restate(sandbox, TWO[:1])
        loaded_cli(*LOAD)
        require_complete(loaded_cli, sandbox, TWO[:1])


@pytest.mark.thorough
def test_the_next_run_repairs_a_run_ended_in_dbt(loaded_cli: Cli, sandbox: Sandbox, start: Start) -> None:
    """After SIGINT and `kill -9` among the models: the exit status is right, and the next build has the loaded sums."""
    for number, at in ((signal.SIGINT, 5), (signal.SIGKILL, 40)):
        run = start("models", at=at, action="announce")
        run.wait_for_step()
        signalled = time.monotonic()
        run.send_signal(number)
        assert run.wait() == (128 + number if number == signal.SIGINT else -number)
        assert time.monotonic() - signalled < 2
        assert "FAILED" not in run.stderr
    loaded_cli("models", "--tests", "none")
    require_complete(loaded_cli, sandbox, TWO)
    start_date, today = START.date().isoformat(), TODAY.date().isoformat()
    total = "select sum(quantity) from usage.usage_daily"
    days = f"date >= '{start_date}' and date < '{today}'"
    assert loaded_cli.rows(f"{total} where provider = '{FIRST.name}' and {days}") == [
        (FIRST.daily_sums[0].expected(sandbox, start_date, today),)
    ]
    left = "select table_name from information_schema.tables where table_schema = 'usage' and contains(table_name, '__dbt_')"
    assert loaded_cli.rows(left) == []
