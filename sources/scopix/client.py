"""Requests to the usage endpoints of Scopix, with one account's credentials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.config.accounts import Account
from meterhouse.sources._core.errors import ConfigurationError, MalformedResponse, QuotaExhausted, SourceError
from meterhouse.sources._core.events import fail_fast
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client, Params, Response
from meterhouse.sources._core.http.rate_limit import RateLimiter
from meterhouse.sources._core.response_cache import ResponseCache
from meterhouse.sources._core.source import SourceBuilder
from meterhouse.sources._core.windows import Unit, Window, utc_now

from .constants import BREAKDOWN, BY_PERIOD, CHECK, DASHBOARD, PLAN, SUMMARY, TOKENS, TOP_ENDPOINTS
from .errors import error_from_response
from .estimate import RequestEstimate
from .times import date_params, time_params

Json = dict[str, Any]


@dataclass
class ServerBehaviour:
    """What responses have shown so far about behaviour that Scopix does not document."""

    paging_styles: dict[str, str] = field(default_factory=dict)
    """How each list is paged, by endpoint."""
    key_filter_endpoints: set[str] = field(default_factory=set)
    """The endpoints that are known to apply `api_key_id`."""
    applies_token_dates: bool | None = None
    """Whether `tokens/monthly` applies its dates. None before the first proof; False if nothing can prove it, because the
    account never used a token."""
    includes_last_token_day: bool = False
    """Whether `tokens/monthly` is known to include the last day of a request."""


@dataclass
class ScopixClient:
    """The usage endpoints for one account. All but `check` share the rate limit of `http`."""

    account: str
    http: Client
    check_http: Client
    estimate: RequestEstimate
    server: ServerBehaviour = field(default_factory=ServerBehaviour)
    counted_tables: set[str] = field(default_factory=set)
    """The tables whose list length was requested for the estimate, so that their first pages add nothing to it."""
    seen_keys: set[str] | None = None
    """The ids of the API keys in the newest events; None before they are requested."""
    identifying: Lock = field(default_factory=Lock, repr=False)
    """Held while the newest events are requested, so that several tables send one request."""
    _dashboards: ResponseCache[Json] = field(default_factory=ResponseCache, init=False)

    def get(self, endpoint: str, params: Params, *, list_field: str | None = None, announce: bool = True) -> Json:
        """One response. Parameters that are '' are not sent.

        Args:
            endpoint: the path below the base URL.
            params: the query.
            list_field: a field that must hold a list.
            announce: reports the estimated duration of the run first, if there is something new to report.

        Raises:
            SourceError: the request failed; MalformedResponse if the list is missing.
        """
        if announce:
            self.estimate.announce(self.account)

        def error_without_list(response: Response) -> SourceError | None:
            if list_field is None or isinstance(response.payload.get(list_field), list):
                return None
            return MalformedResponse(f"the response has no list {list_field}", hint="Run again later; check base_url.")

        self.estimate.count_sent()
        query = {name: value for name, value in params.items() if value != ""}
        payload: Json = self.http.get(endpoint, query, error_from_response=error_without_list)
        return payload

    def summary(self, period: str) -> Json:
        """The summary of the running day, week or month."""
        return self.get(SUMMARY, {"period": period})

    def day_summary(self, day: Window, api_key_id: str) -> Json:
        """The summary of one day, for one API key or, with '', for all keys together."""
        return self.get(SUMMARY, {**time_params(day), "period": "day", "api_key_id": api_key_id})

    def by_period(self, period_type: Unit, window: Window, api_key_id: str) -> Json:
        """The buckets of the window (list `data`), for one API key or, with '', for all keys together."""
        params = {"period_type": period_type, **time_params(window), "api_key_id": api_key_id}
        return self.get(BY_PERIOD, params, list_field="data")

    def breakdown(self) -> Json:
        """The credits of the running billing period."""
        return self.get(BREAKDOWN, {})

    def top_endpoints(self, window: Window, limit: int) -> list[Any]:
        """The endpoints with most requests in the window, in descending order."""
        params = {"limit": limit, **time_params(window)}
        endpoints: list[Any] = self.get(TOP_ENDPOINTS, params, list_field="endpoints")["endpoints"]
        return endpoints

    def dashboard(self, period: str, reader: str) -> Json:
        """The dashboard of a period. The tables of its totals and of its days share the response; `reader` is the table."""
        params = {"period": period}
        return self._dashboards.take(period, reader, utc_now().date(), lambda: self.get(DASHBOARD, params))

    def dashboard_with_days(self, period: str, reader: str) -> Json:
        """As `dashboard`, but the response has the list `daily_activity`; the shared response may lack it."""
        payload = self.dashboard(period, reader)
        if isinstance(payload.get("daily_activity"), list):
            return payload
        return self.get(DASHBOARD, {"period": period}, list_field="daily_activity")

    def plan(self, period: str, *, include_projections: bool) -> Json:
        """The plan and its use in the running period."""
        return self.get(PLAN, {"period": period, "include_projections": "true" if include_projections else "false"})

    def tokens(self, first: DateTime, last: DateTime) -> Json:
        """The tokens of the days from `first` to `last`, both included, with the newer parameters."""
        return self.get(TOKENS, date_params(first, last))

    def tokens_of_month(self, first: DateTime, last: DateTime) -> Json:
        """The tokens of the calendar month from `first` to `last`, with the newer and the older parameters for it."""
        return self.get(TOKENS, {**date_params(first, last), "year": first.year, "month": first.month})

    def check(self, operation: Mapping[str, Any]) -> Json:
        """Whether Scopix would allow an operation. Fields that are '' are not sent."""
        payload: Json = self.check_http.post(CHECK, {name: value for name, value in operation.items() if value != ""})
        return payload

    def check_credentials(self, operation: Mapping[str, Any]) -> None:
        """Sends one `check`.

        Raises:
            SourceError: the key does not work.
        """
        try:
            self.check(operation)
        except QuotaExhausted:
            return  # the key works; the tables show that the quota is used up


def connect(source: SourceBuilder, accounts: Sequence[Account], check_requests_per_minute: int) -> dict[str, ScopixClient]:
    """A client for each account, by name. Accounts with the same key share its rate limits, because Scopix counts by key.

    Raises:
        ConfigurationError: two accounts have the same key, and one of them has no tenant.
    """
    _require_tenants(accounts)
    shared: dict[tuple[str, str], tuple[RateLimiter, RateLimiter, RequestEstimate]] = {}
    clients = {}
    for account in accounts:
        key, url = account.credentials["api_key"], str(account.settings["base_url"])
        if (key, url) not in shared:
            limiter = source.rate_limiter()
            estimate = RequestEstimate(limiter, source.observer or fail_fast)
            shared[key, url] = limiter, RateLimiter(check_requests_per_minute), estimate
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


def _require_tenants(accounts: Sequence[Account]) -> None:
    """Several accounts may have the same key only if each of them names its tenant."""
    for account in accounts:
        for other in accounts:
            if account is not other and account.credentials == other.credentials and not account.settings["tenant_id"]:
                raise ConfigurationError(
                    f"the accounts {account.name} and {other.name} of scopix have the same api_key, and {account.name} has "
                    "no tenant_id. If both have the same tenant, all usage counts twice",
                    hint=f"Set sources.scopix.accounts.{account.name}.tenant_id, or remove one of the two.",
                )
