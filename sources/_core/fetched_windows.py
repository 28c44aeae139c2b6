"""The table `fetched_windows`: one row for each window that a run read, of all tables of a provider.

dlt commits the tables of a load one by one, so the row may be there before the rows of its window. `load_id` shows whether
they are: dlt's table `_dlt_loads` records a load once all of its tables are written.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from meterhouse.sources._core.merge import ACCOUNT, ReplacedWindow
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.run_id import load_id
from meterhouse.sources._core.schema import Table, arrow_schema, computed, count, instant
from meterhouse.sources._core.windows import utc_now

FETCHED_WINDOWS = "fetched_windows"
_SCHEMA = arrow_schema(
    [
        computed("resource", pa.string(), "the table that was requested"),
        ACCOUNT,
        computed("part", pa.string(), "the partition of the account's rows, such as one organisation; '' for all of them"),
        instant("window_start", "start of the window, included; null where the API returned nothing", nullable=True),
        instant("window_end", "end of the window, excluded", nullable=True),
        instant("complete_until", "all buckets up to here had ended when they were fetched", nullable=True),
        count("row_count", "rows of the window"),
        instant("fetched_at", "when the window was fetched"),
        computed(
            "load_id",
            pa.string(),
            "id of the dlt load; null without a pipeline, and in rows of earlier versions",
            nullable=True,
        ),
    ]
)


def window_rows(table: Table, replaced: Sequence[ReplacedWindow], unanswered: Sequence[Partition]) -> pa.Table:
    """A row for each window that was read, and one without a window for each partition that returned nothing.

    Without the latter, an organisation that never returns data would go unnoticed: the other partitions of its account
    make the account look complete.
    """
    rows: list[dict[str, Any]] = [
        {
            **_place(table, done.partition),
            "window_start": done.window.start,
            "window_end": done.window.end,
            "complete_until": done.partition.plan.complete_until(done.window, done.fetched_at),
            "row_count": done.rows,
            "fetched_at": done.fetched_at,
        }
        for done in replaced
    ]
    rows += [{**_place(table, partition), "row_count": 0, "fetched_at": utc_now()} for partition in unanswered]
    load = {"load_id": load_id()}
    return pa.Table.from_pylist([row | load for row in rows], _SCHEMA)


def _place(table: Table, partition: Partition) -> dict[str, Any]:
    return {"resource": table.name, "account": partition.account, "part": partition.name}
