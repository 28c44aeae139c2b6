"""Misbehaviour as a real client sees it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.mathpix import problem

from .conftest import Asking

USAGE = "/v3/ocr-usage"


def test_a_status(sandbox: Sandbox, ask: Asking) -> None:
    """A status without a body comes with a gateway's HTML page, as often as it was told to, and then the truth returns."""
    sandbox.faults.add(Fault(path=USAGE, status=503, times=2))
    answers = [ask.get() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["content-type"] == "text/html"
    assert "503 Service Unavailable" in answers[0].text


def test_a_body(sandbox: Sandbox, ask: Asking) -> None:
    """A body is sent as JSON, text or bytes, with the status and headers given."""
    quota = problem("http_max_requests", "Limit", limit_name="page_monthly_limit", limit_value=5, count=6)
    sandbox.faults.add(Fault(status=429, headers={"Retry-After": "2"}, body=quota, times=1))
    sandbox.faults.add(Fault(body='{"ocr_usage": [', times=1))
    sandbox.faults.add(Fault(body="<html>maintenance</html>", times=1))
    sandbox.faults.add(Fault(body=b"\xff\xfe", headers={"Content-Type": "text/plain"}, times=1))
    limited, torn, page, binary = (ask.get() for _ in range(4))
    assert (limited.status_code, limited.headers["retry-after"], limited.json()) == (429, "2", quota)
    assert (torn.status_code, torn.headers["content-type"], torn.text) == (200, "application/json", '{"ocr_usage": [')
    assert page.headers["content-type"] == "text/html"
    assert (binary.content, binary.headers["content-type"]) == (b"\xff\xfe", "text/plain")


def test_an_edited_answer(sandbox: Sandbox, ask: Asking) -> None:
    """A function makes of the true body and the parameters what is sent; it is called once an answer."""
    sandbox.faults.add(Fault(path=USAGE, times=1, edit=lambda body, query: body[:5] + query["page"][0].encode()))
    assert ask.get(page=3).content == b'{"ocr3'
    assert ask.rows()
    with pytest.raises(ValueError, match="edit must be a function"):
        Fault(edit="a text")
    with pytest.raises(ValueError, match="not replaced"):
        Fault(status=500, edit=lambda body, _: body)


def test_every_answer_has_the_sandboxs_date(sandbox: Sandbox, ask: Asking) -> None:
    """Whatever the machine's clock says; a fault may have another."""
    assert ask.get().headers["date"] == "Wed, 18 Mar 2026 14:45:00 GMT"
    sandbox.faults.add(Fault(path=USAGE, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}))
    assert ask.get().headers["date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


def test_headers_alone(sandbox: Sandbox, ask: Asking) -> None:
    """Headers alone are added to the true answer."""
    true = ask.rows()
    sandbox.faults.add(Fault(path=USAGE, headers={"X-RateLimit-Remaining": "0"}))
    assert ask.get(per_page=1000).headers["x-ratelimit-remaining"] == "0"
    assert ask.rows() == true


def test_which_requests_are_meant(sandbox: Sandbox, ask: Asking) -> None:
    """A fault meets only its path and parameters, after those it lets pass; the first that matches takes the request."""
    sandbox.faults.add(Fault(path="/v4", status=500))
    sandbox.faults.add(Fault(path=USAGE, query={"page": "2"}, status=502))
    sandbox.faults.add(Fault(path=USAGE, after=1, times=1, status=504))
    assert [ask.get(page=page).status_code for page in (1, 2, 1, 1, 2)] == [200, 502, 504, 200, 502]
    sandbox.faults.clear()
    assert ask.get(page=2).status_code == 200


def test_a_delay(sandbox: Sandbox, ask: Asking) -> None:
    """A delayed answer is the true one, later; a client with less patience times out."""
    true = ask.rows()
    sandbox.faults.add(Fault(delay=0.1, times=1))
    started = time.monotonic()
    assert ask.rows() == true
    assert time.monotonic() - started >= 0.1
    sandbox.faults.add(Fault(delay=60))
    with pytest.raises(httpx.ReadTimeout):
        ask.client.get(USAGE, timeout=0.05)


@pytest.mark.parametrize("cut", [0, 10])
def test_a_cut(sandbox: Sandbox, ask: Asking, cut: int) -> None:
    """A cut body ends before the length that was promised."""
    sandbox.faults.add(Fault(path=USAGE, cut=cut, times=1))
    with pytest.raises(httpx.RemoteProtocolError, match=rf"received {cut} bytes"):
        ask.get()
    assert ask.rows()


def test_a_reset_before_the_answer(sandbox: Sandbox, ask: Asking) -> None:
    """A reset comes over TCP, before any byte of an answer."""
    sandbox.faults.add(Fault(path=USAGE, reset=True, times=1))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        ask.get()
    assert sandbox.requests[-1].status is None
    assert ask.rows()


def test_a_reset_while_answering(sandbox: Sandbox, ask: Asking) -> None:
    """With a cut the reset comes after so many bytes."""
    sandbox.faults.add(Fault(path=USAGE, reset=True, cut=20, times=1))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        ask.get()
    assert sandbox.requests[-1].status == 200


def test_a_stall(sandbox: Sandbox, ask: Asking) -> None:
    """A stalled answer sends its headers and half of its body, and nothing more."""
    ask.get()  # the answer is known now, so that the client's patience is spent on the stall alone
    sandbox.faults.add(Fault(path=USAGE, stall=True))
    with ask.client.stream("GET", USAGE, timeout=0.5) as answer:
        promised = int(answer.headers["content-length"])
        with pytest.raises(httpx.ReadTimeout):
            answer.read()
        assert answer.num_bytes_downloaded == promised // 2


def test_a_redirect(sandbox: Sandbox, ask: Asking) -> None:
    """A redirect names its target, and a client that does not follow stays."""
    sandbox.faults.add(Fault(path=USAGE, redirect="https://elsewhere.example/", times=1))
    sandbox.faults.add(Fault(path=USAGE, redirect="/v4", status=308, times=1))
    first, second = ask.get(), ask.get()
    assert (first.status_code, first.headers["location"]) == (302, "https://elsewhere.example/")
    assert (second.status_code, second.headers["location"]) == (308, "/v4")


def test_a_big_body(sandbox: Sandbox, ask: Asking) -> None:
    """A padded body has its size and is still the JSON that it was."""
    true = ask.get().json()
    sandbox.faults.add(Fault(path=USAGE, size=3_000_001))
    answer = ask.get()
    assert len(answer.content) == 3_000_001
    assert answer.json() == true


def test_a_body_without_end_stops_with_its_client(sandbox: Sandbox, ask: Asking) -> None:
    """A terabyte is made while it is sent, so that a client who hangs up ends it, and the server goes on."""
    sandbox.faults.add(Fault(path=USAGE, size=10**12, times=1))
    with ask.client.stream("GET", USAGE) as answer:
        assert answer.headers["content-length"] == str(10**12)
        next(answer.iter_raw())
    assert ask.rows()


def test_a_gzip_bomb(sandbox: Sandbox, ask: Asking) -> None:
    """Compressed, twenty megabytes are some kilobytes on the wire."""
    sandbox.faults.add(Fault(path=USAGE, size=20_000_000, gzip=True))
    with ask.client.stream("GET", USAGE) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert sum(map(len, answer.iter_bytes())) == 20_000_000
        assert answer.num_bytes_downloaded < 100_000


def test_compression_alone_is_harmless(sandbox: Sandbox, ask: Asking) -> None:
    """A compressed true answer is the true answer."""
    true = ask.rows()
    sandbox.faults.add(Fault(gzip=True))
    assert ask.rows() == true


def test_faults_come_before_authentication(sandbox: Sandbox) -> None:
    """A gateway fails for strangers too."""
    sandbox.faults.add(Fault(path=USAGE, status=502))
    assert httpx.get(sandbox.url + USAGE).status_code == 502


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "changes nothing"),
        ({"path": "v3", "status": 500}, "path"),
        ({"path": "/_sandbox/faults", "status": 500}, "path"),
        ({"status": 99}, "status"),
        ({"status": 500, "times": 0}, "times"),
        ({"status": 500, "after": -1}, "after"),
        ({"delay": -0.5}, "delay"),
        ({"cut": -1}, "cut"),
        ({"reset": True, "stall": True}, "either"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields: dict[str, Any], named: str) -> None:
    """A fault that could never show is an error that names the field."""
    with pytest.raises(ValueError, match=named):
        Fault(**fields)


def test_requests_are_noted(sandbox: Sandbox, ask: Asking) -> None:
    """Requests are noted in order, repeated parameters and faulty answers included, and without their secrets."""
    sandbox.faults.add(Fault(status=503, times=1))
    ask.get(group_by=["app_id", "usage_type"], page=2)
    httpx.get(sandbox.url + USAGE)
    first, second = sandbox.requests
    assert (first.method, first.path, first.status, first.faulty) == ("GET", USAGE, 503, True)
    assert first.query == {"group_by": ["app_id", "usage_type"], "page": ["2"]}
    assert (first.headers["app_id"], first.headers["app_key"]) == ("lyceum_notes", "***")
    assert (second.status, second.faulty) == (401, False)
    assert [asked.status for asked in sandbox.requests[:1]] == [503]
    sandbox.requests.clear()
    assert len(sandbox.requests) == 0


def test_control_over_http(sandbox: Sandbox, ask: Asking) -> None:
    """Faults, restatements and the list of requests are there for other processes, and none of it is noted as a request."""
    with httpx.Client(base_url=sandbox.url) as control:
        assert control.post("/_sandbox/faults", json={"path": USAGE, "status": 500, "times": 2}).status_code == 204
        assert list(sandbox.faults) == [Fault(path=USAGE, status=500, times=2)]
        assert ask.get().status_code == 500
        assert control.delete("/_sandbox/faults").status_code == 204
        assert ask.get().status_code == 200
        assert [one["status"] for one in control.get("/_sandbox/requests").json()] == [500, 200]
        assert control.delete("/_sandbox/requests").status_code == 204
        assert len(sandbox.requests) == 0
        usage = sandbox.mathpix.usage
        before, pages = (
            usage.total("2026-01-01", "2026-01-03"),
            usage.total("2026-01-01", "2026-01-02", usage_type="pdf-page"),
        )
        day = {"start": "2026-01-01", "usage_type": "pdf-page"}
        assert control.post("/_sandbox/mathpix/restate", json={**day, "factor": 2}).status_code == 204
        assert usage.total("2026-01-01", "2026-01-02", usage_type="pdf-page") == 2 * pages
        assert control.post("/_sandbox/mathpix/vanish", json=day).status_code == 204
        assert usage.total("2026-01-01", "2026-01-03") == before - pages
        assert control.post("/_sandbox/mathpix/reset").status_code == 204
        assert usage.total("2026-01-01", "2026-01-03") == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", b"no json"),
        ("faults", b'{"status": "500"}'),
        ("faults", b'{"colour": "blue"}'),
        ("faults", b'{"status": 99}'),
        ("mathpix/restate", b'{"start": "2026-01-01"}'),
        ("mathpix/restate", b'{"start": "soon", "count": 1}'),
        ("mathpix/vanish", b'{"start": "2026-01-01", "count": 1}'),
        ("mathpix/vanish", b"\xff"),
    ],
)
def test_control_refuses_nonsense(sandbox: Sandbox, path: str, body: bytes) -> None:
    """An order that makes no sense is answered with 422 and a reason, and changes nothing."""
    answer = httpx.post(f"{sandbox.url}/_sandbox/{path}", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not list(sandbox.faults)
    assert sandbox.mathpix.usage.version == 0


def test_the_life_of_a_sandbox() -> None:
    """A sandbox answers inside its with block, on loopback, and nowhere after it; it can be entered again."""
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="with block"):
        _ = sandbox.url
    for _ in range(2):
        with sandbox:
            url = sandbox.url
            assert url.startswith("http://127.0.0.1:")
            assert httpx.get(url + USAGE).status_code == 401
            with pytest.raises(RuntimeError, match="already"):
                sandbox.__enter__()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + USAGE)


def test_a_stalled_answer_does_not_hold_up_the_end(sandbox: Sandbox) -> None:
    """The sandbox ends at once, whoever is still waiting for an answer."""
    with Sandbox() as other:
        other.faults.add(Fault(path=USAGE, delay=3600))
        failed: list[Exception] = []

        def wait() -> None:
            try:
                httpx.get(other.url + USAGE, timeout=60)
            except httpx.HTTPError as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not len(other.requests):
            time.sleep(0.001)
        started = time.monotonic()
    waiting.join(5)
    assert time.monotonic() - started < 2
    assert len(failed) == 1


def test_two_sandboxes_are_apart(sandbox: Sandbox) -> None:
    """Two sandboxes have ports, faults and requests of their own; a taken port is an error where it was asked for."""
    with Sandbox() as other:
        other.faults.add(Fault(status=500))
        assert httpx.get(other.url + USAGE).status_code == 500
        assert httpx.get(sandbox.url + USAGE).status_code == 401
        assert len(sandbox.requests) == 1
        with pytest.raises(OSError, match="in use"):
            Sandbox(port=int(other.url.rsplit(":", 1)[1])).__enter__()


def test_the_variables_name_a_key_that_works(sandbox: Sandbox) -> None:
    """What `variables` says is enough to be answered."""
    variables = sandbox.variables()
    assert set(variables) >= {"SOURCES__MATHPIX__BASE_URL", "SOURCES__MATHPIX__APP_ID", "SOURCES__MATHPIX__APP_KEY"}
    headers = {"app_id": variables["SOURCES__MATHPIX__APP_ID"], "app_key": variables["SOURCES__MATHPIX__APP_KEY"]}
    assert httpx.get(variables["SOURCES__MATHPIX__BASE_URL"] + USAGE, headers=headers).status_code == 200


def test_serve_runs_until_it_is_interrupted() -> None:
    """`serve` says when it is ready, answers, and ends on an interrupt without a traceback."""
    script = "from pipelines.sandbox import serve; serve(0, 7, lambda sandbox: print(sandbox.url, flush=True))"
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=root,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has told its children to ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(url + USAGE).status_code == 401
        process.send_signal(2)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def test_a_fault_survives_json() -> None:
    """Every field of a fault can be given over HTTP."""
    fault = Fault(
        path="/v3", query={"page": "2"}, after=1, times=3, delay=0.5, status=429, headers={"Retry-After": "1"}, body={"a": 1}
    )
    assert msgspec.json.decode(msgspec.json.encode(fault), type=Fault) == fault
