"""The Mathpix usage API of the sandbox."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.mathpix.api import OcrUsage, Options, problem
from meterhouse.pipelines.sandbox.mathpix.fixtures import CREDENTIALS, Credential, Series, World, request_args_hash
from meterhouse.pipelines.sandbox.mathpix.store import Usage, UsageBook

__all__ = ["Credential", "Mathpix", "Options", "Series", "Usage", "UsageBook", "World", "problem", "request_args_hash"]


class _Selection(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/_sandbox/mathpix/vanish`: the arguments of `UsageBook.vanish`."""

    start: str
    end: str | None = None
    app_id: str | None = None
    usage_type: str | None = None
    request_args_hash: str | None = None
    account: str | None = None


class _Restatement(_Selection, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/_sandbox/mathpix/restate`: the arguments of `UsageBook.restate`."""

    count: int | None = None
    factor: float | None = None


class Mathpix:
    """One vendor of the sandbox: its keys, its usage, its behaviour and its routes.

    Attributes:
        credentials: an app each; `default` and `press` are the accounts, and a key sees its whole account.
        usage: what was counted.
        options: how the API behaves where its documents leave it open.
    """

    name = "mathpix"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = UsageBook(World(seed), clock)
        self.options = Options()
        self._ocr_usage = OcrUsage(self.credentials, self.usage, self.options)

    def credential(self, account: str = "default") -> Credential:
        """The first app of an account.

        Raises:
            KeyError: there is no such account.
        """
        for credential in self.credentials:
            if credential.account == account:
                return credential
        raise KeyError(account)

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source `mathpix` at a sandbox at `url`."""
        credential = self.credential()
        return {
            "SOURCES__MATHPIX__BASE_URL": url,
            "SOURCES__MATHPIX__APP_ID": credential.app_id,
            "SOURCES__MATHPIX__APP_KEY": credential.app_key,
        }

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of `mathpix_source` that point it at a sandbox at `url`, whatever is configured."""
        credential = self.credential()
        own = {"app_id": credential.app_id, "app_key": credential.app_key, "base_url": url}
        return {"accounts": {"default": own}, "base_url": url, "timespan": "hour", "page_size": 1000, "lookback": "7 days"}

    def routes(self) -> list[Route]:
        """The vendor's own paths, and `POST /_sandbox/mathpix/{restate,vanish,reset}` for processes outside of this one."""
        return [
            Route("/v3/ocr-usage", self._ocr_usage.answer, methods=["GET"]),
            Route("/_sandbox/mathpix/restate", self._restate, methods=["POST"]),
            Route("/_sandbox/mathpix/vanish", self._vanish, methods=["POST"]),
            Route("/_sandbox/mathpix/reset", self._reset, methods=["POST"]),
        ]

    async def _restate(self, request: Request) -> Response:
        self.usage.restate(**msgspec.structs.asdict(msgspec.json.decode(await request.body(), type=_Restatement)))
        return Response(status_code=204)

    async def _vanish(self, request: Request) -> Response:
        self.usage.vanish(**msgspec.structs.asdict(msgspec.json.decode(await request.body(), type=_Selection)))
        return Response(status_code=204)

    async def _reset(self, _: Request) -> Response:
        self.usage.reset()
        return Response(status_code=204)
