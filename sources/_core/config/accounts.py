"""Accounts: names for the sets of credentials of one provider."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dlt

from meterhouse.sources._core.config.unknown_settings import require_known, require_known_fields
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured

DEFAULT = "default"
_NAME = re.compile(r"[\w][\w .@:-]{0,62}")


@dataclass(frozen=True, slots=True)
class Account:
    """A set of credentials under a name that the user chose. Its repr shows no secret."""

    name: str
    credentials: Mapping[str, str]
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Account({self.name!r})"


def resolve_accounts(
    provider: str,
    accounts: Any,
    *,
    credentials: Mapping[str, str | None],
    settings: Mapping[str, Any],
    distinguished_by: Sequence[str] = (),
) -> list[Account]:
    """The accounts that `[sources.PROVIDER]` names, or one called `default` with the provider's own credentials.

    Args:
        provider: the provider's section in the configuration.
        accounts: the setting `accounts`: tables by name (`[sources.mathpix.accounts.europe]`), a list of tables with a
            `name`, or a list of names whose values are set as `sources.PROVIDER.accounts.NAME.*` (for environment
            variables); None for one account.
        credentials: the credential fields, with their values in the provider's own section.
        settings: the settings that each account may override, with the provider's values as defaults.
        distinguished_by: settings that distinguish two accounts with the same credentials, such as a tenant.

    Raises:
        NotConfigured: the provider has neither accounts nor any credential.
        ConfigurationError: a credential is missing, a name is not allowed, an account has an unknown setting, or two
            accounts share their credentials.
    """
    if accounts in (None, "", {}, []):
        return [Account(DEFAULT, _complete(provider, f"sources.{provider}", credentials), dict(settings))]
    resolved = []
    for name, own in _named(provider, accounts).items():
        section = f"sources.{provider}.accounts.{name}"
        allowed = {"name", *credentials, *settings}
        require_known_fields(section, own, allowed)
        require_known(section, allowed)
        resolved.append(
            Account(
                name,
                _complete(provider, section, {field: _setting(section, field, own, dlt.secrets) for field in credentials}),
                {field: _setting(section, field, own, dlt.config) or value for field, value in settings.items()},
            )
        )
    seen: dict[tuple[str, ...], str] = {}
    for account in resolved:
        distinct = *account.credentials.values(), *(str(account.settings[name]) for name in distinguished_by)
        twin = seen.setdefault(distinct, account.name)
        if twin != account.name:
            raise ConfigurationError(
                f"the accounts {twin} and {account.name} of {provider} have the same credentials, so all usage would "
                "count twice",
                hint=f"Remove one of them from sources.{provider}.accounts.",
            )
    return resolved


def named_accounts(provider: str) -> list[str]:
    """The names in the provider's setting `accounts`; none if it is not set.

    Raises:
        ConfigurationError: a name is not allowed.
    """
    setting = f"sources.{provider}.accounts"
    configured: list[Any] = [accessor.get(setting) for accessor in (dlt.secrets, dlt.config)]
    accounts = [value for value in configured if value not in (None, "", {}, [])]
    return list(_named(provider, accounts[0])) if accounts else []


def _named(provider: str, accounts: Any) -> dict[str, Mapping[str, Any]]:
    if isinstance(accounts, str):
        try:
            accounts = json.loads(accounts)
        except ValueError:
            accounts = [name.strip() for name in accounts.split(",")]
    named: dict[str, Mapping[str, Any]] = {}
    if isinstance(accounts, Mapping):
        named = {str(name): own if isinstance(own, Mapping) else {} for name, own in accounts.items()}
    elif isinstance(accounts, Sequence):
        for entry in accounts:
            name = entry.get("name", "") if isinstance(entry, Mapping) else entry
            if str(name) in named:
                raise ConfigurationError(
                    f"sources.{provider}.accounts names {name} twice", hint="Give each account a different name."
                )
            named[str(name)] = entry if isinstance(entry, Mapping) else {}
    for name in named or [""]:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} in sources.{provider}.accounts is not a valid account name",
                hint="Use letters, digits, space and . _ @ : - (63 at most).",
            )
    return named


def _setting(section: str, field: str, own: Mapping[str, Any], configured: Any) -> Any:
    return own[field] if own.get(field) else configured.get(f"{section}.{field}")


def _complete(provider: str, section: str, credentials: Mapping[str, Any]) -> dict[str, str]:
    missing = [field for field, value in credentials.items() if not value]
    if missing:
        variable = f"{section}.{missing[0]}".replace(".", "__").replace(" ", "_").upper()
        unused = len(missing) == len(credentials) and section == f"sources.{provider}"
        raise (NotConfigured if unused else ConfigurationError)(
            f"{provider} has no {' and no '.join(missing)} in [{section}]",
            hint=f"Set it in .dlt/secrets.toml or as {variable}.",
        )
    # A secret's file often ends with a line break. Other characters that a header cannot hold would show up in an error.
    complete = {field: str(value).strip() for field, value in credentials.items()}
    for field, value in complete.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"{field} in [{section}] has characters that a key cannot have", hint="Copy it again, without line breaks."
            )
    return complete
