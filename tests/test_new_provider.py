"""A new provider is two folders, a line in the registry, its models and seeds, and an entry in dbt_project.yml."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.example_provider.sandbox.acme import REQUESTS_PER_DAY
from tests.test_project import TOP

EXAMPLE = TOP / "tests" / "example_provider"
LAST_LINE_OF_REGISTRY = '            Provider("scopix", "Scopix"),\n'
FIRST_LINE_OF_PROVIDERS = "\n  providers:\n"
SCRIPT = """
import gc, os, sys
from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Sandbox

gc.set_threshold(100_000, 50, 50)  # as the command does
with Sandbox(seed=7) as sandbox:
    os.environ |= {name: value for name, value in sandbox.variables().items() if name.startswith("SOURCES__ACME__")}
    for arguments in sys.argv[1:]:
        if app(arguments.split(), standalone_mode=False):
            sys.exit("failed")
"""

pytestmark = pytest.mark.thorough


class Checkout:
    """A copy of the two packages in which a provider can be added, and a folder to run it in."""

    def __init__(self, folder: Path) -> None:
        self.packages, self.work_dir = folder / "path" / "meterhouse", folder / "work"
        self.work_dir.mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
        for name in ("sources", "pipelines"):
            shutil.copytree(TOP / name, self.packages / name, ignore=ignored)
        self.before = self.files()

    def files(self) -> dict[str, bytes]:
        """Every file of the packages with its content."""
        found = (file for file in self.packages.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return {str(file.relative_to(self.packages)): file.read_bytes() for file in found}

    def changed(self) -> set[str]:
        """The files that were added or changed, by folder where a folder is new."""
        after = self.files()
        files = {name for name, content in after.items() if self.before.get(name) != content}
        return {re.sub(r"^((?:sources|pipelines/sandbox)/acme)/.*", r"\1", name) for name in files}

    def add_source(self) -> None:
        """The two folders and the line in the registry."""
        shutil.copytree(EXAMPLE / "sources" / "acme", self.packages / "sources" / "acme")
        shutil.copytree(EXAMPLE / "sandbox" / "acme", self.packages / "pipelines" / "sandbox" / "acme")
        registry = self.packages / "sources" / "registry.py"
        text = registry.read_text()
        assert text.count(LAST_LINE_OF_REGISTRY) == 1
        line = (EXAMPLE / "registry_line.txt").read_text()
        registry.write_text(text.replace(LAST_LINE_OF_REGISTRY, LAST_LINE_OF_REGISTRY + line))

    def add_models(self) -> None:
        """The staging and intermediate models, and the entry in `vars.providers`."""
        project = self.packages / "pipelines" / "transform"
        shutil.copytree(EXAMPLE / "transform" / "models", project / "models", dirs_exist_ok=True)
        settings = project / "dbt_project.yml"
        text = settings.read_text()
        assert text.count(FIRST_LINE_OF_PROVIDERS) == 1
        entry = (EXAMPLE / "transform" / "providers_entry.yml").read_text()
        settings.write_text(text.replace(FIRST_LINE_OF_PROVIDERS, FIRST_LINE_OF_PROVIDERS + entry))

    def add_seeds(self) -> None:
        """The price, the SKU and the FOCUS service."""
        for rows in (EXAMPLE / "transform" / "seeds").glob("*.csv"):
            with (self.packages / "pipelines" / "transform" / "seeds" / rows.name).open("a") as seed:
                seed.write(rows.read_text())

    def run_cli(self, *commands: str) -> str:
        """Runs commands of meterhouse against a sandbox with Acme's usage since `first_day()`; returns their output."""
        environment = os.environ | {
            "PYTHONPATH": str(self.packages.parent),
            "DLT_DATA_DIR": str(self.work_dir / "dlt"),
            "SOURCES__ACME__INITIAL_DATE": str(first_day()),
        }
        finished = subprocess.run(
            [sys.executable, "-c", SCRIPT, *commands],
            cwd=self.work_dir, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        with duckdb.connect(str(self.work_dir / "meterhouse.duckdb"), read_only=True) as connection:
            return connection.sql(query).fetchall()


def first_day() -> date:
    """Three days ago."""
    return datetime.now(UTC).date() - timedelta(days=3)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_new_provider_goes_through_load_cost_and_report_without_another_file(checkout: Checkout) -> None:
    """Its usage is loaded, priced and in the report, all data tests pass, and no other file of the packages changes."""
    checkout.add_source()
    checkout.add_models()
    checkout.add_seeds()
    models = {
        f"pipelines/transform/{file.relative_to(EXAMPLE / 'transform')}"
        for file in (EXAMPLE / "transform/models").rglob("*.*")
    }
    seeds = {f"pipelines/transform/seeds/{name}.csv" for name in ("price_list", "sku_map", "focus_services")}
    others = {"sources/registry.py", "pipelines/transform/dbt_project.yml"}
    assert checkout.changed() == {"sources/acme", "pipelines/sandbox/acme", *models, *seeds, *others}
    checkout.run_cli("run", "report -o report.html")
    requests = checkout.rows("select api_key, sum(requests), count(*) from acme.usage_daily group by 1 order by 1")
    days = (datetime.now(UTC).date() - first_day()).days + 1
    assert requests == [(key, days * number, days) for key, number in sorted(REQUESTS_PER_DAY.items())]
    used = days * sum(REQUESTS_PER_DAY.values())
    assert checkout.rows("select sum(quantity), sum(billed_cost), min(currency) from usage.cost_monthly") == [
        (used, used * Decimal("0.01"), "USD")
    ]
    by_key = checkout.rows(
        "select value, sum(quantity) from usage.usage_by_dimension where provider = 'acme' group by 1 order by 1"
    )
    assert by_key == [(key, days * number) for key, number in sorted(REQUESTS_PER_DAY.items())]
    assert checkout.rows("select * from usage.unpriced_usage") == []
    assert "acme" in (checkout.work_dir / "report.html").read_text()


def test_the_guide_shows_the_files_of_the_example() -> None:
    """Every Python and YAML block about Acme in sources/README.md is one of the example's files, word for word."""
    guide = (TOP / "sources" / "README.md").read_text().partition("## Add a provider")[2]
    files = {file.read_text().strip() for file in EXAMPLE.rglob("*") if file.suffix in {".py", ".yml", ".txt"}}
    blocks = re.findall(r"^```(?:python|yaml|text)\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    assert not [block for block in blocks if block.strip() not in files]
