"""Writes the FOCUS views of a destination into one Parquet or CSV file."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from meterhouse.pipelines.export.focus import UNUSED_COLUMNS, Dataset, Format, Version
from meterhouse.pipelines.export.spreadsheet import escape_formula
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.files import replacing, require_replaceable
from meterhouse.sources._core.errors import ConfigurationError

CHUNK = 20_000
"""Rows in memory at a time, and in a row group of a Parquet file."""


def export_focus(
    destination: Destination,
    file: Path,
    *,
    version: Version,
    dataset: Dataset,
    file_format: Format | None,
    all_columns: bool = False,
) -> int:
    """Writes a FOCUS dataset and returns its number of rows. `file` is replaced once the new content is complete.

    With `all_columns`, the file has every column of the version; those without values are null.

    Raises:
        ConfigurationError: the version has no such dataset, `file` cannot be a file, or its ending does not show the format.
        LoadError: the destination has no such view or cannot be read, or the file cannot be written.
    """
    if version is Version.V1_2 and dataset is not Dataset.COST_AND_USAGE:
        raise ConfigurationError(f"FOCUS 1.2 has no dataset {dataset}", hint="Use --version 1.4.")
    write = _write_csv if (file_format or _format_of(file)) is Format.CSV else _write_parquet
    require_replaceable(file, destination.file)
    view = f"usage.focus_{version}_{dataset}".replace("1.", "1_").replace("-", "_")
    sql = f"select * from {view}"  # noqa: S608 - the name of one of our views
    with (
        destination.reader() as reader,
        reader.tables(sql, _type_of, chunk=CHUNK) as (schema, tables),
        replacing(file) as unfinished,
    ):
        if all_columns:
            schema, tables = _with_nulls(schema, tables, UNUSED_COLUMNS[version, dataset])
        return write(unfinished, schema, tables)


def _format_of(file: Path) -> Format:
    try:
        return Format(file.suffix.lower().removeprefix("."))
    except ValueError:
        raise ConfigurationError(
            f"the ending of {file.name} is neither .parquet nor .csv", hint="Change it, or use --format."
        ) from None


def _type_of(column: str) -> pa.DataType:
    """The type that FOCUS gives a column of this name, so that every destination yields the same file."""
    if column.endswith(("Cost", "UnitPrice", "Quantity")):
        return pa.decimal128(28, 9)
    if column.endswith(("Start", "End", "Created", "LastUpdated", "Date")):
        return pa.timestamp("us", tz="UTC")
    return pa.bool_() if column.startswith("x_Is") else pa.string()


def _with_nulls(
    schema: pa.Schema, tables: Iterable[pa.Table], missing: Sequence[str]
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Adds columns of nulls to the tables. The order is that of the views: by name, custom columns last."""
    names = sorted([*schema.names, *missing], key=lambda name: (name.startswith("x_"), name))
    wider = pa.schema([(name, _type_of(name)) for name in names])

    def widened(table: pa.Table) -> pa.Table:
        nulls = {name: pa.nulls(table.num_rows, _type_of(name)) for name in missing}
        return pa.table([nulls[name] if name in nulls else table.column(name) for name in names], schema=wider)

    return wider, map(widened, tables)


def _write_parquet(file: Path, schema: pa.Schema, chunks: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for chunk in chunks:
            writer.write_table(chunk)
            rows += chunk.num_rows
    return rows


def _write_csv(file: Path, schema: pa.Schema, chunks: Iterable[pa.Table]) -> int:
    """RFC 4180: lines end in CR LF, quotes only where they are needed. Null is empty."""
    rows = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(schema.names)
        for chunk in chunks:
            writer.writerows(zip(*map(_as_texts, chunk.columns), strict=True))
            rows += chunk.num_rows
    return rows


def _as_texts(column: pa.ChunkedArray) -> Sequence[str | None]:
    # Most columns repeat a few values: format each value once.
    encoded = column.combine_chunks().dictionary_encode()
    texts = pa.array(map(_as_text, encoded.dictionary.to_pylist()), pa.string())
    values: Sequence[str | None] = texts.take(encoded.indices).to_pylist()
    return values


def _as_text(value: Any) -> str | None:
    match value:
        case Decimal():
            return f"{value:f}"  # str() would write 0E-9
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
        case bool():
            return "true" if value else "false"
        case _:
            return None if value is None else escape_formula(value, str(value))
