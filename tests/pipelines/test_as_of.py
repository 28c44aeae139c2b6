"""`models --as-of`: each build equals the marts that were saved at that moment, and `usage_restated` says what changed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
import time_machine
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.as_of import AsOf, claim_schemas, moment_of, record_moment
from meterhouse.pipelines.transform.build_cache import last_build
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.pipelines.warehouse.schemas import in_schema
from meterhouse.sources._core.errors import ConfigurationError
from tests.conftest import Cli
from tests.pipelines.saved_builds import END, FIRST, HALF_A_DAY, PROVIDERS, RATES, START, SavedBuilds
from tests.pipelines.transform.warehouse import d


@pytest.fixture
def providers() -> tuple[str, ...]:
    return PROVIDERS


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still within a run, so that rows and events have the moment of their run."""
    with time_machine.travel(FIRST, tick=False) as traveller:
        yield traveller


@contextmanager
def leftovers_of_a_killed_load(cli: Cli) -> Iterator[None]:
    """Rows both in a table and in its history, as after a killed load into Delta tables, which share no transaction."""
    table = "mathpix.ocr_usage_by_usage_type"
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute(f"insert into {table}__history select *, '{datetime.now(UTC)}', 'killed', false from {table}")
    yield
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute(f"delete from {table}__history where superseded_by = 'killed'")


def readme_queries() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.thorough
def test_a_build_as_of_a_moment_equals_the_marts_of_that_moment(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The regular marts, the build cache and the closing log stay as they are."""
    builds = SavedBuilds(cli, sandbox, clock, monkeypatch, cli.rows_of_each, DuckDbSqlClient)
    builds.make()
    cli("run", "--tests", "none")
    first, second, third = builds.after
    last, present = datetime.now(UTC), builds.marts()
    frozen = "select * from usage_intermediate.int_usage__frozen order by all"
    log = cli.rows(frozen)
    assert {row[9] for row in log} == {"closed", "open", "restated"}
    with leftovers_of_a_killed_load(cli):
        builds.require_equal_builds()
    assert builds.marts() == present
    assert cli.rows(frozen) == log
    assert last_build(cli.database, PROJECT) is not None

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
            assert (cost, *flags[1:]) == (quantity * prices[meter], True, False)
    assert days == {
        ("mathpix", second): {False},
        ("mathpix", third): {False, True},
        ("mathpix", last): {False, True},
        ("onepin", FIRST + HALF_A_DAY): {False},
        ("reducto", third): {False},
    }
    of_runs = "restated_by in (select run_id from meterhouse.runs)"
    seen = cli.rows(f"select distinct first_seen_at, {of_runs} from usage.usage_restated where restated_at < '2026-04-03'")
    assert seen == [(FIRST.replace(tzinfo=None), True)]
    late = {each["provider"]: each["maximum"] for each in cli.json("check")["restated"]}
    assert late == {"mathpix": "7.2", "onepin": "1.8", "reducto": "5.3"}

    # Then and now in one query, as README.md shows.
    (compare,) = [sql for sql in readme_queries() if "usage_as_of." in sql]
    assert cli.rows(compare)

    # The commands on another schema.
    of_schema = ("--schema", "usage_as_of")
    newest = "select max(last_fetched_at) from usage.data_freshness"
    assert f"{first:%Y-%m-%d}" in cli("query", newest, *of_schema, "--csv")
    assert f"{last:%Y-%m-%d}" in cli("query", newest, "--csv")
    assert cli.json("status", *of_schema)["as_of"].startswith(f"{first:%Y-%m-%d}")
    assert f"as of {first:%d %b %Y, %H:%M:%S} UTC, not the present state" in cli("status", *of_schema)
    assert "not the present state" not in cli("status")
    assert [row["buckets"] > 20 for row in cli.json("status")["restated"] if row["currency"] == "USD"] == [True]
    cli("export", "focus", "focus.csv", *of_schema)
    assert Path("focus.csv").read_text().count("\n") == len(builds.after[first]["focus_1_2_cost_and_usage"]) + 1
    cli("report", "-o", "report.html", *of_schema)
    assert f"as it was known at {first:%d %b %Y, %H:%M:%S} UTC" in Path("report.html").read_text()


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
