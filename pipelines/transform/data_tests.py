"""Decides whether a build runs the data tests, which take half of its time.

A build whose tests passed leaves a record in its database. With `DataTestMode.CHANGED`, a build on the same day (UTC) skips
the tests and repeats the recorded warnings, unless one of these has changed:

- the files of the dbt project, the versions of the packages that run it, and dbt's own settings in the environment;
- every value of the billing tables: prices, credits, fees, invoices;
- which tables of which accounts were ever loaded.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from meterhouse.pipelines.transform.digests import code_digest
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt
from meterhouse.sources.billing import TABLES
from meterhouse.sources.registry import PROVIDERS

RECORD = "usage_intermediate._data_tests"


@dataclass(frozen=True, slots=True)
class DataTests:
    """The data tests that ran in a build: when (UTC), how many passed, and a line for each warning."""

    run_at: datetime
    passed: int
    warnings: tuple[str, ...]


def recorded_tests(destination: Destination, project: Path, now: datetime) -> DataTests | None:
    """The tests that passed on the day of `now`, if they need not run again; None otherwise."""
    with suppress(LoadError), destination.reader() as reader:
        for run_at, inputs, passed, warnings in reader.tuples(f"select run_at, inputs, passed, warnings from {RECORD}")[1]:  # noqa: S608
            tests = DataTests(datetime.fromisoformat(run_at), passed, tuple(json.loads(warnings)))
            if tests.run_at.date() == now.date() and inputs == _inputs(destination, project):
                return tests
    return None


def forget_tests(destination: Destination) -> None:
    """Removes the record, before a build runs the tests."""
    with suppress(LoadError):
        destination.execute(f"drop table if exists {RECORD}")


def record_tests(destination: Destination, project: Path, tests: DataTests) -> None:
    """Records tests that passed. If that fails, the next build runs them again and nothing else is lost."""
    with suppress(LoadError):
        destination.execute(f"create table {RECORD} (run_at text, inputs text, passed integer, warnings text)")
        values = tests.run_at.isoformat(), _inputs(destination, project), tests.passed, json.dumps(tests.warnings)
        destination.execute(f"insert into {RECORD} values (%s, %s, %s, %s)", *values)  # noqa: S608


def _inputs(destination: Destination, project: Path) -> str:
    digest = hashlib.sha256(code_digest(project, ("dbt-core", f"dbt-{destination.type}", "dbt-adapters")).encode())
    with destination.reader() as reader:
        for table in TABLES:
            with suppress(NotBuilt):
                rows = reader.rows(f"select * from {reader.table_name('billing', table)}")  # noqa: S608
                digest.update(f"{table} {sorted(_values(row.items()) for row in rows)}\n".encode())
        for provider in PROVIDERS:
            with suppress(NotBuilt):
                table_name = reader.table_name(provider, "fetched_windows")
                loaded = reader.tuples(f"select distinct resource, account from {table_name} order by 1, 2")[1]  # noqa: S608
                digest.update(f"{provider} {loaded}\n".encode())
    return digest.hexdigest()


def _values(row: Iterable[tuple[str, object]]) -> str:
    """The values of a billing row, without those that change in every load."""
    return repr([(name, value) for name, value in row if name != "loaded_at" and not name.startswith("_dlt_")])
