"""What every vendor of the sandbox has: credentials, usage, options, routes, and the settings that point a source at it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month
from meterhouse.pipelines.sandbox.faults import CONTROL
from meterhouse.pipelines.sandbox.store import UsageStore


class Credential(Protocol):
    """A key; `account` is the sandbox's own name of the account that it belongs to."""

    @property
    def account(self) -> str:
        """The account."""


class BaseVendor(ABC):
    """A vendor: each package of the sandbox derives its `Vendor` from this class.

    Attributes:
        name: as the registry names the provider.
        root: the path of its API.
        key_names: the settings that hold a credential, named as the fields of `Credential`.
        documented_limits: the rate limits that the vendor documents, by the name of the option and of the source's setting.
            By default, the options have limits so high that no run waits.
        demo_years: the length of the demo's history; None for the default of the source.
        credentials: all keys; those of the account `default` come first.
        usage: what the vendor has counted.
        options: how the API behaves where its documentation leaves a choice.
    """

    name: ClassVar[str]
    root: ClassVar[str] = ""
    key_names: ClassVar[tuple[str, ...]] = ("api_key",)
    documented_limits: ClassVar[Mapping[str, int]] = {}
    demo_years: ClassVar[int | None] = 1
    credentials: Sequence[Credential] = ()
    usage: UsageStore[Any, Any]
    options: Any

    @abstractmethod
    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None: ...

    @abstractmethod
    def endpoints(self) -> list[Route]:
        """The routes of its API."""

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Sets the limits in force."""
        for name, limit in limits.items():
            setattr(self.options, name, limit)

    def billing_rows(self, months: Sequence[Month]) -> BillingRows:
        """The customer's billing data for the vendor, by billing table: plans, credits, invoices.

        Args:
            months: the closed months, oldest first; at least one.
        """
        del months
        return {}

    def credential(self, account: str = "default") -> Any:
        """The first key of an account.

        Raises:
            KeyError: there is no such account.
        """
        for credential in self.credentials:
            if credential.account == account:
                return credential
        raise KeyError(account)

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source at a sandbox at `url`."""
        own = {"base_url": url + self.root, **self._keys(), **self._limits()}
        return {f"SOURCES__{self.name}__{name}".upper(): str(value) for name, value in own.items()}

    def account_variables(self) -> dict[str, str]:
        """The environment variables that name all its accounts and their keys; none if it has only one account."""
        accounts = list(dict.fromkeys(credential.account for credential in self.credentials))
        if len(accounts) < 2:
            return {}
        own = {"accounts": ",".join(accounts)} | {
            f"accounts__{account}__{name}": getattr(self.credential(account), name)
            for account in accounts
            for name in self.key_names
        }
        return {f"SOURCES__{self.name}__{name}".upper(): value for name, value in own.items()}

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of the source that point it at a sandbox at `url`, regardless of the configuration."""
        base_url = url + self.root
        return {"accounts": {"default": {**self._keys(), "base_url": base_url}}, "base_url": base_url, **self._limits()}

    def routes(self) -> list[Route]:
        """The routes of its API, and `POST /_sandbox/<name>/{restate,withdraw,reset}` for other processes."""
        control = [
            Route(f"{CONTROL}/{self.name}/{name}", _control(getattr(self.usage, name)), methods=["POST"])
            for name in ("restate", "withdraw", "reset")
        ]
        return [*self.endpoints(), *control]

    def _limits(self) -> dict[str, int]:
        return {name: getattr(self.options, name) for name in self.documented_limits}

    def _keys(self) -> dict[str, str]:
        return {name: getattr(self.credential(), name) for name in self.key_names}


def _control(call: Callable[..., None]) -> Callable[[Request], Any]:
    """The handler that calls a method of the store with the JSON body as its arguments."""

    async def handle(request: Request) -> Response:
        arguments = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
        try:
            call(**arguments)
        except (ArithmeticError, TypeError) as error:
            raise ValueError(f"invalid arguments: {error}") from error
        return Response(status_code=204)

    return handle
