"""dlt's own ways: its command sets up a project with our sources, and looks into our pipelines."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import duckdb
import pytest

from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.destination import resolve_destination
from meterhouse.sources._core.windows import utc_now
from tests.conftest import Cli
from tests.test_project import TOP, tracked

pytestmark = pytest.mark.thorough

SOURCES = (*PROVIDERS, "billing")


def run(command: str, folder: Path, **variables: str) -> str:
    """What a command of the environment's prints, in a project's folder."""
    name, *arguments = command.split()
    program = [str(Path(sys.executable).with_name(name)), *arguments]
    environment = os.environ | {"PYTHONPATH": str(TOP)} | variables
    finished = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_dlt_init_lists_every_source() -> None:
    """Each with the first line of its module, and nothing else of the folder."""
    tracked()  # dlt takes a checkout only
    _, _, listed = run(f"dlt --non-interactive init -l --location {TOP}", Path.cwd()).partition("verified sources:")
    described = dict(line.split(": ", 1) for line in listed.splitlines() if ": " in line)
    assert described == {
        name: (import_module(f"meterhouse.sources.{name}").__doc__ or "").strip().splitlines()[0] for name in SOURCES
    }


@pytest.mark.parametrize("name", SOURCES)
def test_dlt_init_gives_a_project_that_runs(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The copy is what runs, over what all sources share, which its requirements name; and it loads what the vendor has."""
    tracked()
    run(f"dlt --non-interactive init {name} duckdb --location {TOP}", tmp_path)
    required = (tmp_path / "requirements.txt").read_text().split()
    assert [line.split("[")[0].split(">")[0] for line in required] == ["dlt", "meterhouse"]
    copy = tmp_path / name / "__init__.py"
    copy.write_text(copy.read_text() + '\nprint("of the copy")\n')
    fees = TOP / "sources" / "billing" / "templates" / "fees.csv"
    variables = {key: value for key, value in sandbox.variables().items() if key.startswith(f"SOURCES__{name.upper()}__")}
    begin = utc_now().subtract(days=3).to_date_string()
    said = run(f"python {name}_pipeline.py", tmp_path, SOURCES__BILLING__FEES=str(fees),
               **variables, **{f"SOURCES__{name.upper()}__INITIAL_DATE": begin})  # fmt: skip
    assert said.startswith("of the copy\n")
    (database,) = tmp_path.glob("*.duckdb")
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.sql(f"select table_name from information_schema.tables where table_schema = '{name}'").fetchall()
        rows = {table: connection.sql(f"from {name}.{table}").fetchall() for (table,) in tables}
    resource = {"billing": "fees", "onepin": "usage_daily", "mathpix": "ocr_usage_by_usage_type", "scopix": "usage_events"}
    assert rows[resource.get(name, "usage_by_product")]


def test_dlt_pipeline_info_works_on_ours(cli: Cli) -> None:
    """The working directory is dlt's own, one folder a destination."""
    cli("run", "mathpix", "--no-models")
    folder = resolve_destination().working_dir
    said = run(f"dlt --non-interactive pipeline --pipelines-dir {folder} mathpix info", cli.folder)
    assert "Found pipeline mathpix" in said
    assert "ocr_usage_by_usage_type" in run(
        f"dlt --non-interactive pipeline --pipelines-dir {folder} mathpix schema", cli.folder
    )
