"""Loads: the state that a load leaves in the destination, and the order of its tables."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.load import load
from dlt.pipeline.state_sync import bump_pipeline_state_version_if_modified

from meterhouse.sources._core.dlt_compat.private import load_id_of


def stored_state(pipeline: dlt.Pipeline) -> tuple[str, dict[str, Any]] | None:
    """The load id and the content of the pipeline's state in its destination; None if the destination has none.

    dlt restores the state of the newest whole load. It has no way to change a state together with rows.
    """
    client: Any
    with pipeline.destination_client() as client:
        try:
            stored = client.get_stored_state(pipeline.pipeline_name)
        except DestinationUndefinedEntity:
            return None
    return (load_id_of(stored), decompress_state(stored.state)) if stored else None


def state_columns(state: dict[str, Any]) -> dict[str, Any]:
    """The columns of dlt's state table for a changed state, which gets the next version."""
    content = cast("Any", state)
    version, version_hash, _ = bump_pipeline_state_version_if_modified(content)
    return {"version": version, "version_hash": version_hash, "state": compress_state(content)}


_LOADED_LAST: set[str] = set()


def load_last(table: str) -> None:
    """Makes dlt load `table` after all other tables of a load package.

    dlt loads the tables of a package at the same time, each in its own transaction. A log of what the other tables
    hold must not be committed before them.
    """
    _LOADED_LAST.add(table)


def _ordered(choose: Callable[..., Sequence[str]]) -> Callable[..., Sequence[str]]:
    """The jobs that dlt would start next; those of tables in `_LOADED_LAST` wait until all others have ended."""

    @wraps(choose)
    def filter_new_jobs(files: Sequence[str], capabilities: Any, config: Any, running: Sequence[Any], slots: int) -> Any:
        others = [file for file in files if ParsedLoadJobFileName.parse(file).table_name not in _LOADED_LAST]
        return choose(others if others or running else files, capabilities, config, running, slots)

    return filter_new_jobs


load.filter_new_jobs = _ordered(load.filter_new_jobs)  # type: ignore[attr-defined]
