"""Every registered provider is described, so that no test of every provider leaves one out."""

from pathlib import Path

import pytest

from meterhouse.sources.registry import PROVIDERS
from tests.faults.matrix.cases import CASES
from tests.providers import DESCRIPTIONS


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_registered_provider_is_described(name: str) -> None:
    """Its description is `tests/providers/<name>.py`."""
    file = Path(__file__).with_name(f"{name}.py")
    assert file.exists(), f"add tests/providers/{name}.py: a `DESCRIPTION` as tests/providers/description.py explains it"
    assert DESCRIPTIONS[name].name == name


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_names_only_cases_of_the_fault_matrix(name: str) -> None:
    """Exit statuses and late facts are of cases that exist and that concern the provider."""
    description = DESCRIPTIONS[name]
    applicable = {case.name for case in CASES if case.applies(description)}
    assert description.exit_status.keys() | description.behind <= applicable
