"""Fixtures: a warehouse to build the models in, and a shared database that is built once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.transform.rows import raw_rows
from tests.pipelines.transform.warehouse import IN_EUROS, Warehouse, duckdb_warehouse, postgres_warehouse


@pytest.fixture
def warehouse(tmp_path: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file without tables."""
    return duckdb_warehouse(tmp_path, scratch)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The rows of all cases, built with all data tests of the project; tests only read it."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("built"), scratch)
    warehouse.environment |= IN_EUROS
    warehouse.execute(list(raw_rows()))
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped") == []
    # The apps of `dimension_rows`, and owners and budgets of values that no usage has.
    assert outcome.having("warn") == ["assert_mathpix_groupings_agree", "assert_named_values_are_used"]
    assert outcome.success
    return warehouse


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Iterator[Warehouse]:
    """One PostgreSQL server for all tests, so that dbt parses the project for it once. Its time zone is far from UTC."""
    with postgres_warehouse(tmp_path_factory.mktemp("postgres"), scratch) as server:
        server.execute(["alter database postgres set timezone to 'Pacific/Kiritimati'"])
        yield server


@pytest.fixture
def postgres(postgres_server: Warehouse) -> Iterator[Warehouse]:
    """The server, which has no tables before the test and none after it."""
    yield postgres_server
    schemas = postgres_server.query(
        "select nspname from pg_namespace where nspname not in ('public', 'information_schema') and nspname not like 'pg_%'"
    )
    postgres_server.execute([f'drop schema "{name}" cascade' for (name,) in schemas])
