"""`models --as-of`: each build equals the marts that were saved at that moment, and `usage_restated` says what changed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.as_of import AsOf, claim_schemas, moment_of, record_moment
from meterhouse.pipelines.transform.build_cache import last_build
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.pipelines.warehouse.schemas import in_schema
from meterhouse.sources._core.errors import ConfigurationError
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import MARTS, d

FIRST = datetime(2026, 4, 1, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HALF_A_DAY = timedelta(hours=12)
START, END = "2026-03-25", "2026-04-01"
Marts = dict[str, list[tuple[Any, ...]]]

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


@pytest.fixture
def providers() -> tuple[str, ...]:
    """One with hourly usage, and two with daily usage; one of these reports its balance."""
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


def readme_queries() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def price(sku: str, unit_price: str) -> str:
    return f"mathpix,default,mathpix/{sku},flat,0,{unit_price},USD,2026-01-01,,"


def failing_at_merge(table: str) -> Callable[..., Any]:
    """A replacement for `DuckDbSqlClient.execute_query` that fails on the merge into `table`."""
    execute = DuckDbSqlClient.execute_query

    @contextmanager
    def fail(client: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        if f'MERGE INTO "mathpix"."{table}"' in str(query):
            raise DatabaseTerminalException(Exception("the disk is full"))
        with execute(client, query, *arguments, **options) as cursor:
            yield cursor

    return fail


@pytest.mark.thorough
def test_a_build_as_of_a_moment_equals_the_marts_of_that_moment(
    cli: Cli,
    sandbox: Sandbox,
    clock: time_machine.Traveller,
    providers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all marts, row for row; the regular marts, the mark of their build and the closing log stay as they are.

    Vendors restate three times and withdraw once, a price and a grant change, an invoice closes a period, and a run fails
    while it loads. Rows that were still running are kept in history here, which is not the default. Each run has other
    exchange rates: the closed period keeps those with which it closed.
    """
    monkeypatch.setenv("SOURCES__BILLING__REPORTING_CURRENCY", "EUR")
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
        f"mathpix,default,M-1,1,Usage,,mathpix/image,{images},image,{images / 100:.2f}",
        f"mathpix,default,M-1,2,Usage,,mathpix/pdf-page,{pages},page,{pages / 10:.2f}",
    )

    def run(image: str, *grants: str) -> None:
        write("prices", price("image", image), price("pdf-page", "0.1"))
        write("credit_grants", *grants)
        write("budgets", "total,,,,,,,1000,USD,,,,2026-01-01,")
        write("fx_rates", f"USD,{START},{RATES[len(marts)]}")
        write("business_metrics", f"pages,{START},provider,mathpix,,,,{len(marts) + 1}")
        moment = FIRST + len(marts) * DAY
        clock.move_to(moment)
        cli("run", "--tests", "none")
        marts[moment] = saved(cli.database)

    run("0.01", PACK)
    usage.restate("2026-03-28", factor=2)
    sandbox.onepin.usage.withdraw("2026-03-30")
    with monkeypatch.context() as patch:
        patch.setattr(DuckDbSqlClient, "execute_query", failing_at_merge("ocr_usage_by_usage_type"))
        clock.shift(HALF_A_DAY)
        cli("run", "--no-models", status=1)
    run("0.02", PACK)
    usage.restate("2026-03-28", factor=0.25)
    sandbox.reducto.usage.restate("2026-03-28", factor=3)
    run("0.02")

    frozen = "select * from usage_intermediate.int_usage__frozen order by all"
    log = cli.rows(frozen)
    first, second, last = marts
    for moment in (first, second):
        assert f"as of {moment:%Y-%m-%d %H:%M:%S} UTC, in the schema usage_as_of" in cli(
            "models", "--as-of", moment.isoformat(), "--tests", "none"
        )
        built = saved(cli.database, "usage_as_of")
        assert {mart for mart in MARTS if built[mart] != marts[moment][mart]} == set(), moment
    assert saved(cli.database) == marts[last]
    assert cli.rows(frozen) == log
    assert last_build(cli.database, PROJECT) is not None
    # The comparison says something: each mart has rows, almost all of them changed, and the restatements of a closed period
    # are corrections.
    assert {row[9] for row in log} == {"closed", "restated"}
    assert {mart for mart in MARTS if not any(built[mart] for built in marts.values())} == set()
    same = {"billing_periods", "focus_1_4_billing_period", "focus_1_4_invoice_detail", "skus"}
    assert {mart for mart in MARTS if marts[first][mart] == marts[second][mart]} == same

    rates = f"""
        select distinct sku_id in ('mathpix/image', 'mathpix/pdf-page') as is_closed, fx_rate, fx_date
        from usage.charges where charge_period_start < '{END}' order by 1
    """
    start = date.fromisoformat(START)
    assert cli.rows(rates) == [(False, d(RATES[-1]), start), (True, d(RATES[0]), start)]

    # What was restated: a quarter of a single use is none, and Onepin returns a withdrawn day with zeros. The cost is at the
    # present prices, as no grant covers usage of Mathpix.
    columns = (
        "provider, meter, quantity_after - quantity_before, cost_change, restated_at, is_withdrawn, was_closed, is_estimate"
    )
    restated = cli.rows(f"select {columns} from usage.usage_restated")
    prices = {"image": d("0.02"), "image-async": d("0.02"), "strokes": d("0.02"), "pdf-page": d("0.1")}
    days: dict[tuple[str, datetime], set[bool]] = {}
    for provider, meter, quantity, cost, restated_at, *flags in restated:
        days.setdefault((provider, restated_at.replace(tzinfo=UTC)), set()).add(flags[0])
        if provider == "mathpix" and meter in prices:
            assert (cost, *flags) == (quantity * prices[meter], False, True, False)
    assert days == {
        ("mathpix", second): {False},
        ("mathpix", last): {False, True},
        ("onepin", FIRST + HALF_A_DAY): {False},
        ("reducto", last): {False},
    }
    of_runs = "restated_by in (select run_id from meterhouse.runs)"
    seen = cli.rows(f"select distinct first_seen_at, {of_runs} from usage.usage_restated where restated_at < '2026-04-03'")
    assert seen == [(FIRST.replace(tzinfo=None), True)]
    late = {each["provider"]: each["maximum"] for each in cli.json("check")["restated"]}
    assert late == {"mathpix": "6.2", "onepin": "1.8", "reducto": "5.3"}

    # Then and now in one query, as README.md shows.
    (compare,) = [sql for sql in readme_queries() if "usage_as_of." in sql]
    assert cli.rows(compare)

    # The commands on another schema.
    of_schema = ("--schema", "usage_as_of")
    newest = "select max(last_fetched_at) from usage.data_freshness"
    assert f"{second:%Y-%m-%d}" in cli("query", newest, *of_schema, "--csv")
    assert f"{last:%Y-%m-%d}" in cli("query", newest, "--csv")
    assert cli.json("status", *of_schema)["as_of"].startswith(f"{second:%Y-%m-%d}")
    assert f"as of {second:%d %b %Y, %H:%M:%S} UTC, not the present state" in cli("status", *of_schema)
    assert "not the present state" not in cli("status")
    assert [row["buckets"] > 20 for row in cli.json("status")["restated"] if row["currency"] == "USD"] == [True]
    cli("export", "focus", "focus.csv", *of_schema)
    assert Path("focus.csv").read_text().count("\n") == len(marts[second]["focus_1_2_cost_and_usage"]) + 1
    cli("report", "-o", "report.html", *of_schema)
    assert f"as it was known at {second:%d %b %Y, %H:%M:%S} UTC" in Path("report.html").read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--as-of", "2026-03-01", "--schema", "usage"), "would overwrite the schema usage of the regular build"),
        (("--as-of", "2026-03-01", "--schema", "usage_intermediate"), "would overwrite the schema usage_intermediate"),
        (("--as-of", "2026-03-01", "--schema", "mathpix"), "--schema cannot be 'mathpix'"),
        (("--as-of", "2026-03-01", "--schema", 'usage_"x'), "--schema cannot be"),
        (("--as-of", "2026-04-01T06:31"), "--as-of 2026-04-01T06:31 is in the future"),
        (("--as-of", "yesterday"), "--as-of"),
        (("--schema", "usage_as_of"), "--schema needs --as-of"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_refuses_an_invalid_moment_or_schema(cli: Cli, options: tuple[str, ...], problem: str) -> None:
    """With exit status 2, before anything is opened or built."""
    assert problem in " ".join(cli("models", *options, status=2).split())
    assert not cli.database.exists()


@pytest.mark.parametrize("schema", ["usage_team", "usage_team_intermediate"])
def test_refuses_a_schema_with_tables_of_others(cli: Cli, schema: str) -> None:
    """dbt would replace those that have the name of a model. A user's own build of the models has the closing log, too."""
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute(f"create schema {schema}; create table {schema}.int_usage__frozen as select 1 as mine")
    refused = cli("models", "--as-of", "2026-03-01", "--schema", "usage_team", status=2)
    assert f"--as-of would build into schemas with tables that no such build has made: {schema}" in " ".join(refused.split())
    assert cli.rows(f"select mine from {schema}.int_usage__frozen") == [(1,)]


def test_a_build_that_has_not_ended_has_no_moment(cli: Cli) -> None:
    """Some of its marts are those of the build before."""
    duckdb.connect(str(cli.database)).close()
    destination = resolve_destination()
    as_of = AsOf(FIRST, "usage_then")
    destination.schema = as_of.schema

    def moment() -> datetime | None:
        with destination.reader() as reader:
            return moment_of(reader.rows)

    claim_schemas(destination, as_of)
    assert moment() is None
    record_moment(destination, as_of)
    assert moment() == FIRST
    claim_schemas(destination, as_of)
    assert moment() is None


def test_builds_nothing_without_a_database(cli: Cli) -> None:
    """And creates none."""
    assert "there is no database" in cli("models", "--as-of", "2026-03-01", status=1)
    assert not cli.database.exists()


def test_a_query_reads_the_marts_of_the_schema() -> None:
    """Names of schemas change, in quotation marks or not; text and comments do not."""
    sql = """select 'usage.a', u.usage, "usage".b -- usage.c
        from meterhouse.Usage.d u, usage_staging.e, usage_as_of.f, mathpix.usage where x = %s"""
    assert (
        in_schema(sql, "usage_then")
        == """select 'usage.a', u.usage, usage_then.b -- usage.c
        from meterhouse.usage_then.d u, usage_then_staging.e, usage_as_of.f, mathpix.usage where x = %s"""
    )
    assert in_schema(sql, "usage") is sql
    with pytest.raises(ConfigurationError, match="cannot be parsed"):
        in_schema("select 'open", "usage_then")
