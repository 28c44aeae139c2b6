"""A schedule with gaps loses no hour."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize("days", [pytest.param(5, marks=pytest.mark.thorough), 40])
def test_fills_a_gap_in_the_schedule(cli: Cli, sandbox: Sandbox, days: int) -> None:
    """The first run after the gap loads every hour, within the lookback or far beyond it, and reports no missed window."""
    only = ("run", "mathpix.ocr_usage_by_usage_type", "--no-models")
    with time_machine.travel(NOW, tick=False):
        cli(*only)
    later = NOW + timedelta(days=days)
    with time_machine.travel(later, tick=False):
        sandbox.requests.clear()
        assert "GAP" not in cli(*only)
        asked = sorted(request.query["from_date"][0][:10] for request in sandbox.requests)
        ((total,),) = cli.rows("select sum(count) from mathpix.ocr_usage_by_usage_type")
        assert total == sandbox.mathpix.usage.total("2026-03-01", later)
        before = "from mathpix.ocr_usage_by_usage_type where bucket_end <= '2026-03-20 11:00:00+00'"
        assert cli.rows(f"select bool_and(is_complete) {before}") == [(True,)]  # the hour that was running then, too
    assert asked[0] == "2026-03-13"  # a week before the hour in which the run before had stood
