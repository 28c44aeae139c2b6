# ruff: noqa: T201 - a script
"""What the history costs: a run that reads a million rows, of which one in a thousand is restated, with and without it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        f" i + case when i % 1000 = 0 then {restated} else 0 end as used"
        f" from range({(window.end - window.start).days * ROWS // DAYS}) t(i)"
    )
    relation: Any = duckdb.sql(f"select team, date::date as date, used::bigint as used from ({rows})")
    return relation.to_arrow_table()


@contextmanager
def without_history() -> Iterator[None]:
    """Loads as if the package said nothing of a history."""
    with patch("meterhouse.sources._core.windowed_resource.keep_replaced"):
        yield


def main() -> None:
    """Prints the median seconds of the load, and of the whole run, with and without a history."""
    seconds: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        start = utc_now().start_of("day").subtract(days=DAYS)
        plan = Plan("day", start, timedelta(days=DAYS), timedelta(days=DAYS))

        def run(restated: int, *, history: bool) -> None:
            name = "with" if history else "without"
            destination = dlt.destinations.duckdb(str(Path(folder) / f"{name}.duckdb"))
            pipeline = dlt.pipeline(name, destination=destination, dataset_name="vendor", pipelines_dir=folder)
            fetch: Callable[[Window], FetchResult] = lambda window: FetchResult(rows_of(window, restated), window)  # noqa: E731
            began = time.perf_counter()
            pipeline.extract(windowed_resource(TABLE, [Partition("default", plan, fetch)]))
            pipeline.normalize()
            loading = time.perf_counter()
            pipeline.load()
            ended = time.perf_counter()
            if restated:
                seconds.setdefault(("load", history), []).append(ended - loading)
                seconds.setdefault(("run", history), []).append(ended - began)

        for restated in range(ROUNDS + 1):
            run(restated, history=True)
            with without_history():
                run(restated, history=False)
        with dlt.pipeline(
            "with", destination=dlt.destinations.duckdb(str(Path(folder) / "with.duckdb")), dataset_name="vendor"
        ).sql_client() as client:
            print("rows of the history", client.execute_sql("select count(*) from usage__history"))
    for what in ("load", "run"):
        on, off = (median(seconds[what, history]) for history in (True, False))
        print(f"{what}: without {off:.2f} s, with {on:.2f} s, ratio {on / off:.2f}")


if __name__ == "__main__":
    main()
