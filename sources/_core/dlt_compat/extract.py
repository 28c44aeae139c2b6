"""Extraction: the running pipeline's destination and schema, the thread pool, and the hints on items."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.pipeline import current_pipeline
from dlt.extract.utils import wrap_parallel_iterator


def active_destination() -> Any | None:
    """The destination of the running pipeline; None outside of one.

    `dlt.current.pipeline()` is public, but creates a pipeline where none runs.
    """
    return getattr(current_pipeline(), "destination", None)


def merge_strategies_of(destination: Any, resource: str) -> Sequence[str]:
    """The merge strategies that `destination` has for the table of `resource`, which the running pipeline extracts.

    The format of the table decides. dlt asks for the strategies when it loads, and appends the rows if there are none.
    """
    capabilities = destination.capabilities()
    strategies: Sequence[str] = capabilities.supported_merge_strategies or ()
    if capabilities.merge_strategies_selector is None:
        return strategies
    table = dlt.current.source().resources[resource].compute_table_schema()
    table.setdefault("table_format", capabilities.preferred_table_format)
    return cast("Sequence[str]", capabilities.merge_strategies_selector(strategies, table_schema=table))


def declared_columns(table: str) -> frozenset[str]:
    """The columns that dlt's schema has for a table of the source that is being extracted; empty without the table."""
    schema = dlt.current.source().schema
    found = schema.tables.get(schema.naming.normalize_tables_path(table), {})
    return frozenset(found.get("columns", ()))


def normalized_columns(names: Iterable[str]) -> frozenset[str]:
    """The names that dlt gives to columns of the source that is being extracted: `vendor_`, for one, becomes `vendorx`."""
    naming = dlt.current.source().schema.naming
    return frozenset(map(naming.normalize_path, names))


class _ClosableSteps:
    """A generator whose `close` ignores a step that is still running in another thread."""

    def __init__(self, steps: Generator[Any, None, None]) -> None:
        self._steps = steps

    def __iter__(self) -> "_ClosableSteps":
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    def close(self) -> None:
        with suppress(ValueError):  # "generator already executing"
            self._steps.close()


def in_thread_pool(steps: Generator[Any, None, None]) -> Iterator[Any]:
    """Runs each step of a generator in a thread of dlt's pool, one after the other, while other resources have their turns.

    It works like dlt's `parallelized=True`, with two differences. A resource can use it for only some of its steps: the
    estimates must come before the first request of any table, and the write disposition after the last. And dlt closes the
    generators when a resource fails: with `parallelized=True`, a step that is still running then raises "generator already
    executing", which hides the failure.
    """
    iterator: Iterator[Any] = wrap_parallel_iterator(cast("Any", _ClosableSteps(steps)))
    return iterator


NEXT_RESOURCE: None = None
"""The item by which a resource passes its turn to the next one: dlt neither stores it nor ends the resource."""


def with_write_disposition(empty: pa.Table, disposition: Any) -> Any:
    """The last item of a resource: sets the write disposition of all rows that the resource has yielded.

    dlt documents hints on an item, but not that the hint on the last item applies to the whole load.
    """
    return dlt.mark.with_hints(empty, dlt.mark.make_hints(write_disposition=disposition))


def into_table(rows: pa.Table, name: str) -> Iterator[Any]:
    """Appends `rows` to the table `name`, which several resources of a source share.

    dlt's schema records for each table the resource that wrote to it last. If several resources share a table, that depends
    on timing, and dlt stores every changed schema in the destination again. So each write is followed by setting the
    resource to the first one of the source by name. dlt needs a resource of the source there, because it adds up the
    metrics of each resource by its tables.
    """
    yield dlt.mark.with_hints(
        rows,
        dlt.mark.make_hints(table_name=name, write_disposition="append", primary_key=[]),
        create_table_variant=True,
    )
    source = dlt.current.source()
    table = source.schema.tables.get(source.schema.naming.normalize_table_identifier(name))
    if table is not None:  # a schema contract may discard the table
        table["resource"] = min(source.resources)
