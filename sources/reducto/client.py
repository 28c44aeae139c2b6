"""Requests to `GET /api/v1/usage/export`, for one organisation."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from threading import Lock
from types import MappingProxyType
from typing import Any

from meterhouse.sources._core.errors import SourceError, UnexpectedValue
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.windows import utc_now

from .constants import ENDPOINT

_ORG_ID = re.compile(r"[\w.:@-]{1,128}")


@dataclass
class ReductoClient:
    """The usage export of one organisation: `org_id` as configured, or '' for the key's own organisation."""

    http: Client
    org_id: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    _own: str = field(default="", init=False)
    _resolving: Lock = field(default_factory=Lock, init=False)

    def usage(self, first: date, last: date, grouping: str) -> dict[str, Any]:
        """The response for the days from `first` to `last`.

        Raises:
            SourceError: the request failed, or the response is for another grouping or organisation.
        """
        response: dict[str, Any] = self.http.get(
            ENDPOINT,
            {
                "startDate": first.isoformat(),
                "endDate": last.isoformat(),
                "groupBy": grouping,
                **({"orgId": self.org_id} if self.org_id else {}),
                **self.filters,
            },
        )
        for name, expected in (("groupBy", grouping), ("orgId", self.org_id or self._own)):
            value = response.get(name)
            if not isinstance(value, str) or (expected and value != expected):
                raise self.unexpected(f"field {name} holds {value!r}, but the request was for {expected or 'a text'!r}")
        return response

    def own_organisation(self) -> Mapping[str, str]:
        """The organisation that the key belongs to, which only a response shows; requested once.

        Without the id, rows of another organisation would count as withdrawn if the key moves or `org_ids` changes.

        Raises:
            SourceError: the request failed, or the id is not a plain identifier.
        """
        with self._resolving:
            if not self._own:
                own = self.check_credentials()["orgId"]
                if not _ORG_ID.fullmatch(own):  # it becomes SQL
                    raise self.unexpected(f"orgId is {own!r}, which is not an identifier")
                self._own = own
        return {"org_id": self._own}

    def check_credentials(self) -> dict[str, Any]:
        """The response to the smallest request: two days by product.

        Raises:
            SourceError: the request failed.
        """
        today = utc_now().date()
        with self.naming_organisation():
            return self.usage(today - timedelta(days=1), today, "product")

    @contextmanager
    def naming_organisation(self) -> Iterator[None]:
        """Adds the organisation to errors in the block: an account may have many, and an error concerns one of them."""
        try:
            yield
        except SourceError as error:
            if not self.org_id:
                raise
            raise type(error)(
                f"organisation {self.org_id}: {error.problem}",
                hint=error.hint,
                provider=error.provider,
                endpoint=error.endpoint,
                status=error.status,
            ) from None

    def unexpected(self, problem: str) -> UnexpectedValue:
        """The error for a response that the documentation does not describe."""
        return UnexpectedValue(
            problem,
            provider=self.http.provider,
            endpoint=ENDPOINT,
            hint="The response differs from the documentation, so nothing was changed; please report it.",
        )


def check_all(organisations: Iterable[ReductoClient]) -> None:
    """Sends the smallest request for each organisation of an account."""
    for client in organisations:
        client.check_credentials()
