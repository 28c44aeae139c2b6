"""The staging dataset of a run, where dlt writes rows before it merges them.

In dlt, all runs of a pipeline share one: each load truncates its tables, so two runs at once would merge each other's rows.
Here each run has its own, so runs stay apart even if a lock is lost.
"""

import re
import secrets
from contextlib import suppress
from typing import Any

import dlt

from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.query import translated_errors

OWN_STAGING = re.compile(r"\w+_staging_run_[0-9a-f]{8}", re.IGNORECASE)
"""The names of such datasets; Snowflake stores them in upper case."""


def own_staging_layout() -> str:
    """A value of dlt's `staging_dataset_name_layout` that no other run uses."""
    return f"%s_staging_run_{secrets.token_hex(4)}"


def drop_staging(pipeline: dlt.Pipeline, location: str) -> None:
    """Drops the staging dataset of a pipeline, if it exists and belongs to one run.

    Raises:
        LoadError: it cannot be dropped.
    """
    client: Any
    with translated_errors(location), pipeline.sql_client() as client, client.with_staging_dataset():
        if OWN_STAGING.fullmatch(client.dataset_name) and client.has_dataset():
            client.drop_dataset()


def drop_left_behind(pipeline: dlt.Pipeline, location: str) -> None:
    """Drops the staging datasets of runs that were killed; `pipeline` is any one of the destination.

    The caller holds the locks of a run, so no other run uses one. If a run has lost its lease and is still loading, its load
    fails, and none of its rows are mixed with others.

    It does nothing where datasets are not in `information_schema.schemata`, as on BigQuery (which has one for each region),
    ClickHouse (where dlt writes datasets as prefixes of tables) and Dremio; dlt has no list of datasets.
    """
    client: Any
    with suppress(LoadError), translated_errors(location), pipeline.sql_client() as client:
        for (name,) in client.execute_sql("SELECT schema_name FROM INFORMATION_SCHEMA.SCHEMATA"):
            if OWN_STAGING.fullmatch(name):
                # It may belong to another role, or to another catalog of MotherDuck.
                with suppress(LoadError), translated_errors(location), client.with_alternative_dataset_name(name):
                    if client.has_dataset():
                        client.drop_dataset()
