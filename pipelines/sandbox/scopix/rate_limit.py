"""What every request to Scopix passes first: its key, its parameters, its limit a minute. And how errors are written."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.pipelines.sandbox.scopix.fixtures import Credential
from meterhouse.pipelines.sandbox.scopix.store import moment

_MINUTE = 60.0
DOCUMENTED, DOCUMENTED_OF_CHECK = 30, 60
"""The vendor's limits a minute: of all endpoints but `check` together, and of `check`."""
GRANTED = 100_000
"""What a vendor might grant a large customer: whoever tries the sandbox need not wait as at the vendor's."""


@dataclass(slots=True)
class Options:
    """How the vendor behaves where its documents leave a choice or changed; change them at any time.

    `envelope` "offset" is the newer paging of events by limit and offset, "page" the older by page and page_size. `totals`
    says whether the newer one counts all rows. `paging` "ignored" answers every page with the first. `tokens` "dates" is the
    newer question about tokens by start_date and end_date, "end excluded" the same without the last day, "months" the older
    by year and month. Each passes over the parameters of the other, as the vendor's framework does. `keys` "ignored" answers
    for all API keys whichever is asked about.

    `edit` is called with the path and the body of each answer before it is sent, to change what no option foresees.

    `before_page` is called with the path and the number of pages of it answered so far, just before the next one is: the
    place where events arrive or vanish while somebody pages.

    `requests_per_minute` and `check_requests_per_minute` are the limits that are kept, and stated in every answer.
    """

    envelope: Literal["offset", "page"] = "offset"
    totals: bool = True
    paging: Literal["honoured", "ignored"] = "honoured"
    tokens: Literal["dates", "end excluded", "months"] = "dates"
    keys: Literal["honoured", "ignored"] = "honoured"
    edit: Callable[[str, dict[str, Any]], None] | None = None
    before_page: Callable[[str, int], None] | None = None
    requests_per_minute: int = GRANTED
    check_requests_per_minute: int = GRANTED
    clock: Callable[[], float] = time.monotonic
    past_due: set[str] = field(default_factory=set)
    exhausted: set[str] = field(default_factory=set)


class ProblemError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


def problem(code: str, message: str, **details: Any) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": code, "message": message, "details": details}, "request_id": "req_sandbox"}


def json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


class Gate:
    """Knows the keys and counts their requests."""

    def __init__(self, credentials: tuple[Credential, ...], options: Options) -> None:
        self._credentials = {f"Bearer {credential.api_key}": credential for credential in credentials}
        self._options = options
        self._turns: dict[tuple[str, bool], deque[float]] = {}

    def admit(self, request: Request, *, is_check: bool = False) -> tuple[Credential, dict[str, str]]:
        """Whose request it is, and the headers that its answer has.

        Raises:
            ProblemError: it is nobody's, of another tenant, of one who has not paid, or one too many this minute.
        """
        credential = self._credentials.get(request.headers.get("authorization", ""))
        if credential is None:
            raise ProblemError(401, problem("INVALID_API_KEY", "Invalid API key"))
        headers = self._count(credential.account, is_check=is_check)
        if request.headers.get("x-tenant-id", credential.tenant_id) != credential.tenant_id:
            raise ProblemError(403, problem("TENANT_ACCESS_DENIED", "The key does not belong to this tenant"), headers)
        if credential.account in self._options.past_due:
            raise ProblemError(402, problem("SUBSCRIPTION_PAST_DUE", "The subscription is past due"), headers)
        if credential.account in self._options.exhausted:
            raise ProblemError(403, problem("USAGE_LIMIT_EXCEEDED", "The monthly allowance is used up"), headers)
        return credential, headers

    def _count(self, account: str, *, is_check: bool) -> dict[str, str]:
        limit = self._options.check_requests_per_minute if is_check else self._options.requests_per_minute
        now = self._options.clock()
        turns = self._turns.setdefault((account, is_check), deque())
        while turns and turns[0] <= now - _MINUTE:
            turns.popleft()
        too_many = len(turns) >= limit
        if not too_many:
            turns.append(now)
        reset = max(1, int(turns[0] + _MINUTE - now + 0.999))
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(limit - len(turns)),
            "X-RateLimit-Reset": str(reset),
        }
        if too_many:
            body = problem("RATE_LIMIT_ERROR", "Rate limit exceeded", limit=limit)
            raise ProblemError(429, body, {**headers, "Retry-After": str(reset)})
        return headers


@dataclass(frozen=True)
class Parameters:
    """A query, read as the vendor's framework reads it: what is unknown is passed over, what is wrong is a 422."""

    query: QueryParams

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        text = self.query.get(name, str(default))
        if not text.isascii() or not text.lstrip("-").isdigit() or not least <= int(text) <= most:
            raise self.wrong(name, f"Input should be a whole number from {least} to {most}")
        return int(text)

    def choice(self, name: str, default: str, *allowed: str) -> str:
        """One of the texts allowed."""
        text = self.query.get(name, default)
        if text not in allowed:
            raise self.wrong(name, f"Input should be {' or '.join(allowed)}")
        return text

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false, in capitals too: so Python's own text of it is."""
        return self.choice(name, str(default), "true", "false", "True", "False").lower() == "true"

    def time(self, name: str) -> datetime | None:
        """A date or time, where there is one."""
        if name not in self.query:
            return None
        try:
            return moment(self.query[name])
        except ValueError:
            raise self.wrong(name, "Input should be a valid datetime") from None

    def key(self) -> str | None:
        """The id of an API key, where there is one."""
        if "api_key_id" not in self.query:
            return None
        try:
            return str(UUID(self.query["api_key_id"]))
        except ValueError:
            raise self.wrong("api_key_id", "Input should be a valid UUID") from None

    @staticmethod
    def wrong(name: str, message: str) -> ProblemError:
        """The framework's own error."""
        return ProblemError(422, {"detail": [{"loc": ["query", name], "msg": message, "type": "value_error"}]})
