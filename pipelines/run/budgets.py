"""The budgets of `[alerts.budgets]`: what a month may cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import dlt

from meterhouse.sources._core.config.parse import is_json, parse_json
from meterhouse.sources._core.config.secrets import looks_like_key
from meterhouse.sources._core.config.unknown_settings import require_known, require_known_fields
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.registry import PROVIDERS

SECTION = "alerts"
AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Z]{3})")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a month may cost: one account, a provider (no account), or everything (neither)."""

    provider: str
    account: str
    amount: Decimal
    currency: str

    @property
    def name(self) -> str:
        """The budget's name in the configuration."""
        return "/".join(part for part in (self.provider, self.account) if part) or "total"

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether a cost counts towards the budget."""
        return (
            self.currency == row["currency"]
            and self.provider in {"", row["provider"]}
            and self.account in {"", row["account"]}
        )


def configured_budgets() -> tuple[Budget, ...]:
    """The budgets in the configuration files and in the environment, where each budget has its own variable.

    Raises:
        ConfigurationError: a budget has an unknown name, or its value is not an amount and a currency.
    """
    section = f"{SECTION}.budgets"
    configured: Any = dlt.config.get(section)
    table: Any = configured or {}
    if isinstance(table, str) and is_json(table):
        table = parse_json(table, setting=section)
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{section} is not a table", hint='Write it as total = "500 USD" below [alerts.budgets].')
    require_known_fields(section, (name.partition("/")[0] for name in table), ("total", *PROVIDERS))
    require_known(section, {*table, "total", *PROVIDERS})
    variables: dict[str, Any] = {name: dlt.config.get(f"{section}.{name}") for name in ("total", *PROVIDERS)}
    budgets = {**table, **{name: value for name, value in variables.items() if value}}
    return tuple(_budget(name, str(value)) for name, value in budgets.items())


def _budget(name: str, value: str) -> Budget:
    if looks_like_key(name):  # an alert shows it
        raise ConfigurationError(
            f"a name in {SECTION}.budgets looks like a key", hint="Use total, a provider, or provider/account."
        )
    match = AMOUNT.fullmatch(value.strip())
    if match is None:
        raise ConfigurationError(f"{SECTION}.budgets.{name} is not an amount and a currency", hint="Write it as '500 USD'.")
    provider, _, account = name.partition("/")
    return Budget("" if provider == "total" else provider, account, Decimal(match[1]), match[2])
