"""Fixtures: a warehouse to build the models in."""

from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import Warehouse, duckdb_warehouse


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that dbt writes to; shared, so that dbt parses the project once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture
def warehouse(tmp_path: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file without tables. Its path never changes, because dbt parses the project again for another path."""
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    return duckdb_warehouse(scratch, scratch)
