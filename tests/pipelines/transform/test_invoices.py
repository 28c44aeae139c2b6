"""The charges that an invoice line covers, and their comparison: worked examples from raw rows to marts.

All examples share one database, each with its own billing account: a build takes as long for one example as for all.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.invoices import Invoice, Line, statements
from tests.pipelines.transform.random_scenarios import inserts
from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, d, duckdb_warehouse

pytestmark = pytest.mark.thorough

JANUARY, FEBRUARY, MARCH, APRIL, MAY = (date(2026, month, 1) for month in range(1, 6))
PAGE, IMAGE = "mathpix/pdf-page", "mathpix/image"
LOADED = ("2026-01-01", "2026-04-10")
"""The end of the loaded usage, unless an example sets another one."""


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def account(
    name: str, first: str = LOADED[0], end: str = LOADED[1], zone: str = "UTC", provider: str = "mathpix"
) -> Account:
    return Account(provider, name, name, zone, None, midnight(first), midnight(end))


def pages(name: str, day: str, count: int, hour: int = 10, meter: str = "pdf-page") -> Use:
    """Pages cost 0.005, images 0.002."""
    start = midnight(day) + timedelta(hours=hour)
    return Use("mathpix", name, meter, start, start + timedelta(hours=1), Decimal(count))


def invoice(
    name: str, start: date, end: date, amount: str | None = None, *lines: Line, number: str = "", **more: Any
) -> Invoice:
    return Invoice("mathpix", name, f"{name}{number}", start, end, lines, None if amount is None else d(amount), **more)


def line(category: str, sku_id: str, amount: str, quantity: int | None = None, unit: str | None = None, **more: Any) -> Line:
    return Line(category, sku_id, d(amount), None if quantity is None else Decimal(quantity), unit, **more)


PERIODS = (
    [
        pages("spanning", "2026-01-10", 1_000),
        pages("spanning", "2026-01-20", 2_000),
        pages("spanning", "2026-02-14", 4_000, hour=23),
        pages("spanning", "2026-02-15", 8_000, hour=0),
        # 3:00 UTC is the evening of the day before in New York.
        pages("zone", "2026-02-01", 1_000, hour=3),
        pages("zone", "2026-02-01", 2_000, hour=6),
        *(pages("quarter", f"2026-{month:02}-20", 20_000) for month in (1, 2, 3)),
        pages("annual", "2026-02-10", 10_000),
        pages("halves", "2026-01-05", 12_000),
        pages("halves", "2026-01-20", 8_000),
        pages("halves-credited", "2026-01-05", 4_000),
        pages("halves-credited", "2026-01-20", 10_000),
        # The line of a SKU takes precedence over that of its category, and both over a total.
        pages("scopes", "2026-01-05", 10_000),
        pages("scopes", "2026-01-05", 1_000, meter="image"),
        pages("own-periods", "2026-01-05", 10_000),
        pages("own-periods", "2026-02-05", 20_000),
        pages("replaced", "2026-01-05", 10_000),
        pages("tied", "2026-01-05", 10_000),
        pages("tied", "2026-01-20", 10_000),
    ],
    [
        invoice("spanning", date(2026, 1, 15), date(2026, 2, 15), "30"),
        invoice("zone", JANUARY, FEBRUARY, "5"),
        invoice("quarter", JANUARY, APRIL, "300"),
        invoice("annual", JANUARY, date(2027, 1, 1), None, line("Purchase", "mathpix/fee/plan", "588")),
        invoice("halves", JANUARY, date(2026, 1, 16), "60", number="-1"),
        invoice("halves", date(2026, 1, 16), FEBRUARY, "40", number="-2"),
        invoice("halves-credited", JANUARY, date(2026, 1, 16), "0", number="-1"),
        invoice("halves-credited", date(2026, 1, 16), FEBRUARY, "25", number="-2"),
        invoice("scopes", JANUARY, FEBRUARY, None, line("Usage", PAGE, "50"), line("Usage", "", "2"), number="-1"),
        invoice("scopes", JANUARY, FEBRUARY, "10", number="-2"),
        invoice(
            "own-periods", FEBRUARY, MARCH, None,
            line("Usage", PAGE, "50", start=JANUARY, end=FEBRUARY), line("Usage", "", "100"),
        ),
        invoice("replaced", JANUARY, FEBRUARY, "70", number="-1", status="voided"),
        invoice("replaced", JANUARY, FEBRUARY, "50", number="-2"),
        invoice("tied", JANUARY, FEBRUARY, None, line("Usage", PAGE, "100"), number="-1"),
        invoice("tied", date(2026, 1, 16), date(2026, 2, 16), None, line("Usage", PAGE, "50"), number="-2"),
    ],
)  # fmt: skip

AMOUNTS = (
    [
        *(pages(name, "2026-01-05", 20_000) for name in ("vat", "vat-lines", "credited", "tolerated", "unit", "thousands")),
        pages("rounded", "2026-01-05", 2_001),
        pages("tiers", "2026-01-05", 1_000_000),
        pages("tiers", "2026-01-06", 200_000),
        pages("price", "2026-03-05", 300_000),
        pages("quantity", "2026-03-05", 300_000),
        pages("gift", "2026-01-05", 20_000),
        *(pages(name, "2026-01-05", 10_000, meter="image") for name in ("images", "more-images")),
        *(pages(name, "2026-01-06", 20_000) for name in ("images", "more-images")),
        *(pages(name, "2026-01-05", 20_000) for name in ("noted-later", "noted-alone", "noted-total")),
        pages("noted-later", "2026-02-05", 10_000),
        pages("noted-total", "2026-01-05", 1_000, meter="image"),
    ],
    [
        invoice("vat", JANUARY, FEBRUARY, "119", tax=d("19")),
        invoice("vat-lines", JANUARY, FEBRUARY, "119", line("Usage", PAGE, "100"), line("Tax", "", "19")),
        invoice("credited", JANUARY, FEBRUARY, None, line("Usage", PAGE, "110", 22_000, "page"), number="-1"),
        invoice("credited", JANUARY, FEBRUARY, None, line("Usage", PAGE, "-10", -2_000, "page"), number="-2"),
        invoice("noted-later", JANUARY, FEBRUARY, "110", number="-1"),
        invoice(
            "noted-later", FEBRUARY, MARCH, None,
            line("Usage", "", "50"), line("Usage", PAGE, "-10", start=JANUARY, end=FEBRUARY), number="-2",
        ),
        invoice("noted-alone", JANUARY, FEBRUARY, "-10"),
        invoice("noted-total", JANUARY, FEBRUARY, None, line("Usage", PAGE, "110"), number="-1"),
        invoice("noted-total", JANUARY, FEBRUARY, "-10", number="-2"),
        invoice("tolerated", JANUARY, FEBRUARY, "100.03"),
        invoice("unit", JANUARY, FEBRUARY, None, line("Usage", PAGE, "100", 20_000)),
        invoice("thousands", JANUARY, FEBRUARY, None, line("Usage", PAGE, "100", 20, "1000 pages")),
        invoice("rounded", JANUARY, FEBRUARY, "10.01"),
        invoice(
            "tiers", JANUARY, FEBRUARY, None,
            line("Usage", PAGE, "5000", 1_000_000, "page"), line("Usage", PAGE, "700", 200_000, "page"),
        ),
        invoice("price", MARCH, APRIL, None, line("Usage", PAGE, "1560", 300_000, "page")),
        invoice("quantity", MARCH, APRIL, None, line("Usage", PAGE, "1550", 310_000, "pages")),
        invoice("zero", JANUARY, FEBRUARY, "0"),
        invoice("gift", JANUARY, FEBRUARY, None, line("Usage", "", "100"), line("Credit", "", "-29")),
        invoice(
            "images", JANUARY, FEBRUARY, None,
            line("Usage", IMAGE, "10", 5_000, "image"), line("Usage", PAGE, "125", 25_000, "page"),
        ),
        invoice(
            "more-images", JANUARY, FEBRUARY, None, line("Usage", IMAGE, "10"), line("Usage", PAGE, "200"),
        ),
    ],
)  # fmt: skip

STATUSES = (
    [
        pages("draft", "2026-03-05", 10_000),
        pages("currency", "2026-01-05", 10_000),
        pages("late-start", "2026-01-20", 10_000),
        *(pages("behind", day, 10_000) for day in ("2026-01-05", "2026-02-05")),
        *(pages("waiting", f"2026-{month:02}-05", 10_000) for month in (1, 2, 3, 4)),
        pages("unpriced", "2026-01-05", 10_000, meter="conversion"),
    ],
    [
        invoice("draft", MARCH, APRIL, "50", status="open"),
        invoice("currency", JANUARY, FEBRUARY, "50", currency="EUR"),
        invoice("late-start", JANUARY, FEBRUARY, "50"),
        invoice("behind", JANUARY, FEBRUARY, "50"),
        invoice("waiting", FEBRUARY, MARCH, "50"),
        invoice("phantom", JANUARY, FEBRUARY, None, line("Usage", IMAGE, "7"), line("Purchase", "mathpix/fee/plan", "9")),
        invoice("nobody", JANUARY, FEBRUARY, "7"),
        invoice("unpriced", JANUARY, FEBRUARY, "7"),
    ],
)  # fmt: skip

NEVER = Scenario(
    [account(name, provider="scopix") for name in ("never-one", "never-two")],
    [
        Use("scopix", name, "credits", midnight(day), midnight(day) + timedelta(days=1), Decimal(100))
        for name in ("never-one", "never-two")
        for day in ("2026-01-05", "2026-02-05", "2026-04-05")
    ],
    [Price("scopix", "", "scopix/credit", "flat", ((Decimal(0), None, d("0.1")),), "USD", JANUARY, None, True)],
)

USES = [*PERIODS[0], *AMOUNTS[0], *STATUSES[0]]
INVOICES = [*PERIODS[1], *AMOUNTS[1], *STATUSES[1]]
SPANS = {"late-start": ("2026-01-10", LOADED[1]), "behind": (LOADED[0], "2026-02-10")}
NAMES = ({use.account for use in USES} | {invoice.billing_account for invoice in INVOICES}) - {"nobody", "zone"}
MATHPIX = Scenario(
    [*(account(name, *SPANS.get(name, LOADED)) for name in sorted(NAMES)), account("zone", zone="America/New_York")],
    USES,
    grants=[
        Grant("mathpix", "gift", "gift", "promotional", "USD", d("29"), JANUARY),
        Grant("mathpix", "halves-credited", "gift", "promotional", "USD", d("45"), JANUARY),
    ],
    fees=[
        Fee("mathpix", "annual", "plan", "yearly", d("588"), "USD", JANUARY, None, ""),
        Fee("mathpix", "waiting", "seat", "monthly", d("10"), "USD", APRIL, None, ""),
    ],
)

MATCHED = ("matched", "within tolerance")


RAW_ROWS = (*inserts([MATHPIX, NEVER]), *statements(INVOICES))
MODELS = ("+invoice_reconciliation", "+focus_1_2_cost_and_usage", "+focus_1_4_invoice_detail")


@pytest.fixture(scope="module")
def built(scratch: Path) -> Warehouse:
    """The marts over all examples."""
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    warehouse = duckdb_warehouse(scratch, scratch)
    warehouse.execute(RAW_ROWS)
    outcome = warehouse.dbt(
        "build", "--select", *MODELS, "assert_focus_adds_up_to_reconciliation", "assert_no_charge_is_on_two_invoice_lines",
        "--exclude-resource-type", "unit_test", "--store-failures", "--indirect-selection", "cautious",
    )  # fmt: skip
    assert outcome.having("error", "skipped") == []
    assert outcome.having("fail") == ["assert_no_charge_is_on_two_invoice_lines"]
    return warehouse


def compared(built: Warehouse, name: str, columns: str = "invoice_id, line, computed, net, status") -> list[tuple[Any, ...]]:
    """Rows of a billing account, charges without an invoice last."""
    return built.query(
        f"select {columns} from usage.invoice_reconciliation where billing_account = '{name}'"
        " order by invoice_id nulls last, line_number, billing_month, line"
    )


def in_focus(built: Warehouse, name: str) -> dict[str | None, Decimal]:
    """The billed cost of a billing account by invoice."""
    return dict(
        built.query(
            'select "InvoiceId", sum("BilledCost") from usage.focus_1_2_cost_and_usage'
            f" where \"BillingAccountId\" = '{name}' group by all"
        )
    )


def test_an_invoice_covers_exactly_its_days(built: Warehouse) -> None:
    """An invoice from 15 January to 15 February covers no other day of the two months."""
    assert compared(built, "spanning", "invoice_id, billing_month, line, computed, net, status") == [
        ("spanning", JANUARY, "total", d("30"), d("30"), "matched"),
        (None, JANUARY, PAGE, d("5"), None, "missing invoice"),
        (None, FEBRUARY, PAGE, d("40"), None, "missing invoice"),
    ]
    assert in_focus(built, "spanning") == {"spanning": d("30"), None: d("45")}
    assert compared(built, "zone") == [
        ("zone", "total", d("5"), d("5"), "matched"),
        (None, PAGE, d("10"), None, "missing invoice"),
    ]


def test_a_quarterly_invoice_is_one_comparison(built: Warehouse) -> None:
    """An invoice of 300 for three months matches. It is not split into a wrong first month and two without an invoice."""
    columns = "billing_month, period_start, period_end, computed, net, difference, status, what_to_do"
    assert compared(built, "quarter", columns) == [
        (JANUARY, JANUARY, APRIL, d("300"), d("300"), d("0"), "matched", "Nothing to do.")
    ]


def test_the_invoice_of_an_annual_plan_covers_only_its_fee(built: Warehouse) -> None:
    """It matches before the year is over, and covers no usage of the year."""
    assert compared(built, "annual") == [
        ("annual", "mathpix/fee/plan", d("588"), d("588"), "matched"),
        (None, PAGE, d("50"), None, "missing invoice"),
    ]
    assert in_focus(built, "annual") == {"annual": d("588"), None: d("50")}


def test_two_invoices_in_a_month_cover_their_own_days(built: Warehouse) -> None:
    assert compared(built, "halves") == [
        ("halves-1", "total", d("60"), d("60"), "matched"),
        ("halves-2", "total", d("40"), d("40"), "matched"),
    ]
    assert in_focus(built, "halves") == {"halves-1": d("60"), "halves-2": d("40")}


def test_a_free_credit_belongs_to_the_days_that_draw_on_it(built: Warehouse) -> None:
    """The credit of 45 pays 20 in the first half of the month and 25 in the second, so both invoices match."""
    assert compared(built, "halves-credited") == [
        ("halves-credited-1", "total", d("0"), d("0"), "matched"),
        ("halves-credited-2", "total", d("25"), d("25"), "matched"),
    ]
    assert in_focus(built, "halves-credited") == {"halves-credited-1": d("0"), "halves-credited-2": d("25")}


def test_the_most_specific_line_covers_a_charge(built: Warehouse) -> None:
    """A line may have a period of its own, and a voided invoice covers nothing."""
    assert compared(built, "scopes") == [
        ("scopes-1", PAGE, d("50"), d("50"), "matched"),
        ("scopes-1", "Usage", d("2"), d("2"), "matched"),
        ("scopes-2", "total", None, d("10"), "missing usage"),
    ]
    assert compared(built, "own-periods") == [
        ("own-periods", PAGE, d("50"), d("50"), "matched"),
        ("own-periods", "Usage", d("100"), d("100"), "matched"),
    ]
    assert compared(built, "replaced") == [("replaced-2", "total", d("50"), d("50"), "matched")]


def test_two_lines_that_claim_a_charge_fail_a_data_test(built: Warehouse) -> None:
    """The data test names both lines, and the charge counts only once."""
    assert built.query("select * from usage_dbt_test__audit.assert_no_charge_is_on_two_invoice_lines") == [
        ("mathpix", "tied", "tied-1", 1, "tied-2", 1, date(2026, 1, 20), date(2026, 1, 20))
    ]
    assert compared(built, "tied") == [
        ("tied-1", PAGE, d("100"), d("100"), "matched"),
        ("tied-2", PAGE, None, d("50"), "missing usage"),
    ]


def test_tax_is_not_compared(built: Warehouse) -> None:
    """A total of 119 with a tax of 19 is compared as 100. FOCUS includes the tax, so it adds up to the invoice."""
    columns = "line, computed, invoiced, net, tax, difference, status"
    assert compared(built, "vat", columns) == [
        ("total", d("100"), d("119"), d("100"), d("19"), d("0"), "matched"),
    ]
    assert compared(built, "vat-lines", columns) == [
        (PAGE, d("100"), d("100"), d("100"), d("0"), d("0"), "matched"),
        ("Tax", None, d("19"), d("0"), d("19"), None, "not computed"),
    ]
    for name in ("vat", "vat-lines"):
        assert built.query(
            'select "ChargeCategory", "BilledCost" from usage.focus_1_2_cost_and_usage'
            f" where \"InvoiceId\" = '{name}' order by 2"
        ) == [("Tax", d("19")), ("Usage", d("100"))]


def test_a_credit_note_reduces_the_line_that_it_credits(built: Warehouse) -> None:
    """The credit note itself covers no charge, and the FOCUS costs add up to each of the two invoices."""
    assert compared(built, "credited", "invoice_id, computed, invoiced, net, invoiced_quantity, status, what_to_do") == [
        ("credited-1", d("100"), d("110"), d("100"), d("20000"), "matched", "Nothing to do."),
        (
            "credited-2",
            None,
            d("-10"),
            d("0"),
            None,
            "matched",
            "Nothing to do: this line is part of line 1 of invoice credited-1.",
        ),
    ]
    assert in_focus(built, "credited") == {"credited-1": d("110"), "credited-2": d("-10")}
    assert compared(built, "gift") == [
        ("gift", "Usage", d("100"), d("100"), "matched"),
        ("gift", "Credit", d("-29"), d("-29"), "matched"),
    ]


def test_a_credit_note_takes_no_charge_from_another_invoice(built: Warehouse) -> None:
    """A line on February's invoice credits January, of which only the total is known.

    A credit note whose charges no other invoice bills covers nothing, and its row says what it lacks.
    """
    columns = "invoice_id, line_number, computed, net, status"
    assert compared(built, "noted-later", columns) == [
        ("noted-later-1", 0, d("100"), d("100"), "matched"),
        ("noted-later-2", 1, d("50"), d("50"), "matched"),
        ("noted-later-2", 2, None, d("0"), "matched"),
    ]
    assert in_focus(built, "noted-later") == {"noted-later-1": d("110"), "noted-later-2": d("40")}
    assert compared(built, "noted-alone", columns) == [
        ("noted-alone", 0, None, d("-10"), "under"),
        (None, None, d("100"), None, "missing invoice"),
    ]
    assert compared(built, "noted-total", columns) == [
        ("noted-total-1", 1, d("100"), d("110"), "over"),
        ("noted-total-2", 0, None, d("-10"), "under"),
        (None, None, d("2"), None, "missing invoice"),
    ]
    for name in ("noted-alone", "noted-total"):
        (advice,) = (row for row in compared(built, name, "net, what_to_do") if row[0] == d("-10"))
        assert "give the credit note the sku_id" in advice[1]


def test_focus_costs_add_up_to_the_invoice_to_the_cent(built: Warehouse) -> None:
    """2,001 pages at 0.005 cost 10.005, and 10.01 on the invoice. Rounding and tolerated differences are adjustments."""
    assert compared(built, "rounded", "computed, net, difference, status") == [(d("10.01"), d("10.01"), d("0"), "matched")]
    assert compared(built, "tolerated", "difference, status") == [(d("0.03"), "within tolerance")]
    assert built.query(
        'select "InvoiceId", "ChargeCategory", "BilledCost", "EffectiveCost", "SkuId" from usage.focus_1_2_cost_and_usage'
        " where \"InvoiceId\" in ('rounded', 'tolerated') order by 1, 2 desc"
    ) == [
        ("rounded", "Usage", d("10.005"), d("10.005"), PAGE),
        ("rounded", "Adjustment", d("0.005"), d("0.005"), None),
        ("tolerated", "Usage", d("100"), d("100"), PAGE),
        ("tolerated", "Adjustment", d("0.03"), d("0.03"), None),
    ]
    differing = built.query(f"""
        with invoices as (
            select
                invoice_id, sum(invoiced) as invoiced,
                bool_and(status in {(*MATCHED, "not computed")}) as is_matched
            from usage.invoice_reconciliation where invoice_id is not null group by invoice_id
        ),
        focus as (
            select "InvoiceId" as invoice_id, sum("BilledCost") as billed from usage.focus_1_2_cost_and_usage group by all
        )
        select invoice_id, invoiced, billed from invoices left join focus using (invoice_id)
        where is_matched and coalesce(billed, 0) <> invoiced
    """)
    assert differing == []


def test_a_difference_splits_into_quantity_and_price_variance(built: Warehouse) -> None:
    """300,000 pages are computed at 0.005. One invoice has a price of 0.0052, another one 310,000 pages."""
    columns = "computed_quantity, invoiced_quantity, quantity_variance, price_variance, difference, status"
    many = d("300000")
    assert compared(built, "price", columns) == [(many, many, d("0"), d("60"), d("60"), "over")]
    assert compared(built, "quantity", columns) == [(many, d("310000"), d("50"), d("0"), d("50"), "over")]
    assert compared(built, "unit", columns) == [(d("20000"), d("20000"), d("0"), d("0"), d("0"), "matched")]
    assert compared(built, "thousands", columns) == [(d("20000"), d("20"), None, None, d("0"), "matched")]
    ((price,), (quantity,)) = (*compared(built, "price", "what_to_do"), *compared(built, "quantity", "what_to_do"))
    assert "prices.csv" in price
    assert "accounts.csv" in quantity


def test_lines_of_an_invoice_for_the_same_charges_are_one_comparison(built: Warehouse) -> None:
    """For example one line per price tier: 1,000,000 pages at 0.005 and 200,000 at 0.0035."""
    assert compared(
        built, "tiers", "line_number, computed, invoiced, net, computed_quantity, invoiced_quantity, status"
    ) == [
        (1, d("5700"), d("5000"), d("5700"), d("1200000"), d("1200000"), "matched"),
        (2, None, d("700"), d("0"), None, None, "matched"),
    ]


def test_an_invoice_of_zero_for_a_month_without_usage_matches(built: Warehouse) -> None:
    assert compared(built, "zero") == [("zero", "total", None, d("0"), "matched")]


def test_images_billed_as_pages_are_compared_together(built: Warehouse) -> None:
    """If 5,000 of 10,000 images are billed as pages, both differences are explained. 200.00 for pages is not."""
    comparison = (
        "Compare the lines mathpix/image and mathpix/pdf-page together: {} is invoiced, 120.00 is computed,"
        " and up to 150.00 if all of mathpix/image is billed as mathpix/pdf-page."
    )
    for name, net, page, rest in (
        ("images", "135.00", "125", " This explains both differences: ask the vendor for the quantity."),
        ("more-images", "210.00", "200", " The rest: "),
    ):
        rows = compared(built, name, "line, computed, computed_high, net, status, what_to_do")
        assert [row[:5] for row in rows] == [
            (IMAGE, d("20"), d("50"), d("10"), "under"),
            (PAGE, d("100"), d("100"), d(page), "over"),
        ]
        assert all(row[5].startswith(comparison.format(net) + rest) for row in rows), rows


def test_each_status_says_what_to_do(built: Warehouse) -> None:
    """Drafts, other currencies, periods that are not loaded, and invoices that are missing, expected or without usage."""
    assert compared(built, "draft") == [("draft", "total", d("50"), d("50"), "draft")]
    assert in_focus(built, "draft") == {None: d("50")}
    assert compared(built, "currency", "invoice_id, currency, computed, net, status") == [
        ("currency", "EUR", None, d("50"), "currency mismatch"),
        (None, "USD", d("50"), None, "currency mismatch"),
    ]
    assert compared(built, "late-start") == [("late-start", "total", d("50"), d("50"), "not loaded whole")]
    assert compared(built, "behind") == [
        ("behind", "total", d("50"), d("50"), "matched"),
        (None, PAGE, d("50"), None, "not loaded whole"),
    ]
    assert compared(built, "waiting", "invoice_id, billing_month, line, computed, status") == [
        ("waiting", FEBRUARY, "total", d("50"), "matched"),
        (None, JANUARY, PAGE, d("50"), "missing invoice"),
        (None, MARCH, PAGE, d("50"), "not invoiced yet"),
        (None, APRIL, "mathpix/fee/seat", d("10"), "month still open"),
        (None, APRIL, PAGE, d("50"), "month still open"),
    ]
    assert compared(built, "phantom", "line, status, what_to_do") == [
        (IMAGE, "missing usage", "Configure the key or organisation that used it, and add it to accounts.csv."),
        (
            "mathpix/fee/plan",
            "missing usage",
            "Add the fee to fees.csv, or the purchase to credit_grants.csv, with a date in the period of the line.",
        ),
    ]
    ((status, advice),) = compared(built, "nobody", "status, what_to_do")
    assert (status, "accounts.csv" in advice) == ("missing usage", True)
    ((status, unpriced, advice),) = compared(built, "unpriced", "status, has_unpriced_usage, what_to_do")
    assert (status, unpriced, "skus.csv" in advice) == ("missing usage", True, True)


def test_a_vendor_without_any_invoice_has_one_row(built: Warehouse) -> None:
    assert built.query(
        "select billing_account, billing_month, period_end, invoice_id, line, computed, status"
        " from usage.invoice_reconciliation where provider = 'scopix'"
    ) == [("", JANUARY, MAY, None, "total", d("60"), "no invoices given")]


def test_postgresql_gives_the_same_rows(built: Warehouse, postgres: Warehouse) -> None:
    """The reconciliation and FOCUS are the same on both engines, to the last decimal, in any time zone of the session."""
    marts = ("invoice_reconciliation", "focus_1_2_cost_and_usage", "focus_1_4_invoice_detail")
    columns = {
        mart: ", ".join(f'"{name}"' for (name,) in built.query(f"select column_name from (describe usage.{mart})"))
        for mart in marts
    }
    postgres.execute(RAW_ROWS)
    outcome = postgres.dbt("build", "--select", *MODELS, *MODELS_ONLY)
    assert outcome.success, outcome.having("error", "skipped")
    for mart in marts:
        assert postgres.table(mart, columns[mart]) == built.table(mart, columns[mart])
