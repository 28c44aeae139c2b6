# ruff: noqa: T201 - a script
"""A run that reads a million rows, of which one in a thousand is restated: without a history, with it, with dlt's scd2."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import dlt
import duckdb
import pyarrow as pa

from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table, count, day, dimension
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Window, utc_now

ROWS, DAYS, ROUNDS = 1_000_000, 100, 5
TABLE = Table(
    "vendor",
    "/usage",
    "usage",
    (dimension("team", "who"), day("date", "when"), count("used", "what")),
    ("team", "date"),
    "date",
)


def rows_of(window: Window, restated: int) -> pa.Table:
    """The rows of a window of whole days; one row in a thousand differs with each `restated`."""
    first = window.start.to_date_string()
    rows = (
        f"select 'team ' || i % {ROWS // DAYS} as team, date '{first}' + (i // {ROWS // DAYS})::integer as date,"
        f" i * 1000 + case when i % 1000 = 0 then {restated} else 0 end as used"
        f" from range({(window.end - window.start).days * ROWS // DAYS}) t(i)"
    )
    relation: Any = duckdb.sql(f"select team, date::date as date, used::bigint as used from ({rows})")
    return relation.to_arrow_table()


PLAIN, HISTORY, SCD2 = KINDS = ("without", "history", "scd2")
OF_SCD2 = {"disposition": "merge", "strategy": "scd2", "row_version_column_name": "row_version"}


@contextmanager
def loading(kind: str) -> Iterator[None]:
    """Loads without a history if `kind` says so, or keeps all versions in the table itself, with dlt's scd2."""
    with ExitStack() as stack:
        if kind != HISTORY:
            stack.enter_context(patch("meterhouse.sources._core.windowed_resource.keep_replaced"))
        if kind == SCD2:
            stack.enter_context(patch("meterhouse.sources._core.windowed_resource.write_disposition", lambda *_: OF_SCD2))
        yield


def main() -> None:
    """Prints the median seconds of the load, and of the whole run, and the size of each database."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        start = utc_now().start_of("day").subtract(days=DAYS)
        plan = Plan("day", start, timedelta(days=DAYS), timedelta(days=DAYS))

        def file(kind: str) -> Path:
            return Path(folder) / f"{kind}.duckdb"

        def run(restated: int, kind: str) -> None:
            destination = dlt.destinations.duckdb(str(file(kind)))
            pipeline = dlt.pipeline(kind, destination=destination, dataset_name="vendor", pipelines_dir=folder)
            fetch: Callable[[Window], FetchResult] = lambda window: FetchResult(rows_of(window, restated), window)  # noqa: E731
            began = time.perf_counter()
            pipeline.extract(windowed_resource(TABLE, [Partition("default", plan, fetch)]))
            pipeline.normalize()
            loading_since = time.perf_counter()
            pipeline.load()
            ended = time.perf_counter()
            if restated:
                seconds.setdefault(("load", kind), []).append(ended - loading_since)
                seconds.setdefault(("run", kind), []).append(ended - began)

        for restated in range(ROUNDS + 1):
            for kind in KINDS:
                with loading(kind):
                    run(restated, kind)
        for kind, counted in ((HISTORY, "usage__history"), (SCD2, "usage where _dlt_valid_to is not null")):
            with duckdb.connect(str(file(kind))) as connection:
                print(kind, connection.sql(f"select count(*) from vendor.{counted}").fetchall()[0][0], "replaced rows")
        for kind in KINDS:
            print(f"{kind}: {file(kind).stat().st_size / 2**20:.0f} MB")
    for what in ("load", "run"):
        base = median(seconds[what, PLAIN])
        for kind in KINDS:
            middle = median(seconds[what, kind])
            print(f"{what} {kind}: {middle:.2f} s, ratio {middle / base:.2f}")


if __name__ == "__main__":
    main()
