"""Files as a destination: dlt writes them as Delta tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import dlt

from meterhouse.pipelines.warehouse.destination import Destination


@dataclass
class LakeDestination(Destination):
    """A folder or bucket with Delta tables."""

    def require_loaded(self, pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> None:  # noqa: ARG002 - see below
        """Checks that dlt has written to the folder that the run has printed: to read the files would need an extension.

        Raises:
            LoadError: dlt has written to another place.
        """
        self._require_location(pipeline)

    def tables_with_rows(self, dataset: str, tables: Sequence[str]) -> list[str]:
        """The given tables with rows, counted by the `deltalake` library: DuckDB would download an extension."""
        from dlt.common.libs.deltalake import get_delta_tables

        pipeline = self.restored_pipeline(dataset)
        if not pipeline.schema_names:
            return []
        known = [table for table in tables if table in pipeline.default_schema.tables]
        return [name for name, table in get_delta_tables(pipeline, *known).items() if known and table.count()]
