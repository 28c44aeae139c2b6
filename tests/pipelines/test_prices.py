"""SKUs and prices of the user end to end: from CSV files to charges that name the source of their price."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform.skus import unverified_amounts
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import build_selected, select_models

d = Decimal

FILES = {
    "skus": """
provider,meter,sku_id,unit,is_billed
mathpix,conversion,mathpix/conversion,document,yes
mathpix,file,mathpix/files-page,page,
mathpix,preview,,page,no
""",
    "prices": """
provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,per,currency,valid_from,valid_to
mathpix,,mathpix/pdf-page,flat,0,,page,4,1000,USD,2026-01-01,
mathpix,default,mathpix/conversion,graduated,0,5,,0.5,,USD,2026-01-01,
mathpix,default,mathpix/conversion,graduated,5,,,100,1000,USD,2026-01-01,
""",
    "invoices": """
provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total
mathpix,default,I1,2026-03-01,2026-04-01,2026-04-02,issued,USD,87.70
""",
}
PRICE_COLUMNS = ("price_source", "price_basis", "price_valid_from", "price_file", "price_row")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The tenth of April 2026."""
    with time_machine.travel(datetime(2026, 4, 10, 12, tzinfo=UTC)) as traveller:
        yield traveller


def use(sandbox: Sandbox, **counts: int) -> None:
    """Usage of one hour in March."""
    hour = datetime(2026, 3, 5, 10, tzinfo=UTC)
    sandbox.mathpix.usage.set(
        {"hour": hour, "app_id": "a", "usage_type": meter.replace("_", "-"), "count": count}
        for meter, count in counts.items()
    )


def configure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        Path(f"{name}.csv").write_text(text.lstrip())
        monkeypatch.setenv(f"SOURCES__BILLING__{name.upper()}", f"{name}.csv")


@pytest.mark.thorough
def test_own_skus_and_prices_become_charges(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown meter gets a SKU and a price, 4 USD per 1,000 pages are 80.00 for 20,000, and each charge says why."""
    use(sandbox, image=1_000, pdf_page=20_000, conversion=7, file=2_000, preview=3)
    cli("run", "--no-models")
    build_selected("unpriced_usage", "cost_monthly")
    unpriced = "select meter, quantity, reason from usage.unpriced_usage order by 1"
    assert cli.rows(unpriced) == [
        ("conversion", d("7"), "unknown meter"),
        ("file", d("2000"), "unknown meter"),
        ("preview", d("3"), "unknown meter"),
    ]
    assert cli.rows("select sku_id, billed_cost from usage.cost_monthly order by 1") == [
        ("mathpix/image", d("2")),
        ("mathpix/pdf-page", d("100")),
    ]

    configure(monkeypatch)
    select_models(monkeypatch, "prices", "skus", "int_usage__frozen")
    cli("models", "--tests", "none")
    assert cli.rows(unpriced) == []
    charged = (
        f"select sku_id, tier_no, unit, quantity, billed_cost, {', '.join(PRICE_COLUMNS)} from usage.charges order by 1, 2"
    )
    pages, since = date(2026, 1, 1), date(2022, 6, 6)
    expected = [
        ("mathpix/conversion", 1, "document", d("5"), d("2.5"), "contract", None, pages, "prices.csv", 3),
        ("mathpix/conversion", 2, "document", d("2"), d("0.2"), "contract", None, pages, "prices.csv", 4),
        ("mathpix/files-page", 1, "page", d("2000"), d("3"), "list", "stated", since, None, None),
        ("mathpix/image", 1, "image", d("1000"), d("2"), "list", "stated", date(2025, 3, 1), None, None),
        ("mathpix/pdf-page", 1, "page", d("20000"), d("80"), "contract", None, pages, "prices.csv", 2),
    ]
    assert cli.rows(charged) == expected
    assert cli.rows("select unit, is_billed, meters, sku_source from usage.skus where sku_id = 'mathpix/conversion'") == [
        ("document", True, "conversion", "own")
    ]
    assert cli.rows("""
        select price_source, unit, unit_price, price_basis, verified_on is not null, price_file, price_row from usage.prices
        where sku_id = 'mathpix/pdf-page' and valid_from >= '2024-12-01' order by 1, tier_no
    """) == [
        ("contract", "page", d("0.004"), None, False, "prices.csv", 2),
        ("list", "page", d("0.005"), "stated", True, None, None),
        ("list", "page", d("0.0035"), "stated", True, None, None),
    ]
    closed = "select distinct period_start from usage_intermediate.int_usage__frozen where timespan = 'period'"
    assert cli.rows(closed) == [(date(2026, 3, 1),)]


def test_check_warns_of_list_prices_that_were_not_verified(
    cli: Cli, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """180 days after the verification, a warning names SKU, day and page; the exit status stays 0."""
    assert cli.json("check")["warnings"] == []
    clock.move_to(datetime(2029, 1, 1, tzinfo=UTC))
    output = cli("check")
    assert "WARNING  the list price of mathpix/image was last verified on 20" in output
    assert "more than 180 days ago: compare it with https://mathpix.com/docs/convert/billing" in output
    names = [warning.removeprefix("the ").partition(" was last")[0] for warning in cli.json("check")["warnings"]]
    assert names == [
        *(f"list price of mathpix/{sku}" for sku in ("image", "pdf-page", "strokes-session", "files-page")),
        "signup fee mathpix/setup", "signup credit mathpix/testing",
    ]  # fmt: skip


def test_list_prices_that_have_ended_need_no_verification() -> None:
    """The price of a Reducto credit ended on 2026-09-01."""
    assert unverified_amounts(["reducto"], date(2029, 1, 1)) == []
    assert "list price of mathpix/image" in {price.name for price in unverified_amounts(["mathpix"], date(2029, 1, 1))}
