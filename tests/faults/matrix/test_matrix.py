"""Whatever a vendor's API does over HTTP, nothing is lost, nothing doubled, and the exit status says so."""

import os
from collections.abc import Callable

import pytest

from tests.faults.matrix.cases import ALL, CASES, Case
from tests.faults.matrix.conftest import WRITE
from tests.faults.matrix.scene import NONE, Scene
from tests.faults.matrix.table import NOT_APPLICABLE, in_readme
from tests.faults.matrix.vendors import Vendor

THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize(
    ("case", "vendor"),
    [
        # Of every other case one provider, in turn, where not all are asked for.
        pytest.param(
            case, name, id=f"{case.name}-{name}", marks=() if place * 2 == number % (2 * len(case.providers)) else THOROUGH
        )
        for number, case in enumerate(CASES)
        for place, name in enumerate(case.providers)
    ],
    indirect=["vendor"],
)
def test_nothing_is_lost_or_doubled(
    case: Case, vendor: Vendor, scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """Status 0 only with all of it; on status 1 what was loaded stays; and the next healthy run is exact."""
    before = {row[:-1] for row in scene.held()}
    case.does(scene)
    status = scene.run()
    said = scene.cli.output
    assert status == case.status_of(vendor.name), said
    retries, requests = len(scene.clock.retries), len(scene.sandbox.requests)
    case.then(scene)
    exact = status == 0 and vendor.name not in case.behind
    if exact:
        assert scene.differences() == NONE
    else:
        assert scene.doubled() == ()
        assert status == 0 or before <= {row[:-1] for row in scene.held()}
        scene.heal()
        assert scene.run() == 0, scene.cli.output
        assert scene.differences() == NONE
    ended = "exact" if exact else "next run" if status == 0 else "exit 1"
    record_property("matrix", [case.name, vendor.name, ended, retries, requests])
    if os.environ.get(WRITE) != "1":
        told = in_readme()[case.name, vendor.name]
        assert told.startswith(f"{ended} "), f"the README says {told}; {WRITE}=1 writes it anew"


def test_the_readme_has_all_cases_and_no_other() -> None:
    """In the order of the matrix, with a dash where a case does not apply to a provider; outcomes are compared above."""
    told = in_readme()
    assert [name for name, provider in told if provider == ALL[0]] == [case.name for case in CASES]
    applied = {(case.name, provider) for case in CASES for provider in case.providers}
    assert {cell for cell, said in told.items() if said != NOT_APPLICABLE} == applied
