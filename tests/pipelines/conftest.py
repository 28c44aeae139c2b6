"""Fixtures of the export tests."""

from collections.abc import Iterator

import pytest

from tests.pipelines.focus import Exported, year_of_charges


@pytest.fixture(scope="session")
def year(dlt_data_dir: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """A database with a year of charges, built once; tests only read it."""
    with year_of_charges(tmp_path_factory.mktemp("year")) as exported:
        yield exported
