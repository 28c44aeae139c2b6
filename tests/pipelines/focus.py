"""A database with a year of the sandbox's usage, and one charge of every kind that FOCUS distinguishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import time_machine
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Sandbox
from tests.pipelines.transform.warehouse import MARTS, MODELS_ONLY, duckdb_warehouse

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)

INVOICES = """
    create schema if not exists billing;
    create table billing.invoices (
        provider text, billing_account text, invoice_id text, period_start date, period_end date, issued_on date,
        status text, currency text, total decimal(28, 9), source text, row_number bigint, loaded_at timestamptz
    );
    create table billing.invoice_lines (
        provider text, billing_account text, invoice_id text, line_number bigint, charge_category text, sku_id text,
        description text, quantity decimal(28, 9), unit text, amount decimal(28, 9), source text, row_number bigint,
        loaded_at timestamptz
    );
    insert into billing.invoices
        (provider, billing_account, invoice_id, period_start, period_end, issued_on, status, currency, total)
    values
        ('mathpix', 'default', 'M-2026-03', '2026-03-01', '2026-04-01', '2026-04-02', 'issued', 'USD', 23.84),
        ('mathpix', 'default', 'M-2026-02', '2026-02-01', '2026-03-01', '2026-03-02', 'voided', 'USD', 20.00),
        ('reducto', 'acme', 'R-2026-04', '2026-04-01', '2026-05-01', null, 'open', 'USD', 150.00);
    insert into billing.invoice_lines
        (provider, billing_account, invoice_id, line_number, charge_category, sku_id, description, amount)
    values
        ('mathpix', 'default', 'M-2026-03', 1, 'Usage', 'mathpix/image', 'Images', 12.50),
        ('mathpix', 'default', 'M-2026-03', 2, 'Usage', '', 'Everything else, "as agreed"', 7.50),
        ('mathpix', 'default', 'M-2026-03', 3, 'Tax', '', null, 3.80),
        ('mathpix', 'default', 'M-2026-03', 4, 'Purchase', '', 'Rounding', 0.04),
        ('mathpix', 'default', 'M-2026-02', 1, 'Usage', '', 'Usage', 20.00),
        ('reducto', 'acme', 'R-2026-04', 1, 'Purchase', '', 'Plan', 150.00);
"""

COLUMNS = (
    "charge_id, provider, billing_account, account, meter, sku_id, sku_price_id, tier_no, grant_id, charge_category,"
    " charge_class, charge_frequency, charge_description, charge_period_start, charge_period_end, billing_month, quantity,"
    " unit, list_unit_price, unit_price, list_cost, contracted_cost, billed_cost, effective_cost, currency, is_complete"
)
CHARGES = (
    # Mathpix charges that the sandbox has no usage for: a sign-up fee, a credit against it, a late correction.
    "'setup', 'mathpix', 'default', '', '', 'mathpix/fee/setup', null, null, null, 'Purchase', null, 'One-Time',"
    " 'Setup fee', '2026-04-03', '2026-04-04', '2026-04-01', 1, 'fee', 20, 20, 20, 20, 20, 20, 'USD', true",
    "'promotion', 'mathpix', 'default', '', '', 'mathpix/credits/trial', null, null, null, 'Credit', null, 'One-Time',"
    " 'Test credit', '2026-04-03', '2026-04-04', '2026-04-01', 29, 'USD', null, null, -29, -29, -29, -29, 'USD', true",
    "'correction', 'mathpix', 'default', 'default', 'image', 'mathpix/image', 'mathpix/image/t1', 1, null, 'Usage',"
    " 'Correction', 'Usage-Based', 'Images counted twice', '2026-03-07', '2026-03-08', '2026-04-01', -7, 'image', 0.002,"
    " 0.002, -0.01, -0.01, -0.01, -0.01, 'USD', true",
    # Credits paid in advance at a discount: the plan, a package of credits, usage drawn from it, and usage beyond it.
    "'plan', 'reducto', 'acme', '', '', 'reducto/fee/growth', null, null, null, 'Purchase', null, 'Recurring',"
    " 'Growth plan', '2026-04-01', '2026-05-01', '2026-04-01', 1, 'month', null, null, 150, 150, 150, 150, 'USD', true",
    "'package', 'reducto', 'acme', '', '', 'reducto/credits/P-1', null, null, null, 'Purchase', null, 'One-Time',"
    " '30,000 credits', '2026-04-01', '2027-04-01', '2026-04-01', 30000, 'credit', 0.015, 0.01, 450, 300, 300, 0,"
    " 'USD', true",
    "'trial', 'reducto', 'acme', '', '', 'reducto/credits/P-0', null, null, null, 'Purchase', null, 'One-Time',"
    " '100 credits', '2026-04-01', '2026-05-01', '2026-04-01', 100, 'credit', 0.015, 0.01, 1.5, 1, 1, 0, 'USD', true",
    "'thirds', 'reducto', 'acme', '', '', 'reducto/credits/P-2', null, null, null, 'Purchase', null, 'One-Time',"
    " 'Credits at three to the dollar', '2026-04-01', '2027-04-01', '2026-04-01', 3, 'credit', null, null, 1, 1, 1, 0,"
    " 'USD', true",
    "'drawn', 'reducto', 'acme', 'ocr', 'credits', 'reducto/credit', 'reducto/credit/t1', 1, 'P-1', 'Usage', null,"
    " 'Usage-Based', 'Credits', '2026-04-05', '2026-04-06', '2026-04-01', 1234.5, 'credit', 0.015, 0.01, 18.5175, 12.345, 0,"
    " 12.345, 'USD', true",
    "'overage', 'reducto', 'acme', 'ocr', 'credits', 'reducto/credit', 'reducto/credit/t1', 1, null, 'Usage', null,"
    " 'Usage-Based', 'Credits', '2026-04-05', '2026-04-06', '2026-04-01', 10, 'credit', 0.015, 0.015, 0.15, 0.15, 0.15,"
    " 0.15, 'USD', true",
    # A negotiated price without a list price, in another currency; and a monthly minimum.
    "'own', 'onepin', 'acme', 'voice', 'credits', 'onepin/credit', 'onepin/credit/t1', 1, null, 'Usage', null,"
    " 'Usage-Based', 'Credits', '2026-05-10', '2026-05-11', '2026-05-01', 100, 'credit', null, 0.02, 2, 2, 2, 2,"
    " 'EUR', false",
    "'minimum', 'scopix', 'acme', '', '', 'scopix/fee/minimum', null, null, null, 'Adjustment', null, 'Recurring',"
    " 'Up to the minimum of the month', '2026-04-01', '2026-05-01', '2026-04-01', 1, 'month', null, null, 7, 7, 7, 7, 'USD',"
    " true",
)
"""Written by hand: these tests are about how charges are exported, not how they are computed."""

MONTHS = """
    insert into usage_intermediate.int_billing__months
        (provider, billing_account, billing_month, month_start, month_end, is_closed, is_complete)
    values
        ('reducto', 'acme', '2026-04-01', '2026-04-01', '2026-05-01', false, true),
        ('onepin', 'acme', '2026-05-01', '2026-04-30 22:00', '2026-05-31 22:00', false, false),
        ('scopix', 'acme', '2026-04-01', '2026-04-01', '2026-05-01', false, true);
    update usage_intermediate.int_billing__months set is_closed = true
    where provider = 'mathpix' and billing_month = date '2026-03-01';
"""


@dataclass(frozen=True)
class Exported:
    """A database with built models, and the command that exports from it."""

    database: Path
    files: Path

    def export(self, *arguments: str, status: int = 0) -> str:
        """Runs `meterhouse export focus ARGUMENTS`, checks the exit status, and returns the output."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(self.database))
            result = CliRunner().invoke(app, ["export", "focus", *arguments], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.output

    def to(self, file: Path, *arguments: str) -> Path:
        """Exports to `file` and returns it."""
        self.export(*arguments, str(file))
        return file

    def file(self, version: str, file_format: str, dataset: str = "cost-and-usage") -> Path:
        """An exported file, shared by all tests that only read it."""
        file = self.files / f"{dataset}-{version}.{file_format}"
        return file if file.exists() else self.to(file, "--version", version, "--dataset", dataset)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query on the database."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.sql(query).fetchall()


@contextmanager
def year_of_charges(folder: Path, scratch: Path) -> Iterator[Exported]:
    """A year of Mathpix usage from the sandbox, with the invoices and charges above. The models are built, not tested."""
    database = folder / "meterhouse.duckdb"
    with pytest.MonkeyPatch.context() as patch, Sandbox(seed=7) as sandbox, time_machine.travel(NOW):
        patch.chdir(folder)
        for name, value in sandbox.variables().items():
            if name.startswith("SOURCES__MATHPIX__"):
                patch.setenv(name, value)
        patch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2025-05-01")
        result = CliRunner().invoke(app, ["run", "mathpix.ocr_usage_by_usage_type", "--no-models"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        with duckdb.connect(str(database)) as connection:
            connection.execute(INVOICES)
        views = " ".join(f"+{mart}" for mart in MARTS if mart.startswith("focus_"))
        outcome = duckdb_warehouse(folder, scratch).dbt(f"build --select {views} +cost_monthly", *MODELS_ONLY)
        assert outcome.success, outcome.statuses
    with duckdb.connect(str(database)) as connection:
        connection.execute(MONTHS)
        for charge in CHARGES:
            connection.execute(f"""
                insert into usage.charges ({COLUMNS}, billed_on)
                select *, billing_month from (values ({charge})) as charges ({COLUMNS})
            """)
    (folder / "files").mkdir()
    yield Exported(database, folder / "files")
