"""A provider whose prices or models are missing: its usage is unpriced and listed, never free and never lost."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import PROJECT, Warehouse, d, duckdb_warehouse

pytestmark = pytest.mark.thorough

ACME = Path(__file__).parent / "acme"
"""The dbt part of a made-up provider: its models, its rows in the seeds, its entry in `providers`, and raw tables."""

REGISTERED = ("--vars", json.dumps({"registered_providers": ["mathpix", "acme"]}))


def project_with_acme(folder: Path, *, priced: bool) -> Path:
    """A copy of the project with the provider, with or without its rows in the seeds."""
    project = folder / "transform"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ACME / "models", project / "models", dirs_exist_ok=True)
    settings = project / "dbt_project.yml"
    entry = "  providers:\n" + (ACME / "vars_entry.yml").read_text()
    settings.write_text(settings.read_text().replace("  providers:\n", entry))
    for rows in (ACME / "seeds").glob("*.csv") if priced else ():
        with (project / "seeds" / rows.name).open("a") as seed:
            seed.write(rows.read_text())
    return project


def load(warehouse: Warehouse) -> None:
    """Creates the raw tables of the provider."""
    warehouse.execute((ACME / "raw_tables.sql").read_text().split(";\n"))


@pytest.mark.parametrize("priced", [True, False], ids=["priced", "unpriced"])
def test_new_provider_needs_only_models_seeds_and_one_entry(tmp_path: Path, priced: bool) -> None:
    """Its usage is charged, in the marts and in all tests; without rows in the seeds it is unpriced as an unknown meter."""
    warehouse = duckdb_warehouse(tmp_path, tmp_path)
    warehouse.project = project_with_acme(tmp_path, priced=priced)
    load(warehouse)
    outcome = warehouse.dbt("build", *REGISTERED, *([] if priced else ["--exclude-resource-type", "unit_test"]))
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("usage_daily", "date, quantity") == [
        (date(2026, 5, 1), d("20")),
        (date(2026, 5, 2), d("40")),
        (date(2026, 5, 3), d("60")),
    ]
    assert warehouse.table("data_freshness", "resource, row_count, status") == [("usage_daily", 6, "fresh")]
    assert warehouse.table("usage_by_dimension", "dimension, value, quantity", "date = date '2026-05-03'") == [
        ("api_key", "one", d("30")),
        ("api_key", "two", d("30")),
    ]
    assert warehouse.table("cost_monthly", "provider, billed_cost") == ([("acme", d("1.2"))] if priced else [])
    unpriced = warehouse.query("select meter, sum(quantity), reason from usage.unpriced_usage group by all")
    assert unpriced == ([] if priced else [("requests", d("120"), "unknown meter")])


def test_provider_without_models_is_unpriced_by_table(warehouse: Warehouse) -> None:
    """Its loaded rows are counted by table, account and date, and a data test warns of the provider."""
    warehouse.load()
    load(warehouse)
    outcome = warehouse.dbt("build --exclude-resource-type unit_test", *REGISTERED)
    assert outcome.having("error", "fail", "skipped") == []
    assert outcome.having("warn") == ["assert_every_provider_has_models"]
    assert warehouse.table("unpriced_usage") == [
        ("acme", "default", "usage_daily", date(2026, 5, day), d("2"), "row", "no model") for day in (1, 2, 3)
    ]


def test_registered_provider_that_was_never_loaded_is_no_warning(warehouse: Warehouse) -> None:
    """A registered provider without models and without raw tables changes nothing."""
    warehouse.load()
    outcome = warehouse.dbt("build --exclude-resource-type unit_test", *REGISTERED)
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert warehouse.table("unpriced_usage") == []
