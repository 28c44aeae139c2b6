"""A provider whose prices or models are missing: its usage is unpriced and listed, never free and never lost."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import PROJECT, Warehouse, d, duckdb_warehouse
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

ACME = TOP / "tests" / "example_provider" / "transform"
"""The dbt part of the worked example: models, rows in the seeds, the entry in `providers`, and raw tables to build on."""

OF_ALL_PROVIDERS = ("int_usage__metered", "stg_providers__fetched_windows", "int_accounts__completed")
"""Models that read all providers and have unit tests."""

NO_UNIT_TESTS = ("--indirect-selection", "cautious", "--exclude-resource-type", "unit_test")
REGISTERED = {"registered_providers": ["mathpix", "acme"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the models of the provider and its entry, shared so that dbt parses it once."""
    project = tmp_path_factory.mktemp("acme") / "transform"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ACME / "models", project / "models", dirs_exist_ok=True)
    settings = project / "dbt_project.yml"
    entry = "  providers:\n" + (ACME / "providers_entry.yml").read_text()
    settings.write_text(settings.read_text().replace("  providers:\n", entry))
    return project


def warehouse_with_acme(project: Path, folder: Path, *, priced: bool) -> Warehouse:
    """A warehouse with the raw tables of the provider, to build with or without the provider's rows in the seeds."""
    for rows in (ACME / "seeds").glob("*.csv"):
        own = (PROJECT / "seeds" / rows.name).read_text()
        (project / "seeds" / rows.name).write_text(own + rows.read_text() if priced else own)
    warehouse = duckdb_warehouse(folder, project.parent)
    warehouse.project, warehouse.variables = project, REGISTERED
    load(warehouse)
    return warehouse


def load(warehouse: Warehouse) -> None:
    """Creates the raw tables of the provider."""
    warehouse.execute((ACME / "raw_tables.sql").read_text().split(";\n"))


def test_new_provider_needs_only_models_seeds_and_one_entry(project: Path, tmp_path: Path) -> None:
    """Its usage is charged and in every mart; all data tests pass, and the unit tests of models that read every provider."""
    warehouse = warehouse_with_acme(project, tmp_path, priced=True)
    outcome = warehouse.dbt("build", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("usage_daily", "date, quantity") == [
        (date(2026, 5, 1), d("20")),
        (date(2026, 5, 2), d("40")),
        (date(2026, 5, 3), d("60")),
    ]
    assert warehouse.table("data_freshness", "resource, row_count, status") == [("usage_daily", 6, "fresh")]
    assert warehouse.table("usage_by_dimension", "dimension, value, allocated_cost", "date = date '2026-05-03'") == [
        ("api_key", "one", d("0.3")),
        ("api_key", "two", d("0.3")),
    ]
    assert warehouse.table("cost_monthly", "provider, billed_cost") == [("acme", d("1.2"))]
    assert warehouse.table("unpriced_usage") == []
    unit_tests = " ".join(f"{model},test_type:unit" for model in OF_ALL_PROVIDERS)
    outcome = warehouse.dbt(f"test --select {unit_tests}")
    assert set(outcome.statuses.values()) == {"pass"}


def test_provider_without_prices_and_skus_is_unpriced(project: Path, tmp_path: Path) -> None:
    """With models and without rows in the seeds, its meters are unknown: all usage is listed, and none is charged."""
    warehouse = warehouse_with_acme(project, tmp_path, priced=False)
    outcome = warehouse.dbt("build --select +unpriced_usage +cost_monthly", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("unpriced_usage") == [
        ("acme", "default", "requests", date(2026, 5, day), d(str(20 * day)), None, "unknown meter") for day in (1, 2, 3)
    ]
    assert warehouse.table("cost_monthly") == []


def test_provider_without_models_is_unpriced_by_table(warehouse: Warehouse) -> None:
    """Its loaded rows are counted by table, account and date, and a data test warns of the provider."""
    warehouse.variables = REGISTERED
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
    warehouse.variables = REGISTERED
    warehouse.load()
    outcome = warehouse.dbt("build --select +unpriced_usage", *NO_UNIT_TESTS)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("unpriced_usage") == []
