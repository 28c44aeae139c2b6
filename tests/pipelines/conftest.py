"""Fixtures of all tests that build the models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.focus import Exported, year_of_charges


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that dbt writes to; shared, so that dbt parses the project once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture(scope="session")
def year(dlt_data_dir: object, tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Iterator[Exported]:
    """A database with a year of charges, built once; tests only read it."""
    with year_of_charges(tmp_path_factory.mktemp("year"), scratch) as exported:
        yield exported
