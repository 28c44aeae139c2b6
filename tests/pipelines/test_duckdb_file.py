"""The DuckDB file of a run: how it is configured, which names it may have, and who else may have it open."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.duckdb_file import MAX_NAME_BYTES, catalog_of, require_usable_file
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now
from tests.conftest import Cli
from tests.faults.conftest import configure, own_dlt_folder  # noqa: F401 - a fixture
from tests.pipelines.report.marts import fill, mart_rows
from tests.test_project import TOP

LOAD = ("run", "mathpix.ocr_usage_by_app_id", "--no-models")
CREDENTIALS = "DESTINATION__DUCKDB__CREDENTIALS"

USABLE = ("costs.duckdb", "Our costs-é.2026.new.duckdb", "MAIN_db.duckdb", "memory.db", ".costs", "a(b){c}&d~e,f=g.duckdb")
CONFUSING = (
    *("Mathpix.duckdb", "USAGE.duckdb", "usage.2026.duckdb", "usage_staging.db", "mathpix_staging.x", "billing"),
    *("main.duckdb", "Main.2026.duckdb", "temp.duckdb", "SYSTEM.duckdb", "information_schema.duckdb", "pg_catalog.db"),
    *("a'b.duckdb", 'a"b.duckdb', "a#b.duckdb", "a;b.duckdb", "a?b.duckdb", "?.duckdb", "a#b/costs.duckdb"),
)


@pytest.fixture
def cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command, with a configuration that requests two days."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", utc_now().subtract(days=2).to_date_string())
    return cli


@pytest.mark.usefixtures("own_dlt_folder")
@pytest.mark.parametrize(
    "text", ['[destination.duckdb]\ncredentials = "{}"', '[destination.duckdb.credentials]\ndatabase = "{}"']
)
def test_config_toml_may_name_the_file(cli: Cli, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """dlt itself refuses the path there. Environment variables take precedence, `…__DATABASE` included."""
    configure(text.format("costs.duckdb"))
    assert resolve_destination().location == str(cli.folder / "costs.duckdb")
    monkeypatch.setenv(f"{CREDENTIALS}__DATABASE", "others.duckdb")
    assert resolve_destination().location == str(cli.folder / "others.duckdb")
    monkeypatch.setenv(CREDENTIALS, "more.duckdb")
    assert resolve_destination().location == str(cli.folder / "more.duckdb")


@pytest.mark.usefixtures("own_dlt_folder")
def test_the_shipped_example_of_config_toml_works(cli: Cli) -> None:
    """Its example of another file works when its comment marks are removed."""
    _, _, example = (TOP / ".dlt/config.toml").read_text().partition("# [destination.duckdb]\n# ")
    assert example.startswith('credentials = "meterhouse.duckdb"')
    configure("[destination.duckdb]\n" + example.replace("meterhouse", "costs"))
    cli(*LOAD)
    assert (cli.folder / "costs.duckdb").exists()
    assert not cli.database.exists()


@pytest.mark.usefixtures("own_dlt_folder")
def test_other_credentials_in_config_toml_are_refused_with_the_right_file(cli: Cli) -> None:
    """The error shows no value."""
    configure("[destination.postgres]\ncredentials = 'postgresql://u:hunter22@h/d'")
    with pytest.raises(ConfigurationError, match=r"Move \[destination.postgres.credentials\] to .dlt/secrets.toml") as error:
        resolve_destination("postgres")
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize("name", USABLE)
def test_duckdb_and_dbt_find_the_database_in_a_file_with_a_usable_name(tmp_path: Path, name: str) -> None:
    """Both, and this module, derive the same name of the database."""
    file = tmp_path / name
    require_usable_file(file)
    with duckdb.connect(str(file)) as connection:
        ((catalog,),) = connection.execute("select current_database()").fetchall()
    assert catalog.lower() == catalog_of(file)
    assert catalog == DuckDBCredentials.path_derived_database_name(str(file))


@pytest.mark.parametrize("name", CONFUSING)
def test_refuses_a_name_that_duckdb_or_dbt_would_confuse(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before any request, with the reason and a name that works."""
    (cli.folder / name).parent.mkdir(exist_ok=True)
    monkeypatch.setenv(CREDENTIALS, name)
    (line,) = cli(*LOAD, status=2).splitlines()
    assert f"the database file {cli.folder / name} " in line
    assert line.endswith("Use another name, such as meterhouse.duckdb.")
    assert len(sandbox.requests) == 0
    assert not (cli.folder / name).exists()


def test_refuses_a_pipe_and_another_database(cli: Cli) -> None:
    """DuckDB would wait for the one, and download an extension for the other."""
    os.mkfifo(cli.database)
    assert f"the database file {cli.database} is a pipe or a device" in cli(*LOAD, status=2)
    cli.database.unlink()
    sqlite3.connect(cli.database).execute("create table a (b)").connection.close()
    assert f"the database file {cli.database} is an SQLite database" in cli("status", status=2)


@pytest.mark.thorough
def test_every_command_works_on_a_file_with_an_unusual_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with models, a query, the status, and the history of runs."""
    monkeypatch.setenv(CREDENTIALS, USABLE[1])
    cli("run", "mathpix.ocr_usage_by_app_id", "--tests", "none")
    assert "0 failed" in cli.output
    assert "fresh     1 of 1 tables" in cli("status")
    assert cli("query", "select count(*) > 0 from mathpix.ocr_usage_by_app_id", "--csv").splitlines()[-1] == "True"
    assert cli("query", "select count(*) from meterhouse.runs where resource <> 'run'", "--csv").splitlines()[-1] == "2"


def test_the_history_of_runs_is_in_a_file_that_is_called_meterhouse_and_more(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB calls the database `meterhouse`, as in meterhouse.duckdb."""
    monkeypatch.setenv(CREDENTIALS, "meterhouse.2026.duckdb")
    assert "WARNING" not in cli(*LOAD)
    assert cli("query", "select count(*) from meterhouse.runs where resource <> 'run'", "--csv").splitlines()[-1] == "1"


LEAVE_WAL = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("pragma disable_checkpoint_on_shutdown")
connection.execute("create table left_behind (a int)")
os._exit(0)
"""


def leave_wal(file: Path) -> None:
    """Changes a database in a process that dies before it writes its changes from the WAL to the file."""
    subprocess.run([sys.executable, "-c", LEAVE_WAL, file], check=True)
    assert file.with_name(f"{file.name}.wal").stat().st_size


def test_the_error_names_the_wal_of_another_file(cli: Cli) -> None:
    """The error names the file to move away; without it, every command works."""
    cli(*LOAD)
    other = cli.folder / "other.duckdb"
    leave_wal(other)
    wal = cli.folder / "meterhouse.duckdb.wal"
    other.with_name("other.duckdb.wal").replace(wal)
    for command in (LOAD, ("query", "select 1"), ("check",)):
        (line,) = [line for line in cli(*command, status=1).splitlines() if line.startswith("meterhouse:")]
        assert f"{wal} belongs to another database file" in line
        assert f"move {wal} away" in line
    wal.rename(cli.folder / "away")
    cli(*LOAD)


HOLD = """
import duckdb, sys
from meterhouse.pipelines.warehouse.resolve import resolve_destination
destination = resolve_destination()
blocks = {
    "reads": lambda: duckdb.connect(destination.location, read_only=True),
    "writes": lambda: duckdb.connect(destination.location),
    "runs": destination.exclusive_run,
}
with blocks[sys.argv[1]]():
    print("in", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(what: str) -> Iterator[subprocess.Popen[str]]:
    """A process that reads or writes the database, or is a run, until its stdin is closed or the block ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        process.stdout.readline()
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


READ_IN_A_LOOP = """
import duckdb, select, sys, time
from meterhouse.pipelines.warehouse.resolve import resolve_destination
reads, own = 0, resolve_destination(read_only=True)
print("started", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    with own.reader() as reader:  # as meterhouse query does
        reader.tuples("select count(*) from mathpix.ocr_usage_by_app_id")
        time.sleep(0.05)
    try:
        with duckdb.connect(own.location, read_only=True) as tool:  # a BI tool, which does not wait
            tool.execute("select count(*) from mathpix.ocr_usage_by_app_id").fetchall()
            time.sleep(0.1)
    except duckdb.IOException:
        pass
    reads += 1
print(reads, flush=True)
"""


@pytest.mark.thorough
def test_runs_and_readers_in_a_loop_do_not_fail_each_other(cli: Cli, sandbox: Sandbox, record_property: Any) -> None:
    """A reader that has the file open most of the time, beside twenty runs: all of them succeed, and so do its reads."""
    cli(*LOAD)
    reader = subprocess.Popen(
        [sys.executable, "-c", READ_IN_A_LOOP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout
    reader.stdout.readline()
    for _ in range(20):
        cli(*LOAD, "--since", utc_now().subtract(days=1).to_date_string())
    reads, errors = reader.communicate("stop")
    assert errors == ""
    assert int(reads) >= 10
    record_property("reads beside 20 runs", reads.strip())
    assert cli.rows("select count(distinct run_id) from runs") == [(21,)]


@pytest.mark.parametrize("what", ["reads", pytest.param("writes", marks=pytest.mark.thorough)])
def test_a_run_waits_for_a_process_that_has_the_file_open(cli: Cli, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """It announces the wait, and goes on when the other has closed the file."""
    monkeypatch.setattr("meterhouse.pipelines.warehouse.duckdb_file.ANNOUNCE_AFTER", timedelta(0))
    cli(*LOAD)
    with another_process(what) as other:
        assert other.stdin
        threading.Timer(0.5, other.stdin.close).start()
        assert f"waiting for another process that uses {cli.database}" in cli(*LOAD)


def test_commands_that_read_wait_for_a_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has the file open for writing only for moments, so that a minute suffices."""
    monkeypatch.setattr("meterhouse.pipelines.warehouse.duckdb_file.ANNOUNCE_AFTER", timedelta(0))
    cli(*LOAD)
    with another_process("writes") as other:
        assert other.stdin
        threading.Timer(0.5, other.stdin.close).start()
        output = cli("query", "select 'read'", "--csv")
    assert f"waiting for another process that uses {cli.database}" in output
    assert output.splitlines()[-1] == "read"


def test_a_run_that_waits_in_vain_names_the_other_process(cli: Cli, sandbox: Sandbox) -> None:
    """The error says how to read beside runs. `--wait` says how long, and no request is sent."""
    cli(*LOAD)
    sandbox.requests.clear()
    with another_process("reads") as other:
        *_, line = cli(*LOAD, "--wait", "PT0.1S", status=1).splitlines()
    assert f"another process has {cli.database} open (python" in line
    assert f"pid {other.pid}). Close it, then run again; BI tools can read a copy instead: meterhouse publish FILE" in line
    assert len(sandbox.requests) == 0


def test_publishes_a_copy_that_replaces_the_last_one_in_one_step(cli: Cli, tmp_path: Path) -> None:
    """It has every table and the rows of a WAL, is read-only, and leaves a reader of the last copy alone."""
    copy = tmp_path / "published.duckdb"
    cli(*LOAD)
    leave_wal(cli.database)
    cli("publish", str(copy))
    assert [file.name for file in tmp_path.iterdir()] == [copy.name]
    assert copy.stat().st_mode & 0o222 == 0
    tables = "select schema_name, table_name, estimated_size from duckdb_tables() order by all"
    with duckdb.connect(str(copy), read_only=True) as reader:
        assert reader.execute(tables).fetchall() == cli.rows(tables)
        assert reader.execute("select count(*) from left_behind").fetchall() == [(0,)]
        assert reader.execute("select count(*) from meterhouse.runs where resource <> 'run'").fetchall() == [(1,)]
    with duckdb.connect(str(copy), read_only=True) as old:
        cli(*LOAD)
        cli("publish", str(copy))
        assert old.execute("select count(*) from meterhouse.runs where resource <> 'run'").fetchall() == [(1,)]
    with duckdb.connect(str(copy), read_only=True) as new:
        assert new.execute("select count(*) from meterhouse.runs where resource <> 'run'").fetchall() == [(2,)]


def test_a_failed_publish_keeps_the_last_copy(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for example; no temporary file is left."""
    copy = tmp_path / "published.duckdb"
    cli(*LOAD)
    leave_wal(cli.database)
    copy.write_text("the last copy")

    def disk_is_full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        if not target.name.endswith(".wal"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", disk_is_full)
    assert f"{copy} cannot be written (No space left on device)" in cli("publish", str(copy), status=1)
    assert [file.name for file in tmp_path.iterdir()] == [copy.name]
    assert copy.read_text() == "the last copy"


def test_publish_refuses_what_cannot_be_a_copy(cli: Cli, tmp_path: Path) -> None:
    """The database itself under another name, names that DuckDB would confuse, a WAL of another file, no database."""
    copy = tmp_path / "published.duckdb"
    assert "there is no database" in cli("publish", str(copy), status=1)
    cli(*LOAD)
    copy.symlink_to(cli.database)
    assert "belongs to the database" in cli("publish", str(copy), status=2)
    copy.unlink()
    for name in ("usage.duckdb", "main.duckdb"):
        assert "Use another name" in cli("publish", str(tmp_path / name), status=2)
    for name in ("missing/published.duckdb", "."):
        assert "cannot be written. Name a file in a folder that exists" in cli("publish", str(tmp_path / name), status=2)
    (tmp_path / "published.duckdb.wal").touch()
    assert f"move {copy}.wal away" in cli("publish", str(copy), status=2)
    assert not copy.exists()


@pytest.mark.thorough
def test_publish_waits_for_a_run_between_whose_loads_the_file_is_closed(cli: Cli, tmp_path: Path) -> None:
    """Half of a run is in no copy."""
    cli(*LOAD)
    publish = ("publish", str(tmp_path / "published.duckdb"))
    with another_process("runs"):
        assert "another run is using" in cli(*publish, "--wait", "PT0.1S", status=1)
    cli(*publish)


def test_publish_copies_duckdb_files_only(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other destinations are refused by name."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(cli.folder / "lake"))
    output = cli("publish", "published.duckdb", "--destination", "filesystem", status=2)
    assert "meterhouse publish cannot copy filesystem" in output


IN_ONE_PROCESS = """
import sys
from typer.testing import CliRunner
from meterhouse.pipelines.cli import app
for command in (["status"], ["query", "select 'read'"], ["report", "-o", sys.argv[1]], ["run", "--no-models"], ["check"]):
    result = CliRunner().invoke(app, command)
    print(result.exit_code, command[0], result.output)
"""


@pytest.mark.thorough
def test_commands_read_a_database_that_may_only_be_read(cli: Cli, tmp_path: Path) -> None:
    """Neither the file nor its folder is writable, as for a user who may only read; a run is refused with the reason."""
    fill(cli.database, **mart_rows({"mathpix": ["default"]}, days=2))
    folder = tmp_path / "protected"
    folder.mkdir()
    file = folder / "costs.duckdb"
    shutil.copyfile(cli.database, file)
    file.chmod(0o444)
    folder.chmod(0o555)
    report = tmp_path / "report.html"
    # The superuser may write everything, except without this capability.
    as_user = [] if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    finished = subprocess.run(
        [*as_user, sys.executable, "-c", IN_ONE_PROCESS, report],
        env=os.environ | {CREDENTIALS: str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.findall(r"^(\d) (\w+) ", finished.stdout, re.MULTILINE) == [
        ("0", "status"),
        ("0", "query"),
        ("0", "report"),
        ("2", "run"),
        ("2", "check"),
    ], finished.stdout + finished.stderr
    assert f"the database file {file} is read-only" in finished.stdout
    assert report.stat().st_size
    assert [path.name for path in folder.iterdir()] == [file.name]


@pytest.mark.parametrize("sql", ["", " ", ";", "/* nothing */"])
def test_a_query_without_a_result_is_refused(cli: Cli, sql: str) -> None:
    """In one line, as table, CSV and JSON."""
    fill(cli.database)
    for form in ((), ("--csv",), ("--json",)):
        assert "this is not a single query. Write one select" in cli("query", sql, *form, status=2)


@pytest.mark.thorough
def test_file_names_may_have_255_bytes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer name is refused before anything is read; the temporary file needs no longer name."""
    fill(cli.database, **mart_rows({"mathpix": ["default"]}, days=2))
    for command, ending in ((["report", "-o"], ".html"), (["export", "focus"], ".csv"), (["publish"], ".duckdb")):
        (line,) = cli(*command, "é" * 150 + ending, status=2).splitlines()
        assert "… cannot be written (File name too long). Name another file." in line
    for command, ending, most in ((["report", "-o"], ".html", 255), (["publish"], ".duckdb", MAX_NAME_BYTES)):
        name = "n" * (most - len(ending)) + ending
        cli(*command, name)
        assert Path(name).stat().st_size
    monkeypatch.setenv(CREDENTIALS, "n" * 251)
    assert f"… has a name of more than {MAX_NAME_BYTES} bytes. Use another name" in cli("status", status=2)
