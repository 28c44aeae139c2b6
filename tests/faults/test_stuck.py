"""A provider that never finishes a response cannot hang a run: a limit ends each case."""

import socket
import time
from collections.abc import Iterator
from itertools import chain, repeat
from threading import Event, Thread

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.errors import IncompleteResponse, Unreachable
from meterhouse.sources._core.http.auth import BearerAuth
from meterhouse.sources._core.http.client import Client
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP_OF_NOTHING_YET = bytes.fromhex("1f8b0800000000000003")


@pytest.fixture
def dripping(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that sends the start of a response at once, and then a byte every 20 ms without end."""
    begin, drop = request.param
    over = Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for piece in chain([begin], repeat(drop)):
                try:
                    connection.sendall(piece)
                except OSError:
                    return
                if over.wait(0.02):
                    return

    thread = Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    over.set()
    listener.close()
    thread.join(2)


def client(url: str, limits: Limits) -> Client:
    return Client("mathpix", url, auth=BearerAuth("key-of-the-test"), error_from_response=lambda _: None, limits=limits)


@pytest.mark.parametrize(
    "dripping",
    [
        (HEAD + b"X-Slow: ", b"x"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        # An empty stored block of deflate: bytes that decompress to nothing.
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + GZIP_OF_NOTHING_YET, b"\x00\x00\x00\xff\xff"),
    ],
    indirect=True,
    ids=["headers", "body", "chunks", "gzip of nothing"],
)
def test_the_total_limit_ends_a_slow_response(dripping: str) -> None:
    """No single read is long enough for the read timeout; the request fails after `total` seconds."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no complete response in time"):
        client(dripping, Limits(read=5, total=0.5, attempts=1)).get("/v3", {})
    assert 0.4 < time.monotonic() - began < 1.5


def test_the_run_limit_ends_a_run_of_many_requests(sandbox: Sandbox) -> None:
    """An endless series of responses ends after `run` seconds, with a hint at the setting."""
    busy = client(sandbox.url, Limits(run=0.2))

    def request_forever() -> None:
        while True:
            busy.get("/_sandbox/requests", {})

    with pytest.raises(IncompleteResponse, match=r"raise sources\.http\.run"):
        request_forever()


def test_a_provider_that_sends_nothing_fails_the_run(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `read` seconds, which is a setting, with the reason on stderr."""
    monkeypatch.setenv("SOURCES__HTTP__READ", "0.3")
    sandbox.faults.add(Fault(path=DESCRIPTIONS["mathpix"].prefix, stall=True))
    cli("run", "--no-models", status=1)
    assert "no complete response in time" in cli.output


@pytest.mark.parametrize("name", ["CONNECT", "READ", "TOTAL", "RUN", "ATTEMPTS"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon"])
def test_a_limit_must_be_a_positive_number(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """No configuration makes a run wait without end."""
    monkeypatch.setenv(f"SOURCES__HTTP__{name}", value)
    cli("run", "--no-models", status=2)
