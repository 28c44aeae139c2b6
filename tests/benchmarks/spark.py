"""Tens of millions of hours on Apache Spark: `METERHOUSE_SPARK=PYTHON python -m tests.benchmarks.spark [APPS [ACCOUNTS]]`.

Two years of hours of so many apps with three usage types each (960, which are fifty million rows) in so many accounts (200).
It prints how long Spark takes for the slowest models, by what the windows of their plans are partitioned, and whether DuckDB
comes to the same costs. `.ci/spark FOLDER` makes the environment and prints what METERHOUSE_SPARK has to name.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from tests.benchmarks.models import SLOWEST, statements
from tests.pipelines.transform.warehouse import PROJECT, duckdb_warehouse

PROGRAM = Path(__file__).parents[1] / "pipelines/transform/warehouses/spark.py"
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
WINDOW = re.compile(r"^\(\d+\) Window\b.*?^Arguments: \[.*?\], \[(.*?)\](?:, \[|$)", re.MULTILINE | re.DOTALL)
SAME = """
    (from usage.cost_monthly except all select {columns} from '{marts}/cost_monthly/*.parquet')
    union all
    (select {columns} from '{marts}/cost_monthly/*.parquet' except all from usage.cost_monthly)
"""


def make_lake(folder: Path, accounts: int, apps: int) -> int:
    """Writes the raw tables as folders of Parquet, and keeps them in a DuckDB file; returns the number of rows of hours."""
    with duckdb.connect(folder / "meterhouse.duckdb") as connection:
        for statement in statements(accounts, apps):
            if "insert into mathpix.ocr_usage_by_app_id" not in statement:
                connection.execute(statement)
        tables = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
        for schema, table in tables:
            target = folder / "lake" / schema / table
            target.mkdir(parents=True)
            connection.execute(f"copy {schema}.{table} to '{target}/part.parquet'")
        return int(connection.execute("select count(*) from mathpix.ocr_usage_by_usage_type").fetchall()[0][0])


def main() -> None:
    """Builds the models on both, and compares them."""
    apps, accounts = [*map(int, sys.argv[1:]), *(960, 200)[len(sys.argv) - 1 :]]
    models = " ".join(path.stem for path in (PROJECT / "models").rglob("*.sql"))
    settings = {"SPARK_MEMORY": "8g", "SPARK_PARTITIONS": "64", "SPARK_MARTS": "cost_monthly", "SPARK_PLANS": models}
    environment = settings | dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_lake(folder, accounts, apps)
        sys.stdout.write(f"{rows:,} rows of hours in {accounts} accounts\n")
        sys.stdout.flush()
        started = time.perf_counter()
        program = [os.environ["METERHOUSE_SPARK"], str(PROGRAM), f"{folder}/lake", f"{folder}/out", str(PROJECT), *NO_TESTS]
        said = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if said.returncode:
            sys.exit(said.stdout + said.stderr)
        sys.stdout.write(f"Spark: {time.perf_counter() - started:.0f} s\n")
        results = json.loads((folder / "out/target/run_results.json").read_text())["results"]
        for result in sorted(results, key=lambda result: -result["execution_time"])[:SLOWEST]:
            model = result["unique_id"].split(".")[2]
            plan = folder / "out/plans" / f"{model}.txt"
            windows = WINDOW.findall(plan.read_text()) if plan.exists() else []
            sys.stdout.write(f"{result['execution_time']:7.1f} s  {model}\n")
            for by in dict.fromkeys(re.sub(r"#\d+", "", window) for window in windows):
                sys.stdout.write(f"             window by {by or 'NOTHING'}\n")
        started = time.perf_counter()
        duckdb_warehouse(folder, folder).dbt("build", *NO_TESTS)
        sys.stdout.write(f"DuckDB: {time.perf_counter() - started:.0f} s\n")
        with duckdb.connect(folder / "meterhouse.duckdb", read_only=True) as connection:
            columns = ", ".join(connection.sql("from usage.cost_monthly").columns)
            differing = connection.execute(SAME.format(columns=columns, marts=folder / "out/marts")).fetchall()
            months = connection.execute("select count(*), sum(billed_cost) from usage.cost_monthly").fetchall()[0]
        sys.stdout.write(f"cost_monthly: {months[0]} rows, {months[1]} in all, {len(differing)} that only one of them has\n")


if __name__ == "__main__":
    main()
