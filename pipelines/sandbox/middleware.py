"""Stands between the vendors' responses and the connection: records every request, and applies its fault."""

import asyncio
import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, overload
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from meterhouse.pipelines.sandbox.faults import CONTROL, Fault, Faults

_CHUNK = 1 << 18
_SECRETS = {"app_key", "authorization", "x-api-key", "api-key", "cookie"}
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class RecordedRequest:
    """A request that the sandbox received.

    Attributes:
        method: "GET" and so on.
        path: without the query.
        query: every parameter with all of its values, in order.
        headers: by lower-case name; the value of a secret is "***".
        status: of the response; None until the response starts, or if a fault breaks the connection before that.
        faulty: whether a fault changed the response.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int | None = None
    faulty: bool = False


class Requests(Sequence[RecordedRequest]):
    """The requests so far, in the order of arrival, except those for `/_sandbox`. Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[RecordedRequest] = []

    @overload
    def __getitem__(self, index: int) -> RecordedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedRequest]: ...
    def __getitem__(self, index: int | slice) -> RecordedRequest | list[RecordedRequest]:
        with self._lock:
            return self._requests[index]

    def __len__(self) -> int:
        with self._lock:
            return len(self._requests)

    def __iter__(self) -> Iterator[RecordedRequest]:
        with self._lock:
            return iter(list(self._requests))

    def clear(self) -> None:
        """Forgets the requests so far."""
        with self._lock:
            self._requests.clear()

    def record(self, request: RecordedRequest) -> None:
        """Adds a request before its response: a client that has a response finds the request here, with the status."""
        with self._lock:
            self._requests.append(request)


class Connection(H11Protocol):
    """uvicorn's protocol, which also passes its transport to the application: only the transport can reset a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Called by asyncio."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


@dataclass(slots=True)
class _Response:
    status: int
    headers: dict[str, str]
    body: bytes


class Middleware:
    """ASGI middleware: records each request, and sends its response with the fault that matches."""

    def __init__(self, app: ASGIApp, faults: Faults, requests: Requests, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by uvicorn, once for each request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        request = RecordedRequest(scope["method"], scope["path"], query, _without_secrets(scope["headers"]))
        self._requests.record(request)
        fault = self._faults.take(request.path, query)

        async def recording_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                if not any(name.lower() == b"date" for name, _ in message["headers"]):
                    date = format_datetime(self._clock().astimezone(UTC), usegmt=True)
                    message["headers"] = [*message["headers"], (b"date", date.encode())]
            await send(message)

        if fault is None:
            await self._app(scope, receive, recording_send)
            return
        request.faulty = True
        await asyncio.sleep(fault.delay)
        transport: asyncio.Transport = scope["state"]["transport"]
        if fault.reset and fault.cut is None:
            _reset(transport)
            return
        response = _replacement(fault) if fault.replaces else await self._true_response(scope, receive)
        if fault.edit is not None:
            response.body = fault.edit(response.body, query)
        await _send_faulty(fault, response, transport, receive, recording_send)

    async def _true_response(self, scope: Scope, receive: Receive) -> _Response:
        response = _Response(200, {}, b"")

        async def collect(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                response.body += message.get("body", b"")

        await self._app(scope, receive, collect)
        return response


def _without_secrets(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return {name: "***" if name in _SECRETS else value for name, value in named.items()}


def _replacement(fault: Fault) -> _Response:
    body = fault.payload()
    headers = {"content-type": "text/html" if body.startswith(b"<") else "application/json"}
    status = fault.status or 200
    if fault.redirect is not None:
        headers["location"] = fault.redirect
        status = fault.status or 302
    return _Response(status, headers, body)


async def _send_faulty(
    fault: Fault, response: _Response, transport: asyncio.Transport, receive: Receive, send: Send
) -> None:
    size = max(fault.size or 0, len(response.body))
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    if fault.gzip:
        headers["content-encoding"] = "gzip"
    else:
        headers["content-length"] = str(size)
    headers.update({name.lower(): value for name, value in fault.headers.items()})
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    left = fault.cut if fault.cut is not None else size // 2 if fault.stall else None
    for piece in _compressed(_pieces(response.body, size)) if fault.gzip else _pieces(response.body, size):
        if transport.is_closing():
            return
        sent = piece if left is None else piece[:left]
        if left is not None:
            left -= len(sent)
        await send({"type": "http.response.body", "body": sent, "more_body": True})
        if left == 0:
            break
    if not fault.breaks:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    elif fault.stall:
        while (await receive())["type"] != "http.disconnect":
            pass
    elif fault.reset:
        await _flushed(transport)
        _reset(transport)
    # Otherwise uvicorn closes the connection of an incomplete response.


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    """The body, padded with spaces to `size` bytes."""
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
    spaces = b" " * _CHUNK
    for start in range(len(body), size, _CHUNK):
        yield spaces[: size - start]


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)  # 16 selects gzip's frame
    for piece in pieces:
        if out := compressor.compress(piece):
            yield out
    yield compressor.flush()


async def _flushed(transport: asyncio.Transport) -> None:
    """Waits until the kernel has taken what was written, as far as the client reads it."""
    while transport.get_write_buffer_size() and not transport.is_closing():
        await asyncio.sleep(0.001)


def _reset(transport: asyncio.Transport) -> None:
    """Ends the connection with RST instead of FIN: the peer gets "connection reset by peer"."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the peer has closed it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
