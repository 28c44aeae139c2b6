"""A run that dies, is stopped or finds no room: the next one has lost nothing and doubled nothing."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.faults.conftest import LOAD, START, TODAY, Started, require_whole

Start = Callable[..., Started]
TWO = ("mathpix", "reducto")
ALL = ("mathpix", "reducto", "onepin", "scopix")


@pytest.fixture
def providers() -> tuple[str, ...]:
    return TWO


STEPS_OF_A_FIRST_RUN, STEPS_OF_A_LATER_RUN = 94, 56


def restated(sandbox: Sandbox) -> None:
    """The vendors change their minds, so that a later run has something to write."""
    day = (TODAY - timedelta(days=2)).date().isoformat()
    sandbox.mathpix.usage.restate(day, factor=2)
    sandbox.reducto.usage.restate(day, factor=2)
    gone = (TODAY - timedelta(days=1)).date().isoformat()
    sandbox.mathpix.usage.vanish(gone, usage_type="pdf-page")


@pytest.mark.thorough
def test_the_steps_of_a_run_are_about_as_many_as_the_tenths_assume(few_days: Cli, sandbox: Sandbox, start: Start) -> None:
    """Else a kill at nine tenths would be of a run that is over, or nowhere near its end."""
    first = start(*LOAD)
    assert first.end() == 0
    restated(sandbox)
    later = start(*LOAD)
    assert later.end() == 0
    assert first.steps == pytest.approx(STEPS_OF_A_FIRST_RUN, rel=0.1)
    assert later.steps == pytest.approx(STEPS_OF_A_LATER_RUN, rel=0.1)
    require_whole(few_days, sandbox, TWO)


@pytest.mark.parametrize("tenth", [pytest.param(n, marks=() if n == 6 else pytest.mark.thorough) for n in range(10)])
def test_a_run_killed_at_any_tenth_is_repaired_by_the_next(
    few_days: Cli, sandbox: Sandbox, start: Start, tenth: int
) -> None:
    """The first run, which makes the tables (at every other tenth), and a later one, which changes and deletes rows."""
    if tenth % 2:
        assert start(*LOAD, at=STEPS_OF_A_FIRST_RUN * tenth // 10).end() == -signal.SIGKILL
    few_days(*LOAD)
    require_whole(few_days, sandbox, TWO)
    restated(sandbox)
    assert start(*LOAD, at=1 + STEPS_OF_A_LATER_RUN * tenth // 10).end() == -signal.SIGKILL
    few_days(*LOAD)
    require_whole(few_days, sandbox, TWO)


@pytest.mark.parametrize("providers", [ALL])
@pytest.mark.thorough
def test_a_run_killed_between_two_providers_is_repaired_by_the_next(few_days: Cli, sandbox: Sandbox, start: Start) -> None:
    """Those that were loaded stay as they are, the others come; the one that never answered kept nobody waiting."""
    sandbox.faults.add(Fault(path="/api/v2", stall=True))  # Scopix
    run = start(*LOAD, action="loads")
    for _ in range(3):
        run.until_here()
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    sandbox.faults.clear()
    few_days(*LOAD)
    require_whole(few_days, sandbox, ALL)


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("extract", signal.SIGINT),
        ("load", signal.SIGTERM),
        pytest.param("extract", signal.SIGTERM, marks=pytest.mark.thorough),
        pytest.param("load", signal.SIGINT, marks=pytest.mark.thorough),
    ],
)
def test_a_signal_ends_a_run_within_two_seconds(
    few_days: Cli, sandbox: Sandbox, start: Start, phase: str, number: signal.Signals
) -> None:
    """While a provider is silent, and while DuckDB is busy: one line, status 130 or 143; the next run is whole at once."""
    if phase == "extract":
        sandbox.faults.add(Fault(path="/v3", stall=True))
        run = start(*LOAD)
        run.until_asking(sandbox)
    else:
        run = start(*LOAD, at=STEPS_OF_A_FIRST_RUN * 7 // 10, action="stick")
        run.until_here()
    signalled = time.monotonic()
    run.process.send_signal(number)
    assert run.end() == 128 + number
    assert time.monotonic() - signalled < 2
    what = "interrupted" if number == signal.SIGINT else "terminated"
    assert run.complained == f"meterhouse: {what}; what was loaded stays, and the next run goes on from there\n"
    sandbox.faults.clear()
    few_days(*LOAD)
    require_whole(few_days, sandbox, TWO)


def test_a_signal_before_anything_has_begun(start: Start) -> None:
    """Also while the program is still being read; with --json, the object says so."""
    run = start("run", "--json", at=0)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() in {143, -signal.SIGTERM}


@pytest.mark.parametrize("size", [pytest.param(4096, marks=pytest.mark.thorough), 8192])
def test_a_database_that_could_not_even_be_begun(few_days: Cli, sandbox: Sandbox, size: int) -> None:
    """What a full disk or a kill leaves of a new file's headers holds nothing, and is in nobody's way."""
    duckdb.connect(str(few_days.database)).close()
    os.truncate(few_days.database, size)
    few_days(*LOAD)
    require_whole(few_days, sandbox, TWO)


def test_a_short_file_that_is_no_database_stays(few_days: Cli) -> None:
    """A wrong path is an error, and not a file less."""
    few_days.database.write_text("a short note")
    few_days(*LOAD, status=1)
    assert few_days.database.read_text() == "a short note"


@pytest.mark.thorough
@pytest.mark.parametrize("room", ["16k", "150k", "300k", "3m"])
def test_a_full_disk_is_told_and_repaired(
    few_days: Cli, sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    """When making the tables and amid the load: status 1 and a line; with room again, all is there.

    Near the end it may be that only what the run did is left to be written: then a warning, status 0, and all is there.
    """
    disk = few_days.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return  # only the superuser has disks to fill; what can be tried without is tried above
    try:
        few_days.database = disk / "meterhouse.duckdb"
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(few_days.database))
        run = start(*LOAD)
        status = run.end()
        assert status == 1 or (status == 0 and room == "3m")
        assert ("FAILED" if status else "WARNING") in run.complained
        assert "No space left on device" in run.complained
        if status == 0:
            require_whole(few_days, sandbox, TWO)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        few_days(*LOAD)
        require_whole(few_days, sandbox, TWO)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_second_run_at_the_same_time_does_no_harm(few_days: Cli, sandbox: Sandbox, start: Start) -> None:
    """It ends in one line and status 1; the first one goes on and is whole."""
    sandbox.faults.add(Fault(path="/v3", times=1, delay=3))
    first = start(*LOAD)
    first.until_asking(sandbox)
    few_days(*LOAD, status=1)
    assert "another run is at work" in few_days.output
    assert first.end() == 0
    require_whole(few_days, sandbox, TWO)


@pytest.mark.thorough
def test_a_working_directory_that_is_lost_meanwhile(
    few_days: Cli, sandbox: Sandbox, start: Start, own_dlt_data_dir: Path
) -> None:
    """Whoever clears it while a run is at work: the status tells whether all was loaded, and the next run is whole."""
    few_days(*LOAD)
    restated(sandbox)
    sandbox.faults.add(Fault(path="/v3", times=1, delay=1))
    sandbox.requests.clear()
    run = start(*LOAD)
    run.until_asking(sandbox)
    own_dlt_data_dir.rename(own_dlt_data_dir.with_suffix(".gone"))  # at once, as no rmtree is that the run writes into
    status = run.end()
    assert status in {0, 1}
    if status == 0:
        require_whole(few_days, sandbox, TWO)
    few_days(*LOAD)
    require_whole(few_days, sandbox, TWO)


@pytest.mark.thorough
def test_a_lost_state_is_repaired(few_days: Cli, sandbox: Sandbox, own_dlt_data_dir: Path) -> None:
    """Each of dlt's own tables emptied, with the working directory lost too or not: all is asked for again."""
    few_days(*LOAD)
    for lost, directory_too in (
        ("_dlt_pipeline_state", False),
        ("_dlt_pipeline_state", True),
        ("_dlt_loads", False),
        ("_dlt_version", True),
    ):
        with duckdb.connect(str(few_days.database)) as connection:
            for provider in TWO:
                connection.execute(f"delete from {provider}.{lost}")
        if directory_too:
            shutil.rmtree(own_dlt_data_dir)
        restated(sandbox)
        few_days(*LOAD)
        require_whole(few_days, sandbox, TWO)


@pytest.mark.thorough
def test_a_run_stopped_or_killed_in_dbt_is_repaired_by_the_next(few_days: Cli, sandbox: Sandbox, start: Start) -> None:
    """Slow, because dbt takes its seconds each time: the models say what is loaded, and the status what happened."""
    few_days(*LOAD)
    for number, at in ((signal.SIGINT, 5), (signal.SIGKILL, 40)):
        run = start("models", at=at, action="tell")
        run.until_here()
        signalled = time.monotonic()
        run.process.send_signal(number)
        assert run.end() == (128 + number if number == signal.SIGINT else -number)
        assert time.monotonic() - signalled < 2
        assert "FAILED" not in run.complained
    few_days("models")
    require_whole(few_days, sandbox, TWO)
    days = f"date >= '{START.date()}' and date < '{TODAY.date()}'"
    assert few_days.rows(f"select sum(quantity) from usage.usage_daily where provider = 'mathpix' and {days}") == [
        (sandbox.mathpix.usage.total(START, TODAY),)
    ]
    left = "select table_name from information_schema.tables where table_schema = 'usage' and contains(table_name, '__dbt_')"
    assert few_days.rows(left) == []
