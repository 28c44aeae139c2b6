"""A provider that is stuck cannot hang a run: every way of never ending meets a limit."""

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

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP_OF_NOTHING_YET = bytes.fromhex("1f8b0800000000000003")


@pytest.fixture
def dripping(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that sends the start of an answer at once, and then a byte every 20 ms for ever."""
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
        # An empty stored block of deflate: bytes that arrive and decompress to nothing.
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + GZIP_OF_NOTHING_YET, b"\x00\x00\x00\xff\xff"),
    ],
    indirect=True,
    ids=["headers", "body", "chunks", "gzip of nothing"],
)
def test_a_server_that_drips_meets_the_total_limit(dripping: str) -> None:
    """No read takes long, and the read timeout never comes; the answer is given up after the total all the same."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no whole answer in time"):
        client(dripping, Limits(read=5, total=0.5, attempts=1)).get("/v3", {})
    assert 0.4 < time.monotonic() - began < 1.5


def test_a_whole_run_of_a_provider_has_a_limit(sandbox: Sandbox) -> None:
    """Answers that come and come do not keep a run for ever; where it stops, the next one goes on."""
    busy = client(sandbox.url, Limits(run=0.2))

    def ask_on() -> None:
        while True:
            busy.get("/_sandbox/requests", {})

    with pytest.raises(IncompleteResponse, match=r"raise sources\.http\.run"):
        ask_on()


def test_a_silent_provider_ends_as_a_failure(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are settings, and the line says what it was."""
    monkeypatch.setenv("SOURCES__HTTP__READ", "0.3")
    sandbox.faults.add(Fault(path="/v3", stall=True))
    cli("run", "--no-models", status=1)
    assert "no whole answer in time" in cli.output


@pytest.mark.parametrize("name", ["CONNECT", "READ", "TOTAL", "RUN", "ATTEMPTS"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon"])
def test_a_limit_that_is_none_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Nothing waits for ever by configuration."""
    monkeypatch.setenv(f"SOURCES__HTTP__{name}", value)
    cli("run", "--no-models", status=2)
