"""Accounts: names for the sets of credentials of one provider."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dlt

from meterhouse.sources._core.config.parse import is_json, parse_json, require_unquoted
from meterhouse.sources._core.config.secrets import looks_like_key, looks_like_secret
from meterhouse.sources._core.config.unknown_settings import require_known, require_known_fields, variable_of
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured

DEFAULT = "default"
_NAME = re.compile(r"(?!.*[ _]{2})\w[\w .@:-]{0,62}")
"""Two underscores separate sections in a variable's name, and a space becomes an underscore, so neither may repeat."""
_CHOOSE = "Choose a name: it is printed, logged and stored in every row."


@dataclass(frozen=True, slots=True)
class Account:
    """A set of credentials under a name that the user chose. Its repr shows no secret.

    `section`: where the configuration has the credentials, such as `sources.mathpix.accounts.europe`.
    """

    name: str
    credentials: Mapping[str, str]
    settings: Mapping[str, Any]
    section: str

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
            accounts share their credentials. No message shows a name that may be a key.
    """
    if accounts in (None, "", {}, []):
        section = f"sources.{provider}"
        return [Account(DEFAULT, _complete(provider, section, credentials), dict(settings), section)]
    resolved = []
    named = _named(provider, accounts)
    given = {
        name: {field: _setting(f"sources.{provider}.accounts.{name}", field, own, dlt.secrets) for field in credentials}
        for name, own in named.items()
    }
    _require_no_secret_as_name(provider, given, credentials)
    for name, own in named.items():
        section = f"sources.{provider}.accounts.{name}"
        if name != name.strip():
            raise ConfigurationError(
                f"the account {name!r} in sources.{provider}.accounts begins or ends with white space", hint="Remove it."
            )
        allowed = {"name", *credentials, *settings}
        require_known_fields(section, own, allowed)
        require_known(section, allowed)
        resolved.append(
            Account(
                name,
                _complete(provider, section, given[name]),
                {field: _setting(section, field, own, dlt.config) or value for field, value in settings.items()},
                section,
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


def is_account_name(name: str) -> bool:
    """Whether the configuration may use the name."""
    return _NAME.fullmatch(name) is not None and name == name.strip() and not looks_like_key(name)


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
    setting = f"sources.{provider}.accounts"
    if isinstance(accounts, str):
        is_structured = is_json(accounts)
        accounts = parse_json(accounts, setting=setting) if is_structured else [name.strip() for name in accounts.split(",")]
    if isinstance(accounts, Mapping):
        entries = list(accounts.items())
    elif isinstance(accounts, Sequence):
        entries = [(entry.get("name", ""), entry) if isinstance(entry, Mapping) else (entry, {}) for entry in accounts]
    else:
        entries = []
    named: dict[str, Mapping[str, Any]] = {}
    for number, (name, own) in enumerate(entries or [("", {})], 1):
        if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
            raise ConfigurationError(
                f"account {number} in {setting} does not have a valid name",
                hint="Use at most 63 letters, digits, spaces and . _ @ : -, with no two spaces or underscores in a row.",
            )
        if looks_like_key(name):
            raise ConfigurationError(f"account {number} in {setting} has a name that looks like a key", hint=_CHOOSE)
        if not isinstance(own, Mapping):
            raise ConfigurationError(
                f"account {number} in {setting} is not a table", hint='In JSON, write {"name": {"setting": "value"}}.'
            )
        if name in named:
            raise ConfigurationError(f"accounts in {setting} have the same name", hint="Give each a different name.")
        named[name] = own
    return named


def _require_no_secret_as_name(
    provider: str, given: Mapping[str, Mapping[str, Any]], credentials: Mapping[str, str | None]
) -> None:
    """Checks that no name is a key, and that no account without credentials has a name that may be one.

    A field that ends in `_id` holds an identifier. Identifiers are not secret: they also appear in rows.
    """
    setting = f"sources.{provider}.accounts"
    secrets = {
        str(value).strip().casefold()
        for values in (credentials, *given.values())
        for field, value in values.items()
        if value and not field.endswith("_id")
    }
    for number, name in enumerate(given, 1):
        if name.strip().casefold() in secrets:
            raise ConfigurationError(f"account {number} in {setting} has a credential as its name", hint=_CHOOSE)
        if not any(given[name].values()) and looks_like_secret(name):
            raise ConfigurationError(
                f"account {number} in {setting} has no credentials",
                hint="List names of your choice there, and the keys in the section of each name.",
            )


def _setting(section: str, field: str, own: Mapping[str, Any], configured: Any) -> Any:
    """The value in the table of the account, or in its section. dlt looks for no variable with underscores for spaces."""
    if own.get(field):
        return own[field]
    value = configured.get(f"{section}.{field}")
    return os.environ.get(variable_of(f"{section}.{field}")) if value is None else value


def _complete(provider: str, section: str, credentials: Mapping[str, Any]) -> dict[str, str]:
    missing = [field for field, value in credentials.items() if not value]
    if missing:
        variable = variable_of(f"{section}.{missing[0]}")
        unused = len(missing) == len(credentials) and section == f"sources.{provider}"
        raise (NotConfigured if unused else ConfigurationError)(
            f"{provider} has no {' and no '.join(missing)} in [{section}]",
            hint=f"Set it in .dlt/secrets.toml or as {variable}.",
        )
    # A secret's file often ends with a line break. Other characters that a header cannot hold would show up in an error.
    complete = {field: str(value).strip() for field, value in credentials.items()}
    for field, value in complete.items():
        require_unquoted(value, setting=f"{field} in [{section}]")
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"{field} in [{section}] has characters that a key cannot have", hint="Copy it again, without line breaks."
            )
    return complete
