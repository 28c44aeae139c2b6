"""The `dlt` command: it creates projects from our sources, and inspects our pipelines."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import duckdb
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.test_project import TOP, tracked

pytestmark = pytest.mark.thorough

SOURCES = (*PROVIDERS, "billing")


def run(command: str, folder: Path, **variables: str) -> str:
    """Runs a command of this environment in a folder, and returns its output."""
    name, *arguments = command.split()
    program = [str(Path(sys.executable).with_name(name)), *arguments]
    environment = os.environ | {"PYTHONPATH": str(TOP)} | variables
    finished = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_dlt_init_lists_every_source() -> None:
    """The list has each source with the first line of its module, and nothing else."""
    tracked()  # dlt accepts a git checkout only
    _, _, listed = run(f"dlt --non-interactive init -l --location {TOP}", Path.cwd()).partition("verified sources:")
    described = dict(line.split(": ", 1) for line in listed.splitlines() if ": " in line)
    assert described == {
        name: (import_module(f"meterhouse.sources.{name}").__doc__ or "").strip().splitlines()[0] for name in SOURCES
    }


@pytest.mark.parametrize("name", SOURCES)
def test_dlt_init_creates_a_project_that_runs(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The project runs its own copy of the source, takes the shared code from the package, and loads usage."""
    tracked()
    run(f"dlt --non-interactive init {name} duckdb --location {TOP}", tmp_path)
    required = (tmp_path / "requirements.txt").read_text().split()
    assert [line.split("[")[0].split(">")[0] for line in required] == ["dlt", "meterhouse"]
    copy = tmp_path / name / "__init__.py"
    copy.write_text(copy.read_text() + '\nprint("of the copy")\n')
    fees = TOP / "sources" / "billing" / "templates" / "fees.csv"
    variables = {key: value for key, value in sandbox.variables().items() if key.startswith(f"SOURCES__{name.upper()}__")}
    start = utc_now().subtract(days=3).to_date_string()
    output = run(f"python {name}_pipeline.py", tmp_path, SOURCES__BILLING__FEES=str(fees),
               **variables, **{f"SOURCES__{name.upper()}__INITIAL_DATE": start})  # fmt: skip
    assert output.startswith("of the copy\n")
    (database,) = tmp_path.glob("*.duckdb")
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.sql(f"select table_name from information_schema.tables where table_schema = '{name}'").fetchall()
        rows = {table: connection.sql(f"from {name}.{table}").fetchall() for (table,) in tables}
    resource = {"billing": "fees", "onepin": "usage_daily", "mathpix": "ocr_usage_by_usage_type", "scopix": "usage_events"}
    assert rows[resource.get(name, "usage_by_product")]


def test_dlt_pipeline_shows_our_pipelines(cli: Cli) -> None:
    """The working directory of a destination is a pipelines directory of dlt."""
    cli("run", "mathpix", "--no-models", "--since", "2026-03-01", "--until", "2026-03-02")
    folder = resolve_destination().working_dir
    output = run(f"dlt --non-interactive pipeline --pipelines-dir {folder} mathpix info", cli.folder)
    assert "Found pipeline mathpix" in output
    assert "ocr_usage_by_usage_type" in run(
        f"dlt --non-interactive pipeline --pipelines-dir {folder} mathpix schema", cli.folder
    )
