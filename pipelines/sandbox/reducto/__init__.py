"""The Reducto usage API of the sandbox."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.reducto.api import FILTERS, GROUPINGS, Options, UsageExport, problem
from meterhouse.pipelines.sandbox.reducto.fixtures import CREDENTIALS, EXAMPLE, Credential, Figures, Series, World
from meterhouse.pipelines.sandbox.reducto.store import Usage, UsageBook

__all__ = [
    "FILTERS",
    "GROUPINGS",
    "Credential",
    "Figures",
    "Options",
    "Reducto",
    "Series",
    "Usage",
    "UsageBook",
    "World",
    "problem",
]


class _Selection(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/_sandbox/reducto/vanish`: the arguments of `UsageBook.vanish`."""

    start: str
    end: str | None = None
    org_id: str | None = None
    product: str | None = None
    feature: str | None = None
    api_key: str | None = None
    file_type: str | None = None

    def arguments(self) -> dict[str, Any]:
        """What was given of them."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class _Restatement(_Selection, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/_sandbox/reducto/restate`: the arguments of `UsageBook.restate`."""

    factor: Decimal | None = None
    credits: Decimal | None = None
    requests: int | None = None


class Reducto:
    """One vendor of the sandbox: its keys, its usage, its behaviour and its routes.

    Attributes:
        credentials: `default`, whose key is a member of two organisations, and `firm`, whose key is of the third.
        usage: what was counted.
        options: how the API behaves where its documents leave it open.
    """

    name = "reducto"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = UsageBook(World(seed), clock)
        self.options = Options()
        self._export = UsageExport(self.credentials, self.usage, self.options)

    def credential(self, account: str = "default") -> Credential:
        """The key of an account.

        Raises:
            KeyError: there is no such account.
        """
        for credential in self.credentials:
            if credential.account == account:
                return credential
        raise KeyError(account)

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source `reducto` at a sandbox at `url`."""
        return {"SOURCES__REDUCTO__BASE_URL": url, "SOURCES__REDUCTO__API_KEY": self.credential().api_key}

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of `reducto_source` that point it at a sandbox at `url`, whatever is configured."""
        credential = self.credential()
        own = {
            "api_key": credential.api_key,
            "base_url": url,
            "org_ids": [name for name in credential.org_ids if name != EXAMPLE],
        }
        nothing: dict[str, list[str]] = {name: [] for name in ("products", "features", "api_keys", "file_types")}
        return {"accounts": {"default": own}, "base_url": url, **nothing}

    def routes(self) -> list[Route]:
        """The vendor's own path, and `POST /_sandbox/reducto/{restate,vanish,reset}` for processes outside of this one."""
        return [
            Route("/api/v1/usage/export", self._export.answer, methods=["GET"]),
            Route("/_sandbox/reducto/restate", self._restate, methods=["POST"]),
            Route("/_sandbox/reducto/vanish", self._vanish, methods=["POST"]),
            Route("/_sandbox/reducto/reset", self._reset, methods=["POST"]),
        ]

    async def _restate(self, request: Request) -> Response:
        self.usage.restate(**msgspec.json.decode(await request.body(), type=_Restatement).arguments())
        return Response(status_code=204)

    async def _vanish(self, request: Request) -> Response:
        self.usage.vanish(**msgspec.json.decode(await request.body(), type=_Selection).arguments())
        return Response(status_code=204)

    async def _reset(self, _: Request) -> Response:
        self.usage.reset()
        return Response(status_code=204)
