"""Another team's dbt project (the folder downstream) with ours as a package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from meterhouse.pipelines.transform import PROJECT
from tests.pipelines.transform.warehouse import MARTS, RAW_SCHEMA, d, usage, window

ROWS = (
    # On a calendar of New York, the first one is in March.
    usage("2025-04-01 03:00", "image", 1000),
    usage("2025-04-01 13:00", "image", 500),
    window("2025-03-01 00:00", "2025-05-02 00:00"),
)

METRICS = {"list_cost", "billed_cost", "effective_cost", "used_quantity"}


DBT = """
import gc
from dbt.cli.main import cli
from meterhouse.pipelines.transform.dbt_compat import without_debug_events

gc.set_threshold(100_000, 50, 50)
with without_debug_events():
    cli()
"""
"""The command `dbt`, without debug events and with less garbage collection, which saves a quarter of the time."""


class Downstream:
    """A copy of the downstream project with the package installed, and its database."""

    def __init__(self, folder: Path, packages: str | None = None) -> None:
        self.folder = folder / "finance"
        self.database = folder / "finance_costs.duckdb"
        shutil.copytree(Path(__file__).parent / "downstream", self.folder)
        if packages is not None:
            (self.folder / "packages.yml").write_text(packages)
        with duckdb.connect(self.database) as connection:
            for statement in (*RAW_SCHEMA, *ROWS):
                connection.execute(re.sub(r"(?<= )mathpix\b", "vendor_mathpix", statement))
        installed = self.dbt("deps")
        assert installed.returncode == 0, installed.stdout

    def dbt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one dbt command in the project."""
        variables = {"METERHOUSE_MODELS": str(PROJECT), "FINANCE_DUCKDB": str(self.database), "DBT_PROFILES_DIR": "."}
        variables["DBT_LOG_LEVEL_FILE"] = "none"
        command = [sys.executable, "-c", DBT, "--no-use-colors", "--no-version-check", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=os.environ | variables, capture_output=True, text=True, check=False
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with duckdb.connect(self.database, read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Downstream:
    """One project for all tests: dbt parses it once, and then only the models that changed."""
    return Downstream(tmp_path_factory.mktemp("downstream"))


def git(*arguments: str) -> str:
    """The output of a git command in our repository."""
    finished = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


@pytest.mark.thorough
def test_installs_from_git(tmp_path: Path) -> None:
    """`dbt deps` installs the package with `subdirectory`, as in the README; here from the last commit."""
    top, head = git("rev-parse", "--show-toplevel"), git("rev-parse", "HEAD")
    source = f'packages:\n  - git: "file://{top}"\n    revision: {head}\n    subdirectory: pipelines/transform\n'
    finance = Downstream(tmp_path, source)
    installed = finance.folder / "dbt_packages" / "meterhouse"
    committed = set(git("ls-tree", "-r", "--full-tree", "--name-only", "HEAD:pipelines/transform").splitlines())
    assert {"dbt_project.yml", "models/marts/cost_monthly.sql"} <= committed
    assert {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()} == committed


@pytest.mark.thorough
def test_downstream_project_builds_with_the_package(downstream: Downstream) -> None:
    """Its variables and its names of schemas reach our models, which are built beside its own; all data tests pass."""
    built = downstream.dbt("build", "--exclude", "package:meterhouse,resource_type:unit_test")
    assert built.returncode == 0, built.stdout
    assert downstream.rows(
        "select quarter::text, billed_cost, last_date::text from finance.spend_by_quarter order by 1"
    ) == [
        ("2025-01-01", d("2.000000000"), "2025-04-01"),
        ("2025-04-01", d("1.000000000"), "2025-04-01"),
    ]
    counted = downstream.rows("select table_schema, count(*) from information_schema.tables group by 1")
    schemas = {row[0]: row[1] for row in counted}
    assert schemas.keys() == {"finance", "vendor_mathpix", "staging", "intermediate", "seeds", "semantic"}
    assert schemas["finance"] == len(MARTS) + 1
    results = json.loads((downstream.folder / "target" / "run_results.json").read_text())["results"]
    kinds = {result["unique_id"].rsplit(".")[0] for result in results}
    assert kinds == {"model", "seed", "test", "operation"}  # the hook that carries over closed months
    assert {result["status"] for result in results} == {"success", "pass"}
    manifest = json.loads((downstream.folder / "target" / "manifest.json").read_text())
    assert {metric["name"] for metric in manifest["metrics"].values()} == METRICS
    nodes = [node for node in manifest["nodes"].values() if node["package_name"] == "meterhouse"]
    ours = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
    assert {name for name, node in ours.items() if node["access"] == "public"} == set(MARTS)
    assert {node["access"] for name, node in ours.items() if name not in MARTS} == {"private"}
    assert all(ours[name]["version"] == ours[name]["latest_version"] == 1 for name in MARTS)
    assert all(ours[name]["contract"]["enforced"] for name in MARTS)
    assert {path.name for path in PROJECT.iterdir()}.isdisjoint({"target", "logs", "dbt_packages"})


def test_unit_tests_name_no_schema() -> None:
    """A project that names the schemas otherwise can run them."""
    definitions = [path.read_text() for path in (PROJECT / "models").rglob("*.yml")]
    assert sum("unit_tests:" in text for text in definitions) > 20
    assert [text for text in definitions if "target.schema" in text or "_intermediate." in text] == []


@pytest.mark.thorough
def test_private_models_cannot_be_referenced(downstream: Downstream) -> None:
    """dbt refuses a reference to a private model. Every model except the marts is private."""
    private = "stg_mathpix__ocr_usage"
    model = downstream.folder / "models" / "spend_by_quarter.sql"
    before = model.read_text()
    model.write_text(f"select * from {{{{ ref('meterhouse', '{private}') }}}}")
    refused = downstream.dbt("parse")
    model.write_text(before)
    assert refused.returncode != 0
    assert f"{private}, which is not allowed because the referenced node is private to the 'billing' group" in refused.stdout
