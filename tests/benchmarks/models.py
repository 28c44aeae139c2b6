"""Time and memory of the models: `python -m tests.benchmarks.models [ACCOUNTS [APPS]]`.

Two years of Mathpix by the hour, 20 apps with three usage types each (a million rows), of so many accounts (2 by default,
at most 20, which makes every row a charge of its own) that share their tiers, and the same two years of the other vendors
by the day, drawing on credits that renew. The bound that we hold ourselves to is 30 seconds on two cores and 1 GB.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from tests.pipelines.transform.random_scenarios import SCHEMA
from tests.pipelines.transform.warehouse import PROJECT, USAGE_COLUMNS

APPS, USAGE_TYPES = 20, ("image", "pdf-page", "strokes-session")
FETCHED = "timestamptz '2026-10-01 00:00:00+00'"
SPAN = "timestamptz '2024-10-01 00:00:00+00', timestamptz '2026-10-01 00:00:00+00', timestamptz '2026-10-01 00:00:00+00'"
HOURS = "range(timestamptz '2024-10-01 00:00:00+00', timestamptz '2026-10-01 00:00:00+00', interval 1 hour) as hours(hour)"
DAYS = "range(timestamp '2024-10-01', timestamp '2026-10-01', interval 1 day) as days(day)"
TRACE = "'file.csv', 2, " + FETCHED

GRANTS = (
    "'plan', 'included', 'credit', 9000, '2024-10-01', null, 'monthly', null, null, null",
    "'pack', 'purchased', 'credit', 90000, '2024-11-01', null, null, null, 700, 'USD'",
)
SLOWEST = 12


def statements(accounts: int, apps: int) -> list[str]:
    """The statements that fill the raw tables."""
    tables = {**SCHEMA, "mathpix.ocr_usage_by_app_id": USAGE_COLUMNS}
    hourly = f"""
        select 'account' || (app % {accounts}), 'hour', hour, hour + interval 1 hour, 'app' || app, 'group', usage_type, '',
            1 + cast(hash(hour, app, usage_type) % 97 as bigint), true, {FETCHED}, 'v'
        from {HOURS}, range({apps}) as apps(app), unnest({list(USAGE_TYPES)}) as types(usage_type)
    """
    daily = "cast(hash(day) % 5000 as decimal(28, 9)) / 7"
    end = f"true, {FETCHED}, 'v'"
    return [
        "set timezone = 'UTC'",
        *(f"create schema {schema}" for schema in sorted({table.split(".")[0] for table in tables})),
        *(f"create table {table} ({columns})" for table, columns in tables.items()),
        f"insert into mathpix.ocr_usage_by_usage_type {hourly}",
        "insert into mathpix.ocr_usage_by_app_id select * from mathpix.ocr_usage_by_usage_type",
        f"""insert into reducto.usage_by_product
            select 'a', 'org', cast(day as date), 'parse', {daily}, 9, false, {end} from {DAYS}""",
        f"insert into onepin.usage_daily select 'a', 'w', 'UTC', cast(day as date), {daily}, 9, 9, 9, {end} from {DAYS}",
        f"""insert into scopix.usage_daily
            select 'a', cast(day as date), '', 9, 9, 0, 9, 0, 0, null, {daily}, {end} from {DAYS}""",
        *(
            f"insert into mathpix.fetched_windows values ('ocr_usage_by_{name}', 'account{n}', '', {SPAN}, 1, {FETCHED})"
            for n in range(accounts)
            for name in ("usage_type", "app_id")
        ),
        f"insert into reducto.fetched_windows values ('usage_by_product', 'a', 'org', {SPAN}, 1, {FETCHED})",
        f"insert into onepin.fetched_windows values ('usage_daily', 'a', 'w|UTC', {SPAN}, 1, {FETCHED})",
        f"insert into scopix.fetched_windows values ('usage_daily', 'a', '', {SPAN}, 1, {FETCHED})",
        *(
            f"insert into billing.accounts values ('mathpix', 'account{n}', 'payer', 'America/New_York', '', null, {TRACE})"
            for n in range(accounts)
        ),
        *(
            f"insert into billing.credit_grants values ('{provider}', 'a', {grant}, {TRACE})"
            for provider in ("reducto", "onepin", "scopix")
            for grant in GRANTS
        ),
    ]


def measured(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds, and the peak memory in MB of all commands so far."""
    started = time.perf_counter()
    environment = {**os.environ, "METERHOUSE_DUCKDB": str(folder / "meterhouse.duckdb"), "DLT_DATA_DIR": str(folder / "dlt")}
    subprocess.run([sys.executable, "-c", *command], cwd=folder, check=True, env=environment, capture_output=True)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Builds them in an empty database with dbt, which times each model, then again, then with all tests."""
    accounts, apps = [*map(int, sys.argv[1:]), *(2, APPS)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with duckdb.connect(folder / "meterhouse.duckdb") as connection:
            for statement in statements(accounts, apps):
                connection.execute(statement)
            rows = connection.execute("select count(*) from mathpix.ocr_usage_by_usage_type").fetchall()[0][0]
        sys.stdout.write(f"{rows:,} rows of hours in {accounts} accounts\n")
        build = (
            *("from dbt.cli.main import cli; cli()", "--quiet", "build", "--exclude-resource-type", "test"),
            *("--exclude-resource-type", "unit_test", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"),
        )
        for what in ("from a project that dbt has not read yet", "rebuilt"):
            seconds, peak = measured(folder, *build)
            sys.stdout.write(f"dbt build, without tests, {what}: {seconds:.1f} s, {peak:,.0f} MB\n")
        results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
        for result in sorted(results, key=lambda result: -result["execution_time"])[:SLOWEST]:
            sys.stdout.write(f"{result['execution_time']:7.2f} s  {result['unique_id'].split('.')[2]}\n")
        seconds, peak = measured(folder, "from pipelines.cli import main; main()", "models", "--json")
        sys.stdout.write(f"meterhouse models, with all tests: {seconds:.1f} s, {peak:,.0f} MB\n")


if __name__ == "__main__":
    main()
