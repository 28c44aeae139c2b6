"""Billing data end to end: from CSV files and the documented APIs to charges exact to the cent."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import build_selected

d = Decimal

FILES = {
    "accounts": """
provider,account,billing_account,billing_timezone,plan,signed_up_on
mathpix,default,acme,,,2026-03-01
reducto,default,acme,,growth,
""",
    "prices": """
provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,currency,valid_from,valid_to
mathpix,acme,mathpix/image,graduated,0,1200000,image,0.0018,USD,2026-04-01,
mathpix,acme,mathpix/image,graduated,1200000,,image,0.001,USD,2026-04-01,
""",
    "credit_prices": """
provider,billing_account,unit_price,currency,valid_from,valid_to
reducto,acme,0.02,USD,2026-03-01,
""",
    "credit_grants": """
provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency
reducto,acme,plan,included,credit,300,2026-03-01,,monthly,,,
reducto,acme,pack,purchased,credit,2000,2026-03-05,2026-05-03,,,14,USD
reducto,acme,gift,promotional,credit,250,2026-03-10,2026-03-20,,,,
""",
    "fees": """
provider,billing_account,fee_id,kind,description,amount,currency,valid_from,valid_to,sku_id
reducto,acme,growth,monthly,Growth plan,350,USD,2026-03-01,,
mathpix,acme,least,minimum,Minimum for sessions,100,USD,2026-04-01,,mathpix/strokes-session
""",
    "invoices": """
provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total
mathpix,acme,MP-3,2026-03-01,2026-04-01,2026-04-02,issued,USD,8490.99
""",
    "invoice_lines": """
provider,billing_account,invoice_id,line_number,charge_category,sku_id,description,quantity,unit,amount
mathpix,acme,MP-3,1,Usage,mathpix/pdf-page,PDF pages,2000000,page,8500.00
mathpix,acme,MP-3,2,Purchase,,Setup,,,19.99
mathpix,acme,MP-3,3,Credit,,For testing,,,-29.00
""",
}
CLOSING = ("charges", "invoice_reconciliation", "int_usage__frozen")

CREDITS = [(day * 37) % 89 for day in range(1, 71)]
"""Reducto credits used on each of the 70 days from 1 March."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """The tenth of May 2026."""
    with time_machine.travel(datetime(2026, 5, 10, 12, tzinfo=UTC)):
        yield


@pytest.fixture
def providers() -> tuple[str, ...]:
    """The vendors in the billing files."""
    return ("mathpix", "reducto")


def mathpix_usage(pages: int) -> list[dict[str, object]]:
    """Pages in March, images and a few sessions in April, ten images in May."""
    used = [("2026-03-05T10", "pdf-page", 1_500_000), ("2026-03-20T10", "pdf-page", pages - 1_500_000)]
    used += [("2026-04-05T10", "image", 1_000_000), ("2026-04-20T10", "image", 500_000)]
    used += [("2026-04-07T10", "strokes-session", 2_000), ("2026-05-02T10", "image", 10)]
    return [
        {"hour": datetime.fromisoformat(f"{hour}:00:00+00:00"), "app_id": "a", "usage_type": meter, "count": count}
        for hour, meter, count in used
    ]


@pytest.fixture
def built(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """All billing files configured and loaded, and the marts that the test reads."""
    for name, text in FILES.items():
        Path(f"{name}.csv").write_text(text.lstrip())
        monkeypatch.setenv(f"SOURCES__BILLING__{name.upper()}", f"{name}.csv")
    sandbox.mathpix.usage.set(mathpix_usage(2_000_000))
    first = date(2026, 3, 1)
    sandbox.reducto.usage.set(
        {"date": first + timedelta(days=n), "credits": d(used)} for n, used in enumerate(CREDITS) if used
    )
    cli("run", "--no-models")
    build_selected("cost_monthly", "credit_balance_daily", *CLOSING)
    return cli


def draw_down_by_hand() -> dict[str, Decimal]:
    """The plainest draw-down: each day uses the grants in order of priority, as long as they have credits left."""
    left: dict[str, tuple[int, date, date, int, int]] = {}
    for month, after in (("03", "04"), ("04", "05"), ("05", "06")):
        start, end = (date.fromisoformat(f"2026-{number}-01") for number in (month, after))
        left[f"plan {month}"] = (1, start, end, 300, 0)
    left["gift"] = (2, date(2026, 3, 10), date(2026, 3, 20), 250, 0)
    left["pack"] = (3, date(2026, 3, 5), date(2026, 5, 3), 2000, 0)
    overage = 0
    for n, used_on_day in enumerate(CREDITS):
        day, wanted = date(2026, 3, 1) + timedelta(days=n), used_on_day
        for name, (turn, start, end, amount, used) in sorted(left.items(), key=lambda item: item[1][0]):
            taken = min(wanted, amount - used) if start <= day < end else 0
            left[name] = (turn, start, end, amount, used + taken)
            wanted -= taken
        overage += wanted
    return {
        "plan": d(sum(used for name, (*_, used) in left.items() if name.startswith("plan"))),
        "gift": d(left["gift"][-1]),
        "pack": d(left["pack"][-1]),
        "overage": d(overage),
    }


@pytest.mark.thorough
def test_billing_files_become_charges(built: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contracts, credits, fees and invoices apply; a restated closed month is corrected; removed files stop applying."""
    costs = dict(
        built.rows("""
            select billing_month || ' ' || sku_id, billed_cost from usage.cost_monthly where provider = 'mathpix' order by 1
        """)
    )
    assert costs == {
        "2026-03-01 mathpix/credits/testing": d("-29"),
        "2026-03-01 mathpix/fee/setup": d("19.99"),
        "2026-03-01 mathpix/pdf-page": d("8500"),
        "2026-04-01 mathpix/fee/least": d("90"),  # 1,000 sessions at 0.01 are 10
        "2026-04-01 mathpix/image": d("2460"),  # 1.2 million at 0.0018, 0.3 million at 0.001
        "2026-04-01 mathpix/strokes-session": d("10"),
        "2026-05-01 mathpix/image": d("0.018"),
    }
    ((listed, high),) = built.rows("""
        select list_cost, cost_high from usage.cost_monthly where sku_id = 'mathpix/image' and billing_month = '2026-04-01'
    """)
    assert (listed, high) == (d("2750"), d("6750"))  # as pages: a million at 0.005, half a million at 0.0035

    by_hand = draw_down_by_hand()
    drawn = built.rows("""
        select coalesce(grant_id, 'overage'), sum(quantity), sum(billed_cost), sum(effective_cost)
        from usage.charges where provider = 'reducto' and charge_category = 'Usage' and account <> '' group by 1
    """)
    assert {name: quantity for name, quantity, _, _ in drawn} == by_hand
    assert min(by_hand.values()) > 0  # the test means nothing unless each grant is used
    assert by_hand["pack"] < 2000  # it expires with credits left
    assert {name: billed for name, _, billed, _ in drawn if billed} == {"overage": by_hand["overage"] * d("0.02")}
    assert {name: cost for name, _, _, cost in drawn if cost} == {
        "overage": by_hand["overage"] * d("0.02"),
        "pack": by_hand["pack"] * d("0.007"),
    }
    unused = 2000 - by_hand["pack"]
    assert built.rows("""
        select charge_description, cast(charge_period_start as date), quantity, billed_cost, effective_cost
        from usage.charges where provider = 'reducto' and charge_category = 'Usage' and account = ''
    """) == [("unused credits of pack", date(2026, 5, 3), unused, d("0"), unused * d("0.007"))]
    purchases = built.rows("""
        select sku_id, billing_month, billed_cost, effective_cost from usage.charges
        where provider = 'reducto' and charge_category = 'Purchase' order by 1, 2
    """)
    assert purchases == [
        ("reducto/credits/pack", date(2026, 3, 1), d("14"), d("0")),
        *(("reducto/fee/growth", date(2026, month, 1), d("350"), d("350")) for month in (3, 4, 5)),
    ]
    left_in_may = 300 - CREDITS[61] - CREDITS[62] + 2000 - by_hand["pack"]  # at the end of the second of May
    assert built.rows("""
        select remaining from usage.credit_balance_daily where provider = 'reducto' and date = '2026-05-02'
    """) == [(left_in_may,)]
    assert built.rows("""
        select line, computed, invoiced, status from usage.invoice_reconciliation
        where provider = 'mathpix' and billing_month = '2026-03-01' order by 1
    """) == [
        ("Credit", d("-29"), d("-29"), "matched"),
        ("Purchase", d("19.99"), d("19.99"), "matched"),
        ("mathpix/pdf-page", d("8500"), d("8500"), "matched"),
    ]
    assert built.rows("select distinct status from usage.invoice_reconciliation where billing_month = '2026-05-01'") == [
        ("month still open",)
    ]

    # The vendor restates a month that it has billed: 1,000 more pages.
    sandbox.mathpix.usage.set(mathpix_usage(2_001_000))
    built("run", "mathpix", "--no-models", "--since", "2026-03-01", "--until", "2026-04-01")
    build_selected("charges", "invoice_reconciliation")
    assert built.rows("""
        select charge_class, billing_month, quantity, billed_cost from usage.charges
        where sku_id = 'mathpix/pdf-page' and charge_class is not null
    """) == [("Correction", date(2026, 4, 1), d("1000"), d("3.5"))]
    assert built.rows("""
        select computed, status from usage.invoice_reconciliation where billing_month = '2026-03-01' and line like '%pdf%'
    """) == [(d("8500"), "matched")]

    # `check` lists the closed periods. After `reopen`, the month closes with the current quantities.
    assert "closed  mathpix  default  2026-03  pdf-page  by invoice MP-3 since 2026-05-10" in built("check")
    (closed,) = built.json("check")["closed"]
    assert (closed["meter"], closed["period_start"], closed["invoice_id"]) == ("pdf-page", "2026-03-01", "MP-3")
    for arguments, message in (
        (("acme", "default", "2026-03"), "there is no provider 'acme'"),
        (("mathpix", "nobody", "2026-03"), "mathpix has no account nobody"),
        (("mathpix", "default", "March"), "March is not a month"),
        (("mathpix", "default", "2026-04"), "2026-04 of mathpix default is not closed"),
        (("reducto", "acme", "2026-03"), "2026-03 of reducto acme is not closed"),
    ):
        assert message in built("reopen", *arguments, status=2)
    assert "reopened  mathpix  default  2026-03" in built("reopen", "mathpix", "acme", "2026-03")
    assert built.json("check")["closed"] == []
    assert built.json("reopen", "mathpix", "default", "2026-03", status=2)["status"] == "failed"
    build_selected(*CLOSING)
    assert built.rows("select count(*) from usage.charges where charge_class is not null") == [(0,)]
    assert built.rows("""
        select computed, status from usage.invoice_reconciliation where billing_month = '2026-03-01' and line like '%pdf%'
    """) == [(d("8503.5"), "within tolerance")]
    assert len(built.json("check")["closed"]) == 1

    # Without its settings, `models` is refused; once the billing tables are empty, the public price list applies again.
    for name in FILES:
        monkeypatch.delenv(f"SOURCES__BILLING__{name.upper()}")
    built("models", status=2)
    built("run", "mathpix", "--no-models", "--clear-billing")
    build_selected("cost_monthly")
    assert built.rows("""
        select billed_cost from usage.cost_monthly where sku_id = 'mathpix/image' and billing_month = '2026-04-01'
    """) == [(d("2750"),)]
