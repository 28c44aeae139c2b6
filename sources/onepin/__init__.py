"""Onepin usage: credits, characters, lines and runs of a workspace by day, week, month and language, and its activity."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import dlt
from dlt.sources import DltResource
from pendulum import DateTime

from meterhouse.sources._core.config.accounts import Account, resolve_accounts
from meterhouse.sources._core.config.parse import backfill_window, parse_duration, parse_moment, parse_names, parse_number
from meterhouse.sources._core.credentials_check import credentials_check
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.partition import FetchResult, Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Unit, Window, ceil, floor

from .activity import read_activity
from .constants import (
    ACTIONS,
    ACTIVITY,
    ACTIVITY_COLUMNS,
    ACTIVITY_KEY,
    BASE_URL,
    BUCKET_COLUMNS,
    BUCKET_KEY,
    BUCKET_VIEWS,
    BUCKETS_IN_REACH,
    BY_LANGUAGE,
    DAILY_COLUMNS,
    DAILY_KEY,
    DAYS_IN_REACH,
    INITIAL_DATE,
    LANGUAGE_COLUMNS,
    LANGUAGE_KEY,
    LOOKBACK,
    MAX_PER_PAGE,
    RANGES,
    REQUESTS_PER_MINUTE,
    SUMMARY,
    SUMMARY_COLUMNS,
    SUMMARY_KEY,
    VIEWS,
)
from .errors import error_from_response
from .reader import Workspace

Read = Callable[[Window], FetchResult]

USAGE_DAILY = Table("onepin", SUMMARY, "usage_daily", DAILY_COLUMNS, DAILY_KEY, "date", is_utc=False)
USAGE_BUCKETS = Table("onepin", SUMMARY, "usage_buckets", BUCKET_COLUMNS, BUCKET_KEY, "date")  # its ends are in UTC
USAGE_SUMMARY = Table("onepin", SUMMARY, "usage_summary", SUMMARY_COLUMNS, SUMMARY_KEY, "snapshot_date", is_event=True)
USAGE_BY_LANGUAGE = Table(
    "onepin", BY_LANGUAGE, "usage_by_language", LANGUAGE_COLUMNS, LANGUAGE_KEY, "snapshot_date", is_event=True
)
USAGE_ACTIVITY = Table("onepin", ACTIVITY, "usage_activity", ACTIVITY_COLUMNS, ACTIVITY_KEY, "timestamp", is_event=True)
TABLES = (USAGE_DAILY, USAGE_BUCKETS, USAGE_SUMMARY, USAGE_BY_LANGUAGE, USAGE_ACTIVITY)


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
    journal: Journal | None = None,
) -> Iterator[DltResource]:
    """`GET /api/v1/usage/summary`, `…/by-language` and `…/activity`, which know no dates but the last 90 days.

    So the tables are what keeps history: each run replaces as much as the answers reach, and leaves what is older.

    Args:
        api_key: an API key (`op_live_…`) with the scope `workspace:read`; it is bound to one workspace.
        workspace_id: sent as `X-Workspace-Id`; a key needs none.
        timezone: IANA name of the calendar that days, weeks and months are cut by. Another one begins another history.
        base_url: the API's address.
        initial_date: nothing earlier is loaded; by default all that can be asked for is.
        lookback: how much of the activity feed each run reads again; all else is read whole.
        language_views: `daily`, `weekly`, `monthly`: periods of `usage_by_language` beside the three ranges.
        activity_types: only these actions; all without it.
        activity_user_ids: only what these members did; everybody without it.
        page_size: events a page, 1 to 100.
        requests_per_minute: the limit of your key.
        accounts: several keys, each under a name of your own; see the README.
        since: with `until`, loads exactly what [since, until) and the API's reach have in common, and moves no cursor.
        until: end of such a backfill, excluded; now where left out.
        full_refresh: begins at `initial_date` again, whatever is loaded.
        journal: hears of progress and failures.

    Raises:
        ConfigurationError: a setting cannot be used; NotConfigured where there are no credentials.
    """
    journal = journal or Journal()
    start = parse_moment(initial_date, setting="sources.onepin.initial_date")
    span = parse_duration(lookback, setting="sources.onepin.lookback")
    page_size = parse_number(page_size, setting="sources.onepin.page_size", most=MAX_PER_PAGE)
    pace = parse_number(requests_per_minute, setting="sources.onepin.requests_per_minute")
    plan_of = partial(_plan, start=start, since=since, until=until, restart=full_refresh)

    resolved = resolve_accounts(
        "onepin",
        accounts,
        credentials={"api_key": api_key},
        settings={
            "base_url": base_url,
            "timezone": timezone,
            "workspace_id": workspace_id,
            "language_views": language_views,
            "activity_types": activity_types,
            "activity_user_ids": activity_user_ids,
        },
        distinguished_by=("workspace_id",),
    )
    workspaces = {account.name: _workspace(account, pace, journal) for account in resolved}
    parts: dict[str, list[Partition[Read]]] = {table.name: [] for table in TABLES}
    for account in resolved:
        name, workspace, settings = account.name, workspaces[account.name], account.settings
        zone = workspace.timezone

        def add(
            table: Table,
            read: Read,
            plan: Plan | None,
            where: Mapping[str, str],
            name: str = name,
            learn: Callable[[], Mapping[str, str]] = workspace.identity,
        ) -> None:
            if plan is not None:
                parts[table.name].append(Partition(name, read, plan, where, learn))

        # Two days more than are documented: which local days a range has is not stated, and the answer shows it.
        days = plan_of("day", reach=DAYS_IN_REACH + 2, timezone=zone)
        add(USAGE_DAILY, partial(workspace.daily, table=USAGE_DAILY), days, {"timezone": zone})
        for view, (_, unit) in BUCKET_VIEWS.items():
            buckets = plan_of(unit, reach=BUCKETS_IN_REACH, timezone=zone)
            read: Read = partial(workspace.buckets, view=view, table=USAGE_BUCKETS)
            add(USAGE_BUCKETS, read, buckets, {"view": view, "timezone": zone})
        snapshot = plan_of("day", reach=1, timezone=zone)
        for range_ in RANGES:
            read = partial(workspace.snapshot, range_=range_, table=USAGE_SUMMARY)
            add(USAGE_SUMMARY, read, snapshot, {"range": range_})
            read = partial(workspace.languages, period=range_, table=USAGE_BY_LANGUAGE)
            add(USAGE_BY_LANGUAGE, read, snapshot, {"range": range_})
        for view in _chosen(settings["language_views"], VIEWS, setting="sources.onepin.language_views"):
            read = partial(workspace.languages, period=view, table=USAGE_BY_LANGUAGE)
            add(USAGE_BY_LANGUAGE, read, snapshot, {"activity_view": view})
        feed = plan_of("hour", reach=(DAYS_IN_REACH + 2) * 24, lookback=span)
        actions = _chosen(settings["activity_types"], ACTIONS, setting="sources.onepin.activity_types")
        members = parse_names(settings["activity_user_ids"], setting="sources.onepin.activity_user_ids")
        for action, member in product(actions or ("",), members or ("",)):
            read = partial(
                read_activity,
                client=workspace.client,
                filters=_given(type=action, user_id=member),
                timezone=zone,
                page_size=page_size,
                table=USAGE_ACTIVITY,
            )
            add(USAGE_ACTIVITY, read, feed, _given(action=action, user_id=member))
    for table in TABLES:
        yield windowed_resource(table, parts=parts[table.name], fetch=_read, journal=journal)
    yield credentials_check(workspaces, Workspace.probe)


def _read(read: Read, window: Window) -> FetchResult:
    return read(window)


def _workspace(account: Account, pace: int, journal: Journal) -> Workspace:
    workspace_id = account.settings["workspace_id"]
    client = Client(
        "onepin",
        account.settings["base_url"],
        auth=BearerAuth(account.credentials["api_key"], {"X-Workspace-Id": workspace_id} if workspace_id else None),
        error_from_response=error_from_response,
        rate_limiter=RateLimiter(pace),
        observer=journal,
    )
    return Workspace(client, _timezone(account.settings["timezone"]))


def _plan(
    unit: Unit,
    *,
    start: DateTime,
    since: str | None,
    until: str | None,
    restart: bool,
    reach: int,
    lookback: timedelta = timedelta(days=400),
    timezone: str = "UTC",
) -> Plan | None:
    """The plan of one table; None where a backfill holds no whole week or month of it."""
    backfill = backfill_window(since, until, unit)
    if backfill is not None and unit in {"week", "month"}:
        first, behind = ceil(backfill.start, unit), floor(backfill.end, unit)
        if first >= behind:
            return None
        backfill = Window(first, behind)
    return Plan(
        unit=unit,
        initial_date=start,
        lookback=lookback,
        longest=timedelta(days=1000),  # one answer has all that there is
        backfill=backfill,
        restart=restart,
        reach=reach,
        timezone=timezone,
    )


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ConfigurationError(
            f"sources.onepin.timezone is {name!r}, which is no IANA time zone",
            hint="Write it as UTC, Europe/Berlin or America/New_York.",
        ) from None
    return name


def _chosen(value: Any, allowed: tuple[str, ...], *, setting: str) -> tuple[Any, ...]:
    names = parse_names(value, setting=setting)
    for name in names:
        if name not in allowed:
            raise ConfigurationError(f"{setting} has {name!r}", hint=f"Use some of {', '.join(allowed)}.")
    return names


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
