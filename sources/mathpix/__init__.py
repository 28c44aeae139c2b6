"""Mathpix OCR usage: what was recognised in each hour, by usage type, by app, by both, and by request arguments."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.events import Observer
from meterhouse.sources._core.history import COMPLETE
from meterhouse.sources._core.http.auth import HeaderAuth
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.source import SourceBuilder

from .client import MathpixClient
from .constants import BASE_URL, GROUPINGS, INITIAL_DATE, LONGEST_WINDOW, LOOKBACK, MAX_PER_PAGE, REQUESTS_PER_MINUTE
from .errors import error_from_response
from .reader import read_window
from .tables import ocr_usage_by


@dlt.source(section="mathpix")
def mathpix_source(
    app_id: dlt.TSecretStrValue | None = None,
    app_key: dlt.TSecretStrValue | None = None,
    base_url: str = BASE_URL,
    timespan: str = "hour",
    initial_date: str = INITIAL_DATE,
    lookback: str = LOOKBACK,
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
    """`GET /v3/ocr-usage`, one table for each grouping: four views of the same usage, which must not be added up.

    Args:
        app_id: sent with `app_key` on every request (docs.mathpix.com/guides/authentication).
        app_key: the key; as far as the responses show, it sees the usage of its whole group.
        base_url: `https://eu-central-1.api.mathpix.com` for keys of the European host.
        timespan: length of a bucket: hour, day, week or month. Only hours and days add up to any billing month.
        initial_date: where the first run begins.
        lookback: how much of the loaded time each run requests again.
        page_size: rows per page, 1 to 1000.
        requests_per_minute: the limit of your plan.
        accounts: several keys, each under a name of your choice; see the README.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of the backfill, excluded; now by default.
        full_refresh: ignores the cursors and begins at `initial_date` again.
        history: which replaced rows go to `<table>__history`: `complete`, those whose bucket had ended, or `all`.
        history_retention: how long they stay there, such as `400 days`; for ever by default.
        observer: receives progress and failures; by default a failure ends the pipeline's extract step.

    Raises:
        ConfigurationError: a setting is wrong; NotConfigured if no credentials are set.
    """
    source = SourceBuilder(
        provider="mathpix",
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
    unit = source.unit("timespan", timespan)
    plan = source.plan(unit, longest=LONGEST_WINDOW)
    page_size = source.number("page_size", page_size, most=MAX_PER_PAGE)
    clients = {
        account.name: MathpixClient(source.client(account, HeaderAuth(account.credentials), error_from_response))
        for account in source.resolve_accounts({"app_id": app_id, "app_key": app_key})
    }
    for grouping in GROUPINGS:
        table = ocr_usage_by(*grouping)
        read = partial(read_window, table=table, group_by=grouping, unit=unit, page_size=page_size)
        yield source.resource(
            table, [Partition(account, plan, partial(read, client)) for account, client in clients.items()]
        )
    yield credentials_check({account: client.check_credentials for account, client in clients.items()})
