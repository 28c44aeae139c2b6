"""Requests to Scopix' usage resource for one account, and what the responses show about the server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.errors import (
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    QuotaExhausted,
    RequestRejected,
    SourceError,
)
from meterhouse.sources._core.http.client import Client, ErrorFromResponse, Params, Response
from meterhouse.sources._core.response_cache import ResponseCache
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import utc_now

from .constants import CHECK
from .estimate import RequestEstimate

UNKNOWN_KEY = "00000000-0000-4000-8000-000000000000"
"""The id of an API key that does not exist."""


@dataclass
class ScopixClient:
    """One account. All tables but `usage_checks` share `http` and its rate limit; `check_http` has the limit of `check`."""

    account: str
    http: Client
    check_http: Client
    estimate: RequestEstimate
    paging_styles: dict[str, str] = field(default_factory=dict)
    """How each list is paged, by endpoint, once that is known."""
    token_dates_work: bool | None = None
    """Whether the server applies the dates of a request for tokens. None if that is not known, False if the responses cannot
    show it, because no token was ever used."""
    token_end_is_included: bool = False
    """Whether the server is known to include the last day of such a request."""
    _dashboards: ResponseCache[dict[str, Any]] = field(default_factory=ResponseCache, init=False)
    _filters_keys: set[str] = field(default_factory=set, init=False)
    """The endpoints that are known to apply `api_key_id`."""
    _counted: set[str] = field(default_factory=set, init=False)

    def get(self, endpoint: str, params: Params, *, list_field: str | None = None) -> dict[str, Any]:
        """The response to one request; `list_field` names a field that must hold a list.

        Raises:
            SourceError: the request failed, or the list is missing.
        """
        self.estimate.announce(self.account)

        def error_without_list(response: Response) -> SourceError | None:
            if list_field is None or isinstance(response.payload.get(list_field), list):
                return None
            return MalformedResponse(f"the response has no list {list_field}", hint="Run again later; check base_url.")

        return self._send(endpoint, params, error_without_list)

    def dashboard(self, period: str, table: Table) -> dict[str, Any]:
        """The dashboard of a period. Its totals and its days are two tables, which share the response."""
        today = utc_now().date()
        return self._dashboards.take(period, table.name, today, lambda: self.get(table.endpoint, {"period": period}))

    def check(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """The response to `check`: whether Scopix would allow the operation. Empty fields are not sent."""
        body = {name: value for name, value in operation.items() if value != ""}
        payload: dict[str, Any] = self.check_http.post(CHECK, body)
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

    def require_key_filter(self, table: Table, params: Params, has_usage: Callable[[dict[str, Any]], bool]) -> None:
        """Requests, once for each endpoint, the usage of a key that does not exist, for a time that has usage.

        Raises:
            IncompleteResponse: the server ignores `api_key_id`, so each key would get the usage of all.
        """
        if table.endpoint in self._filters_keys:
            return
        try:
            payload = self.get(table.endpoint, {**params, "api_key_id": UNKNOWN_KEY})
        except (CredentialsRejected, RequestRejected):
            payload = {}  # the server applies the filter, and does not know the key
        if payload and has_usage(payload):
            raise IncompleteResponse(
                "the server ignores api_key_id: for a key that does not exist, it returns usage",
                provider=table.provider,
                endpoint=table.endpoint,
                hint="Remove api_key_ids from [sources.scopix], which loads the usage of all keys together.",
            )
        self._filters_keys.add(table.endpoint)

    def count_list(self, table: Table, params: Params) -> dict[str, Any]:
        """Requests the length of a list beforehand, so that its pages are part of the estimate from the start."""
        self._counted.add(table.name)
        self.estimate.add(table.name, 1)
        return self._send(table.endpoint, params)

    def is_counted(self, table: Table) -> bool:
        """Whether `count_list` was called for the table."""
        return table.name in self._counted

    def add_pages(self, table: Table, pages: int) -> None:
        """Adds pages to the estimate that the first page of a list announces, unless `count_list` has added them."""
        if not self.is_counted(table):
            self.estimate.add(table.name, pages)

    def _send(self, endpoint: str, params: Params, error_from_response: ErrorFromResponse | None = None) -> dict[str, Any]:
        self.estimate.count_sent()
        given = {name: value for name, value in params.items() if value != ""}
        payload: dict[str, Any] = self.http.get(endpoint, given, error_from_response=error_from_response)
        return payload


def start_text(moment: DateTime) -> str:
    """The first moment of a window, as a parameter."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def end_text(end: DateTime) -> str:
    """The last moment before `end`, as a parameter.

    The samples name the last second as the end of a period, so the end seems to be included. Then a microsecond before the
    end is right; if the end is excluded, it is wrong by one microsecond.
    """
    return end.subtract(microseconds=1).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
