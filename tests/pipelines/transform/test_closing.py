"""Closing, restatements and re-rating: worked examples from raw rows to charges, over several builds.

All examples share one database, each with its own billing account: a build takes as long for one example as for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.invoices import TABLES, TRACE
from tests.pipelines.transform.random_scenarios import inserts
from tests.pipelines.transform.warehouse import MODELS_ONLY, TEST_VARIABLES, Warehouse, d, duckdb_warehouse

pytestmark = pytest.mark.thorough

JANUARY, FEBRUARY, MARCH, APRIL, MAY, JUNE = (date(2026, month, 1) for month in range(1, 7))

Costs = dict[tuple[date, str | None], Decimal]
"""The billed cost of a billing account by month and charge class."""


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def pages(name: str, day: str, count: int, hour: int = 10, meter: str = "pdf-page") -> Use:
    start = midnight(day) + timedelta(hours=hour)
    return Use("mathpix", name, meter, start, start + timedelta(hours=1), Decimal(count))


def used(name: str, day: str, quantity: str) -> Use:
    start = midnight(day)
    return Use("scopix", name, "credits", start, start + timedelta(days=1), Decimal(quantity))


def invoice(name: str, first: str, end: str, total: str | None, number: str = "", *, provider: str = "mathpix") -> str:
    """The statement that loads an issued invoice. An invoice without a total has lines."""
    return (
        f"insert into billing.invoices values ('{provider}', '{name}', '{name}-{first}{number}', '{first}', '{end}',"
        f" '{end}', 'issued', 'USD', {total or 'null'}, null, {TRACE})"
    )


def line(
    name: str, first: str, category: str, sku: str, quantity: str, amount: str, number: int = 1, *, invoice: str = ""
) -> str:
    return (
        f"insert into billing.invoice_lines values ('mathpix', '{name}', '{name}-{first}{invoice}', {number}, '{category}',"
        f" '{sku}', null, {quantity}, null, {amount}, null, null, {TRACE})"
    )


def restate(name: str, day: str, count: int, meter: str = "pdf-page") -> str:
    return (
        f"update mathpix.ocr_usage_by_usage_type set count = {count} where account = '{name}' and usage_type = '{meter}'"
        f" and cast(bucket_start at time zone 'UTC' as date) = '{day}'"
    )


def price(name: str, sku: str, unit_price: str, currency: str = "USD", valid_from: str = "2026-01-01") -> str:
    return (
        f"insert into billing.prices values ('mathpix', '{name}', '{sku}', 'flat', 0, null, '', {unit_price}, '{currency}',"
        f" '{valid_from}', null, {TRACE})"
    )


def owner(name: str, payer: str) -> str:
    return f"update billing.accounts set billing_account = '{payer}' where account = '{name}'"


HALF_YEAR = ("may", "sealed", "zero", "idle", "moved", "zone", "euro", "unpriced", "short", "counted", "annual", "middle",
             "early")  # fmt: skip
ACCOUNTS = (*HALF_YEAR, "repriced", "contract", "renamed", "tiers", "minimum", "gone", "two", "lines", "split",
            "gift", "second_half")  # fmt: skip
MONTHS = [f"2026-0{month}-10" for month in range(1, 7)]

SCENARIO = Scenario(
    accounts=[
        Account(provider, name, name, "UTC", None, midnight("2026-01-01"), midnight("2026-06-20"))
        for provider, names in (("mathpix", ACCOUNTS), ("scopix", ("pack", "off", "cycle")))
        for name in names
    ],
    uses=[
        *(pages("may", day, 1_000) for day in MONTHS),
        *(pages("sealed", day, 1_000_000) for day in MONTHS),
        *(pages("zero", day, 1_000) for day in MONTHS if day != "2026-02-10"),
        *(pages("moved", day, 1_000) for day in MONTHS),
        *(pages("renamed", day, 1_000) for day in MONTHS),
        pages("zone", "2026-01-31", 1_000, hour=23), pages("zone", "2026-02-01", 2_000, hour=2),
        pages("zone", "2026-02-10", 4_000),
        *(pages("euro", day, 1_000) for day in MONTHS),
        *(pages("unpriced", day, 1_000) for day in MONTHS), pages("unpriced", "2026-01-11", 100, meter="conversion"),
        pages("short", "2026-01-10", 900), pages("counted", "2026-01-10", 900), pages("annual", "2026-01-10", 1_000),
        pages("early", "2026-01-10", 700),
        pages("middle", "2026-01-10", 1_000), pages("middle", "2026-01-20", 2_000), pages("middle", "2026-02-10", 4_000),
        pages("middle", "2026-02-20", 8_000),
        pages("repriced", "2026-03-10", 300_000), pages("contract", "2026-03-10", 300_000),
        pages("tiers", "2026-03-10", 900_000), pages("tiers", "2026-03-20", 200_000),
        pages("minimum", "2026-03-10", 1_000), pages("gone", "2026-03-10", 1_000), pages("gone", "2026-04-10", 1_000),
        pages("two", "2026-03-05", 12_000), pages("two", "2026-03-20", 8_000),
        pages("lines", "2026-01-10", 3_000),
        pages("split", "2026-01-10", 1_000), pages("split", "2026-02-10", 1_000),
        pages("split", "2026-02-10", 1_000, meter="image"),
        pages("gift", "2026-01-20", 4_000), pages("gift", "2026-02-05", 6_000),
        pages("second_half", "2026-01-05", 900_000), pages("second_half", "2026-01-20", 300_000),
        used("pack", "2026-01-10", "400"), used("pack", "2026-02-10", "600"), used("pack", "2026-03-10", "100"),
        used("cycle", "2026-01-20", "600"), used("cycle", "2026-02-05", "500"), used("cycle", "2026-02-20", "100"),
        used("off", "2026-01-10", "400"), used("off", "2026-02-10", "500"),
    ],
    prices=[
        Price("scopix", name, "scopix/credit", "flat", ((Decimal(0), None, Decimal("0.1")),), "USD", date(2026, 1, 1), None,
              is_credit_price=True)
        for name in ("pack", "off", "cycle")
    ],
    grants=[
        Grant("scopix", "pack", "pack", "purchased", "credit", d("1000"), JANUARY, cost=d("10"), currency="USD"),
        Grant("mathpix", "gift", "gift", "promotional", "USD", d("30"), JANUARY),
        Grant("scopix", "cycle", "plan", "included", "credit", d("1000"), date(2026, 1, 15), renews="monthly"),
    ],
    fees=[
        Fee("mathpix", name, "least", "minimum", Decimal(20), "USD", JANUARY, valid_to, "")
        for name, valid_to in (("minimum", None), ("lines", FEBRUARY))
    ],
)  # fmt: skip

BILLED = [
    # UTC is the default. It is set here because the variables of the step `off` name another time zone.
    "update billing.accounts set billing_timezone = 'UTC' where billing_timezone is null",
    invoice("may", "2026-05-01", "2026-06-01", "5"),
    price("sealed", "mathpix/pdf-page", "0.005"),
    invoice("sealed", "2026-01-01", "2026-02-01", "5000"),
    invoice("zero", "2026-02-01", "2026-03-01", "0"),
    invoice("idle", "2026-02-01", "2026-03-01", "0"),
    invoice("moved", "2026-01-01", "2026-02-01", "5"),
    invoice("renamed", "2026-01-01", "2026-02-01", "5"),
    invoice("zone", "2026-01-01", "2026-02-01", "5"),
    invoice("euro", "2026-01-01", "2026-02-01", "5"),
    invoice("unpriced", "2026-01-01", "2026-02-01", "5"),
    invoice("short", "2026-01-01", "2026-02-01", "5"),
    invoice("counted", "2026-01-01", "2026-02-01", None),
    line("counted", "2026-01-01", "Usage", "mathpix/pdf-page", "1000", "4.5"),
    invoice("annual", "2026-01-01", "2027-01-01", None),
    line("annual", "2026-01-01", "Purchase", "mathpix/fee/plan", "null", "1200"),
    invoice("middle", "2026-01-15", "2026-02-15", "30"),
    invoice("early", "2026-01-01", "2026-02-01", "3"),
    invoice("repriced", "2026-03-01", "2026-04-01", "1500"),
    invoice("contract", "2026-03-01", "2026-04-01", "1560"),
    invoice("tiers", "2026-03-01", "2026-04-01", "5350"),
    invoice("minimum", "2026-03-01", "2026-04-01", "20"),
    invoice("gone", "2026-03-01", "2026-04-01", "5"),
    invoice("two", "2026-03-01", "2026-03-16", "60"),
    invoice("two", "2026-03-16", "2026-04-01", "40"),
    invoice("lines", "2026-01-01", "2026-02-01", None),
    line("lines", "2026-01-01", "Usage", "mathpix/pdf-page", "3000", "15"),
    line("lines", "2026-01-01", "Adjustment", "mathpix/fee/least", "null", "5", 2),
    invoice("split", "2026-01-01", "2026-02-01", "5"),
    invoice("gift", "2026-02-01", "2026-03-01", "20"),
    invoice("second_half", "2026-01-16", "2026-02-01", "1200"),
    invoice("pack", "2026-01-01", "2026-02-01", "10", provider="scopix"),
    invoice("pack", "2026-02-01", "2026-03-01", "0", provider="scopix"),
    invoice("off", "2026-01-01", "2026-02-01", "40", provider="scopix"),
    invoice("cycle", "2026-01-15", "2026-02-15", "10", provider="scopix"),
]
RESTATED = [
    restate("may", "2026-05-10", 3_000),
    restate("sealed", "2026-01-10", 1_002_000),
    "insert into mathpix.ocr_usage_by_usage_type select account, timespan, bucket_start + interval '31 days',"
    " bucket_end + interval '31 days', app_id, group_id, usage_type, request_args_hash, 2000, is_complete, fetched_at,"
    " row_version from mathpix.ocr_usage_by_usage_type where account = 'zero'"
    " and cast(bucket_start at time zone 'UTC' as date) = '2026-01-10'",
    restate("short", "2026-01-10", 1_000),
    restate("counted", "2026-01-10", 1_000),
    restate("annual", "2026-01-10", 3_000),
    restate("early", "2026-01-10", 1_000),
    restate("middle", "2026-01-20", 3_000),
    restate("middle", "2026-02-20", 9_000),
    restate("tiers", "2026-03-10", 1_000_000),
    restate("minimum", "2026-03-10", 3_000),
    "delete from mathpix.ocr_usage_by_usage_type where account = 'gone'"
    " and cast(bucket_start at time zone 'UTC' as date) = '2026-03-10'",
    restate("two", "2026-03-05", 13_000),
    restate("lines", "2026-01-10", 4_000),
    restate("split", "2026-01-10", 3_000),
    restate("gift", "2026-01-20", 1_000),
    restate("second_half", "2026-01-05", 1_000_000),
    "update scopix.usage_daily set total_credits = 500 where account = 'pack' and date = '2026-01-10'",
    "update scopix.usage_daily set total_credits = 700 where account = 'cycle' and date = '2026-01-20'",
]
RERATED = [
    invoice("split", "2026-02-01", "2026-03-01", None, "images"),
    line("split", "2026-02-01", "Usage", "mathpix/image", "1000", "2", invoice="images"),
    price("repriced", "mathpix/pdf-page", "0.0052"),
    price("contract", "mathpix/pdf-page", "0.0052"),
    owner("moved", "payer"),
    "update billing.invoices set billing_account = 'payer' where billing_account = 'moved'",
    owner("renamed", "other"),
    "update billing.accounts set billing_timezone = 'America/New_York' where account = 'zone'",
    price("euro", "mathpix/pdf-page", "0.004", "EUR"),
    "update billing.invoices set currency = 'EUR', total = 4 where billing_account = 'euro'",
    "insert into billing.skus values ('mathpix', 'conversion', 'mathpix/conversion', 'document', true, "
    + TRACE + ")",
    price("unpriced", "mathpix/conversion", "0.5"),
]  # fmt: skip
CORRECTED = [
    invoice("cycle", "2026-02-15", "2026-03-15", "10", provider="scopix"),
    invoice("split", "2026-02-01", "2026-03-01", None, "pages"),
    line("split", "2026-02-01", "Usage", "mathpix/pdf-page", "3000", "15", invoice="pages"),
    invoice("sealed", "2026-02-01", "2026-03-01", "5010"),
    invoice("sealed", "2026-03-01", "2026-04-01", "5000"),
    invoice("may", "2026-06-01", "2026-07-01", "15"),
    invoice("zero", "2026-03-01", "2026-04-01", "15"),
    invoice("gift", "2026-01-01", "2026-02-01", "0"),
    invoice("second_half", "2026-01-01", "2026-01-16", "5000"),
]
REOPENED = """
    insert into usage_intermediate.int_usage__frozen
    select * replace ('reopened' as event, closed_at + interval '1 second' as closed_at)
    from usage_intermediate.int_usage__frozen where account = 'early' and timespan = 'period' and event = 'closed'
"""
LATER = [restate("sealed", "2026-01-10", 1_003_000), restate("gift", "2026-01-20", 2_000)]


@dataclass
class Builds:
    """The charges after each build."""

    warehouse: Warehouse
    costs: dict[str, dict[str, Costs]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    frozen: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, dict[tuple[str, date], str]] = field(default_factory=dict)
    """Those of the reconciliation, by billing account and month of the invoice."""
    advice: dict[str, str] = field(default_factory=dict)
    """By billing account, after the first build."""

    def step(self, name: str, *statements: str, tests: bool = False, variables: Mapping[str, object] | None = None) -> None:
        """Executes the statements, then builds the models, with data tests if `tests`: as in the last step of a history."""
        self.warehouse.execute(statements)
        kinds = ("--exclude-resource-type", "unit_test") if tests else MODELS_ONLY
        outcome = replace(self.warehouse, variables=variables or {}).dbt(
            "build", "--select", "+int_usage__frozen", "+invoice_reconciliation", *kinds, "--indirect-selection", "cautious"
        )
        assert outcome.having("error", "fail", "skipped") == [], name
        costs: dict[str, Costs] = {}
        for billing_account, month, charge_class, cost in self.warehouse.query("""
            select billing_account, billing_month, charge_class, sum(billed_cost) from usage.charges group by 1, 2, 3
        """):
            costs.setdefault(billing_account, {})[month, charge_class] = cost
        self.costs[name] = costs
        columns = [
            "charge_id", "billing_account", "account", "meter", "charge_category", "charge_class", "charge_period_start",
            "billing_month", "billed_on", "quantity", "billed_cost", "effective_cost", "currency", "corrects_month",
            "discovered_at", "quantity_before", "quantity_after",
        ]  # fmt: skip
        found = self.warehouse.query(f"select {', '.join(columns)} from usage.charges order by charge_id")
        self.rows[name] = [dict(zip(columns, row, strict=True)) for row in found]
        reconciled = self.warehouse.query(
            "select billing_account, billing_month, status, what_to_do from usage.invoice_reconciliation"
            " where invoice_id is not null order by line_number desc"
        )
        self.statuses[name] = {(owner, month): status for owner, month, status, _ in reconciled}
        self.advice = self.advice or {owner: advice for owner, _, _, advice in reconciled}
        ((self.frozen[name],),) = self.warehouse.query("select count(*) from usage_intermediate.int_usage__frozen")

    def corrections(self, step: str, billing_account: str) -> list[dict[str, Any]]:
        rows = [r for r in self.rows[step] if r["billing_account"] == billing_account and r["charge_class"]]
        return sorted(rows, key=lambda row: (row["billed_on"], row["corrects_month"], row["quantity"]))


@pytest.fixture(scope="module")
def builds(scratch: Path) -> Builds:
    """Builds after usage and invoices, restatements, re-rating, invoices with corrections, and a provider off and on."""
    (scratch / "meterhouse.duckdb").unlink(missing_ok=True)
    builds = Builds(duckdb_warehouse(scratch, scratch))
    builds.step("billed", *inserts([SCENARIO]), *TABLES, *BILLED)
    builds.step("restated", *RESTATED)
    builds.step("re-rated", *RERATED)
    builds.step("corrected", *CORRECTED, tests=True)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
        builds.step("later", *LATER)
        builds.step("off", restate("early", "2026-01-10", 1_100), variables=TEST_VARIABLES)
        builds.step("on")
        builds.step("reopened", REOPENED, tests=True)
    return builds


def test_a_restatement_is_corrected_in_the_next_open_month(builds: Builds) -> None:
    """Only May is invoiced. When May rises from 1,000 to 3,000 pages at 0.005, June gets a correction of +10.00."""
    assert builds.costs["billed"]["may"] == {(date(2026, month, 1), None): d("5") for month in range(1, 7)}
    assert builds.costs["restated"]["may"] == {**builds.costs["billed"]["may"], (JUNE, "Correction"): d("10")}
    (row,) = builds.corrections("restated", "may")
    assert (row["corrects_month"], row["billed_on"]) == (MAY, JUNE)
    assert (row["quantity"], row["quantity_before"], row["quantity_after"]) == (d("2000"), d("1000"), d("3000"))
    assert row["discovered_at"] is not None
    assert [r["discovered_at"] for r in builds.corrections("on", "may")] == [row["discovered_at"]]


def test_an_invoiced_correction_stays_in_its_month(builds: Builds) -> None:
    """February's invoice covers a correction of January: later restatements of January do not change February."""
    first = {(JANUARY, None): d("5000"), (FEBRUARY, None): d("5000"), (FEBRUARY, "Correction"): d("10")}
    for step in ("restated", "re-rated", "corrected", "later", "off", "on"):
        assert first.items() <= builds.costs[step]["sealed"].items(), step
    assert builds.costs["corrected"]["sealed"] == builds.costs["restated"]["sealed"]
    for step in ("corrected", "later", "on"):
        assert builds.statuses[step]["sealed", FEBRUARY] == "matched"
    for step in ("later", "off", "on"):
        again = [row for row in builds.corrections(step, "sealed") if row["billing_month"] != FEBRUARY]
        (row,) = again
        assert (row["billing_month"], row["corrects_month"], row["billed_cost"]) == (APRIL, JANUARY, d("5"))
        assert (row["quantity_before"], row["quantity_after"]) == (d("2000"), d("3000"))


def test_a_month_invoiced_at_zero_closes(builds: Builds) -> None:
    """Usage that appears in the month later is a correction, and corrections of earlier months skip the month."""
    assert (FEBRUARY, None) not in builds.costs["restated"]["zero"]
    assert builds.costs["restated"]["zero"][MARCH, "Correction"] == d("10")
    assert builds.costs["on"]["zero"] == builds.costs["restated"]["zero"]


def test_re_rating_makes_no_correction(builds: Builds) -> None:
    """A price added after closing changes the closed month. A corrected price lets a month close that did not match."""
    for name in ("repriced", "contract"):
        assert builds.costs["billed"][name] == {(MARCH, None): d("1500")}
        for step in ("re-rated", "corrected", "later", "off", "on"):
            assert builds.costs[step][name] == {(MARCH, None): d("1560")}
    assert (builds.statuses["billed"]["contract", MARCH], builds.statuses["re-rated"]["contract", MARCH]) == (
        "over",
        "matched",
    )
    assert builds.corrections("on", "unpriced") == []
    assert builds.costs["billed"]["unpriced"][JANUARY, None] == d("5")
    assert builds.costs["on"]["unpriced"][JANUARY, None] == d("55")


def test_changed_billing_details_make_no_correction(builds: Builds) -> None:
    """Another billing account, with or without its invoice, time zone or currency: no later build adds a correction."""
    for step in ("re-rated", "corrected", "later", "off", "on"):
        assert builds.costs[step]["payer"] == builds.costs["billed"]["moved"]
        assert builds.costs[step]["other"] == builds.costs["billed"]["renamed"]
        assert "moved" not in builds.costs[step]
        assert builds.costs[step]["zone"] == {(JANUARY, None): d("15"), (FEBRUARY, None): d("20")}
        assert builds.costs[step]["euro"][JANUARY, None] == d("4")
        assert not any(builds.corrections(step, name) for name in ("payer", "other", "zone", "euro"))
    identities = {name: {row["charge_id"] for row in builds.rows["billed"] if row["account"] == name} for name in ACCOUNTS}
    for name in ("moved", "renamed", "zone", "euro", "repriced"):
        assert {row["charge_id"] for row in builds.rows["on"] if row["account"] == name} == identities[name]


def test_a_month_with_usage_below_the_invoice_stays_open(builds: Builds) -> None:
    """The comparison is by quantity if the line states one, else by amount. Usage loaded later is not a correction."""
    for name in ("short", "counted"):
        assert builds.costs["billed"][name] == {(JANUARY, None): d("4.5")}
        assert builds.advice[name].startswith("Not loaded whole? ")
        assert builds.costs["restated"][name] == builds.costs["on"][name] == {(JANUARY, None): d("5")}
    assert builds.costs["restated"]["annual"] == {(JANUARY, None): d("15")}  # an invoice for a plan closes no usage


def test_an_invoice_that_differs_closes_a_day_later(builds: Builds) -> None:
    """The price is too high, and rows were missing when the invoice was first seen: they are no correction."""
    assert builds.costs["billed"]["early"] == {(JANUARY, None): d("3.5")}
    for step in ("restated", "re-rated", "corrected", "later"):
        assert builds.costs[step]["early"] == {(JANUARY, None): d("5")}, step
    assert builds.costs["on"]["early"] == {(JANUARY, None): d("5"), (FEBRUARY, "Correction"): d("0.5")}
    assert builds.costs["reopened"]["early"] == {(JANUARY, None): d("5.5")}
    closed = "select count(*) from usage_intermediate.int_usage__frozen where account = 'early' and event = 'closed'"
    assert builds.warehouse.query(f"{closed} and timespan = 'period'") == [(2,)]  # the next build has closed it again


def test_an_invoice_closes_the_days_of_its_period(builds: Builds) -> None:
    """From 15 January to 15 February, restatements are corrected on the first open day. Other days stay open."""
    assert builds.costs["restated"]["middle"] == {
        (JANUARY, None): d("15"), (FEBRUARY, None): d("65"), (FEBRUARY, "Correction"): d("5"),
    }  # fmt: skip
    (row,) = builds.corrections("restated", "middle")
    assert row["billed_on"] == date(2026, 2, 15)
    assert builds.costs["restated"]["two"] == {(MARCH, None): d("100"), (APRIL, "Correction"): d("5")}


def test_a_month_closed_by_a_line_keeps_its_minimum(builds: Builds) -> None:
    """The usage line closes January. The restatement adds 5 of usage and takes 5 off the minimum: a correction of 0."""
    assert builds.costs["billed"]["lines"] == {(JANUARY, None): d("20")}
    assert builds.costs["on"]["lines"] == {(JANUARY, None): d("20"), (FEBRUARY, "Correction"): d("0")}
    assert [row["billed_cost"] for row in builds.corrections("on", "lines")] in ([d("5"), d("-5")], [d("-5"), d("5")])


def test_an_invoice_for_another_sku_moves_no_correction(builds: Builds) -> None:
    """February's invoice for images leaves the correction of pages in February, where the invoice for pages covers it."""
    expected = {(JANUARY, None): d("5"), (FEBRUARY, None): d("7"), (FEBRUARY, "Correction"): d("10")}
    for step in ("restated", "re-rated", "corrected", "later", "off", "on"):
        assert builds.costs[step]["split"] == expected, step


def test_a_correction_is_the_difference_between_two_ratings(builds: Builds) -> None:
    """The cost of the restated month minus its billed cost, also with tiers, minimums and withdrawn usage."""
    assert builds.costs["billed"]["tiers"] == {(MARCH, None): d("5350")}
    assert builds.costs["restated"]["tiers"] == {(MARCH, None): d("5350"), (APRIL, "Correction"): d("350")}
    assert builds.costs["billed"]["minimum"] == {(MARCH, None): d("20"), **{
        (month, None): d("20") for month in (JANUARY, FEBRUARY, APRIL, MAY)
    }}  # fmt: skip
    assert builds.costs["restated"]["minimum"][APRIL, "Correction"] == d("0")
    assert {row["charge_category"]: row["billed_cost"] for row in builds.corrections("restated", "minimum")} == {
        "Usage": d("10"), "Adjustment": d("-10"),
    }  # fmt: skip
    assert builds.costs["restated"]["gone"] == {
        (MARCH, None): d("5"), (APRIL, None): d("5"), (APRIL, "Correction"): d("-5"),
    }  # fmt: skip


def test_a_restatement_changes_the_credits_left_for_later_months(builds: Builds) -> None:
    """From a pack of 1,000 credits, January draws 100 more. February has 100 fewer, and pays 0.10 for each."""
    assert builds.costs["billed"]["pack"] == {(JANUARY, None): d("10"), (FEBRUARY, None): d("0"), (MARCH, None): d("10")}
    assert builds.costs["restated"]["pack"] == {
        **builds.costs["billed"]["pack"], (MARCH, "Correction"): d("10"),
    }  # fmt: skip
    by_month = {row["corrects_month"] for row in builds.corrections("restated", "pack")}
    assert by_month == {JANUARY, FEBRUARY}
    spent = sum(row["effective_cost"] for row in builds.rows["restated"] if row["billing_account"] == "pack")
    assert spent == d("30")  # the pack, and 200 credits beyond it


def test_an_invoiced_correction_stays_in_a_cycle_from_the_15th(builds: Builds) -> None:
    """A plan of 1,000 credits from the 15th. On 20 January, 100 more are used, so on 5 February 100 more cost 0.10 each.

    The invoice to 15 February was for 10. The next one has a correction of 10, which stays in March.
    """
    expected = {
        (JANUARY, None): d("0"), (FEBRUARY, None): d("10"), (FEBRUARY, "Correction"): d("0"), (MARCH, "Correction"): d("10"),
    }  # fmt: skip
    for step in ("restated", "re-rated", "corrected", "later", "on"):
        assert builds.costs[step]["cycle"] == expected, step
    assert None not in [row["discovered_at"] for row in builds.corrections("on", "cycle")]


def test_a_closed_period_does_not_change_with_open_days_before_it(builds: Builds) -> None:
    """Only February is closed, and January uses less of a gift of 30: February's 20 stay, and March gets -15.

    The invoice of January then closes its present usage. 16 to 31 January keep the tiers that they were billed in.
    """
    assert builds.costs["billed"]["gift"] == {(JANUARY, None): d("0"), (FEBRUARY, None): d("20")}
    for step in ("restated", "re-rated", "corrected"):
        assert builds.costs[step]["gift"] == builds.costs["billed"]["gift"] | {(MARCH, "Correction"): d("-15")}, step
    assert builds.costs["later"]["gift"] == builds.costs["corrected"]["gift"] | {(MARCH, "Correction"): d("-10")}
    discovered = {row["discovered_at"] for row in builds.corrections("restated", "gift")}
    assert {row["discovered_at"] for row in builds.corrections("corrected", "gift")} == discovered
    assert builds.costs["billed"]["second_half"] == {(JANUARY, None): d("5700")}
    for step in ("restated", "re-rated", "corrected", "later"):
        assert builds.costs[step]["second_half"] == {(JANUARY, None): d("6200"), (FEBRUARY, "Correction"): d("-150")}, step


def test_a_disabled_provider_has_no_charges(builds: Builds) -> None:
    """It has no corrections either. Once it is enabled again, its charges and corrections are back."""
    assert "off" not in builds.costs["off"]
    assert "pack" not in builds.costs["off"]
    assert (
        builds.costs["on"]["off"] == builds.costs["billed"]["off"] == {(JANUARY, None): d("40"), (FEBRUARY, None): d("50")}
    )
    assert builds.costs["on"]["pack"] == builds.costs["later"]["pack"]
    assert builds.frozen["on"] == builds.frozen["off"] == builds.frozen["later"] + 1  # the restatement of `early`


def test_postgresql_gives_the_same_charges(builds: Builds, postgres: Warehouse) -> None:
    """Keys, corrections and quantities are the same as on DuckDB, in any session time zone."""
    elsewhere = Builds(postgres)
    elsewhere.step("billed", *inserts([SCENARIO]), *TABLES, *BILLED)
    elsewhere.step("restated", *RESTATED)
    elsewhere.step("corrected", *RERATED, *CORRECTED, tests=True)
    unlike = {"discovered_at"}
    for step in ("billed", "restated", "corrected"):
        left, right = (
            {row["charge_id"]: {name: row[name] for name in row if name not in unlike} for row in of.rows[step]}
            for of in (builds, elsewhere)
        )
        assert left == right, step
