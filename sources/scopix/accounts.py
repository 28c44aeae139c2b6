"""Scopix' accounts: their clients, and the API keys whose usage they load."""

import uuid
from collections.abc import Sequence

from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.events import fail_fast
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.source import SourceBuilder

from .client import ScopixClient
from .errors import error_from_response
from .estimate import RequestEstimate


def clients_by_account(source: SourceBuilder, accounts: Sequence[Account], check_limit: int) -> dict[str, ScopixClient]:
    """A client for each account; accounts with the same key share its rate limits, because Scopix counts by key.

    Args:
        source: the common settings.
        accounts: the resolved accounts.
        check_limit: the limit of `check`, in requests a minute.

    Raises:
        ConfigurationError: two accounts have the same key, and one of them no tenant.
    """
    _require_tenants(accounts)
    shared: dict[tuple[str, str], tuple[RateLimiter, RateLimiter, RequestEstimate]] = {}
    clients = {}
    for account in accounts:
        key, url = account.credentials["api_key"], str(account.settings["base_url"])
        if (key, url) not in shared:
            limiter = source.rate_limiter()
            estimate = RequestEstimate(limiter, source.observer or fail_fast)
            shared[key, url] = limiter, source.rate_limiter(check_limit), estimate
        limiter, check_limiter, estimate = shared[key, url]
        tenant = str(account.settings["tenant_id"] or "")
        auth = BearerAuth(key, {"X-Tenant-ID": tenant} if tenant else {})
        clients[account.name] = ScopixClient(
            account.name,
            source.client(account, auth, error_from_response, limiter),
            source.client(account, auth, error_from_response, check_limiter),
            estimate,
        )
    return clients


def key_ids(source: SourceBuilder, account: Account) -> tuple[str, ...]:
    """The ids of the API keys whose usage the account loads; none for all keys together.

    Raises:
        ConfigurationError: one of them is not a UUID.
    """
    try:
        return tuple(str(uuid.UUID(key)) for key in source.names("api_key_ids", account.settings["api_key_ids"]))
    except ValueError:
        raise ConfigurationError(
            f"{source.setting('api_key_ids')} has a text that is not a UUID",
            hint="Use the ids of the keys, as the Scopix console shows them, instead of the keys themselves.",
        ) from None


def _require_tenants(accounts: Sequence[Account]) -> None:
    """Several accounts may have the same key only if each of them names its tenant."""
    for account in accounts:
        for other in accounts:
            if account is not other and account.credentials == other.credentials and not account.settings["tenant_id"]:
                raise ConfigurationError(
                    f"the accounts {account.name} and {other.name} of scopix have the same api_key, and the first has no"
                    " tenant_id. It may be the tenant of the other, and all usage would count twice",
                    hint=f"Set sources.scopix.accounts.{account.name}.tenant_id, or remove one of the two.",
                )
