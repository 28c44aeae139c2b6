"""`models --as-of`: each build equals the marts that were saved at that moment."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.build_cache import last_build
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import MARTS

FIRST = datetime(2026, 4, 1, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)
START, END = "2026-03-25", "2026-04-01"
Marts = dict[str, list[tuple[Any, ...]]]

BILLING = {
    "prices": "provider,billing_account,sku_id,pricing_model,tier_from,unit_price,currency,valid_from,tier_to,valid_to",
    "credit_grants": "provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency",
    "invoices": "provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total",
    "invoice_lines": "provider,billing_account,invoice_id,line_number,charge_category,sku_id,description,quantity,unit,amount",
}
PACK = "onepin,default,pack,purchased,credit,100,2026-03-01,2027-03-01,,,50,USD"


@pytest.fixture
def providers() -> tuple[str, ...]:
    """One by the hour, and two by the day; one of them states its balance."""
    return "mathpix", "reducto", "onepin"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still within a run, so that rows and events have the moment of their run."""
    with time_machine.travel(FIRST, tick=False) as traveller:
        yield traveller


def saved(database: Path, schema: str = "usage") -> Marts:
    with duckdb.connect(str(database), read_only=True) as connection:
        return {mart: sorted(connection.sql(f"from {schema}.{mart}").fetchall(), key=repr) for mart in MARTS}


def write(table: str, *rows: str) -> None:
    Path(f"{table}.csv").write_text("\n".join((BILLING[table], *rows)))


def price(sku: str, unit_price: str) -> str:
    return f"mathpix,default,mathpix/{sku},flat,0,{unit_price},USD,2026-01-01,,"


@pytest.mark.thorough
def test_a_build_as_of_a_moment_equals_the_marts_of_that_moment(
    cli: Cli,
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    providers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all marts, row for row, while vendors restate three times and withdraw once, a price and a grant change, and an
    invoice closes a period. The regular marts, the mark of their build and the closing log stay as they are.

    Rows that were still running are kept in history here, which is not the default.
    """
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__HISTORY", "all")
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START)
    for table in BILLING:
        monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", f"{table}.csv")
    usage, marts = sandbox.mathpix.usage, dict[datetime, Marts]()
    images, pages = (
        sum(usage.total(START, END, usage_type=name) for name in names)
        for names in (("image", "image-async", "strokes"), ("pdf-page",))
    )
    write("invoices", f"mathpix,default,M-1,{START},{END},2026-04-01,issued,USD,")
    write(
        "invoice_lines",
        f"mathpix,default,M-1,1,Usage,mathpix/image,,{images},image,{images / 100:.2f}",
        f"mathpix,default,M-1,2,Usage,mathpix/pdf-page,,{pages},page,{pages / 10:.2f}",
    )

    def run(image: str, *grants: str) -> None:
        write("prices", price("image", image), price("pdf-page", "0.1"))
        write("credit_grants", *grants)
        moment = FIRST + len(marts) * DAY
        clock.move_to(moment)
        t = time.process_time()
        cli("run", "--no-models")
        print("load", time.process_time() - t)
        t = time.process_time()
        cli("models", "--tests", "none")
        print("build", time.process_time() - t)
        marts[moment] = saved(cli.database)

    run("0.01", PACK)
    usage.restate("2026-03-28", factor=2)
    sandbox.onepin.usage.withdraw("2026-03-30")
    run("0.02", PACK)
    usage.restate("2026-03-28", factor=0.25)
    sandbox.reducto.usage.restate("2026-03-28", factor=3)
    run("0.02")

    frozen = "select * from usage_intermediate.int_usage__frozen order by all"
    log = cli.rows(frozen)
    first, second, last = marts
    for moment in (first, second):
        t = time.process_time()
        cli("models", "--as-of", moment.isoformat(), "--tests", "none")
        print("as of", time.process_time() - t)
        built = saved(cli.database, "usage_as_of")
        assert {mart for mart in MARTS if built[mart] != marts[moment][mart]} == set(), moment
    assert saved(cli.database) == marts[last]
    assert cli.rows(frozen) == log
    assert last_build(cli.database, PROJECT) is not None
    # The comparison says something: each mart has rows, almost all of them changed, and the restatements of a closed period
    # are corrections.
    assert {row[9] for row in log} == {"closed", "restated"}
    assert {mart for mart in MARTS if not any(built[mart] for built in marts.values())} == set()
    assert {mart for mart in MARTS if marts[first][mart] == marts[second][mart]} == {"skus", "usage_gaps"}
