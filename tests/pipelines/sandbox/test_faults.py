"""Injected faults as a real client gets them."""

import time
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.mathpix import error_body

from .conftest import UsageClient

USAGE = "/v3/ocr-usage"


def test_a_status_replaces_the_response(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A status without a body comes with a gateway's HTML page, as often as ordered; then the true response returns."""
    sandbox.faults.add(Fault(path=USAGE, status=503, times=2))
    responses = [mathpix.get() for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 503, 200]
    assert responses[0].headers["content-type"] == "text/html"
    assert "503 Service Unavailable" in responses[0].text


def test_a_body_replaces_the_response(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A body is sent as JSON, text or bytes, with the given status and headers."""
    quota = error_body("http_max_requests", "Limit", limit_name="page_monthly_limit", limit_value=5, count=6)
    sandbox.faults.add(Fault(status=429, headers={"Retry-After": "2"}, body=quota, times=1))
    sandbox.faults.add(Fault(body='{"ocr_usage": [', times=1))
    sandbox.faults.add(Fault(body="<html>maintenance</html>", times=1))
    sandbox.faults.add(Fault(body=b"\xff\xfe", headers={"Content-Type": "text/plain"}, times=1))
    limited, torn, page, binary = (mathpix.get() for _ in range(4))
    assert (limited.status_code, limited.headers["retry-after"], limited.json()) == (429, "2", quota)
    assert (torn.status_code, torn.headers["content-type"], torn.text) == (200, "application/json", '{"ocr_usage": [')
    assert page.headers["content-type"] == "text/html"
    assert (binary.content, binary.headers["content-type"]) == (b"\xff\xfe", "text/plain")


def test_a_function_edits_the_body(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A function maps the true body and the parameters to the body that is sent."""
    sandbox.faults.add(Fault(path=USAGE, times=1, edit=lambda body, query: body[:5] + query["page"][0].encode()))
    assert mathpix.get(page=3).content == b'{"ocr3'
    assert mathpix.rows()
    with pytest.raises(ValueError, match="edit must be a function"):
        Fault(edit="a text")
    with pytest.raises(ValueError, match="without status, body or redirect"):
        Fault(status=500, edit=lambda body, _: body)


def test_the_date_header_is_by_the_sandboxs_clock(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """Every response has the date of the sandbox's clock; a fault can replace it."""
    assert mathpix.get().headers["date"] == "Wed, 18 Mar 2026 14:45:00 GMT"
    sandbox.faults.add(Fault(path=USAGE, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}))
    assert mathpix.get().headers["date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


def test_headers_are_added(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """Headers alone are added to the true response."""
    true = mathpix.rows()
    sandbox.faults.add(Fault(path=USAGE, headers={"X-RateLimit-Remaining": "0"}))
    assert mathpix.get(per_page=1000).headers["x-ratelimit-remaining"] == "0"
    assert mathpix.rows() == true


def test_a_fault_selects_its_requests(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A fault affects its path and parameters, after the requests it lets pass; the first match takes a request."""
    sandbox.faults.add(Fault(path="/v4", status=500))
    sandbox.faults.add(Fault(path=USAGE, query={"page": "2"}, status=502))
    sandbox.faults.add(Fault(path=USAGE, after=1, times=1, status=504))
    assert [mathpix.get(page=page).status_code for page in (1, 2, 1, 1, 2)] == [200, 502, 504, 200, 502]
    sandbox.faults.clear()
    assert mathpix.get(page=2).status_code == 200


def test_a_delayed_response_is_the_true_one(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A delayed response is the true one, later; a client with less patience times out."""
    true = mathpix.rows()
    sandbox.faults.add(Fault(delay=0.1, times=1))
    started = time.monotonic()
    assert mathpix.rows() == true
    assert time.monotonic() - started >= 0.1
    sandbox.faults.add(Fault(delay=60))
    with pytest.raises(httpx.ReadTimeout):
        mathpix.client.get(USAGE, timeout=0.05)


@pytest.mark.parametrize("cut", [0, 10])
def test_a_cut_body_is_shorter_than_promised(sandbox: Sandbox, mathpix: UsageClient, cut: int) -> None:
    """A cut body ends before the length that Content-Length promises."""
    sandbox.faults.add(Fault(path=USAGE, cut=cut, times=1))
    with pytest.raises(httpx.RemoteProtocolError, match=rf"received {cut} bytes"):
        mathpix.get()
    assert mathpix.rows()


def test_a_reset_comes_before_the_response(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A reset is a TCP reset, before any byte of a response."""
    sandbox.faults.add(Fault(path=USAGE, reset=True, times=1))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        mathpix.get()
    assert sandbox.requests[-1].status is None
    assert mathpix.rows()


def test_a_reset_with_a_cut_comes_within_the_body(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """With a cut the TCP reset comes after so many bytes."""
    sandbox.faults.add(Fault(path=USAGE, reset=True, cut=20, times=1))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        mathpix.get()
    assert sandbox.requests[-1].status == 200


def test_a_stalled_response_stops_halfway(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A stalled response sends its headers and half of its body, and nothing more."""
    mathpix.get()  # the next response is cached, so that the timeout covers the stall alone
    sandbox.faults.add(Fault(path=USAGE, stall=True))
    with mathpix.client.stream("GET", USAGE, timeout=0.5) as response:
        promised = int(response.headers["content-length"])
        with pytest.raises(httpx.ReadTimeout):
            response.read()
        assert response.num_bytes_downloaded == promised // 2


def test_a_redirect_names_its_target(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A redirect has a Location, and status 302 or the given one."""
    sandbox.faults.add(Fault(path=USAGE, redirect="https://elsewhere.example/", times=1))
    sandbox.faults.add(Fault(path=USAGE, redirect="/v4", status=308, times=1))
    first, second = mathpix.get(), mathpix.get()
    assert (first.status_code, first.headers["location"]) == (302, "https://elsewhere.example/")
    assert (second.status_code, second.headers["location"]) == (308, "/v4")


def test_a_padded_body_stays_json(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A padded body has its size and is still the same JSON."""
    true = mathpix.get().json()
    sandbox.faults.add(Fault(path=USAGE, size=3_000_001))
    response = mathpix.get()
    assert len(response.content) == 3_000_001
    assert response.json() == true


def test_an_endless_body_ends_with_its_client(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A terabyte is generated while it is sent: a client that hangs up ends it, and the server goes on."""
    sandbox.faults.add(Fault(path=USAGE, size=10**12, times=1))
    with mathpix.client.stream("GET", USAGE) as response:
        assert response.headers["content-length"] == str(10**12)
        next(response.iter_raw())
    assert mathpix.rows()


def test_a_gzip_bomb_is_small_on_the_wire(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """Twenty compressed megabytes are some kilobytes on the wire."""
    sandbox.faults.add(Fault(path=USAGE, size=20_000_000, gzip=True))
    with mathpix.client.stream("GET", USAGE) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert sum(map(len, response.iter_bytes())) == 20_000_000
        assert response.num_bytes_downloaded < 100_000


def test_compression_keeps_the_body(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """A compressed true response is the true response."""
    true = mathpix.rows()
    sandbox.faults.add(Fault(gzip=True))
    assert mathpix.rows() == true


def test_a_fault_precedes_authentication(sandbox: Sandbox, http: httpx.Client) -> None:
    """A fault affects requests without credentials, as a gateway's error does."""
    sandbox.faults.add(Fault(path=USAGE, status=502))
    assert http.get(sandbox.url + USAGE).status_code == 502


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
def test_an_invalid_fault_is_an_error(fields: dict[str, Any], named: str) -> None:
    """A fault without effect or with an invalid field is an error that names the field."""
    with pytest.raises(ValueError, match=named):
        Fault(**fields)
