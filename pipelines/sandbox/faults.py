"""Injected faults: which requests get a faulty response, and how the response differs from the true one.

A fault changes the response (`delay`, `status`, `headers`, `body`, `edit`, `redirect`, `size`, `gzip`), breaks it off
(`cut`, `reset`, `stall`), or both. Everything else is as in the true response.
"""

import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

CONTROL = "/_sandbox"
"""The path of the sandbox's own endpoints; no fault affects them."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault in the responses to the requests that match.

    Attributes:
        path: the start of the request's path.
        query: parameters that the request has, with these values, such as {"page": "2"}.
        after: the number of matching requests that get true responses before the first faulty one.
        times: the number of faulty responses; None for all that follow.
        delay: seconds before the response starts.
        status: replaces the true one. Without a `body` it comes with the HTML page of a gateway.
        headers: added to the response; one of the same name is replaced. For example {"Retry-After": "2"}.
        body: replaces the true one: bytes, text, or a value to send as JSON. Text that starts with "<" is sent as text/html,
            everything else as application/json.
        edit: a function from the true body and the query's parameters to the body to send: for tests, which run in the
            sandbox's process.
        redirect: a Location, with status 302 or the given `status`.
        size: pads the body with spaces to this many bytes, generated while they are sent; the body stays valid JSON.
        gzip: compresses the body; with a large `size`, a bomb.
        cut: sends only this many bytes of the body, although Content-Length promises all of it, and closes the connection.
        reset: resets the TCP connection instead of closing it: before the status line, or with `cut` after those bytes.
        stall: keeps the connection open and sends nothing more: after half of the body, or with `cut` after those bytes.
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
        """Checks the fields.

        Raises:
            ValueError: a field has an invalid value, or the fault changes nothing.
        """
        if not self.path.startswith("/") or self.path.startswith(CONTROL):
            raise ValueError(f"path must start with / and not with {CONTROL}, not {self.path!r}")
        for name in ("after", "delay", "size", "cut"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for all, but is {self.times}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status must be from 200 to 599, but is {self.status}")
        if self.reset and self.stall:
            raise ValueError("a connection is either reset or stalled")
        if self.edit is not None and (not callable(self.edit) or self.replaces):
            raise ValueError("edit must be a function, without status, body or redirect")
        self.payload()
        if not (
            self.edit or self.replaces or self.headers or self.delay or self.gzip or self.breaks or self.size is not None
        ):
            raise ValueError("the fault changes nothing")

    @property
    def replaces(self) -> bool:
        """Whether the fault replaces the whole response."""
        return self.status is not None or self.body is not None or self.redirect is not None

    @property
    def breaks(self) -> bool:
        """Whether the response is sent incompletely."""
        return self.cut is not None or self.reset or self.stall

    def payload(self) -> bytes:
        """The body that replaces the true one, before padding and compression."""
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
        """Whether the fault applies to a request with this path and these parameters."""
        return path.startswith(self.path) and all(value in query.get(name, ()) for name, value in self.query.items())


class Faults:
    """The faults in force, in the order in which they were added; safe to change while the server responds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_InForce] = []

    def add(self, fault: Fault) -> Fault:
        """Puts a fault in force and returns it."""
        with self._lock:
            self._faults.append(_InForce(fault))
        return fault

    def clear(self) -> None:
        """Removes all faults."""
        with self._lock:
            self._faults.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([in_force.fault for in_force in self._faults])

    def __len__(self) -> int:
        return len(self._faults)

    def take(self, path: str, query: Mapping[str, list[str]]) -> Fault | None:
        """The fault for a request: the first that matches and fires. Later ones do not count the request."""
        with self._lock:
            for in_force in self._faults:
                if in_force.fault.matches(path, query) and in_force.fires():
                    return in_force.fault
        return None


class _InForce:
    """A fault and the number of matching requests so far."""

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
