"""Files as a destination: dlt writes them as Delta tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import dlt

from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.lease import BucketLease
from meterhouse.pipelines.warehouse.locking import FileLock, RunLock


@dataclass
class LakeDestination(Destination):
    """A folder or bucket with Delta tables."""

    supports_sql: ClassVar[bool] = False
    has_own_staging: ClassVar[bool] = False
    """dlt merges the files of a load package directly, without staging tables."""

    def shared_lock(self) -> RunLock:
        """A lock file in a local folder, a lease in a bucket."""
        folder = self.location.removeprefix("file://")
        if folder != self.location or "://" not in folder:
            return FileLock(Path(folder).resolve() / "meterhouse.lock")
        return BucketLease(self.location, self._open_bucket)

    def _open_bucket(self) -> tuple[Any, str]:
        """The bucket's file system (fsspec) and the path of the bucket in it."""
        with self.pipeline("meterhouse").destination_client() as client:
            bucket: Any = client
            return bucket.fs_client, bucket.bucket_path

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
