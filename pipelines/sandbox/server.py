"""The sandbox: one server on loopback that answers as the vendors do."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import write_paperwork
from meterhouse.pipelines.sandbox.faults import CONTROL, Fault, Faults
from meterhouse.pipelines.sandbox.mathpix import Mathpix
from meterhouse.pipelines.sandbox.middleware import Connection, Requests, Wire
from meterhouse.pipelines.sandbox.onepin import Onepin
from meterhouse.pipelines.sandbox.reducto import Reducto
from meterhouse.pipelines.sandbox.scopix import Scopix

HOST = "127.0.0.1"
_START_TIMEOUT = 20.0


class Sandbox:
    """The vendors' APIs on localhost, for as long as the `with` block lasts.

    Attributes:
        faults: misbehaviour in force.
        requests: what was asked.
        mathpix: the vendor Mathpix: its keys, usage and options.
        reducto: the vendor Reducto, likewise.
        onepin: the vendor Onepin, the same.
        scopix: the vendor Scopix, the same.
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
            seed: decides all usage; the same seed counts the same in every process and at every time.
            port: where to listen, 0 for a free one.
            clock: tells the present time, with a timezone; nothing is used after it. The real one by default.
            documented_limits: whether Scopix keeps to the 30 requests a minute of its documents, and not to a granted limit.
        """
        self.faults = Faults()
        self.requests = Requests()
        self.mathpix = Mathpix(seed, clock or _now)
        self.onepin = Onepin(seed, clock or _now)
        self.reducto = Reducto(seed, clock or _now)
        self.scopix = Scopix(seed, clock or _now, documented_limits=documented_limits)
        self._clock = clock or _now
        self._vendors = (self.mathpix, self.onepin, self.reducto, self.scopix)
        self._port = port
        self._running: _Server | None = None

    def __enter__(self) -> Self:
        """Starts to listen, and returns once requests are answered.

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
        """Stops at once: connections that are still open are broken off."""
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
        return {name: value for vendor in self._vendors for name, value in vendor.variables(self.url).items()}

    def settings(self) -> dict[str, dict[str, Any]]:
        """By source, the arguments that point it at this sandbox: for a run that must not meet anybody's real keys."""
        return {vendor.name: vendor.settings(self.url) for vendor in self._vendors}

    def paperwork(self, folder: Path, start: date) -> dict[str, str]:
        """Writes what the customer has on paper from the month `start` on; returns the arguments of `billing_source`."""
        return write_paperwork(folder, self._count, start, self._clock().date())

    def _count(self, start: datetime, end: datetime, usage_type: str) -> int:
        return self.mathpix.usage.total(start, end, usage_type=usage_type)

    def _application(self) -> Wire:
        routes = [
            *(route for vendor in self._vendors for route in vendor.routes()),
            Route(f"{CONTROL}/faults", self._add_fault, methods=["POST"]),
            Route(f"{CONTROL}/faults", self._clear_faults, methods=["DELETE"]),
            Route(f"{CONTROL}/requests", self._list_requests, methods=["GET"]),
            Route(f"{CONTROL}/requests", self._clear_requests, methods=["DELETE"]),
        ]
        # msgspec's ValidationError is a ValueError too.
        application = Starlette(routes=routes, exception_handlers={ValueError: _refuse, msgspec.DecodeError: _refuse})
        return Wire(application, self.faults, self.requests, self._clock)

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
        port: where to listen, 0 for a free one.
        seed: decides all usage.
        ready: called with the sandbox once it answers, for example to print `variables()`.
        documented_limits: as `Sandbox` has it.

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
    """uvicorn in a daemon thread, with a socket of its own and a stop that waits for nobody."""

    def __init__(self, application: Wire, port: int) -> None:
        # The connections that a fault breaks off are errors to uvicorn, and the point to us.
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
                date_header=False,  # the vendors' clock is not the machine's
            )
        )
        self._socket = socket.create_server((HOST, port), backlog=512)
        # asyncio sets this only on sockets made with an explicit protocol, and connections inherit it. Without it an answer
        # in two packets waits 40 ms for the client's acknowledgement of the first.
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
        """In place of uvicorn's look at a flag ten times a second: waits for the stop itself."""
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        self._ready.set()
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), timeout=1)
            except TimeoutError:
                await self.on_tick(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """In place of uvicorn's wait for answers under way: a stalled one would never end."""
        for listener in self.servers:
            listener.close()
        for own in sockets or []:
            own.close()
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


async def _refuse(_: Request, error: Exception) -> Response:
    return Response(msgspec.json.encode({"error": str(error)}), 422, media_type="application/json")


def _now() -> datetime:
    return datetime.now(UTC)
