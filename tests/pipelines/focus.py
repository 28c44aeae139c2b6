"""A database with a year of the sandbox's usage, and one charge of every kind that FOCUS distinguishes.

The models compute all charges from raw rows. A first build closes a month; a second one, after a restatement, corrects it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import duckdb
import pytest
import time_machine
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Sandbox
from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Use
from tests.pipelines.transform.random_scenarios import inserts
from tests.pipelines.transform.warehouse import MARTS, MODELS_ONLY, d, duckdb_warehouse

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)

INVOICES = """
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
        ('mathpix', 'default', 'M-2026-03', '2026-03-01', '2026-04-01', '2026-04-02', 'issued', 'USD', 5201.40),
        ('mathpix', 'default', 'M-2026-02', '2026-02-01', '2026-03-01', '2026-03-02', 'voided', 'USD', 20.00),
        ('reducto', 'acme', 'R-2026-04', '2026-04-01', '2026-05-01', null, 'open', 'USD', 150.00);
    insert into billing.invoice_lines
        (provider, billing_account, invoice_id, line_number, charge_category, sku_id, description, amount)
    values
        ('mathpix', 'default', 'M-2026-03', 1, 'Usage', 'mathpix/image', 'Images', 2442.07),
        ('mathpix', 'default', 'M-2026-03', 2, 'Usage', '', 'Everything else, "as agreed"', 2755.49),
        ('mathpix', 'default', 'M-2026-03', 3, 'Tax', '', null, 3.80),
        ('mathpix', 'default', 'M-2026-03', 4, 'Purchase', '', 'Rounding', 0.04),
        ('mathpix', 'default', 'M-2026-02', 1, 'Usage', '', 'Usage', 20.00),
        ('reducto', 'acme', 'R-2026-04', 1, 'Purchase', '', 'Plan', 150.00);
"""


def _account(
    provider: str, name: str, billing_account: str, timezone: str = "UTC", signed_up_on: date | None = None
) -> Account:
    return Account(
        provider,
        name,
        billing_account,
        timezone,
        signed_up_on,
        datetime(2026, 4, 1, tzinfo=UTC),
        datetime(2026, 5, 10, tzinfo=UTC),
    )


def _used(provider: str, account: str, month: int, day: int, quantity: str) -> Use:
    start = datetime(2026, month, day, tzinfo=UTC)
    return Use(provider, account, "credits", start, start + timedelta(days=1), d(quantity))


def _credit_price(provider: str, unit_price: str, currency: str) -> Price:
    tiers = ((d("0"), None, d(unit_price)),)
    return Price(
        provider, "acme", f"{provider}/credit", "flat", tiers, currency, date(2026, 4, 1), None, is_credit_price=True
    )


def _pack(billing_account: str, name: str, amount: str, cost: str, expires_on: date) -> Grant:
    return Grant(
        *("reducto", billing_account, name, "purchased", "credit", d(amount), date(2026, 5, 3), expires_on),
        cost=d(cost),
        currency="USD",
    )


BESIDES_MATHPIX = Scenario(
    accounts=[
        _account("mathpix", "default", "default", signed_up_on=date(2026, 4, 3)),
        _account("reducto", "ocr", "acme"),
        _account("reducto", "thirds", "thirds"),
        _account("onepin", "voice", "acme", timezone="Europe/Berlin"),
        _account("scopix", "vision", "acme"),
    ],
    uses=[
        _used("reducto", "ocr", 5, 2, "10"),
        _used("reducto", "ocr", 5, 5, "1234.5"),
        _used("reducto", "thirds", 5, 5, "1"),
        _used("reducto", "thirds", 5, 6, "1"),
        _used("onepin", "voice", 5, 10, "100"),
        _used("scopix", "vision", 4, 10, "30"),
    ],
    prices=[_credit_price("onepin", "0.02", "EUR"), _credit_price("scopix", "0.1", "USD")],
    grants=[
        _pack("acme", "P-0", "100", "1", date(2026, 5, 4)),
        _pack("acme", "P-1", "30000", "300", date(2027, 5, 3)),
        _pack("thirds", "P-2", "3", "1", date(2027, 5, 3)),
    ],
    fees=[
        Fee("reducto", "acme", "growth", "monthly", d("150"), "USD", date(2026, 4, 1), None, ""),
        Fee("scopix", "acme", "least", "minimum", d("10"), "USD", date(2026, 4, 1), date(2026, 5, 1), ""),
    ],
)
"""The sign-up at Mathpix, and other vendors' usage, prices, fees and credits. Reducto has a public price from May on."""

TODAY_IS_INCOMPLETE = "update onepin.usage_daily set is_complete = false where date = '2026-05-10'"
RESTATED = """
    update mathpix.ocr_usage_by_usage_type set count = count - 7
    where usage_type = 'pdf-page' and bucket_start = timestamptz '2026-03-07 00:00:00+00'
"""
"""Seven pages of the closed March were counted twice."""

CHARGES = {
    "setup": "sku_id = 'mathpix/fee/setup'",
    "promotion": "sku_id = 'mathpix/credits/testing'",
    "correction": "charge_class = 'Correction'",
    "plan": "sku_id = 'reducto/fee/growth' and billing_month = '2026-04-01'",
    "package": "sku_id = 'reducto/credits/P-1'",
    "drawn": "grant_id = 'P-1' and charge_category = 'Usage'",
    "expired": "grant_id = 'P-0' and charge_category = 'Usage'",
    "overage": "provider = 'reducto' and charge_category = 'Usage' and grant_id is null",
    "thirds": "sku_id = 'reducto/credits/P-2'",
    "own": "currency = 'EUR'",
    "minimum": "sku_id = 'scopix/fee/least'",
}
"""One charge of every kind: its name in the tests, and the condition that finds it in `charges`."""


@dataclass(frozen=True)
class Exported:
    """A database with built models, and the command that exports from it."""

    database: Path
    files: Path

    def export(self, *arguments: str, status: int = 0) -> str:
        """Runs `meterhouse export focus ARGUMENTS`, checks the exit status, and returns the output."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(self.database))
            patch.setattr("meterhouse.pipelines.export.files.CHUNK", 500)  # a year of charges is four chunks
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

    @cached_property
    def charge_ids(self) -> dict[str, str]:
        """The id of each charge in `CHARGES`, by name."""
        found = {name: self.rows(f"select charge_id from usage.charges where {where}") for name, where in CHARGES.items()}
        assert {name: len(rows) for name, rows in found.items() if len(rows) != 1} == {}
        return {name: str(charge_id) for name, ((charge_id,),) in found.items()}

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query on the database."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.sql(query).fetchall()


@contextmanager
def year_of_charges(folder: Path, scratch: Path) -> Iterator[Exported]:
    """A year of Mathpix usage from the sandbox, and the rows above. The models are built, not tested."""
    database = folder / "meterhouse.duckdb"
    warehouse = duckdb_warehouse(folder, scratch)
    others = [statement for statement in inserts([BESIDES_MATHPIX]) if " mathpix" not in statement.partition("(")[0]]
    views = [mart for mart in MARTS if mart.startswith("focus_")]
    with pytest.MonkeyPatch.context() as patch, Sandbox(seed=7) as sandbox, time_machine.travel(NOW):
        patch.chdir(folder)
        for name, value in sandbox.variables().items():
            if name.startswith("SOURCES__MATHPIX__"):
                patch.setenv(name, value)
        patch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2025-05-01")
        patch.setenv("SOURCES__MATHPIX__TIMESPAN", "day")
        result = CliRunner().invoke(app, ["run", "mathpix.ocr_usage_by_usage_type", "--no-models"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        warehouse.execute([*others, TODAY_IS_INCOMPLETE, INVOICES])
        closing = warehouse.dbt("build --select +int_usage__frozen +int_usage__owned focus_services", *MODELS_ONLY)
        assert closing.success, closing.statuses
        warehouse.execute([RESTATED])
        # Only what depends on the restated usage or on the closed quantities.
        inputs = ("int_mathpix__metered", "int_usage__frozen_before")
        changed = " ".join(f"+{mart},{model}+" for mart in [*views, "cost_monthly"] for model in inputs)
        correcting = warehouse.dbt(f"build --select {changed}", *MODELS_ONLY)
        assert correcting.success, correcting.statuses
    (folder / "files").mkdir()
    yield Exported(database, folder / "files")
