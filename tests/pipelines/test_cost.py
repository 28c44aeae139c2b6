"""The main job, end to end: from the documented API over HTTP, through DuckDB and dbt, to a cost exact to the cent."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import build_selected, select_models

LOAD = ("run", "--no-models")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """The tenth of May 2026."""
    with time_machine.travel(datetime(2026, 5, 10, 12, tzinfo=UTC)):
        yield


def month_of(usage_type: str, total: int, month: str, *, app_id: str = "lyceum_notes") -> list[dict[str, Any]]:
    """Usage that adds up to `total`, spread unevenly over 600 hours of a month."""
    start = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    even, rest = divmod(total, 600)
    counts = [even + (hour % 7) - ((599 - hour) % 7) for hour in range(600)]
    counts[300] += rest + 600 * even - sum(counts)
    assert sum(counts) == total
    return [
        {"hour": start + timedelta(hours=hour), "app_id": app_id, "usage_type": usage_type, "count": count}
        for hour, count in enumerate(counts)
        if count
    ]


def billed(cli: Cli) -> Decimal:
    ((cost,),) = cli.rows("select sum(round(billed_cost, 2)) from usage.cost_monthly")
    return Decimal(cost)


EXAMPLES = [
    ("2026-04", {"image": 1_500_000}, "2750.00"),
    ("2026-03", {"pdf-page": 2_000_000}, "8500.00"),
    ("2026-02", {"strokes-session": 2_000_000}, "13190.00"),
    ("2026-01", {"image": 3_000_000, "pdf-page": 800_000, "strokes-session": 500_000}, "13190.00"),
    ("2025-12", {"image": 1_000_000, "image-async": 500_000}, "2750.00"),
    ("2025-03", {"image": 1_500_000}, "2750.00"),
    ("2025-02", {"image": 1_500_000}, "3216.00"),  # 1K at 0.02, 99K at 0.004, the rest at 0.002
    ("2024-12", {"pdf-page": 2_000_000}, "8500.00"),
    ("2024-11", {"pdf-page": 2_000_000}, "20600.00"),  # 40K at 0.025, the rest at 0.01
]


@pytest.mark.thorough
def test_costs_equal_the_vendors_worked_examples(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of mathpix.com/docs/convert/billing, at the prices of their time, are exact to the cent.

    Each of two accounts pays for its own usage, starting at the first tier.
    """
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2024-11-01")
    keys = {"notes": sandbox.mathpix.credential("default"), "print": sandbox.mathpix.credential("press")}
    monkeypatch.setenv(
        "SOURCES__MATHPIX__ACCOUNTS",
        json.dumps({name: {"app_id": key.app_id, "app_key": key.app_key} for name, key in keys.items()}),
    )
    rows = [
        row
        for month, usage, _ in EXAMPLES
        for usage_type, total in usage.items()
        for row in month_of(usage_type, total, month)
    ]
    sandbox.mathpix.usage.set(rows + [row | {"app_id": "quarto_intake", "account": "press"} for row in rows])
    cli(*LOAD, "mathpix.ocr_usage_by_usage_type")
    build_selected("cost_monthly", "unpriced_usage")
    for account in keys:
        assert cli.rows(
            "select strftime(billing_month, '%Y-%m'), sum(round(billed_cost, 2)), bool_and(is_complete)"
            f" from usage.cost_monthly where account = '{account}' group by 1 order by 1 desc"
        ) == [(month, Decimal(cost), True) for month, _, cost in EXAMPLES]
    assert cli.rows("select count(*) from usage.unpriced_usage") == [(0,)]


@pytest.mark.thorough
def test_reports_an_unknown_usage_type_as_unpriced(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It appears in unpriced_usage and in the run's summary, and in no cost table."""
    select_models(monkeypatch)
    rows = month_of("image", 10_000, "2026-04") + month_of("hologram", 5000, "2026-04")
    sandbox.mathpix.usage.set(rows)
    cli(*LOAD)  # both runs below request the lookback only, so that the second has no news and builds nothing
    result = cli.json("run", "--tests", "none")
    assert result["models"]["tests_passed"] is result["models"]["tests_run_at"] is None
    assert [row["billed_cost"] for row in result["cost_monthly"]] == ["20.000000000"]  # as text, so that no digit is lost
    (unpriced,) = result["unpriced_usage"]
    assert (unpriced["meter"], Decimal(unpriced["quantity"]), unpriced["reason"]) == (
        "hologram",
        Decimal(5000),
        "unknown meter",
    )
    assert "UNPRICED  mathpix default: 5,000 uses of hologram" in cli("run", "--tests", "none")
    assert cli.rows("select sum(quantity) from usage.unpriced_usage") == [(Decimal(5000),)]
    assert cli.rows("select distinct meter from usage.charges") == [("image",)]
    assert billed(cli) == Decimal("20.00")


@pytest.mark.thorough
def test_restated_usage_changes_the_cost(cli: Cli, sandbox: Sandbox) -> None:
    """When the vendor withdraws usage, the next run withdraws its cost."""
    sandbox.mathpix.usage.set(month_of("pdf-page", 200_000, "2026-05"))
    cli(*LOAD)
    build_selected("cost_monthly")
    before = billed(cli)
    sandbox.mathpix.usage.withdraw("2026-05-09")
    cli(*LOAD)
    build_selected("cost_monthly")
    expected = Decimal(sandbox.mathpix.usage.total(usage_type="pdf-page")) * Decimal("0.005")
    assert billed(cli) == expected.quantize(Decimal("0.01"))
    assert billed(cli) < before
