"""Between the vendors' answers and the connection: notes every request, sends an answer wrongly where a fault says so."""

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
_LINGER_FOR_NOTHING = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Asked:
    """A request that reached the sandbox.

    Attributes:
        method: "GET" and so on.
        path: without the query.
        query: every parameter with all of its values, in order.
        headers: by lower-case name; the value of a secret is "***".
        status: what was answered; None while it is not, and for ever where the connection was broken before.
        faulty: whether a fault had its hand in it.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int | None = None
    faulty: bool = False


class Requests(Sequence[Asked]):
    """What was asked so far, in the order of arrival; `/_sandbox` paths are not noted. Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[Asked] = []

    @overload
    def __getitem__(self, index: int) -> Asked: ...
    @overload
    def __getitem__(self, index: slice) -> list[Asked]: ...
    def __getitem__(self, index: int | slice) -> Asked | list[Asked]:
        with self._lock:
            return self._asked[index]

    def __len__(self) -> int:
        with self._lock:
            return len(self._asked)

    def __iter__(self) -> Iterator[Asked]:
        with self._lock:
            return iter(list(self._asked))

    def clear(self) -> None:
        """Forgets them."""
        with self._lock:
            self._asked.clear()

    def note(self, asked: Asked) -> None:
        """Adds one, before it is answered: a client that has its answer finds its request here, with the status."""
        with self._lock:
            self._asked.append(asked)


class Connection(H11Protocol):
    """uvicorn's protocol, which also tells the application its transport: only that can reset a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Called by asyncio."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """ASGI middleware: notes each request, takes the fault that is meant for it, and sends."""

    def __init__(self, app: ASGIApp, faults: Faults, requests: Requests, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by uvicorn, once a request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        asked = Asked(scope["method"], scope["path"], query, _shown(scope["headers"]))
        self._requests.note(asked)
        fault = self._faults.take(asked.path, query)

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
                if not any(name.lower() == b"date" for name, _ in message["headers"]):
                    date = format_datetime(self._clock().astimezone(UTC), usegmt=True)
                    message["headers"] = [*message["headers"], (b"date", date.encode())]
            await send(message)

        if fault is None:
            await self._app(scope, receive, noting_send)
            return
        asked.faulty = True
        await asyncio.sleep(fault.delay)
        transport: asyncio.Transport = scope["state"]["transport"]
        if fault.reset and fault.cut is None:
            _reset(transport)
            return
        answer = _replaced(fault) if fault.replaces else await self._true_answer(scope, receive)
        if fault.edit is not None:
            answer.body = fault.edit(answer.body, query)
        await _send_faulty(fault, answer, transport, receive, noting_send)

    async def _true_answer(self, scope: Scope, receive: Receive) -> _Answer:
        answer = _Answer(200, {}, b"")

        async def collect(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self._app(scope, receive, collect)
        return answer


def _shown(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return {name: "***" if name in _SECRETS else value for name, value in named.items()}


def _replaced(fault: Fault) -> _Answer:
    body = fault.payload()
    headers = {"content-type": "text/html" if body.startswith(b"<") else "application/json"}
    status = fault.status or 200
    if fault.redirect is not None:
        headers["location"] = fault.redirect
        status = fault.status or 302
    return _Answer(status, headers, body)


async def _send_faulty(fault: Fault, answer: _Answer, transport: asyncio.Transport, receive: Receive, send: Send) -> None:
    size = max(fault.size or 0, len(answer.body))
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    if fault.gzip:
        headers["content-encoding"] = "gzip"
    else:
        headers["content-length"] = str(size)
    headers.update({name.lower(): value for name, value in fault.headers.items()})
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    left = fault.cut if fault.cut is not None else size // 2 if fault.stall else None
    for piece in _compressed(_pieces(answer.body, size)) if fault.gzip else _pieces(answer.body, size):
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
    # Else uvicorn closes the connection of an answer that is not complete.


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    """The body and then spaces up to `size` bytes."""
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
    spaces = b" " * _CHUNK
    for start in range(len(body), size, _CHUNK):
        yield spaces[: size - start]


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)  # 16 asks for gzip's frame
    for piece in pieces:
        if out := squeeze.compress(piece):
            yield out
    yield squeeze.flush()


async def _flushed(transport: asyncio.Transport) -> None:
    """Waits until the kernel has what was written, as far as the client reads it."""
    while transport.get_write_buffer_size() and not transport.is_closing():
        await asyncio.sleep(0.001)


def _reset(transport: asyncio.Transport) -> None:
    """Ends the connection with RST and not with FIN: the peer reads "connection reset by peer"."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the peer was faster
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_FOR_NOTHING)
    transport.abort()
