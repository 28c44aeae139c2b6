"""Requests to Onepin's usage endpoints, for the workspace of one account."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from meterhouse.sources._core.errors import UnexpectedValue
from meterhouse.sources._core.http.client import Client, Params
from meterhouse.sources._core.response_cache import ResponseCache
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import utc_now

from .constants import ACTIVITY, BY_LANGUAGE, LONGEST_RANGE, SUMMARY, VIEW_OF, WHOAMI, Range

_IDENTIFIER = re.compile(r"[\w.:@-]{1,128}")


@dataclass
class OnepinClient:
    """The workspace of an API key, in the calendar of `timezone`."""

    http: Client
    timezone: str
    _summaries: ResponseCache[dict[str, Any]] = field(default_factory=ResponseCache, init=False)
    _workspace_id: str = field(default="", init=False)
    _resolving: Lock = field(default_factory=Lock, init=False)

    def workspace(self) -> Mapping[str, str]:
        """The workspace that the key is bound to, which only the API knows; requested once.

        Without the id, a key of another workspace in the same account would overwrite the history of this one.

        Raises:
            SourceError: the request failed, or the id is not a plain identifier.
        """
        with self._resolving:
            self._workspace_id = self._workspace_id or self._request_workspace_id()
        return {"workspace_id": self._workspace_id}

    def summary(self, range_: Range, table: Table) -> dict[str, Any]:
        """The summary of a range: its totals, its days and the buckets of a view.

        These are three of our tables. They share one response, unless the local day changes in between.

        Raises:
            SourceError: the request failed, or the response is for another request.
        """
        today = utc_now().in_timezone(self.timezone).date()
        params = {"range": range_, "activity_view": VIEW_OF[range_]}
        return self._summaries.take(range_, table.name, today, lambda: self._get(SUMMARY, params, table))

    def by_language(self, params: Mapping[str, str], table: Table) -> dict[str, Any]:
        """The totals of each language for a `range` or an `activity_view`.

        Raises:
            SourceError: the request failed, or the response is for another request.
        """
        return self._get(BY_LANGUAGE, params, table)

    def activity(self, filters: Mapping[str, str], *, page_size: int, cursor: str | None) -> dict[str, Any]:
        """One page of the activity feed, newest first: the response with `data` and `pagination`.

        Raises:
            SourceError: the request failed.
        """
        params: Params = {
            "range": LONGEST_RANGE,
            "timezone": self.timezone,
            "limit": page_size,
            **filters,
            **({"cursor": cursor} if cursor else {}),
        }
        page: dict[str, Any] = self.http.get(ACTIVITY, params)
        return page

    def check_credentials(self) -> None:
        """Sends the smallest request that needs the same permission as a run."""
        self.http.get(SUMMARY, {"range": "30d", "activity_view": "daily", "timezone": self.timezone})

    def _request_workspace_id(self) -> str:
        data = self.http.get(WHOAMI, {})["data"]
        workspace_id = data.get("workspace_id") if isinstance(data, dict) else None
        if not isinstance(workspace_id, str) or not _IDENTIFIER.fullmatch(workspace_id):  # it becomes SQL
            raise UnexpectedValue(
                f"workspace_id is {workspace_id!r}, which is not an identifier",
                provider=self.http.provider,
                endpoint=WHOAMI,
                hint="Use an API key, which is bound to a workspace, instead of a session's token.",
            )
        return workspace_id

    def _get(self, endpoint: str, params: Mapping[str, str], table: Table) -> dict[str, Any]:
        """The `data` of a response, which must repeat the parameters of the request."""
        sent = {**params, "timezone": self.timezone}
        data = self.http.get(endpoint, sent)["data"]
        if not isinstance(data, dict):
            raise table.unexpected("the response is a list")
        for name, value in sent.items():
            if data.get(name) != value:
                raise UnexpectedValue(
                    f"the request was for {name} {value}, but the response has {name} {data.get(name)!r}",
                    provider=self.http.provider,
                    endpoint=endpoint,
                    hint="If it is another name of the same time zone, set sources.onepin.timezone to it."
                    if name == "timezone"
                    else "The response differs from the documentation; please report it.",
                )
        return data
