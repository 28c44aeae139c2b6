"""Mathpix OCR usage: what was recognised in each hour, by usage type, by app and by request arguments."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.config.accounts import resolve_accounts
from meterhouse.sources._core.config.parse import backfill_window, parse_duration, parse_moment, parse_number, parse_unit
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.http.auth import HeaderAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Window, floor, utc_now

from .constants import (
    BASE_URL,
    COLUMNS,
    ENDPOINT,
    GROUPINGS,
    INITIAL_DATE,
    KEY,
    LONGEST_WINDOW,
    LOOKBACK,
    MAX_PER_PAGE,
    REQUESTS_PER_MINUTE,
)
from .errors import error_from_response
from .reader import page_params, read_window


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
    journal: Journal | None = None,
) -> Iterator[DltResource]:
    """`GET /v3/ocr-usage`, one table a grouping: the same usage seen three ways, never to be added up.

    Args:
        app_id: sent with `app_key` on every request (docs.mathpix.com/guides/authentication).
        app_key: the key; it sees the usage of its whole group as far as the answers tell.
        base_url: `https://eu-central-1.api.mathpix.com` for keys of the European host.
        timespan: length of a bucket: hour, day, week or month. Only hours and days can be cut into any billing month.
        initial_date: where the first run begins.
        lookback: how much of what is loaded each run asks for again.
        page_size: rows a page, 1 to 1000.
        requests_per_minute: the limit that your plan has.
        accounts: several keys, each under a name of your own; see the README.
        since: with `until`, loads exactly [since, until) and moves no cursor.
        until: end of such a backfill, excluded; now where left out.
        full_refresh: begins at `initial_date` again, whatever is loaded.
        journal: hears of progress and failures.

    Raises:
        ConfigurationError: a setting cannot be used; NotConfigured where there are no credentials.
    """
    journal = journal or Journal()
    unit = parse_unit(timespan, setting="sources.mathpix.timespan")
    plan = Plan(
        unit=unit,
        initial_date=parse_moment(initial_date, setting="sources.mathpix.initial_date"),
        lookback=parse_duration(lookback, setting="sources.mathpix.lookback"),
        longest=LONGEST_WINDOW,
        backfill=backfill_window(since, until, unit),
        restart=full_refresh,
    )
    page_size = parse_number(page_size, setting="sources.mathpix.page_size", most=MAX_PER_PAGE)
    pace = parse_number(requests_per_minute, setting="sources.mathpix.requests_per_minute")
    clients = {
        account.name: Client(
            "mathpix",
            account.settings["base_url"],
            auth=HeaderAuth(account.credentials),
            error_from_response=error_from_response,
            rate_limiter=RateLimiter(pace),
            observer=journal,
        )
        for account in resolve_accounts(
            "mathpix",
            accounts,
            credentials={"app_id": app_id, "app_key": app_key},
            settings={"base_url": base_url},
        )
    }
    for grouping in GROUPINGS:
        table = Table("mathpix", ENDPOINT, f"ocr_usage_by_{grouping}", COLUMNS, KEY, "bucket_start")
        parts = [Partition(account, client, plan) for account, client in clients.items()]
        fetch = partial(read_window, table=table, group_by=grouping, unit=unit, page_size=page_size)
        yield windowed_resource(table, parts=parts, fetch=fetch, journal=journal)
    yield credentials_check(clients, _running_hour)


def _running_hour(client: Client) -> Any:
    return client.get(ENDPOINT, page_params(Window(floor(utc_now(), "hour"), utc_now()), "usage_type", "hour", 1, 1))
