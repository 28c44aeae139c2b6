"""The reporting currency, and the check of the exchange rates into it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt

from meterhouse.sources._core.errors import ConfigurationError

from .currencies import CURRENCIES
from .errors import RowError
from .rows import Row

SETTING = "reporting_currency"

LoadedRates = Mapping[tuple[Any, Any], tuple[Any, str]]
"""Each loaded rate (Decimal) and its reporting currency, by its currency (str) and date."""


def configured_reporting_currency() -> str | None:
    """The setting `sources.billing.reporting_currency`; None if it is not set.

    Raises:
        ConfigurationError: it is not a currency code.
    """
    return require_currency(dlt.config.get(f"sources.billing.{SETTING}"))


def require_currency(setting: object) -> str | None:
    """The setting as a currency code; None if it is not set.

    Raises:
        ConfigurationError: it is not a currency code. The message does not show it, because it may be a misplaced key.
    """
    if setting in (None, ""):
        return None
    if setting not in CURRENCIES:
        raise ConfigurationError(
            f"sources.billing.{SETTING} is not an ISO 4217 currency code", hint="Write it like USD or EUR."
        )
    return str(setting)


def check_rates(rates: Sequence[Row], reporting_currency: str | None, loaded: LoadedRates) -> Iterator[RowError]:
    """All errors beyond single cells and keys.

    A rate of the reporting currency itself is 1. The file does not say which currency it converts into, so the rates of an
    earlier reporting currency are refused.
    """
    for row in rates:
        if reporting_currency and row.values.get("currency") == reporting_currency and row.values.get("rate") != 1:
            reason = f"{row.texts['rate']} is not 1, the only rate of the reporting currency {reporting_currency}"
            yield row.error("rate", f"{reason}; delete the row, or correct the currency or {SETTING}")
    again = [(row, *loaded[key]) for row in rates if (key := (row.values.get("currency"), row.values.get("date"))) in loaded]
    # A file that has the same dates, perhaps with new ones below, and no other rate.
    if (
        reporting_currency
        and again
        and all(row.values.get("rate") == rate and other != reporting_currency for row, rate, other in again)
    ):
        row, _, other = again[0]
        yield row.error("rate", f"the rates are still those into {other}; write the rates into {reporting_currency}")
