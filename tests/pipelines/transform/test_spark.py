"""The models on Apache Spark, over the Delta tables that `run --destination filesystem` writes: DuckDB's results, spread."""

import os
import re
import subprocess
from collections.abc import Mapping
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

from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli
from tests.pipelines.transform.by_hand import Account, Grant, Use, World
from tests.pipelines.transform.test_exactness import SCHEMA, inserts, named, prices_of_all, worlds
from tests.pipelines.transform.warehouse import MARTS, PROJECT, duckdb_warehouse
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

SPARK = os.environ.get("METERHOUSE_SPARK")
"""The python of the environment that has Spark and dbt-spark, which .ci/spark makes."""

PROGRAM = Path(__file__).parent / "warehouses" / "spark.py"
NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
WORLDS = 24


@pytest.fixture
def spark() -> str:
    if not SPARK:
        pytest.skip("METERHOUSE_SPARK is not set: .ci/spark FOLDER installs what it has to name")
    return SPARK


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture
def lake(cli: Cli, sandbox: Sandbox, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """What two runs have written, with the user's prices, credits, fees and invoices."""
    folder = cli.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", folder.as_uri())
    for template in (TOP / "sources/billing/templates").glob("*.csv"):
        monkeypatch.setenv(f"SOURCES__BILLING__{template.stem.upper()}", str(template))
    with time_machine.travel(NOW, tick=False):
        cli("run", "--no-models", "--destination", "filesystem")
        cli("run", "--no-models", "--destination", "filesystem")
    return folder


def drawn_worlds() -> list[World]:
    """Usage, prices, credits and fees of many accounts, the same each time; not the simplest, which come first."""
    found: list[list[World]] = []

    @seed(7)
    @settings(max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(drawn=st.lists(worlds(), min_size=WORLDS, max_size=WORLDS), shared=prices_of_all())
    def draw(drawn: list[World], shared: list[Any]) -> None:
        found.append([named(world, number, shared) for number, world in enumerate(drawn)])

    draw()
    return max(found, key=lambda worlds_: sum(len(world.grants) for world in worlds_))


def many_packs() -> World:
    """An account that has bought more packs of credits than Spark would take turns without being told to."""
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    uses = [
        Use("reducto", "stocked", "credits", start + timedelta(days=day), start + timedelta(days=day + 1), Decimal("41.5"))
        for day in range(60)
    ]
    packs = [
        Grant("reducto", "stocked", f"pack{number}", "purchased", "credit", Decimal(90), start.date(),
              start.date() + timedelta(days=20 + number), None, None, Decimal("10.01"), "USD")
        for number in range(24)
    ]  # fmt: skip
    return World([Account("reducto", "stocked", "stocked", "UTC", None, start, end)], uses, [], packs, [])


def add(worlds_: list[World], lake: Path) -> None:
    """Appends the raw rows of these worlds to the Delta tables."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for statement in inserts(worlds_):
            connection.execute(statement)
        for table in SCHEMA:
            rows = connection.sql(f"from {table}").to_arrow_table()
            folder = lake / table.replace(".", "/")
            declared = pa.schema(DeltaTable(folder).schema().to_arrow())
            for field in declared:
                if field.name not in rows.column_names:
                    rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
            write_deltalake(folder, rows.select(declared.names).cast(declared), mode="append")


def without_history(lake: Path) -> None:
    """Leaves only the files that are of the tables now: here, Spark has no library that reads Delta's log."""
    for log in lake.glob("*/*/_delta_log"):
        DeltaTable(log.parent).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def built_by_spark(spark: str, lake: Path, out: Path) -> str:
    """Builds the models there; what Spark and dbt have said."""
    finished = subprocess.run(
        [spark, str(PROGRAM), str(lake), str(out), str(PROJECT), *NO_TESTS],
        cwd=lake, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stderr


def built_by_duckdb(lake: Path, folder: Path) -> duckdb.DuckDBPyConnection:
    """Builds them in a DuckDB file with the same raw tables; the file, opened."""
    warehouse = duckdb_warehouse(folder, folder)
    with duckdb.connect(str(folder / "meterhouse.duckdb")) as connection:
        for log in (log for schema in (*PROVIDERS, "billing") for log in lake.glob(f"{schema}/[!_]*/_delta_log")):
            rows = DeltaTable(log.parent).to_pyarrow_table()  # noqa: F841 - the next statement reads it
            connection.execute(f"create schema if not exists {log.parent.parent.name}")
            connection.execute(f"create table {log.parent.parent.name}.{log.parent.name} as from rows")
    outcome = warehouse.dbt("build", *NO_TESTS)
    assert outcome.success, outcome.having("error", "skipped")
    connection = duckdb.connect(str(folder / "meterhouse.duckdb"))
    connection.execute("set timezone = 'UTC'")
    return connection


def differing(connection: duckdb.DuckDBPyConnection, marts: Path) -> Mapping[str, list[str]]:
    """By mart, rows that only one of the two has: all values in words, so that a decimal more or less is seen."""
    found = {}
    for mart in MARTS:
        columns = ", ".join(f'"{name}"' for name in connection.sql(f"from usage.{mart}").columns)
        of_duckdb = set(map(repr, connection.sql(f"select {columns} from usage.{mart}").fetchall()))
        of_spark = set(map(repr, connection.sql(f"select {columns} from '{marts}/{mart}/*.parquet'").fetchall()))
        if of_duckdb != of_spark:
            found[mart] = [*(f"duckdb {row}" for row in sorted(of_duckdb - of_spark)[:5]),
                           *(f"spark  {row}" for row in sorted(of_spark - of_duckdb)[:5])]  # fmt: skip
    return found


def test_spark_says_what_duckdb_says(spark: str, lake: Path, tmp_path: Path) -> None:
    """To the last decimal, in every mart: of what a run wrote, and of all that prices, credits and fees can be.

    And it spreads: no window has all rows in one partition, and those of the large marts are of what they are grouped by.
    """
    add([*drawn_worlds(), many_packs()], lake)
    without_history(lake)
    said = built_by_spark(spark, lake, tmp_path / "spark")
    with built_by_duckdb(lake, tmp_path) as connection:
        for mart in MARTS:
            assert connection.sql(f"from usage.{mart} limit 1").fetchall(), mart
        assert not differing(connection, tmp_path / "spark/marts")
    assert "No Partition Defined for Window" not in said
    plans = {path.stem: path.read_text() for path in (tmp_path / "spark/plans").glob("*.txt")}
    for model in ("int_usage__priced", "usage_trends_daily"):
        assert re.search(r"^\(\d+\) Window$", plans[model], re.MULTILINE), model
        assert re.search(r"Exchange\n.*\nArguments: hashpartitioning\(provider", plans[model]), model
