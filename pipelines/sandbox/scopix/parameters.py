"""The parameters of `/api/v2/usage/*`: as in the vendor's framework, unknown ones are ignored, bad ones lead to 422."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.datastructures import QueryParams

from meterhouse.pipelines.sandbox.dates import moment
from meterhouse.pipelines.sandbox.responses import ErrorResponse
from meterhouse.pipelines.sandbox.scopix.errors import invalid


@dataclass(frozen=True)
class Parameters:
    """The query of a request."""

    query: QueryParams

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        text = self.query.get(name, str(default))
        if not text.isascii() or not text.lstrip("-").isdigit() or not least <= int(text) <= most:
            raise _invalid(name, f"Input should be a whole number from {least} to {most}")
        return int(text)

    def choice(self, name: str, default: str, *allowed: str) -> str:
        """One of the allowed texts."""
        text = self.query.get(name, default)
        if text not in allowed:
            raise _invalid(name, f"Input should be {' or '.join(allowed)}")
        return text

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false, in lower case or as Python writes them."""
        return self.choice(name, str(default), "true", "false", "True", "False").lower() == "true"

    def time(self, name: str) -> datetime | None:
        """A date or time, if given."""
        if name not in self.query:
            return None
        try:
            return moment(self.query[name])
        except ValueError:
            raise _invalid(name, "Input should be a valid datetime") from None

    def page(self, rows: Sequence[Any], *, ignored: bool) -> tuple[Sequence[Any], dict[str, int]]:
        """The page of `limit` rows from `offset` on (the first if paging is `ignored`), and the fields with the counts."""
        limit, offset = self.number("limit", 50, 1, 100), self.number("offset", 0, 0, 10**9)
        start = 0 if ignored else offset
        return rows[start : start + limit], {"total_count": len(rows), "limit": limit, "offset": start}

    def api_key_id(self) -> str | None:
        """The id of an API key, if given."""
        if "api_key_id" not in self.query:
            return None
        try:
            return str(UUID(self.query["api_key_id"]))
        except ValueError:
            raise _invalid("api_key_id", "Input should be a valid UUID") from None


def _invalid(name: str, message: str) -> ErrorResponse:
    return invalid(message, "query", name)
