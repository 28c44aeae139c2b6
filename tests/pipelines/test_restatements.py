"""What was restated in the last week, and how late restatements come: status, alerts and check, on marts filled by hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meterhouse.pipelines.output.status import print_status, read_status
from meterhouse.pipelines.run.alerts import Alerts
from meterhouse.pipelines.run.restatements import lateness
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from tests.pipelines.report.marts import NOW, fill


def restated(days_late: float, ago: int = 0, **values: Any) -> Mapping[str, Any]:
    """A restatement `ago` days before the newest fetch, of a bucket that ended `days_late` days earlier."""
    at = NOW - timedelta(days=ago)
    row = {"provider": "mathpix", "account": "default", "currency": "USD", "cost_change": Decimal("-1.5"), "restated_at": at}
    return row | {"bucket_end": at - timedelta(days=days_late), "was_closed": False} | values


ROWS = (
    restated(0.5),
    restated(1, was_closed=True),
    restated(2, cost_change=None, currency=None),
    restated(9.25, ago=8),
    restated(3, provider="onepin", cost_change=Decimal(0), ago=1),
    restated(500, provider="onepin", cost_change=Decimal(2), currency="EUR", ago=1),
)


@pytest.fixture
def destination(tmp_path: Path) -> DuckDBDestination:
    return fill(tmp_path / "costs.duckdb", usage_restated=ROWS, data_freshness=[{"last_fetched_at": NOW, "status": "fresh"}])


def test_status_shows_what_was_restated_in_a_week(
    destination: DuckDBDestination, capsys: pytest.CaptureFixture[str]
) -> None:
    """By currency, with the buckets of closed periods; usage without a price is counted."""
    status = read_status(destination)
    print_status(status, Console(width=80))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("restated")]
    assert len(line) == 80
    assert line.startswith("restated  -3.00 USD (3 buckets, 1 in closed periods); unpriced (1 bucket); +2.0…")
    assert [row["currency"] for row in status["restated"]] == ["USD", None, "EUR"]


def test_an_account_is_alerted_once_a_day_if_its_cost_changes(
    destination: DuckDBDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of 0, usage without a price, and what was restated more than a week ago send none."""
    sent: list[str] = []

    def post(_: Alerts, lines: Sequence[str], __: RunState) -> bool:
        sent.extend(lines)
        return True

    monkeypatch.setattr(Alerts, "post", post)
    state = RunState(started_at=NOW.replace(tzinfo=UTC))
    rows = Alerts("https://alerts.example", ("restated",)).send(destination, state, (), models=True)
    assert sent == [
        f"RESTATED mathpix default on {date(2026, 5, 20)}: 2 buckets, -3.00 USD",
        f"RESTATED onepin default on {date(2026, 5, 19)}: 1 bucket, +2.00 EUR",
    ]
    assert [row["kind"] for row in rows] == ["restated", "restated"]


def test_lateness_is_compared_with_the_lookback(destination: DuckDBDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning if usage was restated later than a run looks back; Onepin's usage is read whole in every run."""
    found = {each.provider: each for each in lateness(destination)}
    mathpix, onepin = found["mathpix"], found["onepin"]
    assert (mathpix.restatements, mathpix.median, mathpix.percentile_95, mathpix.maximum) == (
        4, Decimal("1.0"), Decimal("9.3"), Decimal("9.3")
    )  # fmt: skip
    assert (mathpix.lookback, onepin.lookback) == (timedelta(days=7), None)
    days = "half within 1.0, 95 % within 9.3, all within 9.3 days"
    assert str(mathpix) == f"mathpix  4 restatements, {days} of the bucket's end; lookback: 7 days"
    assert [late.warning for late in found.values() if late.warning] == [
        "mathpix restated usage 9.3 days after its bucket's end, but a run looks back 7 days: raise sources.mathpix.lookback"
    ]
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "10 days")
    assert [late.warning for late in lateness(destination) if late.warning] == []


def test_a_database_without_the_mart_has_no_lateness(tmp_path: Path) -> None:
    """Such as one that an earlier version built, or that does not exist."""
    database = tmp_path / "costs.duckdb"
    assert lateness(DuckDBDestination("duckdb", "duckdb", str(database), None)) == []
    assert not database.exists()
