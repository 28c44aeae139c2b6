"""Delta tables in a folder: they hold what DuckDB holds, and a window replaces a window."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine
from deltalake import DeltaTable
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.destinations.impl.filesystem.filesystem import DeltaLoadFilesystemJob

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse import resolve
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)

Tables = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture
def lake(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of dlt's filesystem destination; billing fees are configured, too."""
    folder = cli.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", folder.as_uri())
    shutil.copy(TOP / "sources/billing/templates/fees.csv", cli.folder)
    monkeypatch.setenv("SOURCES__BILLING__FEES", "fees.csv")
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-03-12")
    return folder


SCHEMAS = (*PROVIDERS, "billing")
OF_THE_RUN = {"load_id", "run_id", "superseded_by"}


def in_duckdb(cli: Cli) -> Tables:
    """Every row of every raw table, without the tables and columns that dlt adds, and without ids of runs."""
    with duckdb.connect(str(cli.database), read_only=True) as connection:
        tables = connection.sql("select table_schema, table_name from information_schema.tables").fetchall()
        named = [(schema, table) for schema, table in tables if schema in SCHEMAS and not table.startswith("_dlt")]
        return {f"{schema}.{table}": _in_order(connection.sql(f"from {schema}.{table}")) for schema, table in named}


def in_delta(lake: Path) -> Tables:
    """Every row of every Delta table in a folder, without the columns that dlt adds."""
    tables = {}
    for log in (log for schema in SCHEMAS for log in lake.glob(f"{schema}/*/_delta_log")):
        rows = DeltaTable(log.parent).to_pyarrow_table()
        tables[f"{log.parent.parent.name}.{log.parent.name}"] = _in_order(duckdb.from_arrow(rows))
    return tables


def of_usage(tables: Tables) -> Tables:
    """The tables without `fetched_windows`, which grows with every run."""
    return {table: rows for table, rows in tables.items() if not table.endswith("fetched_windows")}


def _in_order(relation: Any) -> list[tuple[Any, ...]]:
    columns = ", ".join(
        f'"{name}"' for name in sorted(relation.columns) if not name.startswith("_dlt") and name not in OF_THE_RUN
    )
    return sorted(relation.query("unordered", f"select {columns} from unordered").fetchall(), key=repr)


def test_delta_tables_equal_duckdb_tables(cli: Cli, sandbox: Sandbox, lake: Path) -> None:
    """They are equal after a first run, after a run without news, and after vendors restated and withdrew usage."""

    def load_both() -> tuple[Tables, Tables]:
        cli("run", "--no-models")
        cli("run", "--no-models", "--destination", "filesystem")
        return in_duckdb(cli), in_delta(lake)

    with time_machine.travel(NOW, tick=False):
        first, same = load_both()
        assert same.keys() == first.keys()
        assert same == first
        cli("run", "--no-models", "--destination", "filesystem")
        assert of_usage(in_delta(lake)) == of_usage(first)
    sandbox.reducto.usage.restate("2026-03-15", factor=3)
    sandbox.reducto.usage.withdraw("2026-03-16")
    sandbox.onepin.usage.withdraw("2026-03-18")
    sandbox.scopix.usage.withdraw("2026-03-18", operation_type="chat")
    (cli.folder / "fees.csv").write_text((cli.folder / "fees.csv").read_text().replace("350", "375"))
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        then, same = load_both()
        assert of_usage(same) == of_usage(then)
    changed = {table for table in first if then[table] != first[table]}
    assert {"reducto.usage_by_product", "onepin.usage_daily", "scopix.usage_events", "billing.fees"} <= changed
    assert {"reducto.usage_by_product__history", "scopix.usage_events__history", "billing.fees__history"} <= changed


def test_a_renamed_filesystem_destination_has_delta_tables(
    cli: Cli, sandbox: Sandbox, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new fetch replaces the old one under any destination name; other table formats are refused."""
    monkeypatch.setenv("DESTINATION__ARCHIVE__DESTINATION_TYPE", "filesystem")
    monkeypatch.setenv("DESTINATION__ARCHIVE__BUCKET_URL", lake.as_uri())
    run = ("run", "reducto.usage_by_product", "--no-models", "--destination", "archive")
    with time_machine.travel(NOW, tick=False):
        cli(*run)
        first = of_usage(in_delta(lake))["reducto.usage_by_product"]
        cli(*run)
        assert of_usage(in_delta(lake))["reducto.usage_by_product"] == first
    sandbox.requests.clear()
    for table_format in ("iceberg", "native"):
        monkeypatch.setenv("DESTINATION__ARCHIVE__PREFERRED_TABLE_FORMAT", table_format)
        output = cli(*run, status=2)
        assert "destination.archive.preferred_table_format is another format" in output
    assert len(sandbox.requests) == 0


def test_refuses_to_empty_billing_that_is_no_longer_configured(
    cli: Cli, sandbox: Sandbox, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On files, too, a run without the settings of loaded billing data exits with 2 and empties nothing."""
    run = ("run", "reducto.usage_by_product", "--no-models", "--destination", "filesystem")
    cli(*run)
    cli(*run)
    monkeypatch.delenv("SOURCES__BILLING__FEES")
    assert "billing.fees" in cli(*run, status=2)
    assert in_delta(lake)["billing.fees"]
    cli(*run, "--clear-billing")
    assert not in_delta(lake)["billing.fees"]
    cli(*run)


@pytest.mark.parametrize("providers", [("reducto",)])
def test_the_log_of_windows_is_written_last(cli: Cli, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever table a load fails at, the log has no row of that load: in a lake, this order replaces dlt's load record."""
    monkeypatch.delenv("SOURCES__BILLING__FEES")
    tables = ["usage_by_api_key", "usage_by_product"]
    run = ("run", *(f"reducto.{table}" for table in tables), "--no-models", "--destination", "filesystem")
    write, failing = DeltaLoadFilesystemJob.run, ""

    def fail(job: DeltaLoadFilesystemJob) -> None:
        if job._parsed_file_name.table_name == failing:
            time.sleep(0.3)  # the other tables are written meanwhile
            raise DestinationTerminalException("no space left on device")
        write(job)

    monkeypatch.setattr(DeltaLoadFilesystemJob, "run", fail)
    for failing in tables:
        (written,) = {*tables} - {failing}
        with time_machine.travel(NOW):
            assert "no space left on device" in cli(*run, status=1)
        found = in_delta(lake)
        assert found[f"reducto.{written}"]
        assert not found.get("reducto.fetched_windows")


def test_locks_a_folder_under_all_its_names(cli: Cli, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of another process under another name of the folder and with another dlt data folder is refused."""
    link = tmp_path / "link"
    link.symlink_to(lake)
    lake.mkdir(exist_ok=True)
    with resolve_destination("filesystem").exclusive_run():
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", link.as_uri())
        monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "elsewhere"))
        command = [sys.executable, "-m", "meterhouse.pipelines.cli", "run", "--no-models", "--destination", "filesystem"]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "another run is using" in refused.stderr


def test_a_bucket_has_a_lease(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run into the same bucket with another dlt data folder is refused."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "memory://costs/lake")
    assert "all rows would be lost" in cli("status", "--destination", "filesystem", status=2)
    monkeypatch.setattr(resolve, "VOLATILE", frozenset())
    first = resolve_destination("filesystem")
    monkeypatch.setenv("DLT_DATA_DIR", str(cli.folder / "elsewhere"))
    second = resolve_destination("filesystem")
    refused = pytest.raises(LoadError, match="another run is using memory://costs")
    with first.exclusive_run(), refused, second.exclusive_run():
        pass
    with second.exclusive_run():
        pass


def test_refuses_what_files_cannot_do_before_any_request(
    cli: Cli, sandbox: Sandbox, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run refuses to build models on files, and to load anything without the deltalake library."""
    assert "meterhouse cannot build the SQL models on filesystem" in cli("run", "--destination", "filesystem", status=2)
    monkeypatch.setattr(resolve, "find_spec", {}.get)
    output = cli("run", "--no-models", "--destination", "filesystem", status=2)
    assert "deltalake is not installed" in output
    assert "[delta]'" in output
    assert len(sandbox.requests) == 0
    assert not lake.exists()
