"""What the sources of all providers share: their common settings, and the plans, accounts and clients built from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dlt.sources import DltResource
from pendulum import DateTime

from meterhouse.sources._core.config.accounts import Account, resolve_accounts
from meterhouse.sources._core.config.parse import (
    backfill_window,
    parse_choices,
    parse_duration,
    parse_moment,
    parse_names,
    parse_number,
    parse_timezone,
    parse_unit,
)
from meterhouse.sources._core.events import Observer, fail_fast
from meterhouse.sources._core.history import COMPLETE, HistorySettings
from meterhouse.sources._core.http.auth import HeaderAuth
from meterhouse.sources._core.http.client import Client, ErrorFromResponse
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windowed_resource import windowed_resource
from meterhouse.sources._core.windows import Unit, Window


@dataclass(frozen=True, kw_only=True)
class SourceBuilder:
    """The common settings of one call of a provider's source function.

    Every method raises ConfigurationError for a wrong setting; the message names it as `sources.<provider>.<setting>`.

    Args:
        provider: its section in the configuration, `[sources.<provider>]`.
        base_url: the address of the API; an account may set its own.
        initial_date: where the first run begins, as text or as a moment in UTC.
        lookback: how much of the loaded time each run requests again.
        requests_per_minute: the limit of each account.
        accounts: several keys by name; see `resolve_accounts`.
        since: start of a backfill; see `backfill_window`.
        until: end of a backfill, excluded.
        full_refresh: begins at `initial_date` again and ignores the cursors.
        history: which replaced rows go to the history of a table: `complete`, those whose bucket had ended, or `all`.
        history_retention: how long they stay there; for ever by default.
        observer: receives the events; `fail_fast` by default.
    """

    provider: str
    base_url: str
    initial_date: str | DateTime
    lookback: str
    requests_per_minute: int
    accounts: Any
    since: str | None
    until: str | None
    full_refresh: bool
    history: str = COMPLETE
    history_retention: str | None = None
    observer: Observer | None = None

    def __post_init__(self) -> None:
        # Checked here, so that a wrong setting is an error even without credentials.
        self.number("requests_per_minute", self.requests_per_minute)
        self.duration("lookback", self.lookback)
        self._history()
        if isinstance(self.initial_date, str):
            parse_moment(self.initial_date, setting=self.setting("initial_date"))

    def setting(self, name: str) -> str:
        """The setting's full name, for error messages."""
        return f"sources.{self.provider}.{name}"

    def duration(self, name: str, value: str) -> timedelta:
        """A duration, such as `7 days`."""
        return parse_duration(value, setting=self.setting(name))

    def number(self, name: str, value: int, *, least: int = 1, most: int | None = None) -> int:
        """A whole number from `least` to `most`."""
        return parse_number(value, setting=self.setting(name), least=least, most=most)

    def unit(self, name: str, value: str) -> Unit:
        """One of hour, day, week and month."""
        return parse_unit(value, setting=self.setting(name))

    def names(self, name: str, value: Any) -> tuple[str, ...]:
        """A list of texts, or one text with commas."""
        return parse_names(value, setting=self.setting(name))

    def choices(self, name: str, value: Any, allowed: Sequence[str]) -> tuple[Any, ...]:
        """A list of texts, as `names`, each of which is in `allowed`."""
        return parse_choices(value, allowed, setting=self.setting(name))

    def timezone(self, name: str, value: str) -> str:
        """An IANA time zone."""
        return parse_timezone(value, setting=self.setting(name))

    def plan(
        self,
        unit: Unit,
        *,
        longest: timedelta,
        lookback: timedelta | None = None,
        reach: int | None = None,
        timezone: str = "UTC",
    ) -> Plan:
        """The plan of a table in buckets of `unit`; see `Plan`. `lookback` replaces the common one."""
        return self._plan(unit, backfill_window(self.since, self.until, unit), longest, lookback, reach, timezone)

    def plan_of_whole_buckets(
        self,
        unit: Unit,
        *,
        longest: timedelta,
        lookback: timedelta | None = None,
        reach: int | None = None,
        timezone: str = "UTC",
    ) -> Plan | None:
        """As `plan`, but a backfill requests only the whole buckets in its window; None if there is none."""
        backfill = backfill_window(self.since, self.until, unit)
        whole = backfill and backfill.whole_buckets(unit)
        if backfill and not whole:
            return None
        return self._plan(unit, whole, longest, lookback, reach, timezone)

    def _plan(
        self,
        unit: Unit,
        backfill: Window | None,
        longest: timedelta,
        lookback: timedelta | None,
        reach: int | None,
        timezone: str,
    ) -> Plan:
        begin = self.initial_date
        return Plan(
            unit=unit,
            initial_date=parse_moment(begin, setting=self.setting("initial_date")) if isinstance(begin, str) else begin,
            lookback=self.duration("lookback", self.lookback) if lookback is None else lookback,
            longest=longest,
            backfill=backfill,
            restart=self.full_refresh,
            reach=reach,
            timezone=timezone,
        )

    def resolve_accounts(
        self,
        credentials: Mapping[str, str | None],
        settings: Mapping[str, Any] | None = None,
        *,
        distinguished_by: Sequence[str] = (),
    ) -> list[Account]:
        """The configured accounts; `settings` are those that an account may set for itself, besides `base_url`.

        Raises:
            NotConfigured: no credentials are set.
        """
        return resolve_accounts(
            self.provider,
            self.accounts,
            credentials=credentials,
            settings={"base_url": self.base_url, **(settings or {})},
            distinguished_by=distinguished_by,
        )

    def rate_limiter(self, requests_per_minute: int | None = None) -> RateLimiter:
        """A new rate limiter with the configured `requests_per_minute`, or with another limit."""
        return RateLimiter(requests_per_minute or self.requests_per_minute)

    def client(
        self,
        account: Account,
        auth: HeaderAuth,
        error_from_response: ErrorFromResponse,
        rate_limiter: RateLimiter | None = None,
    ) -> Client:
        """The HTTP client of an account, with a rate limiter of its own unless one is given."""
        return Client(
            self.provider,
            str(account.settings["base_url"]),
            auth=auth,
            error_from_response=error_from_response,
            rate_limiter=rate_limiter or self.rate_limiter(),
            observer=self.observer or fail_fast,
            section=account.section,
        )

    def resource(self, table: Table, partitions: Sequence[Partition]) -> DltResource:
        """The dlt resource that loads `table`."""
        return windowed_resource(table, partitions, observer=self.observer, history=self._history())

    def _history(self) -> HistorySettings:
        return HistorySettings.parse(self.history, self.history_retention, self.setting)
