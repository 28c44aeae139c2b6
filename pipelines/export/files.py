"""Writes the FOCUS marts of a destination into one Parquet or CSV file, or into one for each billing period."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from meterhouse.pipelines.export.focus import UNUSED_COLUMNS, Dataset, Format, Version
from meterhouse.pipelines.export.spreadsheet import escape_formula
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.files import replacing, require_not_stdout, require_replaceable
from meterhouse.sources._core.errors import ConfigurationError

CHUNK = 20_000
"""Rows in memory at a time, and in a row group of a Parquet file."""

PERIOD = "BillingPeriodStart"
LARGEST_UTC_OFFSET = timedelta(hours=14)
"""Added to the local midnight at which a billing period starts, it gives a time of the same month in UTC."""

Write = Callable[[Path, pa.Schema, Iterable[pa.Table]], int]


def export_focus(
    destination: Destination,
    file: Path,
    *,
    version: Version,
    dataset: Dataset,
    file_format: Format | None,
    all_columns: bool = False,
    partitioned: bool = False,
) -> int:
    """Writes a FOCUS dataset and returns its number of rows. `file` is replaced once the new content is complete.

    With `all_columns`, the file has every column of the version; those without values are null. With `partitioned`, `file`
    is a folder, with a file for each billing period (`billing_period=2026-03/cost-and-usage.parquet`).

    Raises:
        ConfigurationError: the version has no such dataset, `file` cannot be a file or folder, or its ending does not show
            the format.
        LoadError: the destination has no such view or cannot be read, or the file cannot be written.
    """
    if version is Version.V1_2 and dataset is not Dataset.COST_AND_USAGE:
        raise ConfigurationError(f"FOCUS 1.2 has no dataset {dataset}", hint="Use --version 1.4.")
    file_format = file_format or (Format.PARQUET if partitioned else _format_of(file))
    write = _write_csv if file_format is Format.CSV else _write_parquet
    if partitioned:
        _require_folder(file)
    else:
        require_replaceable(file, destination.file)
    mart = f"usage.focus_{version}_{dataset}".replace("1.", "1_").replace("-", "_")
    order = f' order by "{PERIOD}"' if partitioned else ""
    sql = f"select * from {mart}{order}"  # noqa: S608 - the name of one of our marts
    with destination.reader() as reader, reader.tables(sql, _type_of, chunk=CHUNK) as (schema, tables):
        if all_columns:
            schema, tables = _with_nulls(schema, tables, UNUSED_COLUMNS[version, dataset])
        if partitioned:
            return _write_partitions(file, f"{dataset}.{file_format}", write, schema, tables)
        with replacing(file) as unfinished:
            return write(unfinished, schema, tables)


def _require_folder(folder: Path) -> None:
    require_not_stdout(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be a folder ({error.strerror})", hint="Name a new folder, or one of an earlier export."
        ) from None


def _write_partitions(folder: Path, name: str, write: Write, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Writes a file for each billing period, and removes those of periods that have no rows any more.

    The files replace the earlier ones once all of them are complete. The tables are in the order of their periods.
    """
    rows, written = 0, set()
    try:
        with ExitStack() as unfinished:
            for period, partitions in groupby(_partitions(tables), key=itemgetter(0)):
                (folder / period).mkdir(exist_ok=True)
                file = unfinished.enter_context(replacing(folder / period / name))
                rows += write(file, schema, (table for _, table in partitions))
                written.add(period)
        for file in folder.glob(f"billing_period=*/{name}"):
            if file.parent.name not in written:
                file.unlink()
    except OSError as error:
        raise LoadError(f"{folder} cannot be written ({error.strerror})") from None
    finally:
        for emptied in folder.glob("billing_period=*"):
            with suppress(OSError):  # it has a file
                emptied.rmdir()
    return rows


def _partitions(tables: Iterable[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each billing period, with the name of its folder."""
    for table in tables:
        starts = table.column(PERIOD)
        for start in starts.unique():
            yield f"billing_period={start.as_py() + LARGEST_UTC_OFFSET:%Y-%m}", table.filter(pc.equal(starts, start))


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
    """Adds columns of nulls to the tables. The order is that of the marts: by name, custom columns last."""
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
