"""The DuckDB file of a run: the older DuckDB of BI tools can open and read all of it."""

import json
import os
import subprocess
import sys
from typing import Any

import duckdb
import pytest

from meterhouse.sources._core.windows import utc_now
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import build_selected

DUCKDB14 = os.environ.get("METERHOUSE_DUCKDB14")
"""The Python of an environment with DuckDB 1.4, which .ci/duckdb14 creates."""


@pytest.fixture
def cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command, with a configuration that requests three days."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", utc_now().subtract(days=3).to_date_string())
    return cli


READ_ALL = """
import duckdb, json, sys
contents = {}
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    relations = connection.sql("select table_schema, table_name from information_schema.tables").fetchall()
    for schema, name in relations:
        rows = connection.sql(f'select * from "{schema}"."{name}" as everything').fetchall()
        contents[f"{schema}.{name}"] = sorted(map(str, rows))
print(json.dumps([duckdb.__version__, contents]))
"""


def read_all(python: str, cli: Cli) -> tuple[str, dict[str, Any]]:
    """The DuckDB version of an environment, and every row of every table and view as that version reads them."""
    finished = subprocess.run([python, "-c", READ_ALL, cli.database], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    version, contents = json.loads(finished.stdout)
    return version, contents


def storage_version(cli: Cli) -> str:
    ((tags,),) = cli.rows("select tags from duckdb_databases() where database_name = 'meterhouse'")
    return str(tags["storage_version"])


@pytest.mark.thorough
def test_creates_the_file_in_an_old_storage_version(cli: Cli) -> None:
    """An existing file keeps its version."""
    cli("run", "--no-models")
    assert storage_version(cli) == "v1.4.0+"
    cli.database.unlink()
    duckdb.connect(str(cli.database)).close()
    default = storage_version(cli)
    cli("run", "--no-models")
    assert storage_version(cli) == default


@pytest.mark.skipif(not DUCKDB14, reason="METERHOUSE_DUCKDB14 is not set: .ci/duckdb14 FOLDER creates the environment")
def test_duckdb_1_4_reads_the_file(cli: Cli) -> None:
    """It reads raw tables, models and views, after a first run and after a second into the existing file."""
    assert DUCKDB14
    cli("run", "--no-models")
    cli("run", "--no-models")
    build_selected("charges", "focus_1_2_cost_and_usage")
    version, as_read = read_all(DUCKDB14, cli)
    assert version.startswith("1.4.")
    assert as_read["usage.charges"]
    assert as_read == read_all(sys.executable, cli)[1]


@pytest.mark.thorough
def test_runs_with_statements_that_cannot_run_twice(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured ATTACH fails if its alias exists, so such a file is not held open."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__DATABASE", str(cli.database))
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__STATEMENTS", "[\"attach ':memory:' as other\"]")
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models")
    assert cli.rows("select count(*) > 0 from mathpix.ocr_usage_by_app_id") == [(True,)]
