"""`meterhouse export focus`: the content of the file, and the errors."""

import csv
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meterhouse.pipelines.export import files as export
from tests.pipelines.focus import CHARGES, Exported


@cache
def by_charge(file: Path) -> dict[str, dict[str, Any]]:
    return {row["x_ChargeId"]: row for row in pq.read_table(file).to_pylist()}


def one_of_each(year: Exported, file: Path) -> dict[str, dict[str, Any]]:
    """The rows of the charges named in `CHARGES`."""
    rows = by_charge(file)
    return {name: rows[charge_id] for name, charge_id in year.charge_ids.items()}


def values(row: Mapping[str, Any], *columns: str) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_exports_every_charge_once(year: Exported, version: str) -> None:
    """The joins with invoices and services neither multiply nor lose a charge, and all sums agree.

    The tax of an invoice, and what a line that matches differs by, are no charges and have no SKU.
    """
    file = year.file(version, "parquet")
    ((charges, billed, effective, listed, contracted),) = year.rows(
        "select count(*), sum(billed_cost), sum(effective_cost), sum(list_cost), sum(contracted_cost) from usage.charges"
    )
    assert charges > len(CHARGES) + 1000  # type: ignore[operator]
    assert len(set(year.charge_ids.values())) == len(CHARGES)
    assert duckdb.execute(
        'select count(*), count(distinct "x_ChargeId"), sum("BilledCost"), sum("EffectiveCost"), sum("ListCost"),'
        f' sum("ContractedCost") from \'{file}\' where "SkuId" is not null'
    ).fetchall() == [(charges, charges, billed, effective, listed, contracted)]
    assert duckdb.execute(
        'select "ChargeCategory", "InvoiceId", "BilledCost", "EffectiveCost", "PricingQuantity", "SkuPriceId"'
        f" from '{file}' where \"SkuId\" is null order by 1, 3"
    ).fetchall() == [
        ("Adjustment", "M-2026-03", Decimal("0.001"), Decimal("0.001"), None, None),
        ("Adjustment", "M-2026-03", Decimal("0.005"), Decimal("0.005"), None, None),
        ("Adjustment", "M-2026-03", Decimal("0.04"), Decimal("0.04"), None, None),
        ("Tax", "M-2026-03", Decimal("3.80"), Decimal("3.80"), None, None),
    ]


def test_focus_agrees_with_cost_monthly(year: Exported) -> None:
    """Costs are equal for each month and SKU, and so are the quantities of usage."""
    file = year.file("1.2", "parquet")
    # A period starts at midnight in its time zone. In the zones used here, UTC is in the same month twelve hours later.
    month = "cast(date_trunc('month', (\"BillingPeriodStart\" at time zone 'UTC') + interval 12 hour) as date)"
    assert duckdb.execute(
        f'select {month}, "SkuId", sum("BilledCost"), sum("EffectiveCost"), sum("ConsumedQuantity")'
        f" from '{file}' where \"SkuId\" is not null group by all order by all"
    ).fetchall() == year.rows("""
        select billing_month, sku_id, sum(billed_cost), sum(effective_cost),
            sum(quantity) filter (charge_category = 'Usage')
        from usage.cost_monthly group by all order by all
    """)


def test_parquet_has_decimals_and_utc_timestamps(year: Exported) -> None:
    """No column has floating-point money or a timestamp without a time zone."""
    types = {field.name: field.type for field in pq.read_schema(year.file("1.2", "parquet"))}
    assert types["BilledCost"] == types["PricingQuantity"] == types["ListUnitPrice"] == pa.decimal128(28, 9)
    assert types["ChargePeriodStart"] == types["BillingPeriodEnd"] == pa.timestamp("us", tz="UTC")
    assert {str(kind) for kind in types.values()} == {"decimal128(28, 9)", "timestamp[us, tz=UTC]", "string", "bool"}


def test_csv_has_a_portable_format(year: Exported) -> None:
    """CR LF, times with Z, decimals without an exponent, null as empty text, and the same values as in Parquet."""
    file = year.file("1.4", "csv")
    text = file.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") == sum(1 for _ in csv.reader(text.splitlines()))
    rows = {row["x_ChargeId"]: row for row in csv.DictReader(text.splitlines())}
    assert values(
        rows[year.charge_ids["package"]],
        *("ChargePeriodEnd", "BilledCost", "EffectiveCost", "ChargeDescription", "ConsumedQuantity"),
    ) == (
        "2027-05-03T00:00:00Z",
        "300.000000000",
        "0.000000000",
        "purchased credits P-1",
        "",
    )
    typed = by_charge(year.file("1.4", "parquet"))
    assert rows.keys() == typed.keys()
    for key, row in typed.items():
        assert Decimal(rows[key]["ListCost"]) == row["ListCost"]
        assert datetime.fromisoformat(rows[key]["ChargePeriodStart"]) == row["ChargePeriodStart"]
        assert rows[key]["SkuPriceDetails"] == (row["SkuPriceDetails"] or "")
    with year.file("1.4", "csv", "invoice-detail").open(newline="") as stream:
        descriptions = {row["InvoiceDetailDescription"] for row in csv.DictReader(stream)}
    assert 'Everything else, "as agreed"' in descriptions


@pytest.mark.parametrize(
    ("version", "dataset", "count"),
    [
        ("1.2", "cost-and-usage", 57),
        ("1.4", "cost-and-usage", 65),
        ("1.4", "billing-period", 6),
        ("1.4", "invoice-detail", 22),
    ],
)
def test_all_columns_adds_the_unused_columns_as_nulls(
    year: Exported, tmp_path: Path, version: str, dataset: str, count: int
) -> None:
    """The file has every column of the specification. The columns that are also in the plain file have the same values."""
    plain = year.file(version, "parquet", dataset)
    file = year.to(tmp_path / "all.parquet", "--version", version, "--dataset", dataset, "--all-columns")
    before, names = pq.read_schema(plain).names, pq.read_schema(file).names
    assert len([name for name in names if not name.startswith("x_")]) == count
    assert names == sorted(names, key=lambda name: (name.startswith("x_"), name))
    table = pq.read_table(file)
    assert all(table[name].null_count == table.num_rows for name in names if name not in before)
    assert {str(table[name].type) for name in names if name not in before} <= {"string", "decimal128(28, 9)"}
    shared = ", ".join(f'"{name}"' for name in before)
    assert table.num_rows == pq.read_metadata(plain).num_rows
    assert duckdb.execute(f"select {shared} from '{plain}' except all select {shared} from '{file}'").fetchall() == []


def test_all_columns_are_empty_in_csv(year: Exported, tmp_path: Path) -> None:
    """A column without values has a name in the header and no text in any row."""
    options = ("--version", "1.4", "--dataset", "invoice-detail", "--all-columns")
    with year.to(tmp_path / "all.csv", *options).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["PaymentCurrencyBilledCost"] + row["PurchaseOrderNumber"] for row in rows} == {""}
    assert all(row["InvoiceDetailId"] for row in rows)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_partitioned_export_has_a_file_for_each_billing_period(year: Exported, tmp_path: Path, file_format: str) -> None:
    """Together they have the rows of the whole file. A period without rows loses its file; files of others remain."""
    left = tmp_path / "focus" / "billing_period=2019-01" / f"cost-and-usage.{file_format}"
    left.parent.mkdir(parents=True)
    left.touch()
    other = tmp_path / "focus" / "billing_period=2019-02" / "notes.txt"
    other.parent.mkdir()
    other.touch()
    folder = year.to(tmp_path / "focus", "--partitioned", "--format", file_format)
    assert not left.parent.exists()
    assert {file.name for file in folder.rglob("*") if file.is_file()} == {f"cost-and-usage.{file_format}", "notes.txt"}
    whole, parts = year.file("1.2", file_format), f"{folder}/*/cost-and-usage.{file_format}"
    read = "read_csv('{}', all_varchar = true" if file_format == "csv" else "read_parquet('{}'"

    def rows(files: object, query: str, *, hive: bool = False) -> list[tuple[Any, ...]]:
        return duckdb.execute(query.format(f"{read.format(files)}, hive_partitioning = {hive})")).fetchall()

    charges = 'select "x_ChargeId", "BilledCost", "SkuId", "InvoiceId" from {} order by all'
    assert rows(parts, charges) == rows(whole, charges)
    found = rows(parts, "select billing_period, count(*) from {} where \"SkuId\" <> '' group by all", hive=True)
    months = year.rows("select strftime(billing_month, '%Y-%m'), count(*) from usage.charges group by all")
    assert {(str(period), count) for period, count in found} == set(months)


def test_refuses_stdout_as_file(year: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other programs mean stdout by it."""
    monkeypatch.chdir(tmp_path)
    for option in ("--all-columns", "--partitioned"):
        assert "cannot go to stdout" in year.export("-", "--format", "csv", option, status=2)
    assert not list(tmp_path.iterdir())


def test_a_partitioned_export_needs_a_folder(year: Exported, tmp_path: Path) -> None:
    """An existing file is not replaced."""
    file = tmp_path / "focus.parquet"
    file.write_text("mine")
    assert "cannot be a folder" in year.export(str(file), "--partitioned", status=2)
    assert file.read_text() == "mine"


@pytest.mark.thorough
def test_prepaid_credits_are_a_virtual_currency(year: Exported) -> None:
    """The purchase has a billed cost and no effective cost; usage has an effective cost and no billed cost."""
    rows = one_of_each(year, year.file("1.2", "parquet"))
    costs = (
        "ChargeCategory",
        "BilledCost",
        "EffectiveCost",
        "PricingCurrency",
        "PricingCurrencyEffectiveCost",
        "PricingQuantity",
    )
    assert values(rows["package"], *costs) == ("Purchase", 300, 0, "USD", 0, 30000)
    assert values(rows["drawn"], *costs) == ("Usage", 0, Decimal("12.345"), "Credit", Decimal("1234.5"), Decimal("1234.5"))
    assert values(rows["expired"], *costs) == ("Usage", 0, 1, "Credit", 100, 100)
    assert values(rows["overage"], *costs) == ("Usage", Decimal("0.15"), Decimal("0.15"), "USD", Decimal("0.15"), 10)
    assert values(rows["promotion"], *costs) == ("Credit", -29, -29, "USD", -29, None)
    assert values(rows["drawn"], "SubAccountId", "BillingAccountId", "x_GrantId") == ("ocr", "acme", "P-1")
    assert values(rows["package"], "SubAccountId", "SkuPriceId") == (None, "reducto/credits/P-1")
    assert values(rows["correction"], "ChargeClass", "ConsumedQuantity", "PricingQuantity") == ("Correction", -7, None)


def test_cost_is_quantity_times_price(year: Exported) -> None:
    """This holds for every priced charge, including a credit package whose unit price has infinitely many digits."""
    file = year.file("1.2", "parquet")
    rows = [row for row in by_charge(file).values() if row["ListUnitPrice"] is not None]
    wrong = [
        row["x_ChargeId"]
        for row in rows
        if row["PricingQuantity"] * row["ListUnitPrice"] != row["ListCost"]
        or row["PricingQuantity"] * row["ContractedUnitPrice"] != row["ContractedCost"]
    ]
    assert wrong == []
    priced = {row["x_ChargeId"] for row in rows}
    unpriced = {name for name, charge_id in year.charge_ids.items() if charge_id not in priced}
    assert unpriced == {"promotion", "correction", "minimum"}


def test_usage_has_a_list_unit_price(year: Exported) -> None:
    """Even usage at a negotiated price without a public one has it. Only a correction, a difference of costs, has none."""
    rows = by_charge(year.file("1.2", "parquet")).values()
    without = [row["ChargeClass"] for row in rows if row["ChargeCategory"] == "Usage" and row["ListUnitPrice"] is None]
    assert without == ["Correction"]


@pytest.mark.thorough
def test_billing_periods_use_the_billing_timezone(year: Exported) -> None:
    """A billing account outside UTC has periods that start at its own midnight."""
    rows = one_of_each(year, year.file("1.2", "parquet"))
    assert values(rows["own"], "BillingPeriodStart", "BillingPeriodEnd", "BillingCurrency", "x_IsComplete") == (
        datetime(2026, 4, 30, 22, tzinfo=UTC),
        datetime(2026, 5, 31, 22, tzinfo=UTC),
        "EUR",
        False,
    )


def test_names_issued_invoices_only(year: Exported) -> None:
    """Charges name the line of March's issued invoice, not the voided one of February nor Reducto's open one.

    Their BilledCost adds up to the invoice, to the cent.
    """
    file = year.file("1.4", "parquet")
    assert duckdb.execute(
        'select distinct "InvoiceId", "InvoiceDetailId", "SkuId", "BillingPeriodStart" at time zone \'UTC\''
        f" from '{file}' where \"InvoiceId\" is not null order by all"
    ).fetchall() == [
        ("M-2026-03", "M-2026-03/1", "mathpix/image", datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", "M-2026-03/2", "mathpix/pdf-page", datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", "M-2026-03/2", "mathpix/strokes-session", datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", "M-2026-03/3", None, datetime(2026, 3, 1)),  # noqa: DTZ001
        ("M-2026-03", None, None, datetime(2026, 3, 1)),  # noqa: DTZ001
    ]
    assert duckdb.execute(f'select sum("BilledCost") from \'{file}\' where "InvoiceId" is not null').fetchall() == year.rows(
        "select total from billing.invoices where invoice_id = 'M-2026-03'"
    )


def test_exports_invoice_details_and_billing_periods(year: Exported) -> None:
    """Invoice lines are exported as loaded, and billing periods mark the closed months."""
    lines = pq.read_table(year.file("1.4", "parquet", "invoice-detail")).to_pylist()
    shown = [values(line, "InvoiceDetailId", "InvoiceIssueStatus", "BilledCost", "InvoiceIssueDate") for line in lines]
    assert sorted(shown, key=repr) == [
        ("M-2026-02/1", "Voided", 20, datetime(2026, 3, 2, tzinfo=UTC)),
        ("M-2026-03/1", "Issued", Decimal("2442.07"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("M-2026-03/2", "Issued", Decimal("2755.49"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("M-2026-03/3", "Issued", Decimal("3.8"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("M-2026-03/4", "Issued", Decimal("0.04"), datetime(2026, 4, 2, tzinfo=UTC)),
        ("R-2026-04/1", "Open", 150, None),
    ]
    periods = pq.read_table(year.file("1.4", "parquet", "billing-period")).to_pylist()
    assert [
        values(period, "InvoiceIssuerName", "BillingPeriodStart", "BillingPeriodLastUpdated")
        for period in periods
        if period["BillingPeriodStatus"] == "Closed"
    ] == [("Mathpix", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC))]


def test_replaces_an_existing_file(year: Exported, tmp_path: Path) -> None:
    """The new content replaces the old, and no temporary file stays behind."""
    file = tmp_path / "focus.csv"
    file.write_text("what was there before\n" * 100_000)
    year.to(file)
    assert file.read_text().startswith("BilledCost,")
    assert "what was there" not in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.thorough
def test_follows_no_link_in_place_of_the_temporary_file(
    year: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared folder, another user could put it there to have a file of the user overwritten."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    precious, file = tmp_path / "precious", tmp_path / "focus.csv"
    precious.write_text("before")
    (tmp_path / ".meterhouse-guessed.part").symlink_to(precious)
    assert "cannot be written (File exists)" in year.export(str(file), status=1)
    assert precious.read_text() == "before"


@pytest.mark.thorough
def test_a_failed_export_keeps_the_existing_file(year: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partial file would look like a complete month."""

    def disk_is_full() -> int:
        raise OSError(28, os.strerror(28))

    file = tmp_path / "focus.csv"
    file.write_text("before")
    as_texts, chunks = export._as_texts, []

    def fail_after_100_columns(column: object) -> object:  # in the third chunk
        chunks.append(column)
        return as_texts(column) if len(chunks) < 100 else disk_is_full()

    monkeypatch.setattr(export, "_as_texts", fail_after_100_columns)
    assert "No space left" in year.export(str(file), status=1)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    year.to(file)  # the failed export has closed the database
    assert file.read_text() != "before"


def test_requires_built_models(year: Exported, tmp_path: Path) -> None:
    """The error says how to build them, and no database is created."""
    unbuilt = Exported(tmp_path / "none.duckdb", tmp_path)
    assert "there is no database" in unbuilt.export("focus.csv", status=1)
    assert list(tmp_path.iterdir()) == []
    duckdb.connect(str(unbuilt.database)).close()
    assert "Build the models first" in unbuilt.export("focus.csv", status=1)
    assert list(tmp_path.iterdir()) == [unbuilt.database]


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_rejects_a_wrong_command_line(year: Exported, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """The command exits with 2, says what to write instead, and writes no file."""
    assert message in year.export(*arguments, status=2)
    assert list(tmp_path.iterdir()) == []


def test_csv_escapes_spreadsheet_formulas(
    tmp_path: Path, empty_working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apostrophe precedes text that a spreadsheet would compute. Numbers and Parquet stay unchanged."""
    database = tmp_path / "costs.duckdb"
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    formulas = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"]
    harmless = ["a=1", " = 1", "'=1", "", "1-2"]
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema usage")
        connection.execute(
            'create table usage.focus_1_2_cost_and_usage ("ChargeDescription" text, "BilledCost" decimal(28, 9))'
        )
        connection.executemany(
            "insert into usage.focus_1_2_cost_and_usage values (?, -5.5)", [[text] for text in formulas + harmless]
        )
    exported = Exported(database, tmp_path)
    with exported.to(tmp_path / "focus.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [text for text, _ in rows] == [f"'{text}" for text in formulas] + harmless
    assert {cost for _, cost in rows} == {"-5.500000000"}
    table = pq.read_table(exported.to(tmp_path / "focus.parquet"))
    assert table.column("ChargeDescription").to_pylist() == formulas + harmless
