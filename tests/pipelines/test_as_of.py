"""`models --as-of`: each build equals the marts that were saved at that moment, and `usage_restated` says what changed since."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.as_of import AsOf, parse_as_of
from meterhouse.pipelines.transform.build_cache import last_build
from meterhouse.pipelines.warehouse.schemas import in_schema
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import MARTS, d

FIRST = datetime(2026, 4, 1, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)
Marts = dict[str, list[tuple[Any, ...]]]

PRICES = "provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,per,currency,valid_from,valid_to\n"
GRANTS = "provider,billing_account,grant_id,kind,unit,amount,starts_on,expires_on,renews,priority,cost,currency\n"
INVOICES = "provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total,tax\n"
START, END = "2026-03-25", "2026-04-01"
IMAGES = "image", "image-async", "strokes"
IMAGE, PAGE = "mathpix,default,mathpix/image,flat,0,,image", "mathpix,default,mathpix/pdf-page,flat,0,,page"
FREE = "mathpix,default,mathpix/strokes-session,flat,0,,session,0,,USD,2026-01-01,"
PACK = "scopix,default,pack,purchased,credit,100,2026-03-01,2027-03-01,,,50,USD\n"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still within a run, so that rows and events carry the moment of their run."""
    with time_machine.travel(FIRST, tick=False) as traveller:
        yield traveller


def saved(database: Path, schema: str = "usage") -> Marts:
    with duckdb.connect(str(database), read_only=True) as connection:
        return {mart: sorted(connection.sql(f"from {schema}.{mart}").fetchall(), key=repr) for mart in MARTS}


@pytest.mark.thorough
def test_a_build_as_of_a_moment_equals_the_marts_of_that_moment(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all marts, row for row, while vendors restate three times and withdraw once, a price and a grant change, and an
    invoice closes a month. The regular marts, the mark of their build and the closing log stay as they are.

    Rows that were still running are kept in history here, which is not the default.
    """
    for provider in PROVIDERS:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__HISTORY", "all")
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START)
    for table in ("prices", "credit_grants", "invoices"):
        monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", f"{table}.csv")
    usage, marts = sandbox.mathpix.usage, dict[datetime, Marts]()
    images, pages = (sum(usage.total(START, END, usage_type=name) for name in names) for names in (IMAGES, ["pdf-page"]))
    invoice = f"mathpix,default,M-1,{START},{END},2026-04-01,issued,USD,{images * d('0.01') + pages * d('0.1'):.2f},\n"

    def run(image: str, grants: str) -> None:
        prices = f"{IMAGE},{image},,USD,2026-01-01,\n{PAGE},0.1,,USD,2026-01-01,\n{FREE}\n"
        for name, text in (
            ("prices", PRICES + prices),
            ("credit_grants", GRANTS + grants),
            ("invoices", INVOICES + invoice),
        ):
            Path(f"{name}.csv").write_text(text)
        moment = FIRST + len(marts) * DAY
        clock.move_to(moment)
        cli("run", "--tests", "none")
        marts[moment] = saved(cli.database)

    run("0.01", PACK)
    usage.restate("2026-03-28", factor=2)
    sandbox.onepin.usage.withdraw("2026-03-30")
    run("0.02", PACK)
    usage.restate("2026-03-28", factor=0.25)
    sandbox.reducto.usage.restate("2026-03-28", factor=3)
    run("0.02", "")

    frozen = "select * from usage_intermediate.int_usage__frozen order by all"
    log = cli.rows(frozen)
    assert {row[9] for row in log} == {"closed", "restated"}
    first, second, _ = marts
    for moment in (first, second):
        cli("models", "--as-of", moment.isoformat(), "--tests", "none")
        built = saved(cli.database, "usage_as_of")
        assert {mart for mart in MARTS if built[mart] != marts[moment][mart]} == set(), moment
    now = saved(cli.database)
    assert now == list(marts.values())[-1]
    assert cli.rows(frozen) == log
    assert last_build(cli.database, PROJECT) is not None
    assert [mart for mart, rows in now.items() if not rows] == []
    changed = [mart for mart in MARTS if marts[first][mart] != marts[second][mart]]
    assert changed == []
