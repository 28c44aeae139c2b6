"""Whatever a vendor's API does over HTTP, no row is lost, none is doubled, and the exit status is right."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults.matrix.cases import CASES, Case
from tests.faults.matrix.scenario import NONE, Scenario, doubled
from tests.faults.matrix.table import NOT_APPLICABLE, NOT_RUN, cell, written
from tests.providers import DESCRIPTIONS
from tests.providers.description import Description

COMMAND = "python -m tests.faults.matrix"
IS_WRITING = os.environ.get("METERHOUSE_WRITE_MATRIX") == "1"


def cells() -> Iterator[object]:
    """The cells that run. By default, one of each kind and of every other case that depends on the provider, in turn."""
    for number, case in enumerate(CASES):
        providers = [provider for provider in DESCRIPTIONS.values() if case.runs_on(provider)]
        is_default = case.represents or (case.kind.depends_on_provider and number % 2 == 0)
        for place, provider in enumerate(providers):
            marks = () if is_default and place == number // 2 % len(providers) else pytest.mark.thorough
            yield pytest.param(case, provider, id=f"{case.name}-{provider.name}", marks=marks)


@pytest.mark.parametrize(("case", "provider"), [*cells()])
def test_no_row_is_lost_or_doubled(
    case: Case, provider: Description, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """Status 0 only with every row; after status 1 the rows loaded before are there; the next healthy run is exact."""
    before = {row[:-1] for row in scenario.stored()}
    case.act(scenario)
    status = scenario.run()
    output = scenario.cli.output
    assert status == case.status_of(provider), output
    retries, requests = len(scenario.clock.retries), len(scenario.sandbox.requests)
    case.then(scenario)
    is_exact = status == 0 and not case.leaves_behind(provider)
    if is_exact:
        assert scenario.differences() == NONE
    else:
        stored = scenario.stored()
        assert doubled(stored) == ()
        assert status == 0 or before <= {row[:-1] for row in stored}
        scenario.heal()
        assert scenario.run() == 0, scenario.cli.output
        assert scenario.differences() == NONE
    ended = "exact" if is_exact else "next run" if status == 0 else "exit 1"
    record_property("matrix", [case.name, provider.name, ended, retries, requests])
    if not IS_WRITING:
        shown = written().get((case.name, provider.name), "nothing")
        now = cell(ended, retries, requests)
        assert shown.startswith(f"{ended} "), f"tests/README.md shows {shown}, this run gave {now}: run `{COMMAND}`"


@pytest.mark.skipif(IS_WRITING, reason="the table is about to be written")
def test_the_table_in_the_readme_has_the_cells_that_run() -> None:
    """In the order of the cases, with marks for the cells that do not apply or do not run; outcomes are compared above."""
    marks = {NOT_APPLICABLE, NOT_RUN}
    table = {place: shown if shown in marks else "run" for place, shown in written().items()}
    assert list(table.items()) == [
        (
            (case.name, name),
            "run" if case.runs_on(provider) else NOT_RUN if case.applies(provider) else NOT_APPLICABLE,
        )
        for case in CASES
        for name, provider in DESCRIPTIONS.items()
    ]
