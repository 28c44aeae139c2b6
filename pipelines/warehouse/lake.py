"""Files as a destination: dlt writes them as Delta tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.locking import FileLock, RunLock


@dataclass
class LakeDestination(Destination):
    """A folder or bucket with Delta tables."""

    def run_locks(self) -> list[RunLock]:
        """Adds a lock file in a local folder; a bucket has none."""
        folder = self.location.removeprefix("file://")
        is_local = folder != self.location or "://" not in folder
        return [*super().run_locks(), *([FileLock(Path(folder).resolve() / "meterhouse.lock")] if is_local else [])]

    def loaded_accounts(self, datasets: Iterable[str]) -> dict[str, set[str]]:
        """Reads the log with `deltalake`; DuckDB would have to download an extension."""
        accounts = {}
        for name in datasets:
            for table in self._delta_tables(name, ["fetched_windows"]).values():
                accounts[name] = set(table.to_pyarrow_table(columns=["account"])["account"].to_pylist())
        return accounts

    def require_loaded(self, pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> None:  # noqa: ARG002 - see below
        """Checks that dlt has written to the folder that the run has printed: to read the files would need an extension.

        Raises:
            LoadError: dlt has written to another place.
        """
        self._require_location(pipeline)

    def tables_with_rows(self, dataset: str, tables: Sequence[str]) -> list[str]:
        """The given tables with rows, counted by the `deltalake` library."""
        return [name for name, table in self._delta_tables(dataset, tables).items() if table.count()]

    def _delta_tables(self, dataset: str, tables: Sequence[str]) -> dict[str, Any]:
        """Those of the given tables that exist, by name."""
        from dlt.common.libs.deltalake import get_delta_tables

        pipeline = self.restored_pipeline(dataset)
        known = [table for table in tables if pipeline.schema_names and table in pipeline.default_schema.tables]
        return get_delta_tables(pipeline, *known) if known else {}
