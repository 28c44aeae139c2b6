"""Onepin usage: credits, characters, lines and runs of a workspace by day, week, month and language, and its activity."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.history import COMPLETE
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.source import SourceBuilder

from .client import OnepinClient
from .constants import BASE_URL, INITIAL_DATE, LOOKBACK, MAX_PER_PAGE, REQUESTS_PER_MINUTE
from .errors import error_from_response
from .partitions import table_partitions
from .tables import TABLES


@dlt.source(section="onepin")
def onepin_source(
    api_key: dlt.TSecretStrValue | None = None,
    workspace_id: str | None = None,
    timezone: str = "UTC",
    base_url: str = BASE_URL,
    initial_date: str = INITIAL_DATE,
    lookback: str = LOOKBACK,
    language_views: Any = None,
    activity_types: Any = None,
    activity_user_ids: Any = None,
    page_size: int = MAX_PER_PAGE,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    accounts: Any = None,
    since: str | None = None,
    until: str | None = None,
    full_refresh: bool = False,  # noqa: FBT001, FBT002 - dlt passes configuration by name
    history: str = COMPLETE,
    history_retention: str | None = None,
    observer: Observer | None = None,
) -> Iterator[DltResource]:
    """`GET /api/v1/usage/summary`, `…/by-language` and `…/activity`, which take no dates: they return the last 90 days.

    So the tables keep the history: each run replaces the time that the responses cover, and leaves older rows alone.

    Args:
        api_key: an API key (`op_live_…`) with the scope `workspace:read`; it is bound to one workspace.
        workspace_id: sent as `X-Workspace-Id`; not needed with an API key.
        timezone: IANA name of the calendar for days, weeks and months. A change begins a second history.
        base_url: the API's address.
        initial_date: nothing earlier is loaded; by default all that the API returns.
        lookback: how much of the activity feed each run requests again; the other tables are always read whole.
        language_views: `daily`, `weekly`, `monthly`: periods of `usage_by_language` besides the three ranges.
        activity_types: only these actions; all by default.
        activity_user_ids: only the actions of these members; all by default.
        page_size: events per page, 1 to 100.
        requests_per_minute: the limit of your key.
        accounts: several keys, each under a name of your choice; see the README.
        since: with `until`, loads exactly the part of [since, until) that the API still returns, and moves no cursor.
        until: end of the backfill, excluded; now by default.
        full_refresh: ignores the cursors and begins at `initial_date` again.
        history: which replaced rows go to `<table>__history`: `complete`, those whose bucket had ended, or `all`.
        history_retention: how long they stay there, such as `400 days`; for ever by default.
        observer: receives progress and failures; by default a failure ends the pipeline's extract step.

    Raises:
        ConfigurationError: a setting is wrong; NotConfigured if no credentials are set.
    """
    source = SourceBuilder(
        provider="onepin",
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
    page_size = source.number("page_size", page_size, most=MAX_PER_PAGE)
    resolved = source.resolve_accounts(
        {"api_key": api_key},
        {
            "timezone": timezone,
            "workspace_id": workspace_id,
            "language_views": language_views,
            "activity_types": activity_types,
            "activity_user_ids": activity_user_ids,
        },
        distinguished_by=("workspace_id",),
    )
    clients: dict[str, OnepinClient] = {}
    for account in resolved:
        workspace = account.settings["workspace_id"]
        auth = BearerAuth(account.credentials["api_key"], {"X-Workspace-Id": workspace} if workspace else None)
        http = source.client(account, auth, error_from_response)
        clients[account.name] = OnepinClient(http, source.timezone("timezone", account.settings["timezone"]))
    partitions = [table_partitions(source, account, clients[account.name], page_size) for account in resolved]
    for table in TABLES:
        yield source.resource(table, list(chain.from_iterable(by_table[table.name] for by_table in partitions)))
    yield credentials_check({account: client.check_credentials for account, client in clients.items()})
