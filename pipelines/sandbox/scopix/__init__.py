"""The Scopix usage API of the sandbox."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.scopix.api import Usage
from meterhouse.pipelines.sandbox.scopix.fixtures import CREDENTIALS, Credential, Event, World
from meterhouse.pipelines.sandbox.scopix.rate_limit import DOCUMENTED, DOCUMENTED_OF_CHECK, Gate, Options, problem
from meterhouse.pipelines.sandbox.scopix.store import EventBook

__all__ = ["Credential", "Event", "EventBook", "Options", "Scopix", "World", "problem"]

ROOT = "/api/v2"


class _Selection(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/_sandbox/scopix/vanish`: arguments of `EventBook.vanish`."""

    start: str
    end: str | None = None
    account: str = "default"
    operation_type: str | None = None

    def match(self) -> dict[str, Any]:
        return {} if self.operation_type is None else {"operation_type": self.operation_type}


class _Restatement(_Selection, forbid_unknown_fields=True, kw_only=True):
    """The body of `/_sandbox/scopix/restate`: arguments of `EventBook.restate`."""

    to: dict[str, float | int | str]


class Scopix:
    """One vendor of the sandbox: its keys, its events, its behaviour and its routes.

    Attributes:
        credentials: an API key each; `default` and `studio` are the accounts, and a key sees its whole account.
        usage: what happened.
        options: how the API behaves where its documents leave it open.
    """

    name = "scopix"

    def __init__(self, seed: int, clock: Callable[[], datetime], *, documented_limits: bool = False) -> None:
        self.credentials = CREDENTIALS
        self.usage = EventBook(World(seed), clock)
        self.options = Options()
        if documented_limits:
            self.options.requests_per_minute = DOCUMENTED
            self.options.check_requests_per_minute = DOCUMENTED_OF_CHECK
        self._api = Usage(Gate(self.credentials, self.options), self.usage, self.options)

    def credential(self, account: str = "default") -> Credential:
        """The first key of an account.

        Raises:
            KeyError: there is no such account.
        """
        for credential in self.credentials:
            if credential.account == account:
                return credential
        raise KeyError(account)

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source `scopix` at a sandbox at `url`."""
        return {
            "SOURCES__SCOPIX__BASE_URL": url + ROOT,
            "SOURCES__SCOPIX__API_KEY": self.credential().api_key,
            "SOURCES__SCOPIX__REQUESTS_PER_MINUTE": str(self.options.requests_per_minute),
            "SOURCES__SCOPIX__CHECK_REQUESTS_PER_MINUTE": str(self.options.check_requests_per_minute),
        }

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of `scopix_source` that point it at a sandbox at `url`, whatever is configured."""
        own = {"api_key": self.credential().api_key, "base_url": url + ROOT}
        return {
            "accounts": {"default": own},
            "base_url": url + ROOT,
            "requests_per_minute": self.options.requests_per_minute,
            "check_requests_per_minute": self.options.check_requests_per_minute,
        }

    def routes(self) -> list[Route]:
        """The vendor's own paths, and `POST /_sandbox/scopix/{restate,vanish,reset}` for processes outside of this one."""
        api = self._api
        answers = {
            "breakdown": api.breakdown,
            "summary": api.summary,
            "details": api.details,
            "by-period": api.by_period,
            "top-endpoints": api.top_endpoints,
            "dashboard-analytics": api.dashboard,
            "plan": api.plan,
            "tokens/monthly": api.tokens,
            "tokens/files": api.file_tokens,
            "tokens/conversations": api.conversation_tokens,
        }
        return [
            Route(f"{ROOT}/usage/check", api.check, methods=["POST"]),
            *(Route(f"{ROOT}/usage/{path}", api.get(answer), methods=["GET"]) for path, answer in answers.items()),
            Route(f"{ROOT}/{{path:path}}", api.unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            Route("/_sandbox/scopix/restate", self._restate, methods=["POST"]),
            Route("/_sandbox/scopix/vanish", self._vanish, methods=["POST"]),
            Route("/_sandbox/scopix/reset", self._reset, methods=["POST"]),
        ]

    async def _restate(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Restatement)
        self.usage.restate(asked.start, asked.end, account=asked.account, to=asked.to, **asked.match())
        return Response(status_code=204)

    async def _vanish(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Selection)
        self.usage.vanish(asked.start, asked.end, account=asked.account, **asked.match())
        return Response(status_code=204)

    async def _reset(self, _: Request) -> Response:
        self.usage.reset()
        return Response(status_code=204)
