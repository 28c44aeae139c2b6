"""The sandbox in a process of its own, each response computed once, so that no contender waits for a server in Python.

`python -m tests.benchmarks.server WORLD SCALE` prints one line of JSON, how to reach it, and serves until stdin is closed.
"""

import asyncio
import functools
import gc
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.mathpix import Usage as Count
from meterhouse.pipelines.sandbox.scopix import Event, EventStore
from meterhouse.pipelines.sandbox.scopix.parameters import Parameters
from tests.benchmarks.workloads import FIRST_DAY, PAGE, WORKLOADS, Workload

SECRETS = (b"app_id", b"app_key", b"authorization")


def counts(days: int) -> Iterator[Count]:
    """Eight apps in each hour, of six usage types and six hashes: 28 rows an hour in the four groupings together."""
    chance = Random(7)  # noqa: S311 - repeatable, not secret
    for hour in range(days * 24):
        moment = FIRST_DAY + timedelta(hours=hour)
        for app in range(8):
            yield Count(moment, f"app_{app}", f"usage-type-{app % 6}", f"{app % 6:032x}", chance.randrange(1, 10_000))


def events(number: int, days: int) -> Iterator[Event]:
    """So many events, evenly over the days."""
    chance = Random(7)  # noqa: S311 - repeatable, not secret
    step = timedelta(days=days) / max(1, number)
    keys = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(3)]
    for at in range(number):
        identity = str(UUID(int=chance.getrandbits(128), version=4))
        took = chance.randrange(80, 4_000)
        yield Event(identity, FIRST_DAY + at * step, response_time_ms=took, api_key_id=keys[at % 3])


def sandbox_of(workload: Workload, scale: float) -> Sandbox:
    """A sandbox with the usage of a workload."""
    sandbox = Sandbox()
    if workload.days_of_counts:
        sandbox.mathpix.usage.set(counts(workload.days(scale)))
    if workload.events:
        sandbox.scopix.usage.set(events(workload.events_of(scale), workload.days(scale)))
    # The vendor's pages have 100 rows; the published figures were measured with pages of 1,000.
    number = Parameters.number

    def number_with_larger_pages(self: Any, name: str, default: int, least: int, most: int) -> int:
        return number(self, name, default, least, PAGE if name == "limit" else most)

    Parameters.number = number_with_larger_pages  # type: ignore[method-assign]
    cached = functools.cache(EventStore.events)  # each page is cut from all events of its window
    EventStore.events = lambda self, *window: list(cached(self, *window))  # type: ignore[method-assign]
    return sandbox


class Replay(asyncio.Protocol):
    """HTTP/1.1 for GET, from memory; the sandbox computes a response the first time."""

    def __init__(self, url: str, answers: dict[bytes, bytes]) -> None:
        self._upstream, self._answers = urlsplit(url), answers
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            request, *lines = head.split(b"\r\n")
            target = request.split(b" ")[1].decode()
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            secrets = {name.decode(): headers[name].decode() for name in SECRETS if name in headers}
            path, _, query = target.partition("?")
            key = repr((path, sorted(parse_qsl(query)), secrets)).encode()
            if key not in self._answers:
                self._answers[key] = self._ask(target, secrets)
            self._transport.write(self._answers[key])

    def _ask(self, target: str, headers: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port)
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        head = f"HTTP/1.1 {response.status} OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def replay(sandbox: Sandbox) -> None:
    """Serves until stdin is closed."""
    answers: dict[bytes, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Replay(sandbox.url, answers), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    now = datetime.now(UTC).isoformat()
    print(json.dumps({"url": url, "now": now, "settings": sandbox.settings()}).replace(sandbox.url, url), flush=True)  # noqa: T201
    gc.freeze()
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """The process."""
    sandbox = sandbox_of(WORKLOADS[sys.argv[1]], float(sys.argv[2]))
    with sandbox:
        threading.current_thread().name = "replay"
        asyncio.run(replay(sandbox))


if __name__ == "__main__":
    main()
