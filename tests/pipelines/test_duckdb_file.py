"""The DuckDB file of a run: how it is configured, which names it may have, and who else may have it open."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.duckdb import catalog_of, require_usable_name
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.windows import utc_now
from tests.conftest import Cli
from tests.faults.conftest import configure, own_dlt_folder  # noqa: F401 - a fixture
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
    """dlt itself refuses the path there. The environment wins, and so does its setting of the path alone."""
    configure(text.format("costs.duckdb"))
    assert resolve_destination().location == str(cli.folder / "costs.duckdb")
    monkeypatch.setenv(f"{CREDENTIALS}__DATABASE", "others.duckdb")
    assert resolve_destination().location == str(cli.folder / "others.duckdb")
    monkeypatch.setenv(CREDENTIALS, "more.duckdb")
    assert resolve_destination().location == str(cli.folder / "more.duckdb")


@pytest.mark.usefixtures("own_dlt_folder")
def test_the_shipped_config_toml_is_true(cli: Cli) -> None:
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
    require_usable_name(file)
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
    assert line.endswith("Another name works, such as meterhouse.duckdb.")
    assert len(sandbox.requests) == 0
    assert not (cli.folder / name).exists()


@pytest.mark.thorough
def test_every_command_works_on_a_file_with_an_unusual_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with models, a query, the status, and the history of runs."""
    monkeypatch.setenv(CREDENTIALS, USABLE[1])
    cli("run", "mathpix.ocr_usage_by_app_id", "--tests", "none")
    assert "0 failed" in cli.output
    assert USABLE[1] in cli("status")
    assert cli("query", "select count(*) > 0 from mathpix.ocr_usage_by_app_id", "--csv").splitlines()[-1] == "True"
    assert cli("query", "select count(*) from meterhouse.runs", "--csv").splitlines()[-1] == "2"


def test_the_history_of_runs_is_in_a_file_that_is_called_meterhouse_and_more(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB calls the database `meterhouse`, as in meterhouse.duckdb."""
    monkeypatch.setenv(CREDENTIALS, "meterhouse.2026.duckdb")
    assert "WARNING" not in cli(*LOAD)
    assert cli("query", "select count(*) from meterhouse.runs", "--csv").splitlines()[-1] == "1"


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


def test_a_restored_file_beside_the_wal_of_another_is_told(cli: Cli) -> None:
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
