"""The file that a run leaves behind: an older DuckDB, as BI tools carry it, can open it and read all of it."""

import json
import os
import subprocess
import sys
from typing import Any

import duckdb
import pytest

from meterhouse.sources._core.windows import utc_now
from tests.conftest import Cli

DUCKDB14 = os.environ.get("METERHOUSE_DUCKDB14")
"""The python of an environment that has DuckDB 1.4, which .ci/duckdb14 makes."""

READ_ALL = """
import duckdb, json, sys
answers = {}
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    relations = connection.sql("select table_schema, table_name from information_schema.tables").fetchall()
    for schema, name in relations:
        rows = connection.sql(f'select * from "{schema}"."{name}" as everything').fetchall()
        answers[f"{schema}.{name}"] = sorted(map(str, rows))
print(json.dumps([duckdb.__version__, answers]))
"""


def read_all(python: str, cli: Cli) -> tuple[str, dict[str, Any]]:
    """The version of the DuckDB of an environment, and every row of every table and view as it reads them."""
    finished = subprocess.run([python, "-c", READ_ALL, cli.database], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    version, answers = json.loads(finished.stdout)
    return version, answers


def storage_version(cli: Cli) -> str:
    ((tags,),) = cli.rows("select tags from duckdb_databases() where database_name = 'meterhouse'")
    return str(tags["storage_version"])


@pytest.mark.thorough
def test_a_file_is_made_in_an_old_storage_version(cli: Cli) -> None:
    """A file that was there is taken as it is."""
    cli("run", "--no-models")
    assert storage_version(cli) == "v1.4.0+"
    cli.database.unlink()
    duckdb.connect(str(cli.database)).close()
    default = storage_version(cli)
    cli("run", "--no-models")
    assert storage_version(cli) == default


@pytest.mark.skipif(not DUCKDB14, reason="METERHOUSE_DUCKDB14 is not set: .ci/duckdb14 FOLDER makes what it has to name")
def test_duckdb_1_4_reads_what_a_run_made(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw tables, models and views, after a first run and a second that wrote into the file that was there."""
    assert DUCKDB14
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", utc_now().subtract(days=20).to_date_string())
    cli("run", "--no-models")
    cli("run")
    version, as_read = read_all(DUCKDB14, cli)
    assert version.startswith("1.4.")
    assert as_read["usage.charges"]
    assert as_read == read_all(sys.executable, cli)[1]


def test_what_is_said_at_each_opening_may_be_said_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own ATTACH fails where its alias is there already: such a file is opened anew each time."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__DATABASE", str(cli.database))
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__STATEMENTS", "[\"attach ':memory:' as other\"]")
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models")
    assert cli.rows("select count(*) > 0 from mathpix.ocr_usage_by_app_id") == [(True,)]
