"""The partitions of Onepin's tables: calendars, ranges and filters, each with the windows that the API can return."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from itertools import product

from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources._core.windows import Window

from .activity import read_activity
from .client import OnepinClient
from .constants import ACTIONS, BUCKET_VIEWS, BUCKETS_IN_REACH, DAYS_IN_REACH, RANGES, VIEWS
from .reader import read_buckets, read_daily, read_languages, read_summary
from .tables import TABLES, USAGE_ACTIVITY, USAGE_BUCKETS, USAGE_BY_LANGUAGE, USAGE_DAILY, USAGE_SUMMARY

WHOLE = timedelta(days=1000)
"""The longest window: one response has all that the API returns."""

REREAD = timedelta(days=400)
"""The lookback of all tables but the activity feed: every run reads them whole."""


def table_partitions(
    source: SourceBuilder, account: Account, client: OnepinClient, page_size: int
) -> Mapping[str, list[Partition]]:
    """The partitions of one account, by table."""
    partitions: dict[str, list[Partition]] = {table.name: [] for table in TABLES}
    zone, settings = client.timezone, account.settings

    def add(table: str, plan: Plan | None, fetch: Callable[[Window], FetchResult], fixed_columns: Mapping[str, str]) -> None:
        if plan is not None:
            partitions[table].append(Partition(account.name, plan, fetch, fixed_columns, client.workspace))

    # Two days more than documented, because only the response shows which local days a range has.
    days = source.plan("day", longest=WHOLE, lookback=REREAD, reach=DAYS_IN_REACH + 2, timezone=zone)
    add(USAGE_DAILY.name, days, partial(read_daily, client, table=USAGE_DAILY), {"timezone": zone})

    for view, (_, unit) in BUCKET_VIEWS.items():
        buckets = source.plan_of_whole_buckets(unit, longest=WHOLE, lookback=REREAD, reach=BUCKETS_IN_REACH, timezone=zone)
        fetch = partial(read_buckets, client, view=view, table=USAGE_BUCKETS)
        add(USAGE_BUCKETS.name, buckets, fetch, {"view": view, "timezone": zone})

    today = source.plan("day", longest=WHOLE, lookback=REREAD, reach=1, timezone=zone)
    for range_ in RANGES:
        add(USAGE_SUMMARY.name, today, partial(read_summary, client, range_=range_, table=USAGE_SUMMARY), {"range": range_})
    for column, periods in (
        ("range", RANGES),
        ("activity_view", source.choices("language_views", settings["language_views"], VIEWS)),
    ):
        for period in periods:
            fetch = partial(read_languages, client, period=period, table=USAGE_BY_LANGUAGE)
            add(USAGE_BY_LANGUAGE.name, today, fetch, {column: period})

    feed = source.plan("hour", longest=WHOLE, reach=(DAYS_IN_REACH + 2) * 24)
    actions = source.choices("activity_types", settings["activity_types"], ACTIONS)
    members = source.names("activity_user_ids", settings["activity_user_ids"])
    for action, member in product(actions or ("",), members or ("",)):
        fetch = partial(
            read_activity, client, filters=_set(type=action, user_id=member), page_size=page_size, table=USAGE_ACTIVITY
        )
        add(USAGE_ACTIVITY.name, feed, fetch, _set(action=action, user_id=member))
    return partitions


def _set(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
