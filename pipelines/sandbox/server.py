"""The sandbox: one server on loopback that responds as the vendors do."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import closed_months, write_billing_files
from meterhouse.pipelines.sandbox.faults import CONTROL, Fault, Faults
from meterhouse.pipelines.sandbox.middleware import Connection, Middleware, Requests
from meterhouse.pipelines.sandbox.vendor import BaseVendor
from meterhouse.sources.registry import PROVIDERS

HOST = "127.0.0.1"
_START_TIMEOUT = 20.0


class Sandbox:
    """The vendors' APIs on localhost, for as long as the `with` block lasts.

    A vendor is a provider of the registry with a package of its name here, whose class `Vendor` has its keys, usage, options
    and routes. It is an attribute of the sandbox, too: `sandbox.mathpix`.

    Attributes:
        faults: the faults in force.
        requests: the requests so far.
        vendors: the vendors by name, in the order of the registry.
    """

    def __init__(
        self,
        seed: int = 7,
        port: int = 0,
        clock: Callable[[], datetime] | None = None,
        *,
        documented_limits: bool = False,
    ) -> None:
        """Prepares a sandbox; it listens from `__enter__` on.

        Args:
            seed: determines all usage; the same seed gives the same usage in every process and at every time.
            port: the port, 0 for a free one.
            clock: returns the present time, with a timezone; usage ends there. The real time by default.
            documented_limits: whether the vendors apply the rate limits that they document.
        """
        self.faults = Faults()
        self.requests = Requests()
        self._clock = clock or _now
        self.vendors: Mapping[str, BaseVendor] = MappingProxyType(
            {
                name: import_module(f"{__package__}.{name}").Vendor(seed, self._clock)
                for name in PROVIDERS
                if find_spec(f"{__package__}.{name}") is not None
            }
        )
        if documented_limits:
            for vendor in self.vendors.values():
                vendor.set_limits(vendor.documented_limits)
        self._port = port
        self._running: _Server | None = None

    def __getattr__(self, name: str) -> Any:
        """The vendor of this name.

        Raises:
            AttributeError: the sandbox has no such vendor.
        """
        try:
            return self.__dict__["vendors"][name]
        except KeyError:
            raise AttributeError(f"the sandbox has no vendor {name!r}", name=name, obj=self) from None

    def __enter__(self) -> Self:
        """Starts to listen; returns once requests get responses.

        Raises:
            OSError: the port is taken.
            RuntimeError: the sandbox is running already.
        """
        if self._running is not None:
            raise RuntimeError("the sandbox is running already")
        self._running = _Server(self._application(), self._port)
        self._running.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops at once, and aborts open connections."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path or a slash at the end.

        Raises:
            RuntimeError: the sandbox is not running.
        """
        if self._running is None:
            raise RuntimeError("the sandbox has a url only inside its with block")
        return f"http://{HOST}:{self._running.port}"

    def variables(self) -> dict[str, str]:
        """The environment variables that point a run at this sandbox."""
        return {name: value for vendor in self.vendors.values() for name, value in vendor.variables(self.url).items()}

    def settings(self) -> dict[str, dict[str, Any]]:
        """By provider, the arguments that point its source at this sandbox: for a run that must not use a real key."""
        return {vendor.name: vendor.settings(self.url) for vendor in self.vendors.values()}

    def demo_settings(self, end: date) -> dict[str, dict[str, Any]]:
        """As `settings`, without rate limits, and with the history of the demo: whole years back from the month of `end`."""
        settings = {name: own | {"requests_per_minute": 1_000_000} for name, own in self.settings().items()}
        for name, vendor in self.vendors.items():
            if vendor.demo_years is not None:
                settings[name]["initial_date"] = end.replace(year=end.year - vendor.demo_years, day=1).isoformat()
        return settings

    def billing_files(self, folder: Path, start: date) -> dict[str, str]:
        """Writes the customer's billing files from the month `start` on.

        Returns:
            The arguments of `billing_source`: the path of each table's file.
        """
        months = closed_months(start, self._clock().date())
        return write_billing_files(folder, (vendor.billing_rows(months) for vendor in self.vendors.values()), start)

    def _application(self) -> Middleware:
        routes = [
            *(route for vendor in self.vendors.values() for route in vendor.routes()),
            Route(f"{CONTROL}/faults", self._add_fault, methods=["POST"]),
            Route(f"{CONTROL}/faults", self._clear_faults, methods=["DELETE"]),
            Route(f"{CONTROL}/requests", self._list_requests, methods=["GET"]),
            Route(f"{CONTROL}/requests", self._clear_requests, methods=["DELETE"]),
        ]
        handlers = {ValueError: _unprocessable, msgspec.DecodeError: _unprocessable}
        application = Starlette(routes=routes, exception_handlers=handlers)
        return Middleware(application, self.faults, self.requests, self._clock)

    async def _add_fault(self, request: Request) -> Response:
        self.faults.add(msgspec.json.decode(await request.body(), type=Fault))
        return Response(status_code=204)

    async def _clear_faults(self, _: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)

    async def _list_requests(self, _: Request) -> Response:
        return Response(msgspec.json.encode(list(self.requests)), media_type="application/json")

    async def _clear_requests(self, _: Request) -> Response:
        self.requests.clear()
        return Response(status_code=204)


def serve(
    port: int, seed: int = 7, ready: Callable[[Sandbox], None] | None = None, *, documented_limits: bool = False
) -> None:
    """Runs a sandbox until Ctrl+C.

    Args:
        port: the port, 0 for a free one.
        seed: determines all usage.
        ready: called with the sandbox once it listens, for example to print `variables()`.
        documented_limits: whether the vendors apply the rate limits that they document.

    Raises:
        OSError: the port is taken.
    """
    with Sandbox(seed=seed, port=port, documented_limits=documented_limits) as sandbox:
        if ready is not None:
            ready(sandbox)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


class _Server(uvicorn.Server):
    """uvicorn in a daemon thread, with its own socket and a stop that waits for no connection."""

    def __init__(self, application: Middleware, port: int) -> None:
        # uvicorn logs an error for each connection that a fault breaks off.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().__init__(
            uvicorn.Config(
                application,
                http=Connection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                date_header=False,  # the middleware adds one by the sandbox's clock
            )
        )
        self._socket = socket.create_server((HOST, port), backlog=512)
        # asyncio sets this option only on sockets with an explicit protocol. Connections inherit the option; without it, a
        # response in two packets waits 40 ms for the client's acknowledgement of the first.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self.run, args=([self._socket],), name="sandbox", daemon=True)
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT):
            raise RuntimeError(f"the sandbox did not start within {_START_TIMEOUT:.0f} seconds")

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def main_loop(self) -> None:
        """Waits for `stop` without polling; uvicorn's own loop polls a flag ten times a second."""
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        self._ready.set()
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), timeout=1)
            except TimeoutError:
                await self.on_tick(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Aborts all responses; uvicorn's own shutdown waits for them, and a stalled one never ends."""
        for listener in self.servers:
            listener.close()
        for own in sockets or []:
            own.close()
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


async def _unprocessable(_: Request, error: Exception) -> Response:
    return Response(msgspec.json.encode({"error": str(error)}), 422, media_type="application/json")


def _now() -> datetime:
    return datetime.now(UTC)
