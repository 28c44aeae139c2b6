"""The user's own money facts: prices, credits, fees and invoices, from CSV files or tables that exist already."""

from collections.abc import Collection, Iterator
from pathlib import Path

import dlt
import pyarrow as pa
from dlt.sources import DltResource

from meterhouse.sources._core.schema import TIMESTAMP, arrow_schema
from meterhouse.sources._core.windows import utc_now

from .checks import check
from .columns import TABLES, Fault, Faults, Row
from .reader import ReadTable, read, table_reader

__all__ = ["TABLES", "Fault", "Faults", "ReadTable", "billing_source", "table_reader", "write_templates"]

TEMPLATES = Path(__file__).parent / "templates"
"""One example file a table, valid as it is."""

METADATA = [
    pa.field("source", pa.string(), nullable=False),
    pa.field("row_number", pa.int64(), nullable=False),
    pa.field("loaded_at", TIMESTAMP, nullable=False),
]


@dlt.source(section="billing")
def billing_source(
    accounts: str | None = None,
    prices: str | None = None,
    credit_prices: str | None = None,
    credit_grants: str | None = None,
    fees: str | None = None,
    invoices: str | None = None,
    invoice_lines: str | None = None,
    known_skus: Collection[str] | None = None,
    read_table: ReadTable | None = None,
) -> Iterator[DltResource]:
    """One table a setting, replaced whole; all of them are read and checked before any is loaded.

    Each setting is a path that ends in `.csv`, or `schema.table` of a table that exists; see the README for the columns.
    A table that is not configured is loaded empty, so that facts that were taken away are gone.

    Args:
        accounts: who pays for which account, on which calendar, under which plan.
        prices: negotiated prices, which go before the public price list.
        credit_prices: what a credit costs that no grant covers.
        credit_grants: credits that were included, given or bought.
        fees: plan fees, one-time fees and minimums.
        invoices: what the vendors have billed.
        invoice_lines: their lines.
        known_skus: the SKUs that usage can have; where left out, a SKU has only to begin with its provider.
        read_table: reads an existing table (`table_reader(pipeline)`); needed where a setting names one.

    Raises:
        Faults: anything that is configured cannot be read or is wrong; it lists all that is.
    """
    settings = {
        "accounts": accounts,
        "prices": prices,
        "credit_prices": credit_prices,
        "credit_grants": credit_grants,
        "fees": fees,
        "invoices": invoices,
        "invoice_lines": invoice_lines,
    }
    # No `yield` before this: a source that fails here has given dlt nothing to load.
    configured = {name: setting for name, setting in settings.items() if setting}
    tables, faults = read(configured, read_table)
    faults += check(tables, configured.keys() - tables.keys(), known_skus)
    if faults:
        raise Faults(faults)
    loaded_at = utc_now()
    for name, table in TABLES.items():
        schema = pa.schema([*arrow_schema(table.columns), *METADATA])
        rows = [_stored(row) | {"loaded_at": loaded_at} for row in tables.get(name, ())]
        yield dlt.resource([pa.Table.from_pylist(rows, schema)], name=name, write_disposition="replace")


def write_templates(folder: Path) -> list[tuple[Path, bool]]:
    """Writes an example CSV of each table into `folder`; whether each is new. A file that is there stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in TABLES:
        file = folder / f"{name}.csv"
        is_new = not file.exists()
        if is_new:
            file.write_bytes((TEMPLATES / file.name).read_bytes())
        written.append((file, is_new))
    return written


def _stored(row: Row) -> dict[str, object]:
    return {**row.values, "source": row.source, "row_number": row.number}
