"""Files as a destination: dlt writes them as Delta tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.locking import FileLock, RunLock


@dataclass
class LakeDestination(Destination):
    """A folder or bucket with Delta tables."""

    def run_locks(self) -> list[RunLock]:
        """One more lock in a folder of this machine, which may have several names; a bucket has none."""
        folder = self.location.removeprefix("file://")
        is_local = folder != self.location or "://" not in folder
        return [*super().run_locks(), *([FileLock(Path(folder).resolve() / "meterhouse.lock")] if is_local else [])]

    def tables_with_rows(self, dataset: str, tables: Sequence[str]) -> list[str]:
        """The given tables with rows, counted by the `deltalake` library: DuckDB would download an extension."""
        from dlt.common.libs.deltalake import get_delta_tables

        pipeline = self.restored_pipeline(dataset)
        if not pipeline.schema_names:
            return []
        known = [table for table in tables if table in pipeline.default_schema.tables]
        return [name for name, table in get_delta_tables(pipeline, *known).items() if known and table.count()]
