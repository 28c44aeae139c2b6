"""Misbehaviour by order: which request is answered wrongly, and how.

A fault changes the answer (`delay`, `status`, `headers`, `body`, `edit`, `redirect`, `size`, `gzip`) or breaks off while it
is sent (`cut`, `reset`, `stall`), or both. Whatever it leaves alone is the true answer's.
"""

import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

CONTROL = "/_sandbox"
"""Where the sandbox itself is spoken to; no fault reaches it."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with the requests that match.

    Attributes:
        path: requests whose path starts with this.
        query: and which have these parameters with these values, such as {"page": "2"}.
        after: how many matching requests are answered truly before the first fault.
        times: how many are answered wrongly; None for all that follow.
        delay: seconds before the answer starts.
        status: in place of the true one. Without a `body` it comes with the HTML page of a gateway.
        headers: added to the answer's or in place of them, such as {"Retry-After": "2"}.
        body: in place of the true one: bytes, text, or a value to send as JSON. Text that starts with "<" is sent as
            text/html, everything else as application/json.
        edit: a function that gets the true body and the query's parameters, and gives the body to send: for tests, which are
            in the sandbox's own process.
        redirect: a Location to go to, with status 302 or the `status` given.
        size: the body is padded with spaces to so many bytes, which are made while they are sent: JSON stays JSON.
        gzip: the body is sent compressed; with a large `size`, a bomb.
        cut: sends only so many bytes of a body whose Content-Length promises all of it, then closes the connection.
        reset: with a TCP reset in place of a close: before the status line, or with `cut` after those bytes.
        stall: falls silent in place of closing: after half of the body, or with `cut` after those bytes.
    """

    path: str = "/"
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    after: int = 0
    times: int | None = None
    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: Any = None
    edit: Any = None
    redirect: str | None = None
    size: int | None = None
    gzip: bool = False
    cut: int | None = None
    reset: bool = False
    stall: bool = False

    def __post_init__(self) -> None:
        """Refuses what could never show.

        Raises:
            ValueError: a field has a value that makes no sense, or the fault changes nothing.
        """
        if not self.path.startswith("/") or self.path.startswith(CONTROL):
            raise ValueError(f"path must start with / and not with {CONTROL}, not {self.path!r}")
        for name in ("after", "delay", "size", "cut"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for ever, but is {self.times}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status must be from 200 to 599, but is {self.status}")
        if self.reset and self.stall:
            raise ValueError("a connection is either reset or stalled")
        if self.edit is not None and (not callable(self.edit) or self.replaces):
            raise ValueError("edit must be a function, of an answer that is not replaced")
        self.payload()
        if not (
            self.edit or self.replaces or self.headers or self.delay or self.gzip or self.breaks or self.size is not None
        ):
            raise ValueError("the fault changes nothing")

    @property
    def replaces(self) -> bool:
        """Whether the true answer is not needed at all."""
        return self.status is not None or self.body is not None or self.redirect is not None

    @property
    def breaks(self) -> bool:
        """Whether the answer is not sent to its end."""
        return self.cut is not None or self.reset or self.stall

    def payload(self) -> bytes:
        """The body in place of the true one, before padding and compression."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        if self.body is not None:
            return msgspec.json.encode(self.body)
        if self.redirect is not None or self.status is None:
            return b""
        title = _title(self.status).encode()
        return b"<html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n" % (title, title)

    def matches(self, path: str, query: Mapping[str, list[str]]) -> bool:
        """Whether the fault is meant for a request of this path and these parameters."""
        return path.startswith(self.path) and all(value in query.get(name, ()) for name, value in self.query.items())


class Faults:
    """The faults in force, in the order in which they were added; safe to change while the server answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_InForce] = []

    def add(self, fault: Fault) -> Fault:
        """Puts a fault in force and returns it."""
        with self._lock:
            self._faults.append(_InForce(fault))
        return fault

    def clear(self) -> None:
        """Takes all of them back: from now on every answer is true."""
        with self._lock:
            self._faults.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([in_force.fault for in_force in self._faults])

    def __len__(self) -> int:
        return len(self._faults)

    def take(self, path: str, query: Mapping[str, list[str]]) -> Fault | None:
        """The fault for a request: the first that matches and has turns left. A later one does not count the request."""
        with self._lock:
            for in_force in self._faults:
                if in_force.fault.matches(path, query) and in_force.fires():
                    return in_force.fault
        return None


class _InForce:
    """A fault and how many matching requests it has seen."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._seen = 0

    def fires(self) -> bool:
        turn = self._seen - self.fault.after
        self._seen += 1
        return turn >= 0 and (self.fault.times is None or turn < self.fault.times)


def _title(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
