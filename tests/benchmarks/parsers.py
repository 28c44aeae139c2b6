# ruff: noqa: T201 - a command line
"""Ways to turn the bytes of a page into a typed Arrow table, and the time of each: see README.md.

`python -m tests.benchmarks.parsers` times pages of 1,000 Scopix events. Every way results in the same table, or the
difference is printed; orjson takes part if it is installed.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from random import Random
from uuid import UUID

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.json

from meterhouse.sources._core.http import decoding as http
from meterhouse.sources.scopix.tables import USAGE_EVENTS
from tests.benchmarks.workloads import FIRST_DAY

ROWS, TIMES = 1000, 40
FIELDS = [column for column in USAGE_EVENTS.columns if column.field and column.name not in {"provider", "model"}]
SCHEMA = pa.schema([(column.name, column.type) for column in FIELDS])
READ_AS = {"timestamp": pa.string(), "response_time_ms": pa.string()}
"""The schema for readers that parse decimals as floats and timestamps by rules of their own."""


def page() -> bytes:
    """A response of `GET /api/v2/usage/details`, compact like the vendor's examples."""
    chance = Random(7)  # noqa: S311 - repeatable, not secret
    events = [
        {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "timestamp": f"{FIRST_DAY + timedelta(seconds=row):%Y-%m-%dT%H:%M:%S}.000000Z",
            "operation_type": "describe",
            "endpoint": "/api/v2/user-files/upload",
            "method": "POST",
            "status_code": 200,
            "response_time_ms": chance.randrange(80, 4_000),
            "error_code": None,
            "api_key_id": str(UUID(int=chance.getrandbits(128), version=4)),
        }
        for row in range(ROWS)
    ]
    return json.dumps({"events": events}, separators=(",", ":")).encode()


def ours(body: bytes) -> pa.Table:
    """msgspec with decimals from the text, duplicate keys refused, and then the type of each value checked by column."""
    return USAGE_EVENTS.rows(http.decode_json(body)["events"])


def standard_library(body: bytes) -> pa.Table:
    """`json` instead of msgspec, without a check for duplicate keys."""
    return USAGE_EVENTS.rows(json.loads(body, parse_float=Decimal)["events"])


def with_orjson(body: bytes) -> pa.Table:
    """orjson instead: it parses a number with a point as a float, so that the text is lost."""
    import orjson

    return USAGE_EVENTS.rows(orjson.loads(body)["events"])


TEXTS = {"status_code": int | None, "response_time_ms": int | None}
EVENT = msgspec.defstruct("Event", [(column.name, TEXTS.get(column.name, str | None), None) for column in FIELDS])
STRUCTS = msgspec.json.Decoder(msgspec.defstruct("Page", [("events", list[EVENT])]))  # type: ignore[valid-type]


def structs(body: bytes) -> pa.Table:
    """msgspec's typed structs: wrong types are refused while parsing; unknown fields and duplicate keys pass unnoticed."""
    columns = zip(*map(msgspec.structs.astuple, STRUCTS.decode(body).events), strict=True)  # type: ignore[attr-defined]
    return pa.table([pa.array(values).cast(kind) for values, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA)


def arrow_reader(body: bytes) -> pa.Table:
    """pyarrow.json with an explicit schema: the array must be cut out and split into lines first."""
    lines = body.removeprefix(b'{"events":[').removesuffix(b"]}").replace(b"},{", b"}\n{")
    explicit = pa.schema([(field.name, pa.int64() if field.name == "response_time_ms" else field.type) for field in SCHEMA])
    options = pyarrow.json.ParseOptions(explicit_schema=explicit.set(1, pa.field("timestamp", pa.string())))
    return pyarrow.json.read_json(io.BytesIO(lines), parse_options=options).select(SCHEMA.names).cast(SCHEMA)


def duckdb_reader(body: bytes) -> pa.Table:
    """DuckDB's `read_json`, which reads files, so that the page is written to one first."""
    file.write_bytes(body)
    listed = ", ".join(f'"{name}" {"bigint" if name == "status_code" else "varchar"}' for name in SCHEMA.names)
    rows = f"select unnest(events, recursive := true) from read_json('{file}', columns = {{events: 'struct({listed})[]'}})"
    with duckdb.connect() as connection:
        relation = connection.sql(rows)
        assert relation is not None
        return relation.to_arrow_table().cast(SCHEMA)


WAYS: Mapping[str, Callable[[bytes], pa.Table]] = {
    "meterhouse: msgspec, then by column": ours,
    "json, then by column": standard_library,
    "orjson, then by column": with_orjson,
    "msgspec, typed structs": structs,
    "pyarrow.json": arrow_reader,
    "DuckDB read_json": duckdb_reader,
}

file = Path(tempfile.gettempdir()) / "meterhouse-page.json"


def main() -> None:
    """Prints a row for each way: median time of a page, multiple of ours, and whether the table equals ours."""
    body = page()
    wanted = ours(body).select(SCHEMA.names)
    print(f"| a page of {ROWS:,} events, {len(body):,} bytes | ms | of ours | same table |\n| --- | --- | --- | --- |")
    medians: dict[str, float] = {}
    for name, way in WAYS.items():
        if way is with_orjson and find_spec("orjson") is None:
            print("orjson is not installed", file=sys.stderr)
            continue
        seconds = []
        for _ in range(TIMES):
            start = time.perf_counter()
            read = way(body)
            seconds.append(time.perf_counter() - start)
        medians[name] = statistics.median(seconds) * 1000
        same = "yes" if read.select(SCHEMA.names).equals(wanted) else "no"
        print(f"| {name} | {medians[name]:.2f} | {medians[name] / medians[next(iter(WAYS))]:.1f}× | {same} |")  # noqa: RUF001
    file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
