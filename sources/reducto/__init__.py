"""Reducto usage: credits and requests of each day, by product, feature, API key and file type."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.history import COMPLETE
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.source import SourceBuilder

from .client import ReductoClient, check_all
from .constants import BASE_URL, FILTERS, GROUPINGS, INITIAL_DATE, LONGEST_WINDOW, LOOKBACK, REQUESTS_PER_MINUTE
from .errors import error_from_response
from .reader import organisation_partition
from .tables import usage_by


@dlt.source(section="reducto")
def reducto_source(
    api_key: dlt.TSecretStrValue | None = None,
    org_ids: Any = None,
    base_url: str = BASE_URL,
    initial_date: str = INITIAL_DATE,
    lookback: str = LOOKBACK,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    products: Any = None,
    features: Any = None,
    api_keys: Any = None,
    file_types: Any = None,
    accounts: Any = None,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,  # noqa: FBT001, FBT002 - dlt passes configuration by name
    history: str = COMPLETE,
    history_retention: str | None = None,
    observer: Observer | None = None,
) -> Iterator[DltResource]:
    """`GET /api/v1/usage/export`, one table for each grouping: four views of the same usage, which must not be added up.

    Args:
        api_key: a personal key from Studio's page of API keys (docs.reducto.ai/reference/usage-export-api).
        org_ids: the organisations to load, a list or one text with commas; by default the key's own.
        base_url: the address of Studio.
        initial_date: where the first run begins.
        lookback: how much of the loaded time each run requests again.
        requests_per_minute: our own limit; the API documents none.
        products: loads usage of these products only; the next three settings filter likewise.
        features: see `products`.
        api_keys: see `products`; the labels in `usage_by_api_key`, not the secrets.
        file_types: see `products`.
        accounts: several keys, each under a name of your choice; see the README.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of the backfill, excluded; by default today is the last day.
        full_refresh: ignores the cursors and begins at `initial_date` again.
        history: which replaced rows go to `<table>__history`: `complete`, those whose bucket had ended, or `all`.
        history_retention: how long they stay there, such as `400 days`; for ever by default.
        observer: receives progress and failures; by default a failure ends the pipeline's extract step.

    Raises:
        ConfigurationError: a setting is wrong; NotConfigured if no credentials are set.
    """
    source = SourceBuilder(
        provider="reducto",
        base_url=base_url,
        initial_date=initial_date,
        lookback=lookback,
        requests_per_minute=requests_per_minute,
        accounts=accounts,
        since=since,
        until=until,
        full_refresh=full_refresh,
        history=history,
        history_retention=history_retention,
        observer=observer,
    )
    plan = source.plan("day", longest=LONGEST_WINDOW)
    filters = {"products": products, "features": features, "api_keys": api_keys, "file_types": file_types}
    clients = {
        account.name: _organisations(source, account)
        for account in source.resolve_accounts(
            {"api_key": api_key}, {"org_ids": org_ids, **filters}, distinguished_by=("org_ids",)
        )
    }
    for grouping in GROUPINGS:
        partitions = [
            organisation_partition(account, plan, client, usage_by(grouping), grouping)
            for account, organisations in clients.items()
            for client in organisations
        ]
        yield source.resource(usage_by(grouping), partitions)
    yield credentials_check({account: partial(check_all, organisations) for account, organisations in clients.items()})


def _organisations(source: SourceBuilder, account: Account) -> list[ReductoClient]:
    """A client for each organisation of an account; they share one HTTP client."""
    http = source.client(account, BearerAuth(account.credentials["api_key"]), error_from_response)
    names = {setting: source.names(setting, account.settings[setting]) for setting in ("org_ids", *FILTERS)}
    filters = {parameter: names[setting] for setting, parameter in FILTERS.items() if names[setting]}
    return [ReductoClient(http, org_id, filters) for org_id in names["org_ids"] or ("",)]
