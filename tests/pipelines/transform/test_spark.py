"""The models on Apache Spark, on the Delta tables of `run --destination filesystem`: the results of DuckDB, distributed."""

import os
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import time_machine
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines.transform.by_hand import Account, Grant, Scenario, Use
from tests.pipelines.transform.invoices import statements
from tests.pipelines.transform.random_scenarios import SCHEMA, inserts, named, prices_of_all, scenarios
from tests.pipelines.transform.test_invoices import INVOICES, MATHPIX, NEVER
from tests.pipelines.transform.warehouse import IN_EUROS, MARTS, MODELS_ONLY, PROJECT, duckdb_warehouse
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

SPARK = os.environ.get("METERHOUSE_SPARK")
"""The Python of the environment with Spark and dbt-spark, which .ci/spark creates."""

PROGRAM = Path(__file__).parent / "warehouses" / "spark.py"
NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
SCENARIOS = 8
PLANNED = ("int_usage__priced", "usage_trends_daily")
"""Models whose physical plan the test reads: large ones with a window."""


@pytest.fixture
def spark() -> str:
    if not SPARK:
        pytest.skip("METERHOUSE_SPARK is not set: `.ci/spark FOLDER` prints its value")
    return SPARK


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture
def lake(cli: Cli, sandbox: Sandbox, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tables of two runs, with the user's billing files. The second one, of Mathpix, finds usage restated and withdrawn.

    Some days have a rate from US dollars into the reporting currency.
    """
    folder = cli.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", folder.as_uri())
    for template in (TOP / "sources/billing/templates").glob("*.csv"):
        monkeypatch.setenv(f"SOURCES__BILLING__{template.stem.upper()}", str(template))
    rates = cli.folder / "rates.csv"
    rates.write_text("currency,date,rate\nUSD,2026-01-01,0.912345678901\nUSD,2026-03-01,0.9\n")
    monkeypatch.setenv("SOURCES__BILLING__FX_RATES", str(rates))
    monkeypatch.setenv("METERHOUSE_REPORTING_CURRENCY", IN_EUROS["METERHOUSE_REPORTING_CURRENCY"])
    with time_machine.travel(NOW, tick=False) as clock:
        cli("run", "--no-models", "--destination", "filesystem")
        sandbox.mathpix.usage.restate(f"{NOW - timedelta(days=2):%Y-%m-%d}", factor=3)
        sandbox.mathpix.usage.withdraw(f"{NOW - timedelta(days=3):%Y-%m-%d}")
        clock.shift(timedelta(minutes=1))
        cli("run", "mathpix", "--no-models", "--destination", "filesystem")
    return folder


def drawn_scenarios() -> list[Scenario]:
    """Usage, prices, credits and fees of many accounts, the same each time, without the simplest examples."""
    found: list[list[Scenario]] = []

    @seed(7)
    @settings(max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(drawn=st.lists(scenarios(), min_size=SCENARIOS, max_size=SCENARIOS), shared=prices_of_all())
    def draw(drawn: list[Scenario], shared: list[Any]) -> None:
        found.append([named(scenario, number, shared) for number, scenario in enumerate(drawn)])

    draw()
    return max(found, key=lambda scenarios_: sum(len(scenario.grants) for scenario in scenarios_))


def many_packs() -> Scenario:
    """An account whose credit packs need more iterations of Spark's analyzer than the default, which the model raises."""
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    uses = [
        Use("reducto", "stocked", "credits", start + timedelta(days=day), start + timedelta(days=day + 1), Decimal("41.5"))
        for day in range(60)
    ]
    packs = [
        Grant("reducto", "stocked", f"pack{number}", "purchased", "credit", Decimal(170), start.date(),
              start.date() + timedelta(days=20 + number), None, None, Decimal("10.01"), "USD")
        for number in range(11)
    ]  # fmt: skip
    return Scenario([Account("reducto", "stocked", "stocked", "UTC", None, start, end)], uses, [], packs, [])


def add(scenarios_: list[Scenario], lake: Path) -> None:
    """Appends the raw rows of these scenarios, and of the worked examples of invoices, to the Delta tables."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for statement in (*inserts(scenarios_), *statements(INVOICES)):
            connection.execute(statement)
        for table in (*SCHEMA, "billing.invoices", "billing.invoice_lines"):
            rows = connection.sql(f"from {table}").to_arrow_table()
            folder = lake / table.replace(".", "/")
            declared = pa.schema(DeltaTable(folder).schema().to_arrow())
            for field in declared:
                if field.name not in rows.column_names:
                    value = pa.scalar(None if field.nullable else "v", field.type)  # dlt declares row_version without nulls
                    rows = rows.append_column(field.name, pa.repeat(value, rows.num_rows))
            write_deltalake(folder, rows.select(declared.names).cast(declared), mode="append")


def without_history(lake: Path) -> None:
    """Deletes files of earlier table versions: this Spark has no library that reads the Delta log."""
    for log in lake.glob("*/*/_delta_log"):
        DeltaTable(log.parent).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def built_by_spark(spark: str, lake: Path, out: Path) -> str:
    """Builds the models with Spark; returns the output of Spark and dbt."""
    options = (*MODELS_ONLY, "--no-write-json", "--log-level-file", "none")
    finished = subprocess.run(
        [spark, str(PROGRAM), str(lake), str(out), str(PROJECT), *options],
        cwd=lake, env=os.environ | {"SPARK_PLANS": " ".join(PLANNED)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stderr


def built_by_duckdb(lake: Path, folder: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Builds the models in a DuckDB file with the same raw tables; returns a connection to it."""
    warehouse = duckdb_warehouse(folder, scratch)
    with duckdb.connect(str(folder / "meterhouse.duckdb")) as connection:
        for log in (log for schema in (*PROVIDERS, "billing") for log in lake.glob(f"{schema}/[!_]*/_delta_log")):
            rows = DeltaTable(log.parent).to_pyarrow_table()  # noqa: F841 - the next statement reads it
            connection.execute(f"create schema if not exists {log.parent.parent.name}")
            connection.execute(f"create table {log.parent.parent.name}.{log.parent.name} as from rows")
    outcome = warehouse.dbt("build", *MODELS_ONLY)
    assert outcome.success, outcome.having("error", "skipped")
    connection = duckdb.connect(str(folder / "meterhouse.duckdb"))
    connection.execute("set timezone = 'UTC'")
    return connection


def differing(connection: duckdb.DuckDBPyConnection, marts: Path) -> Mapping[str, list[str]]:
    """Rows by mart that only one engine has. Values are compared as text, so one decimal more is a difference."""
    found = {}
    for mart in MARTS:
        columns = ", ".join(f'"{name}"' for name in connection.sql(f"from usage.{mart}").columns)
        of_duckdb = set(map(repr, connection.sql(f"select {columns} from usage.{mart}").fetchall()))
        of_spark = set(map(repr, connection.sql(f"select {columns} from '{marts}/{mart}/*.parquet'").fetchall()))
        if of_duckdb != of_spark:
            found[mart] = [*(f"duckdb {row}" for row in sorted(of_duckdb - of_spark)[:5]),
                           *(f"spark  {row}" for row in sorted(of_spark - of_duckdb)[:5])]  # fmt: skip
    return found


def test_spark_matches_duckdb(spark: str, lake: Path, tmp_path: Path, scratch: Path) -> None:
    """Every mart is the same to the last decimal, for the tables of a run, random prices, credits and fees, and invoices.

    The work is distributed: no window has all rows in one partition, and large marts partition by their grouping columns.
    """
    add([*drawn_scenarios(), many_packs(), MATHPIX, NEVER], lake)
    without_history(lake)
    with ThreadPoolExecutor() as pool:  # Spark leaves one of two cores idle at times
        building = pool.submit(built_by_spark, spark, lake, tmp_path / "spark")
        connection = built_by_duckdb(lake, tmp_path, scratch)
        output = building.result()
    with connection:
        for mart in MARTS:
            assert connection.sql(f"from usage.{mart} limit 1").fetchall(), mart
        assert not differing(connection, tmp_path / "spark/marts")
    assert "No Partition Defined for Window" not in output
    plans = {path.stem: path.read_text() for path in (tmp_path / "spark/plans").glob("*.txt")}
    for model in PLANNED:
        assert re.search(r"^\(\d+\) Window$", plans[model], re.MULTILINE), model
        assert re.search(r"Exchange\n.*\nArguments: hashpartitioning\(provider", plans[model]), model
