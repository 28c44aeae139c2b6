"""meterhouse in Dagster: the raw tables of each provider as daily partitioned assets, and the models downstream.

Run `dagster dev -f dagster_definitions.py` in a folder that has .dlt/secrets.toml. A partition is exactly one day, and you
can load it again at any time. Vendors restate recent days, so schedule the last few partitions.
"""

import os
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import dlt
from dagster import AssetExecutionContext, DailyPartitionsDefinition, Definitions
from dagster_dbt import DbtCliResource, dbt_assets
from dagster_dlt import DagsterDltResource, dlt_assets

from meterhouse.pipelines.transform import PROJECT

DATABASE = Path(os.environ.get("METERHOUSE_DUCKDB", "meterhouse.duckdb")).absolute()
os.environ["METERHOUSE_DUCKDB"] = str(DATABASE)  # dbt runs in another folder
TARGET = Path(".dagster-dbt").absolute()
DAYS = DailyPartitionsDefinition(start_date="2026-01-01")

if not (TARGET / "manifest.json").exists():
    parse = f"dbt parse --project-dir {PROJECT} --profiles-dir {PROJECT} --target-path {TARGET} --log-path {TARGET}"
    subprocess.run(parse.split(), check=True)


def raw_tables(provider: str):  # noqa: ANN201 - dagster-dlt defines the return type
    """The tables of one provider, one asset each."""
    source = getattr(import_module(f"meterhouse.sources.{provider}"), f"{provider}_source")
    pipeline = dlt.pipeline(provider, destination=dlt.destinations.duckdb(str(DATABASE)), dataset_name=provider)

    @dlt_assets(dlt_source=source(), dlt_pipeline=pipeline, name=provider, group_name=provider, partitions_def=DAYS)
    def load(context: AssetExecutionContext, resource: DagsterDltResource) -> Iterator:
        day = context.partition_time_window
        days = source(since=day.start.isoformat(), until=day.end.isoformat())
        yield from resource.run(context=context, dlt_source=days)

    return load


@dbt_assets(manifest=TARGET / "manifest.json")
def models(context: AssetExecutionContext, dbt: DbtCliResource) -> Iterator:
    """Seeds, models and tests. If you select models, dbt runs only the tests whose parents are all selected."""
    build = ["build", "--exclude-resource-type", "unit_test", "--indirect-selection", "cautious"]
    yield from dbt.cli(build, context=context, target_path=TARGET).stream()


# Providers whose credentials you have. A source without credentials is an error.
definitions = Definitions(
    assets=[*(raw_tables(provider) for provider in os.environ.get("PROVIDERS", "mathpix,reducto").split(",")), models],
    resources={
        "resource": DagsterDltResource(),
        "dbt": DbtCliResource(project_dir=str(PROJECT), profiles_dir=str(PROJECT)),
    },
)
