"""The fault matrix: whatever a vendor's API does over HTTP, nothing is lost, nothing doubled, and the exit status says so."""

from collections.abc import Callable

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.scene import NONE, Scene
from tests.faults.vendors import Vendor


@pytest.mark.parametrize(
    ("case", "vendor"),
    [pytest.param(case, name, id=f"{case.name}-{name}") for case in CASES for name in case.providers],
    indirect=["vendor"],
)
def test_nothing_is_lost_or_doubled(
    case: Case, vendor: Vendor, scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """Status 0 only with all of it; on status 1 what was loaded stays; and the next healthy run is exact."""
    before = {row[:-1] for row in scene.held()}
    case.does(scene)
    status = scene.run()
    said = scene.house.output
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
        assert scene.run() == 0, scene.house.output
        assert scene.differences() == NONE
    record_property("matrix", [case.name, vendor.name, "exact" if exact else "next run" if status == 0 else "exit 1", retries, requests])
