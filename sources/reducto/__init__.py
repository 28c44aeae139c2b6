"""Reducto usage: credits and requests of each day, by product, feature, API key and file type."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.config.accounts import Account, resolve_accounts
from meterhouse.sources._core.config.parse import backfill_window, parse_duration, parse_moment, parse_names, parse_number
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Window

from .constants import (
    BASE_URL,
    FILTERS,
    GROUPINGS,
    INITIAL_DATE,
    LONGEST_WINDOW,
    LOOKBACK,
    REQUESTS_PER_MINUTE,
    usage_by,
)
from .errors import error_from_response
from .reader import Export


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
    journal: Journal | None = None,
) -> Iterator[DltResource]:
    """`GET /api/v1/usage/export`, one table a grouping: the same usage seen four ways, never to be added up.

    Args:
        api_key: a personal key from Studio's page of API keys (docs.reducto.ai/reference/usage-export-api).
        org_ids: the organisations to ask for, a list or one text with commas; the key's own where left out.
        base_url: where Studio is.
        initial_date: where the first run begins.
        lookback: how much of what is loaded each run asks for again.
        requests_per_minute: no limit is documented; this one keeps the export from being asked in a hurry.
        products: with this filter the tables hold usage of these products only; so with the next three.
        features: see `products`.
        api_keys: see `products`; by the labels that `usage_by_api_key` has, not the secrets.
        file_types: see `products`.
        accounts: several keys, each under a name of your own; see the README.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of such a backfill, excluded; today included where left out.
        full_refresh: begins at `initial_date` again, whatever is loaded.
        journal: hears of progress and failures.

    Raises:
        ConfigurationError: a setting cannot be used; NotConfigured where there are no credentials.
    """
    journal = journal or Journal()
    plan = Plan(
        unit="day",
        initial_date=parse_moment(initial_date, setting="sources.reducto.initial_date"),
        lookback=parse_duration(lookback, setting="sources.reducto.lookback"),
        longest=LONGEST_WINDOW,
        backfill=backfill_window(since, until, "day"),
        restart=full_refresh,
    )
    pace = parse_number(requests_per_minute, setting="sources.reducto.requests_per_minute")
    resolved = resolve_accounts(
        "reducto",
        accounts,
        credentials={"api_key": api_key},
        settings={
            "base_url": base_url,
            "org_ids": org_ids,
            "products": products,
            "features": features,
            "api_keys": api_keys,
            "file_types": file_types,
        },
        distinguished_by=("org_ids",),
    )
    exports = {account.name: _exports(account, pace, journal) for account in resolved}
    for grouping in GROUPINGS:
        table = usage_by(grouping)
        parts = [_part(account, export, plan) for account, those in exports.items() for export in those]
        fetch = partial(_read, table=table, grouping=grouping)
        yield windowed_resource(table, parts=parts, fetch=fetch, journal=journal)
    yield credentials_check(exports, _probe)


def _exports(account: Account, pace: int, journal: Journal) -> list[Export]:
    """What an account has to ask for, through one client."""
    settings = account.settings
    client = Client(
        "reducto",
        settings["base_url"],
        auth=BearerAuth(account.credentials["api_key"]),
        error_from_response=error_from_response,
        rate_limiter=RateLimiter(pace),
        observer=journal,
    )
    names = {
        setting: parse_names(settings[setting], setting=f"sources.reducto.{setting}") for setting in ("org_ids", *FILTERS)
    }
    filters = {parameter: names[setting] for setting, parameter in FILTERS.items() if names[setting]}
    return [Export(client, org_id, filters) for org_id in names["org_ids"] or ("",)]


def _part(account: str, export: Export, plan: Plan) -> Partition[Export]:
    where: Mapping[str, str] = {"org_id": export.org_id} if export.org_id else {}
    return Partition(account, export, plan, where, learn=None if where else export.own_organisation)


def _read(export: Export, window: Window, *, table: Table, grouping: str) -> FetchResult:
    return export.read(window, table=table, grouping=grouping)


def _probe(exports: Iterable[Export]) -> None:
    for export in exports:
        export.probe()
