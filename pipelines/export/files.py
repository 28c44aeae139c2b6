"""Writes the FOCUS views of a destination into one file: Parquet or CSV."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation, DestinationConnectionError

from meterhouse.pipelines.export.focus import Dataset, Format, Version
from meterhouse.pipelines.warehouse.destination import Destination, LoadError, describe_error
from meterhouse.pipelines.warehouse.query import escape_formula, not_built
from meterhouse.sources._core.errors import ConfigurationError

CHUNK = 20_000
"""Rows that are held at a time, and the row group of a Parquet file."""


def export_focus(
    destination: Destination, file: Path, *, version: Version, dataset: Dataset, file_format: Format | None
) -> int:
    """Writes a FOCUS dataset to `file`, which is replaced when it is whole, and returns its number of rows.

    Raises:
        ConfigurationError: the version has no such dataset, the file cannot be one, or its name tells no format.
        LoadError: the destination has no such view or cannot be read, or the file cannot be written.
    """
    if version is Version.V1_2 and dataset is not Dataset.COST_AND_USAGE:
        raise ConfigurationError(f"FOCUS 1.2 has no dataset {dataset}", hint="Take --version 1.4.")
    write = _write_csv if (file_format or _format_of(file)) is Format.CSV else _write_parquet
    if (file.exists() and not file.is_file()) or not file.absolute().parent.is_dir():
        raise ConfigurationError(f"{file} cannot be written", hint="Name a file in a folder that exists.")
    view = f"usage.focus_{version}_{dataset}".replace("1.", "1_").replace("-", "_")
    try:
        with _reading(destination, f"select * from {view}") as (names, chunks), _replacing(file) as unfinished:  # noqa: S608
            schema = pa.schema([(name, _type_of(name)) for name in names])
            return write(unfinished, schema, chunks(schema))
    except (duckdb.CatalogException, DatabaseUndefinedRelation):
        raise not_built(f"{destination.location} has no {view}") from None
    except (duckdb.Error, DatabaseException, DestinationConnectionError) as error:
        raise LoadError(describe_error(error, destination)) from None
    except OSError as error:
        raise LoadError(f"{file} cannot be written ({error.strerror or error})") from None


def _format_of(file: Path) -> Format:
    try:
        return Format(file.suffix.lower().removeprefix("."))
    except ValueError:
        raise ConfigurationError(
            f"the name {file.name} tells no format", hint="End it in .parquet or .csv, or take --format."
        ) from None


def _type_of(column: str) -> pa.DataType:
    """By its name, as FOCUS has it, so that a file has the same types whatever it was read from."""
    if column.endswith(("Cost", "UnitPrice", "Quantity")):
        return pa.decimal128(28, 9)
    if column.endswith(("Start", "End", "Created", "LastUpdated", "Date")):
        return pa.timestamp("us", tz="UTC")
    return pa.bool_() if column.startswith("x_Is") else pa.string()


Chunks = Callable[[pa.Schema], Iterator[pa.Table]]


@contextmanager
def _reading(destination: Destination, query: str) -> Iterator[tuple[Sequence[str], Chunks]]:
    """The columns of what a query answers, and the way to its rows in chunks."""
    if destination.type == "duckdb":
        if not Path(destination.location).exists():
            raise not_built(f"there is no database {destination.location}")
        # For reading only, so that it can be done while others read, and makes no file where there is none.
        with duckdb.connect(destination.location, read_only=True) as connection:
            relation = connection.sql(query)
            older = "fetch_arrow_reader"  # what DuckDB 1.4 calls it
            read = getattr(relation, "to_arrow_reader" if hasattr(relation, "to_arrow_reader") else older)
            # Closed before the connection: DuckDB would wait for it forever when the process next opens the file.
            with read(CHUNK) as reader:
                yield reader.schema.names, lambda schema: (pa.Table.from_batches([batch]).cast(schema) for batch in reader)
    else:
        with destination.pipeline("usage").sql_client() as client, client.execute_query(query) as cursor:
            names = [column[0] for column in cursor.description]
            yield names, lambda schema: _from_rows(iter(lambda: cursor.fetchmany(CHUNK), []), schema)


def _from_rows(pages: Iterable[Sequence[Sequence[Any]]], schema: pa.Schema) -> Iterator[pa.Table]:
    for page in pages:
        columns = zip(*page, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=schema)


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """A file beside `file` that takes its place when the block has ended well, and else is not left behind."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_parquet(file: Path, schema: pa.Schema, chunks: Iterable[pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for chunk in chunks:
            writer.write_table(chunk)
            rows += chunk.num_rows
    return rows


def _write_csv(file: Path, schema: pa.Schema, chunks: Iterable[pa.Table]) -> int:
    """As RFC 4180 has it: lines end in CR LF, and quotes stand where they must. Null is empty."""
    rows = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(schema.names)
        for chunk in chunks:
            writer.writerows(zip(*map(_as_texts, chunk.columns), strict=True))
            rows += chunk.num_rows
    return rows


def _as_texts(column: pa.ChunkedArray) -> Sequence[str | None]:
    # Most columns repeat a few values: each is put into words once.
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
