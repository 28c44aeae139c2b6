"""Who asks Scopix for one account: its two clients, what it learns about the server, and how long all of it will take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.errors import (
    CredentialsRejected,
    IncompleteResponse,
    MalformedResponse,
    RequestRejected,
    SourceError,
)
from meterhouse.sources._core.http.client import Client, ErrorFromResponse, Params, Response
from meterhouse.sources._core.journal import Journal
from meterhouse.sources._core.response_cache import ResponseCache
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import utc_now

A_MINUTE = 60.0
MORE = 1.2
"""A forecast that has grown by a fifth since it was told is told again."""

NOBODY = "00000000-0000-4000-8000-000000000000"
"""The id of an API key that nobody has."""


@dataclass
class Forecast:
    """What the accounts of one API key have to ask and have asked; they share its budget, and so its waits.

    Several threads count at once, each under `lock`.
    """

    foreseen: int = 0
    sent: int = 0
    looked_at: int = 0
    """How much was foreseen when last it was looked at whether there is something to say."""
    tables: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


@dataclass
class Asker:
    """One account. All of its tables share `client` and thereby one budget; `check` has a budget of its own."""

    account: str
    client: Client
    checker: Client
    journal: Journal
    forecast: Forecast = field(default_factory=Forecast)
    styles: dict[str, str] = field(default_factory=dict)
    """How each list is paged, once that is known."""
    looks_at_dates: bool | None = None
    """Whether the server looks at the dates of a question about tokens; None where it is not known, False where nothing can
    show it, because no token was ever used."""
    includes_end: bool = False
    """Whether the server is known to answer of the last day of such a question, too."""
    _dashboards: ResponseCache[dict[str, Any]] = field(default_factory=ResponseCache)
    _looks_at_keys: set[str] = field(default_factory=set)
    _counted: set[str] = field(default_factory=set)

    def get(self, endpoint: str, params: Params, *, answers: str | None = None) -> dict[str, Any]:
        """The answer to one question; with `answers`, a field that it must have, holding a list."""
        self._announce()

        def has_list(answer: Response) -> SourceError | None:
            if answers is None or isinstance(answer.payload.get(answers), list):
                return None
            return MalformedResponse(f"the answer has no list {answers}", hint="Run again later; check base_url.")

        return self._ask(endpoint, params, has_list)

    def dashboard(self, period: str, table: Table) -> dict[str, Any]:
        """The dashboard of a period: its totals and its days are two tables, which share the answer."""
        day = utc_now().date()
        return self._dashboards.take(period, table.name, day, lambda: self.get(table.endpoint, {"period": period}))

    def check(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to the question whether an operation would be let through."""
        payload: dict[str, Any] = self.checker.post(endpoint, body)
        return payload

    def require_keys(self, table: Table, params: Params, tells_usage: Callable[[dict[str, Any]], bool]) -> None:
        """Asks, once an endpoint, about a key that nobody has, where there is usage to tell.

        Raises:
            IncompleteResponse: the server passes over `api_key_id`, so that each key would have the usage of all.
        """
        if table.endpoint in self._looks_at_keys:
            return
        try:
            payload = self.get(table.endpoint, {**params, "api_key_id": NOBODY})
        except (CredentialsRejected, RequestRejected):
            payload = {}  # it looked at the key, and does not know it
        if payload and tells_usage(payload):
            raise IncompleteResponse(
                "the server does not look at api_key_id: asked about a key that nobody has, it answers with usage",
                provider=table.provider,
                endpoint=table.endpoint,
                hint="Take api_key_ids out of [sources.scopix]: usage is loaded for all keys together then.",
            )
        self._looks_at_keys.add(table.endpoint)

    def foresee(self, table: str, requests: int) -> None:
        """Counts requests that `table` is known to need, before any table has begun."""
        with self.forecast.lock:
            self.forecast.tables.add(table)
            self.forecast.foreseen += requests

    def peek(self, table: Table, params: Params) -> dict[str, Any]:
        """As `get`, to find out beforehand how long a list is, so that its own pages have nothing to `discover`."""
        self._counted.add(table.name)
        self.foresee(table.name, 1)
        return self._ask(table.endpoint, params)

    def is_counted(self, table: Table) -> bool:
        """Whether it has been found out how long this list is."""
        return table.name in self._counted

    def discover(self, table: Table, requests: int) -> None:
        """Counts requests that only the first page of a list tells of."""
        if not self.is_counted(table):
            self.foresee(table.name, requests)

    def _ask(self, endpoint: str, params: Params, error_from_response: ErrorFromResponse | None = None) -> dict[str, Any]:
        with self.forecast.lock:
            self.forecast.sent += 1
        given = {name: value for name, value in params.items() if value != ""}
        payload: dict[str, Any] = self.client.get(endpoint, given, error_from_response=error_from_response)
        return payload

    def _announce(self) -> None:
        """Says how long all that is foreseen takes, if it is more than a minute: beforehand, and where it becomes more."""
        forecast = self.forecast
        with forecast.lock:
            if forecast.foreseen <= forecast.looked_at * MORE:
                return
            forecast.looked_at = forecast.foreseen
            to_come = max(0, forecast.foreseen - forecast.sent)
        seconds = self.client.rate_limiter.seconds_for(to_come)
        if seconds > A_MINUTE:
            (table,) = forecast.tables if len(forecast.tables) == 1 else ("*",)
            self.journal.expecting(table, self.account, to_come, seconds)


@dataclass(frozen=True)
class Ask:
    """A part of a table: whom to ask, about which key, operation or period, and where the first run of it began."""

    asker: Asker
    where: Mapping[str, str]
    begins: DateTime

    def of(self, name: str) -> str:
        """What the part is limited to; '' for no limit."""
        return self.where.get(name, "")


def start_text(moment: DateTime) -> str:
    """The first moment of a window, as a parameter."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def end_text(end: DateTime) -> str:
    """The last moment before `end`, as a parameter.

    The samples name the last second as the end of a period, so that the end seems to be included. A microsecond before the
    end is right then, and wrong by one microsecond if it is excluded after all.
    """
    return end.subtract(microseconds=1).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
