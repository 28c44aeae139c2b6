"""The user's own billing data, such as prices, invoices, budgets and rates, from CSV files or tables, checked and loaded."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dlt
from dlt.sources import DltResource

from .budgets import check_budgets
from .checks import check_tables, price_of_one_unit
from .columns import TABLES
from .errors import InvalidBillingFiles, RowError
from .metrics import check_metrics
from .names import KnownAccounts, KnownDimensions, check_names
from .owners import check_owners
from .rates import LoadedRates, check_rates, configured_reporting_currency, require_currency
from .reader import ReadTable, is_path_or_table, read_tables, table_reader
from .resource import billing_resource
from .rows import Row

__all__ = [
    "TABLES",
    "InvalidBillingFiles",
    "KnownAccounts",
    "KnownDimensions",
    "ReadTable",
    "RowError",
    "billing_source",
    "configured_reporting_currency",
    "is_path_or_table",
    "table_reader",
    "write_templates",
]

TEMPLATES = Path(__file__).parent / "templates"
"""One example file per table; each is valid."""


@dlt.source(section="billing")
def billing_source(
    accounts: str | None = None,
    skus: str | None = None,
    prices: str | None = None,
    credit_prices: str | None = None,
    credit_grants: str | None = None,
    fees: str | None = None,
    invoices: str | None = None,
    invoice_lines: str | None = None,
    owners: str | None = None,
    budgets: str | None = None,
    fx_rates: str | None = None,
    business_metrics: str | None = None,
    reporting_currency: str | None = None,
    known_skus: Mapping[str, str] | None = None,
    known_accounts: KnownAccounts | None = None,
    known_dimensions: KnownDimensions | None = None,
    loaded_rates: LoadedRates | None = None,
    read_table: ReadTable | None = None,
) -> Iterator[DltResource]:
    """One table per setting, with exactly the rows of its file. Every table is read and checked before any is loaded.

    An unchanged row stays as it is. A changed or removed row moves to `<table>__history`.

    A setting is a path that ends in `.csv`, or `schema.table` of an existing table; the README describes the columns.
    A table that is not configured is loaded empty, so that data removed from the configuration disappears.

    Args:
        accounts: which billing account pays for each account, on which calendar, on which plan.
        skus: meters and the SKUs that they are charged as, which take precedence over the built-in mapping.
        prices: negotiated prices, which take precedence over the public price list.
        credit_prices: the price of a credit beyond all grants.
        credit_grants: credits that are included, promotional or purchased.
        fees: plan fees, one-time fees and minimums.
        invoices: the vendors' invoices.
        invoice_lines: the lines of those invoices.
        owners: the teams and cost centres that pay inside, by account, or by values of a dimension.
        budgets: what a month may cost: in total, by provider, account, owner or value of a dimension.
        fx_rates: the value of one unit of each currency in the reporting currency.
        business_metrics: quantities of your business, such as documents, that the cost is divided by.
        reporting_currency: ISO 4217 code of the currency that the rates convert into; they are stored with it.
        known_skus: the unit of each built-in SKU; None checks only that a SKU begins with its provider.
        known_accounts: by provider, the accounts that are configured or were loaded before; None checks no account.
        known_dimensions: by provider, the dimensions of `usage_by_dimension`; None checks no dimension.
        loaded_rates: the rates that were loaded before, with their reporting currency; None checks no rate against them.
        read_table: reads an existing table (`table_reader(pipeline)`); required if a setting names one.

    Raises:
        InvalidBillingFiles: a file or table cannot be read, or contains errors; lists all of them.
        ConfigurationError: `reporting_currency` is not a currency code.
    """
    settings = {
        "accounts": accounts,
        "skus": skus,
        "prices": prices,
        "credit_prices": credit_prices,
        "credit_grants": credit_grants,
        "fees": fees,
        "invoices": invoices,
        "invoice_lines": invoice_lines,
        "owners": owners,
        "budgets": budgets,
        "fx_rates": fx_rates,
        "business_metrics": business_metrics,
    }
    currency = require_currency(reporting_currency)
    # All checks precede the first `yield`, so that a source with errors loads nothing.
    configured = {name: setting for name, setting in settings.items() if setting}
    tables, errors = read_tables(configured, read_table)
    unreadable = configured.keys() - tables.keys()
    errors += check_tables(tables, unreadable, known_skus)
    errors += check_names(tables, unreadable, known_accounts or {})
    errors += check_owners(tables.get("owners", ()), known_accounts or {}, known_dimensions or {})
    owner_rows = None if "owners" in unreadable else tables.get("owners", ())
    errors += check_budgets(tables.get("budgets", ()), owner_rows, known_accounts or {}, known_dimensions or {})
    errors += check_rates(tables.get("fx_rates", ()), currency, loaded_rates or {})
    errors += check_metrics(tables.get("business_metrics", ()), owner_rows, known_accounts or {})
    if errors:
        order = list(TABLES)
        raise InvalidBillingFiles(sorted(errors, key=lambda error: (order.index(error.table), error.row or 0)))
    for name in TABLES:
        yield billing_resource(name, [_loaded_row(row, currency) for row in tables.get(name, ())])


def write_templates(folder: Path) -> list[tuple[Path, bool]]:
    """Writes an example CSV per table into `folder` and keeps existing files; returns each file, and whether it is new."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in TABLES:
        file = folder / f"{name}.csv"
        is_new = not file.exists()
        if is_new:
            file.write_bytes((TEMPLATES / file.name).read_bytes())
        written.append((file, is_new))
    return written


def unchanged_templates(configured: Mapping[str, str]) -> list[str]:
    """The tables whose configured file is still the example that `write_templates` wrote."""
    return [
        table
        for table, source in configured.items()
        if Path(source).is_file() and Path(source).read_bytes() == (TEMPLATES / f"{table}.csv").read_bytes()
    ]


def _loaded_row(row: Row, reporting_currency: str | None) -> dict[str, object]:
    """The row with its origin. The price of several units becomes the price of one, as the models expect."""
    computed: dict[str, object] = {}
    if row.table == "prices":
        computed["unit_price"] = price_of_one_unit(row)[0]
    if row.table == "fx_rates":
        computed["reporting_currency"] = reporting_currency
    return {**row.values, **computed, "source": row.source, "row_number": row.number}
