"""Who asks Scopix for one account: its two clients, what it learns about the server, and how long all of it will take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pendulum import DateTime

from sources._core.http import Client, MalformedAnswer, Params
from sources._core.journal import Journal

A_MINUTE = 60.0


@dataclass
class Asker:
    """One account. All of its tables share `client` and thereby one budget; `check` has a budget of its own."""

    account: str
    client: Client
    checker: Client
    journal: Journal
    styles: dict[str, str] = field(default_factory=dict)
    """How each list is paged, once that is known."""
    takes_dates: bool = False
    """Whether the server is known to look at the dates of a question about tokens."""
    _foreseen: int = 0
    _tables: set[str] = field(default_factory=set)
    _announced: bool = False

    def get(self, endpoint: str, params: Params, *, answers: str | None = None) -> dict[str, Any]:
        """The answer to one question; with `answers`, a field that it must have, holding a list."""
        self._announce()
        payload: dict[str, Any] = self.client.get(endpoint, {name: value for name, value in params.items() if value != ""})
        if answers is not None and not isinstance(payload.get(answers), list):
            raise MalformedAnswer(
                f"the answer has no list {answers}",
                provider=self.client.provider,
                endpoint=endpoint,
                way_out="Run again later; check base_url.",
            )
        return payload

    def peek(self, endpoint: str, params: Params) -> dict[str, Any]:
        """As `get`, while it is still being found out how much there is to ask."""
        self._foreseen += 1
        payload: dict[str, Any] = self.client.get(endpoint, {name: value for name, value in params.items() if value != ""})
        return payload

    def check(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to the question whether an operation would be let through."""
        payload: dict[str, Any] = self.checker.post(endpoint, body)
        return payload

    def foresee(self, table: str, requests: int) -> None:
        """Counts requests that `table` is known to need, before any table has begun."""
        self._tables.add(table)
        self._foreseen += requests

    def discover(self, table: str, requests: int) -> None:
        """Counts requests that only the first page of a list tells of, and says how long they take."""
        if table in self._tables:
            return
        self.foresee(table, requests)
        if (seconds := self._seconds()) > A_MINUTE:
            self.journal.expecting(table, self.account, requests, seconds)

    def _announce(self) -> None:
        """Says once, when the first table begins, how long all that is foreseen takes, if it is more than a minute."""
        if not self._announced and self._foreseen:
            self._announced = True
            if (seconds := self._seconds()) > A_MINUTE:
                self.journal.expecting("*", self.account, self._foreseen, seconds)

    def _seconds(self) -> float:
        return self.client.budget.seconds_for(max(0, self._foreseen - self.client.requests_sent))


@dataclass(frozen=True)
class Ask:
    """A part of a table: whom to ask, and about which key, operation or period."""

    asker: Asker
    where: Mapping[str, str]

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
