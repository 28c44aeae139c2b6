"""Runs of vendors that restate usage, and the marts after each run: what the as-of tests of DuckDB and PostgreSQL share."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from dlt.destinations.exceptions import DatabaseTerminalException

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import MARTS

FIRST = datetime(2026, 4, 1, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HALF_A_DAY = timedelta(hours=12)
START, END = "2026-03-25", "2026-04-01"
PROVIDERS = ("mathpix", "reducto", "onepin")
"""One with hourly usage, and two with daily usage; one of these reports its balance."""

BILLING = {
    "prices": "provider,billing_account,sku_id,pricing_model,tier_from,unit_price,currency,valid_from,tier_to,valid_to",
    "credit_grants": "provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency",
    "budgets": "scope,provider,account,dimension,value,team,cost_centre,amount,currency,"
    "cost_type,thresholds,forecast_thresholds,valid_from,valid_to",
    "invoices": "provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total",
    "invoice_lines": "provider,billing_account,invoice_id,line_number,charge_category,"
    "description,sku_id,quantity,unit,amount",
    "fx_rates": "currency,date,rate",
    "business_metrics": "metric,date,scope,provider,account,team,cost_centre,value",
}
RATES = "0.9", "0.8", "0.7"
"""Euros for a US dollar, as the file says in each run."""
PACK = "onepin,default,pack,purchased,credit,100,2026-03-01,2027-03-01,,,50,USD"
MERGED = "ocr_usage_by_usage_type"

Marts = dict[str, list[tuple[Any, ...]]]


def price(sku: str, unit_price: str) -> str:
    return f"mathpix,default,mathpix/{sku},flat,0,{unit_price},USD,2026-01-01,,"


def write(table: str, *rows: str) -> None:
    Path(f"{table}.csv").write_text("\n".join((BILLING[table], *rows)))


@dataclass
class SavedBuilds:
    """A database with a run a day, and the marts after each run, by its moment."""

    cli: Cli
    sandbox: Sandbox
    clock: time_machine.Traveller
    monkeypatch: pytest.MonkeyPatch
    rows_of_each: Callable[[Iterable[str]], list[list[tuple[Any, ...]]]]
    sql_client: Any
    options: tuple[str, ...] = ()
    after: dict[datetime, Marts] = field(default_factory=dict)

    def make(self) -> None:
        """Three runs, and restatements after each: three of Mathpix, one of Reducto, and Mathpix and Onepin withdraw a day.

        A price and a grant change, an invoice closes a period, and a run after the first restatement fails while it loads.
        Rows that were still running are kept in history here, which is not the default. Each run has other exchange rates:
        the closed period keeps those with which it closed.
        """
        self.monkeypatch.setenv("SOURCES__BILLING__REPORTING_CURRENCY", "EUR")
        for provider in PROVIDERS:
            self.monkeypatch.setenv(f"SOURCES__{provider.upper()}__HISTORY", "all")
            self.monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START)
        for table in BILLING:
            self.monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", f"{table}.csv")
        usage = self.sandbox.mathpix.usage
        images = sum(usage.total(START, END, usage_type=name) for name in ("image", "image-async", "strokes"))
        pages = usage.total(START, END, usage_type="pdf-page")
        write("budgets", "total,,,,,,,1000,USD,,,,2026-01-01,")
        write("invoices", f"mathpix,default,M-1,{START},{END},2026-04-01,issued,USD,")
        write(
            "invoice_lines",
            f"mathpix,default,M-1,1,Usage,,mathpix/image,{images},image,{images / 100:.2f}",
            f"mathpix,default,M-1,2,Usage,,mathpix/pdf-page,{pages},page,{pages / 10:.2f}",
        )
        self._run("0.01", PACK)
        usage.restate("2026-03-28", factor=2)
        self.sandbox.onepin.usage.withdraw("2026-03-30")
        self.clock.shift(HALF_A_DAY)
        self._fail()
        self._run("0.02", PACK)
        usage.restate("2026-03-28", factor=0.25)
        self.sandbox.reducto.usage.restate("2026-03-28", factor=3)
        self._run("0.02")
        usage.restate("2026-03-28", factor=3)
        usage.withdraw("2026-03-31")
        self.clock.shift(DAY)

    def marts(self, schema: str = "usage") -> Marts:
        found = self.rows_of_each(f"select * from {schema}.{mart}" for mart in MARTS)
        return {mart: sorted(rows, key=repr) for mart, rows in zip(MARTS, found, strict=True)}

    def require_equal_builds(self) -> None:
        """A build as of each moment, the latest first, has the marts of that moment, row for row.

        The comparison is meaningful: each mart has rows, and almost all marts changed.
        """
        for moment, saved in reversed(self.after.items()):
            self.cli("models", "--as-of", moment.isoformat(), "--tests", "none", *self.options)
            assert f"as of {moment:%Y-%m-%d %H:%M:%S} UTC, in the schema usage_as_of" in self.cli.output
            built = self.marts("usage_as_of")
            assert {mart for mart in MARTS if built[mart] != saved[mart]} == set(), moment
        assert {mart for mart in MARTS if not any(saved[mart] for saved in self.after.values())} == {
            "cost_drivers"
        }  # of months
        first, *_, last = self.after.values()
        same = {"billing_periods", "cost_drivers", "focus_1_4_billing_period", "focus_1_4_invoice_detail", "skus"}
        assert {mart for mart in MARTS if first[mart] == last[mart]} == same

    def _run(self, image: str, *grants: str) -> None:
        """One run, a day after the one before."""
        write("prices", price("image", image), price("pdf-page", "0.1"))
        write("credit_grants", *grants)
        write("fx_rates", f"USD,{START},{RATES[len(self.after)]}")
        write("business_metrics", f"pages,{START},provider,mathpix,,,,{len(self.after) + 1}")
        moment = FIRST + len(self.after) * DAY
        self.clock.move_to(moment)
        self.cli("run", "--tests", "none", *self.options)
        self.after[moment] = self.marts()

    def _fail(self) -> None:
        """A run that fails at the merge of a table. The replaced rows go to history before the merge."""
        execute = self.sql_client.execute_query

        @contextmanager
        def fail(client: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            if f'MERGE INTO "mathpix"."{MERGED}"' in str(query):
                raise DatabaseTerminalException(Exception("the disk is full"))
            with execute(client, query, *arguments, **options) as cursor:
                yield cursor

        with self.monkeypatch.context() as patch:
            patch.setattr(self.sql_client, "execute_query", fail)
            assert "the disk is full" in self.cli("run", "--no-models", *self.options, status=1)
