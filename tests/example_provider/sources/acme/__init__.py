"""Acme usage: requests of each day by API key. The worked example of sources/README.md."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.history import COMPLETE
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.source import SourceBuilder

from .client import AcmeClient
from .constants import BASE_URL, INITIAL_DATE, LONGEST_WINDOW, LOOKBACK, REQUESTS_PER_MINUTE
from .errors import error_from_response
from .reader import read_window
from .tables import USAGE_DAILY


@dlt.source(section="acme")
def acme_source(
    api_key: dlt.TSecretStrValue | None = None,
    base_url: str = BASE_URL,
    initial_date: str = INITIAL_DATE,
    lookback: str = LOOKBACK,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    accounts: Any = None,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,
    history: str = COMPLETE,
    history_retention: str | None = None,
    observer: Observer | None = None,
) -> Iterator[DltResource]:
    """`GET /v1/usage`: one row per day and API key."""
    source = SourceBuilder(
        provider="acme",
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
    clients = {
        account.name: AcmeClient(source.client(account, BearerAuth(account.credentials["api_key"]), error_from_response))
        for account in source.resolve_accounts({"api_key": api_key})
    }
    partitions = [Partition(account, plan, partial(read_window, client)) for account, client in clients.items()]
    yield source.resource(USAGE_DAILY, partitions)
    yield credentials_check({account: client.check_credentials for account, client in clients.items()})
