"""A provider whose prices or models are missing: its usage is unpriced and listed, never free and never lost."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import OTHER_VARIABLES, PROJECT, Warehouse, d, duckdb_warehouse
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

ACME = TOP / "tests" / "example_provider" / "transform"
"""The dbt part of the worked example: models, rows in the seeds, the entry in `providers`, and raw tables to build on."""

NO_UNIT_TESTS = ("--indirect-selection", "cautious", "--exclude-resource-type", "unit_test")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the models of the provider and its entry, and without its rows in the seeds."""
    project = tmp_path / "transform"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ACME / "models", project / "models", dirs_exist_ok=True)
    settings = project / "dbt_project.yml"
    entry = "  providers:\n" + (ACME / "providers_entry.yml").read_text()
    settings.write_text(settings.read_text().replace("  providers:\n", entry))
    return project


def load(warehouse: Warehouse) -> None:
    """Creates the raw tables of the provider."""
    warehouse.execute((ACME / "raw_tables.sql").read_text().split(";\n"))


def test_provider_without_prices_and_skus_is_unpriced(project: Path, tmp_path: Path) -> None:
    """With models and without rows in the seeds, its meters are unknown: all usage is listed, and none is charged."""
    warehouse = duckdb_warehouse(tmp_path, tmp_path)
    warehouse.project, warehouse.variables = project, OTHER_VARIABLES
    load(warehouse)
    outcome = warehouse.dbt("build --select +unpriced_usage +cost_monthly", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("unpriced_usage") == [
        ("acme", "default", "requests", date(2026, 5, day), d(str(20 * day)), None, "unknown meter") for day in (1, 2, 3)
    ]
    assert warehouse.table("cost_monthly") == []


def test_provider_without_models_is_unpriced_by_table(warehouse: Warehouse) -> None:
    """Its loaded rows are counted by table, account and date, and a data test warns of the provider."""
    warehouse.variables = OTHER_VARIABLES
    warehouse.load()
    load(warehouse)
    outcome = warehouse.dbt("build --select +unpriced_usage", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped") == []
    assert outcome.having("warn") == ["assert_every_provider_has_models"]
    assert warehouse.table("unpriced_usage") == [
        ("acme", "default", "usage_daily", date(2026, 5, day), d("2"), "row", "no model") for day in (1, 2, 3)
    ]


def test_registered_provider_that_was_never_loaded_is_no_warning(warehouse: Warehouse) -> None:
    """A registered provider without models and without raw tables changes nothing."""
    warehouse.variables = OTHER_VARIABLES
    warehouse.load()
    outcome = warehouse.dbt("build --select +unpriced_usage", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("unpriced_usage") == []
