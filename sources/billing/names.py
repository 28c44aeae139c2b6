"""Checks that names in billing tables refer to something: a price of a misspelled billing account would have no effect."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from meterhouse.sources._core.nearest import nearest_name
from meterhouse.sources.registry import PROVIDERS

from .errors import RowError
from .rows import Row

KnownAccounts = Mapping[str, Collection[str]]
"""By provider, the accounts that are configured or were loaded before; no entry if none is known."""

KnownDimensions = Mapping[str, Collection[str]]
"""By provider, the dimensions of its usage."""


def check_names(
    tables: Mapping[str, Sequence[Row]], unreadable: Collection[str], known_accounts: KnownAccounts
) -> Iterator[RowError]:
    """Accounts must be known, billing accounts pay for one of them, and invoice lines name fees and grants that exist."""
    for name, column, section in (("fees", "fee_id", "fee"), ("credit_grants", "grant_id", "credits")):
        if name not in unreadable:
            yield from _check_lines(tables.get("invoice_lines", ()), tables.get(name, ()), column, section)
    for row in tables.get("accounts", ()):
        provider, account = row.text_key("provider", "account")
        known = known_accounts.get(provider, ())
        if known and account and account not in known:
            yield row.error("account", f"{provider} has no account {account!r}; {nearest(account, known)}")
    if "accounts" in unreadable:
        return
    payers = _billing_accounts(tables.get("accounts", ()), known_accounts)
    for name, rows in tables.items():
        if name != "accounts":
            yield from _check_billing_accounts(rows, payers)


def _check_lines(lines: Sequence[Row], rows: Sequence[Row], column: str, section: str) -> Iterator[RowError]:
    """A line with the SKU `provider/section/name` names a row of its billing account, if the account has any."""
    names: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        names.setdefault(row.text_key("provider", "billing_account"), set()).add(row.texts.get(column, ""))
    for line in lines:
        provider, billing_account, sku = line.text_key("provider", "billing_account", "sku_id")
        name = sku.removeprefix(f"{provider}/{section}/")
        known = names.get((provider, billing_account))
        if known and name != sku and name not in known:
            reason = f"{provider} {billing_account} has no {column} {name!r}; {nearest(name, known)}"
            yield line.error("sku_id", reason)


def _billing_accounts(accounts: Sequence[Row], known_accounts: KnownAccounts) -> dict[str, set[str]]:
    """By provider, the billing accounts that pay for an account: those in `accounts`, else the account itself."""
    payers = {row.text_key("provider", "account"): row.texts.get("billing_account", "") for row in accounts}
    return {
        provider: {payers.get((provider, account)) or account for account in known}
        for provider, known in known_accounts.items()
    }


def _check_billing_accounts(rows: Sequence[Row], payers: Mapping[str, set[str]]) -> Iterator[RowError]:
    for row in rows:
        provider, name = row.text_key("provider", "billing_account")
        known = payers.get(provider)
        if known and name and name not in known:
            reason = f"no account of {provider} is billed to {name!r} (see the table accounts); {nearest(name, known)}"
            yield row.error("billing_account", reason)


def check_account(row: Row, known_accounts: KnownAccounts) -> Iterator[RowError]:
    """The account must be one of the provider, or of any provider if that is blank."""
    provider, account = row.text_key("provider", "account")
    providers = [provider] if provider else list(PROVIDERS)
    known = {name for one in providers for name in known_accounts.get(one, ())}
    if known and account and account not in known:
        yield row.error("account", f"{_no(provider)} account {account!r}; {nearest(account, known)}")


def check_dimension(row: Row, known_dimensions: KnownDimensions) -> Iterator[RowError]:
    """The dimension must be one of the provider, or of any provider if that is blank."""
    provider, dimension = row.text_key("provider", "dimension")
    providers = [provider] if provider else list(known_dimensions)
    known = {name for one in providers for name in known_dimensions.get(one, ())}
    if known_dimensions and dimension and dimension not in known:
        reason = f"{_no(provider)} dimension {dimension!r}; {nearest(dimension, known)}"
        yield row.error("dimension", reason)


def _no(provider: str) -> str:
    return f"{provider} has no" if provider else "no provider has the"


def nearest(name: str, known: Collection[str]) -> str:
    """A hint: the most similar name, compared without case, or all known names."""
    if near := nearest_name(name, known):
        return f"did you mean {near!r}?"
    return f"known: {', '.join(map(repr, sorted(known))) or 'none'}"
