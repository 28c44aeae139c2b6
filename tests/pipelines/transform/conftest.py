"""A warehouse to build the models in."""

from pathlib import Path

import pytest

from tests.pipelines.transform.warehouse import Warehouse, duckdb_warehouse


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt writes; shared, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture
def warehouse(tmp_path: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file without tables, always of the same path: at another one, dbt would parse the project anew."""
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    return duckdb_warehouse(scratch, scratch)
