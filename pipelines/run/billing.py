"""Loads the user's own prices, credits and invoices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import dlt
from dlt.sources import DltSource

from meterhouse.pipelines.run.load import as_load_error, load_one
from meterhouse.pipelines.run.open import BILLING, without_bare_variables
from meterhouse.pipelines.run.state import Failure, RunState
from meterhouse.pipelines.transform import known_skus
from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.billing import TABLES, Fault, Faults, billing_source, table_reader


def configured_billing() -> dict[str, str]:
    """The tables of [sources.billing] that are configured: a path or a `schema.table` each."""
    settings: dict[str, Any] = {table: dlt.config.get(f"sources.{BILLING}.{table}") for table in TABLES}
    return {table: str(setting) for table, setting in settings.items() if setting}


def open_billing(destination: Destination, configured: Mapping[str, str]) -> DltSource:
    """The user's money facts, read and checked: by table a path or a `schema.table`.

    Raises:
        Faults: the files or tables are wrong.
    """

    def read_table(name: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if destination.type == "duckdb" and not Path(destination.location).exists():
            raise LookupError(name)  # asking would make the file
        return table_reader(destination.pipeline(BILLING))(name)

    with without_bare_variables(billing_source):
        source: DltSource = billing_source(**configured, known_skus=known_skus(), read_table=read_table)
    return source


def billing_errors(destination: Destination) -> tuple[Fault, ...]:
    """What is wrong with the files and tables of [sources.billing], without loading anything.

    Raises:
        LoadError: the destination cannot be asked for a table.
    """
    if configured := configured_billing():
        try:
            open_billing(destination, configured)
        except Faults as faults:
            return faults.faults
        except Exception as error:  # noqa: BLE001 - a table of the destination is read, which may fail in any way of its own
            raise LoadError(f"{BILLING}: {describe_error(error, destination)}") from None
    return ()


def load_billing(destination: Destination, record: RunState, configured: Mapping[str, str]) -> None:
    """Replaces the user's money facts by what is configured; on a fault, which is on record, they stay as they were."""
    try:
        if not configured and not _was_loaded(destination, BILLING):
            return
        load_one(destination, BILLING, open_billing(destination, configured), Lock())
        record.billing.update(configured)
    except Faults as faults:
        for fault in faults.faults:
            error: Exception = ConfigurationError(f"{BILLING}: {fault}", hint="Nothing of billing was loaded.")
            record.add(Failure(BILLING, fault.table, "", error))
    except Exception as error:  # noqa: BLE001 - as for a provider: it must not keep the others from being loaded
        record.add(Failure(BILLING, "", "", as_load_error(BILLING, error, destination)))


def _was_loaded(destination: Destination, name: str) -> bool:
    """Whether the destination has the tables: those of a user who has taken the configuration away are to be emptied."""
    if destination.type == "duckdb" and not Path(destination.location).exists():
        return False
    pipeline = destination.pipeline(name).drop()
    pipeline.sync_destination()
    return bool(pipeline.schema_names)
