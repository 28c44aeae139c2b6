"""The Onepin usage API of the sandbox."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.onepin.api import UsageApi, envelope_of_error
from meterhouse.pipelines.sandbox.onepin.fixtures import CREDENTIALS, MEMBERS, Credential, Event, Member, Run, World
from meterhouse.pipelines.sandbox.onepin.rate_limit import Options
from meterhouse.pipelines.sandbox.onepin.store import UsageBook

__all__ = ["MEMBERS", "Credential", "Event", "Member", "Onepin", "Options", "Run", "UsageBook", "World", "envelope_of_error"]


class _Restatement(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/_sandbox/onepin/restate`: the arguments of `UsageBook.restate`."""

    start: str
    factor: float
    end: str | None = None
    account: str | None = None


class Onepin:
    """One vendor of the sandbox: its keys, its usage, its behaviour and its routes.

    Attributes:
        credentials: one key a workspace; `default` and `podcast` are the workspaces.
        usage: what was run and what else happened.
        options: how the API behaves where its versions differ.
    """

    name = "onepin"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = UsageBook(World(seed), clock)
        self.options = Options()
        self._api = UsageApi(self.credentials, self.usage, self.options)

    def credential(self, account: str = "default") -> Credential:
        """The key of a workspace.

        Raises:
            KeyError: there is no such workspace.
        """
        for credential in self.credentials:
            if credential.account == account:
                return credential
        raise KeyError(account)

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source `onepin` at a sandbox at `url`."""
        return {"SOURCES__ONEPIN__BASE_URL": url, "SOURCES__ONEPIN__API_KEY": self.credential().api_key}

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of `onepin_source` that point it at a sandbox at `url`, whatever is configured."""
        own = {"api_key": self.credential().api_key, "base_url": url}
        return {"accounts": {"default": own}, "base_url": url}

    def routes(self) -> list[Route]:
        """The vendor's own paths, and `POST /_sandbox/onepin/{restate,reset}` for processes outside of this one."""
        return [
            Route("/api/v1/usage/summary", self._api.summary, methods=["GET"]),
            Route("/api/v1/usage/by-language", self._api.by_language, methods=["GET"]),
            Route("/api/v1/usage/activity", self._api.activity, methods=["GET"]),
            Route("/api/v1/auth/whoami", self._api.whoami, methods=["GET"]),
            Route("/_sandbox/onepin/restate", self._restate, methods=["POST"]),
            Route("/_sandbox/onepin/reset", self._reset, methods=["POST"]),
        ]

    async def _restate(self, request: Request) -> Response:
        self.usage.restate(**msgspec.structs.asdict(msgspec.json.decode(await request.body(), type=_Restatement)))
        return Response(status_code=204)

    async def _reset(self, _: Request) -> Response:
        self.usage.reset()
        return Response(status_code=204)
