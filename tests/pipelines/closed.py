"""A file of closed periods, and its way into a destination and back: what the tests of DuckDB and PostgreSQL share."""

import csv
from pathlib import Path

from meterhouse.pipelines.export.closed import COLUMNS, END
from tests.conftest import Cli


def write(rows: list[dict[str, str]]) -> None:
    with Path("closed.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
        stream.write(f"{END},{len(rows)}\n")


PERIOD = {
    "provider": "mathpix", "account": "default", "meter": "", "timespan": "period", "bucket_start": "2026-01-01T00:00:00Z",
    "bucket_end": "2026-02-01T00:00:00Z", "period_start": "2026-01-01", "period_end": "2026-02-01", "quantity": "0",
    "event": "closed", "closed_at": "2026-02-03T06:00:00.123456Z", "invoice_id": "MP-1",
}  # fmt: skip
USAGE = PERIOD | {
    "meter": "image", "timespan": "hour", "bucket_end": "2026-01-01T01:00:00Z", "period_start": "", "period_end": "",
    "quantity": "1234567890123456789.123456789",
}  # fmt: skip


def comes_back(cli: Cli, *options: str) -> None:
    """Imports two rows, twice, exports them, and imports a longer history and then a shorter one."""
    write([PERIOD, USAGE])
    assert "2 rows imported" in cli("import", "closed", "closed.csv", *options)
    assert "0 rows imported" in cli("import", "closed", "closed.csv", *options)
    cli("export", "closed", "again.csv", *options)
    with Path("again.csv").open(newline="") as stream:
        *rows, end = csv.DictReader(stream)
    assert rows == [PERIOD | {"quantity": "0.000000000"}, USAGE]
    assert list(end.values())[:2] == [END, "2"]
    later = {"event": "reopened", "closed_at": "2026-02-09T12:00:00+02:00", "invoice_id": ""}
    write([USAGE, PERIOD, PERIOD | later])
    assert "1 rows imported" in cli("import", "closed", "closed.csv", *options)
    assert "0 rows imported" in cli("import", "closed", "again.csv", *options)
