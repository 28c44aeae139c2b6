"""Loads the user's own billing data."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from threading import Lock
from typing import Any

import dlt
from dlt.sources import DltSource

from meterhouse.pipelines.run.events import BillingLoaded, LoadFailed
from meterhouse.pipelines.run.load import as_load_error, load_one
from meterhouse.pipelines.run.open import BILLING
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.transform.dimensions import known_dimensions
from meterhouse.pipelines.transform.skus import known_skus
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError, NotBuilt, describe_error
from meterhouse.sources._core.config.accounts import DEFAULT, named_accounts
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.events import Place
from meterhouse.sources.billing import (
    TABLES,
    InvalidBillingFiles,
    KnownAccounts,
    RowError,
    billing_source,
    configured_reporting_currency,
    is_path_or_table,
    table_reader,
)
from meterhouse.sources.registry import PROVIDERS


def configured_billing() -> dict[str, str]:
    """The configured tables of [sources.billing]: for each, a path or a `schema.table`.

    Instead of any other value, which may be a misplaced key, it has the setting's name. `billing_source` refuses that, too.
    """
    names = {table: f"sources.{BILLING}.{table}" for table in TABLES}
    settings: dict[str, Any] = {table: dlt.config.get(name) for table, name in names.items()}
    return {
        table: str(setting) if is_path_or_table(str(setting)) else names[table]
        for table, setting in settings.items()
        if setting
    }


def known_accounts(destination: Destination, opened: Collection[str]) -> KnownAccounts:
    """By provider, the accounts that are configured or were loaded; `opened` are the providers that have credentials.

    Raises:
        LoadError: the destination cannot be read.
    """
    known = {provider: set(accounts) for provider, accounts in destination.loaded_accounts(PROVIDERS).items()}
    for provider in PROVIDERS:
        names = named_accounts(provider) or ([DEFAULT] if provider in opened else [])
        known[provider] = known.get(provider, set()) | set(names)
    return {provider: accounts for provider, accounts in known.items() if accounts}


def open_billing(destination: Destination, configured: Mapping[str, str], opened: Collection[str] | None) -> DltSource:
    """The user's billing data, read and checked. See `known_accounts` for `opened`; with None, it may name any account.

    Raises:
        InvalidBillingFiles: the files or tables are wrong.
        LoadError: the destination cannot be read.
    """
    accounts = None if opened is None or not configured else known_accounts(destination, opened)
    return _read(destination, configured, accounts)


def _read(destination: Destination, configured: Mapping[str, str], accounts: KnownAccounts | None) -> DltSource:

    def read_table(name: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if not destination.exists():
            raise LookupError(name)
        return table_reader(destination.pipeline(BILLING))(name)

    currency = configured_reporting_currency()
    source: DltSource = billing_source(
        **configured,
        known_skus=known_skus(),
        known_accounts=accounts,
        known_dimensions=known_dimensions() if {"owners", "budgets"} & configured.keys() else None,
        reporting_currency=currency,
        loaded_rates=_loaded_rates(destination) if currency and "fx_rates" in configured else None,
        read_table=read_table,
    )
    return source


def _loaded_rates(destination: Destination) -> dict[tuple[str, date], tuple[Decimal, str]]:
    """The exchange rates in the destination, each with the reporting currency that it was loaded for."""
    with suppress(NotBuilt), destination.reader() as reader:
        table = reader.table_name(BILLING, "fx_rates")
        _, rows = reader.tuples(f"select currency, date, rate, reporting_currency from {table}")  # noqa: S608 - our table
        return {(currency, day): (rate, reporting) for currency, day, rate, reporting in rows if reporting}
    return {}


def billing_errors(destination: Destination, opened: Collection[str]) -> tuple[RowError, ...]:
    """The errors in the files and tables of [sources.billing]; nothing is loaded. See `known_accounts` for `opened`.

    Raises:
        LoadError: a configured table of the destination cannot be read.
    """
    if configured := configured_billing():
        try:
            open_billing(destination, configured, opened)
        except InvalidBillingFiles as invalid:
            return invalid.errors
        except Exception as error:  # noqa: BLE001 - reading a table of the destination may fail in many ways
            raise LoadError(f"{BILLING}: {describe_error(error, destination.location)}") from None
    return ()


def rows_of_renamed_account(destination: Destination, provider: str, old: str, new: str) -> tuple[RowError, ...]:
    """The rows of the user's billing data that still name `old`, an account that was renamed to `new`.

    Empty if the data cannot be read: the account is already renamed, and the next run reports the error.
    """
    configured = configured_billing()
    try:
        known = dict(known_accounts(destination, ()))
        known[provider] = {*known.get(provider, ()), new} - {old}
        if configured:
            _read(destination, configured, known)
    except InvalidBillingFiles as invalid:
        return tuple(error for error in invalid.errors if error.column in {"account", "billing_account"})
    except Exception:  # noqa: BLE001 - reading a table of the destination may fail in many ways
        return ()
    return ()


def require_billing_configured(destination: Destination, configured: Mapping[str, str]) -> None:
    """Checks that a load would not empty a billing table whose setting is missing, for example in another folder.

    Raises:
        ConfigurationError: a table without a setting has rows.
        LoadError: the tables cannot be read.
    """
    missing = [table for table in TABLES if table not in configured]
    filled = destination.tables_with_rows(BILLING, missing) if missing and destination.exists() else []
    # Without any setting, a run loads no billing data, and the tables that the user's own pipeline loads stay as they are.
    if not filled or (not configured and not _was_loaded(destination)):
        return
    tables = ", ".join(f"{BILLING}.{table}" for table in filled)
    settings = f"{', '.join(filled)} under [sources.{BILLING}]"
    raise ConfigurationError(
        f"{tables} in {destination.location} {'has' if len(filled) == 1 else 'have'} rows, but the configuration lacks"
        f" {settings}",
        hint="Configure the tables in this folder, or empty those without a setting: `meterhouse run --clear-billing`.",
    )


def load_billing(
    destination: Destination,
    state: RunState,
    configured: Mapping[str, str],
    opened: Collection[str] | None = None,
    *,
    clear: bool = False,
) -> None:
    """Replaces the user's billing data with the configured files and tables. If anything is wrong, all old data stays.

    See `open_billing` for `opened`. Without any setting, nothing is loaded; with `clear`, all tables are emptied.
    """
    try:
        if not configured and not (clear and _was_loaded(destination)):
            return
        source = open_billing(destination, configured, opened)
        load_one(destination.restored_pipeline(BILLING), source, destination, Lock(), state.run_id)
        state.observe(BillingLoaded(configured))
    except InvalidBillingFiles as invalid:
        for row_error in invalid.errors:
            error = ConfigurationError(f"{BILLING}: {row_error}", hint="Nothing of billing was loaded.")
            state.observe(LoadFailed(Place(BILLING, table=row_error.table), error))
    except Exception as error:  # noqa: BLE001 - no error here may keep the providers from being loaded
        state.observe(LoadFailed(Place(BILLING), as_load_error(BILLING, error, destination)))


def _was_loaded(destination: Destination) -> bool:
    """Whether a run has loaded billing data into the destination."""
    if not destination.exists():
        return False
    return bool(destination.restored_pipeline(BILLING).schema_names)
