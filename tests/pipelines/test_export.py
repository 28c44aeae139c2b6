"""`meterhouse export focus`: what is in the file, and what happens where there can be none."""

import csv
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meterhouse.pipelines.export import files as export
from tests.pipelines.focus import CHARGES, Exported


def by_charge(file: Path) -> dict[str, dict[str, Any]]:
    return {row["x_ChargeId"]: row for row in pq.read_table(file).to_pylist()}


def part(row: Mapping[str, Any], *columns: str) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_every_charge_is_a_row_and_the_sums_agree(year: Exported, version: str) -> None:
    """Neither an invoice nor a service multiplies a charge or loses one."""
    file = year.file(version, "parquet")
    ((charges, billed, effective, listed, contracted),) = year.rows(
        "select count(*), sum(billed_cost), sum(effective_cost), sum(list_cost), sum(contracted_cost) from usage.charges"
    )
    assert charges > len(CHARGES) + 1000  # type: ignore[operator]
    assert duckdb.execute(
        'select count(*), count(distinct "x_ChargeId"), sum("BilledCost"), sum("EffectiveCost"), sum("ListCost"),'
        f" sum(\"ContractedCost\") from '{file}'"
    ).fetchall() == [(charges, charges, billed, effective, listed, contracted)]


def test_a_months_bill_in_focus_is_that_of_cost_monthly(year: Exported) -> None:
    """Month by month and SKU by SKU, for what the models themselves computed."""
    file = year.file("1.2", "parquet")
    by_hand = ", ".join(charge.split(",")[0] for charge in CHARGES)
    assert duckdb.execute(
        'select cast("BillingPeriodStart" at time zone \'UTC\' as date), "SkuId", sum("BilledCost"), sum("PricingQuantity")'
        f" from '{file}' where \"x_ChargeId\" not in ({by_hand}) group by all order by all"
    ).fetchall() == year.rows(
        "select billing_month, sku_id, billed_cost, quantity from usage.cost_monthly order by billing_month, sku_id"
    )


def test_parquet_has_decimals_and_times_in_utc(year: Exported) -> None:
    """No money in floating point, and no time that means another one elsewhere."""
    types = {field.name: field.type for field in pq.read_schema(year.file("1.2", "parquet"))}
    assert types["BilledCost"] == types["PricingQuantity"] == types["ListUnitPrice"] == pa.decimal128(28, 9)
    assert types["ChargePeriodStart"] == types["BillingPeriodEnd"] == pa.timestamp("us", tz="UTC")
    assert {str(kind) for kind in types.values()} == {"decimal128(28, 9)", "timestamp[us, tz=UTC]", "string", "bool"}


def test_csv_is_what_every_reader_takes(year: Exported) -> None:
    """CR LF, times with Z, decimals without an exponent, null as nothing; and the same values as in Parquet."""
    file = year.file("1.4", "csv")
    text = file.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") == sum(1 for _ in csv.reader(text.splitlines()))
    rows = {row["x_ChargeId"]: row for row in csv.DictReader(text.splitlines())}
    assert part(
        rows["package"], "ChargePeriodEnd", "BilledCost", "EffectiveCost", "ChargeDescription", "ConsumedQuantity"
    ) == (
        "2027-04-01T00:00:00Z",
        "300.000000000",
        "0.000000000",
        "30,000 credits",
        "",
    )
    typed = by_charge(year.file("1.4", "parquet"))
    assert rows.keys() == typed.keys()
    for key, row in typed.items():
        assert Decimal(rows[key]["ListCost"]) == row["ListCost"]
        assert datetime.fromisoformat(rows[key]["ChargePeriodStart"]) == row["ChargePeriodStart"]
        assert rows[key]["SkuPriceDetails"] == (row["SkuPriceDetails"] or "")


def test_prepaid_credits_follow_the_rules_of_virtual_currencies(year: Exported) -> None:
    """The purchase is billed and has no effect; the use has an effect and is not billed."""
    rows = by_charge(year.file("1.2", "parquet"))
    costs = (
        "ChargeCategory",
        "BilledCost",
        "EffectiveCost",
        "PricingCurrency",
        "PricingCurrencyEffectiveCost",
        "PricingQuantity",
    )
    assert part(rows["package"], *costs) == ("Purchase", 300, 0, "USD", 0, 30000)
    assert part(rows["drawn"], *costs) == ("Usage", 0, Decimal("12.345"), "Credit", Decimal("1234.5"), Decimal("1234.5"))
    assert part(rows["overage"], *costs) == ("Usage", Decimal("0.15"), Decimal("0.15"), "USD", Decimal("0.15"), 10)
    assert part(rows["promotion"], *costs) == ("Credit", -29, -29, "USD", -29, None)
    assert part(rows["drawn"], "SubAccountId", "BillingAccountId", "x_GrantId") == ("ocr", "acme", "P-1")
    assert part(rows["package"], "SubAccountId", "SkuPriceId") == (None, "reducto/credits/P-1")
    assert part(rows["correction"], "ChargeClass", "ConsumedQuantity", "PricingQuantity") == ("Correction", -7, None)


def test_quantity_times_price_is_the_cost_of_everything_that_has_a_price(year: Exported) -> None:
    """Also of a package of credits whose price has no end of digits."""
    rows = [row for row in by_charge(year.file("1.2", "parquet")).values() if row["ListUnitPrice"] is not None]
    wrong = [
        row["x_ChargeId"]
        for row in rows
        if row["PricingQuantity"] * row["ListUnitPrice"] != row["ListCost"]
        or row["PricingQuantity"] * row["ContractedUnitPrice"] != row["ContractedCost"]
    ]
    assert wrong == []
    assert {"thirds", "package", "overage", "drawn"} <= {row["x_ChargeId"] for row in rows}


def test_a_month_is_on_the_calendar_of_its_bill(year: Exported) -> None:
    """Which is not UTC everywhere."""
    rows = by_charge(year.file("1.2", "parquet"))
    assert part(rows["own"], "BillingPeriodStart", "BillingPeriodEnd", "BillingCurrency", "x_IsComplete") == (
        datetime(2026, 4, 30, 22, tzinfo=UTC),
        datetime(2026, 5, 31, 22, tzinfo=UTC),
        "EUR",
        False,
    )


def test_only_an_issued_invoice_is_named(year: Exported) -> None:
    """Neither the voided one of February nor the open one of Reducto; and each charge finds its line of March's."""
    file = year.file("1.4", "parquet")
    assert duckdb.execute(
        'select distinct "InvoiceId", "InvoiceDetailId", "SkuId", "BillingPeriodStart" at time zone \'UTC\''
        f" from '{file}' where \"InvoiceId\" is not null order by all"
    ).fetchall() == [
        ("M-2026-03", "M-2026-03/1", "mathpix/image", datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", "M-2026-03/2", "mathpix/pdf-page", datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", "M-2026-03/2", "mathpix/strokes-session", datetime(2026, 3, 1)),  # noqa: DTZ001
    ]


def test_the_other_datasets_of_1_4(year: Exported) -> None:
    """Lines of invoices as they were given, and which months are closed."""
    lines = pq.read_table(year.file("1.4", "parquet", "invoice-detail")).to_pylist()
    shown = [part(line, "InvoiceDetailId", "InvoiceIssueStatus", "BilledCost", "InvoiceIssueDate") for line in lines]
    assert sorted(shown, key=repr) == [
        ("M-2026-02/1", "Voided", 20, datetime(2026, 3, 2, tzinfo=UTC)),
        ("M-2026-03/1", "Issued", Decimal("12.5"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("M-2026-03/2", "Issued", Decimal("7.5"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("M-2026-03/3", "Issued", 0, datetime(2026, 4, 2, tzinfo=UTC)),
        ("R-2026-04/1", "Open", 150, None),
    ]
    periods = pq.read_table(year.file("1.4", "parquet", "billing-period")).to_pylist()
    assert [
        part(period, "InvoiceIssuerName", "BillingPeriodStart", "BillingPeriodLastUpdated")
        for period in periods
        if period["BillingPeriodStatus"] == "Closed"
    ] == [("Mathpix", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC))]


def test_a_file_that_exists_is_replaced_whole(year: Exported, tmp_path: Path) -> None:
    """With nothing left beside it."""
    file = tmp_path / "focus.csv"
    file.write_text("what was there before\n" * 100_000)
    year.to(file)
    assert file.read_text().startswith("BilledCost,")
    assert "what was there" not in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_breaks_off_leaves_what_was_there(
    year: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a month of costs would be taken for all of it."""

    def full() -> int:
        raise OSError(28, os.strerror(28))

    file = tmp_path / "focus.csv"
    file.write_text("before")
    monkeypatch.setattr(export, "CHUNK", 10)
    as_texts, chunks = export._as_texts, []

    def until_the_disk_is_full(column: object) -> object:
        chunks.append(column)
        return as_texts(column) if len(chunks) < 500 else full()

    monkeypatch.setattr(export, "_as_texts", until_the_disk_is_full)
    assert "No space left" in year.export(str(file), status=1)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    year.to(file)  # the database was let go of
    assert file.read_text() != "before"


def test_without_a_build_there_is_nothing_to_export(year: Exported, tmp_path: Path) -> None:
    """And no database is made by asking."""
    unbuilt = Exported(tmp_path / "none.duckdb", tmp_path)
    assert "there is no database" in unbuilt.export("focus.csv", status=1)
    assert list(tmp_path.iterdir()) == []
    duckdb.connect(str(unbuilt.database)).close()
    assert "Build the models first" in unbuilt.export("focus.csv", status=1)
    assert list(tmp_path.iterdir()) == [unbuilt.database]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--version", "1.3", "focus.csv"), "--version"),
        (("--format", "xlsx", "focus.csv"), "--format"),
        (("--dataset", "invoice-detail", "focus.csv"), "--version 1.4"),
        (("focus.txt",), "--format"),
        (("nowhere/focus.csv",), "folder that exists"),
        (("--format", "csv", "."), "folder that exists"),
        ((), "FILE"),
    ],
)
def test_a_wrong_command_line_does_nothing(year: Exported, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Status 2, and what to write instead."""
    assert said in year.export(*arguments, status=2)
    assert list(tmp_path.iterdir()) == []


def test_csv_has_no_formula_of_anybodys_choosing(
    tmp_path: Path, empty_working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that a spreadsheet would compute begin with an apostrophe; numbers stay numbers, and Parquet is as it was."""
    database = tmp_path / "costs.duckdb"
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    computed = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"]
    harmless = ["a=1", " = 1", "'=1", "", "1-2"]
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema usage")
        connection.execute(
            'create table usage.focus_1_2_cost_and_usage ("ChargeDescription" text, "BilledCost" decimal(28, 9))'
        )
        connection.executemany(
            "insert into usage.focus_1_2_cost_and_usage values (?, -5.5)", [[text] for text in computed + harmless]
        )
    exported = Exported(database, tmp_path)
    with exported.to(tmp_path / "focus.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [text for text, _ in rows] == [f"'{text}" for text in computed] + harmless
    assert {cost for _, cost in rows} == {"-5.500000000"}
    table = pq.read_table(exported.to(tmp_path / "focus.parquet"))
    assert table.column("ChargeDescription").to_pylist() == computed + harmless
