"""Fixtures: a warehouse to build the models in, and a shared database that is built once."""

from pathlib import Path

import pytest

from tests.pipelines.transform.rows import raw_rows
from tests.pipelines.transform.warehouse import Warehouse, duckdb_warehouse


@pytest.fixture
def warehouse(tmp_path: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file without tables."""
    return duckdb_warehouse(tmp_path, scratch)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The rows of all cases, built with all data tests of the project; tests only read it."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("built"), scratch)
    warehouse.execute(list(raw_rows()))
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped") == []
    assert outcome.having("warn") == ["assert_mathpix_groupings_agree"]  # the apps of `dimension_rows`
    assert outcome.success
    return warehouse
