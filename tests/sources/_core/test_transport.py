"""Proxies and certificates that the environment names."""

import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources._core.errors import ConfigurationError, Unreachable
from meterhouse.sources._core.http.auth import HeaderAuth
from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.http.transport import open_client
from tests.conftest import Cli

VENDOR = "https://vendor.invalid"
WRONG = [
    ("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:1080", r"ALL_PROXY is a SOCKS proxy.*httpx\[socks\].*NO_PROXY"),
    ("all_proxy", "socks5h://user:hunter2@127.0.0.1:1080", "all_proxy is a SOCKS proxy"),
    ("HTTPS_PROXY", "socks4://user:hunter2@127.0.0.1", "HTTPS_PROXY is not the address of a proxy.*http://host:port"),
    ("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:port", "HTTPS_PROXY is not the address of a proxy"),
    ("HTTPS_PROXY", "http://", "HTTPS_PROXY is not the address of a proxy"),
    ("SSL_CERT_FILE", "/hunter2.pem", r"SSL_CERT_FILE cannot be read \(No such file or directory\)\. .*or remove it"),
    ("SSL_CERT_FILE", "/", r"SSL_CERT_FILE cannot be read \(Is a directory\)"),
    ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE has no certificates in PEM format"),
    ("SSL_CERT_DIR", "/hunter2:", r"SSL_CERT_DIR names no existing folder\. .*or remove it"),
]
"""Variable, value, and the error; a value contains `hunter2` where it may be secret."""

HARMLESS = ["localhost,[::1]", "fd00::/8", "[fd00::]/8", "localhost, ::1/128, ,*.corp"]


@pytest.fixture(autouse=True)
def no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tests may name a proxy itself."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def no_sleep(_: float) -> None:
    pytest.fail("the client retries")


def proxied(url: str) -> bool:
    """Whether a client for `url` sends its requests to a proxy."""
    with open_client(url) as client:
        return client._transport_for_url(httpx.URL(url)) is not client._transport


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_an_error_names_the_variable_but_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """The first request raises it, without a retry; a proxy's address may hold a password."""
    monkeypatch.setenv(name, value)
    client = Client("vendor", VENDOR, HeaderAuth({}), error_from_response=lambda _: None, sleep=no_sleep)
    with pytest.raises(ConfigurationError, match=rf"^vendor: {message}") as caught:
        client.get("/usage", {})
    assert "hunter2" not in str(caught.value)
    client.close()


def test_the_error_for_a_proxy_that_is_down_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's host, which the error would blame otherwise, was never contacted."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:1")
    client = Client("vendor", VENDOR, HeaderAuth({}), error_from_response=lambda _: None, sleep=lambda _: None)
    with pytest.raises(
        Unreachable, match=r"the proxy cannot be reached.* Check HTTPS_PROXY, or exclude vendor\.invalid"
    ) as caught:
        client.get("/usage", {})
    assert "hunter2" not in str(caught.value)
    client.close()


@pytest.mark.parametrize(
    ("name", "value"), [*((name, value) for name, value, _ in WRONG), *(("NO_PROXY", value) for value in HARMLESS)]
)
def test_this_machine_needs_neither_proxy_nor_certificates(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, name: str, value: str
) -> None:
    """No such variable has an effect on a provider on loopback."""
    monkeypatch.setenv(name, value)
    client = Client("vendor", sandbox.url, HeaderAuth({}), error_from_response=lambda _: None)
    assert client.get("/_sandbox/requests", {}) is not None
    client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_requests_to_this_machine_take_no_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Under each of its names."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:3128")
    assert not proxied(url)


@pytest.mark.parametrize("excluded", HARMLESS)
def test_no_proxy_may_hold_ipv6_addresses_and_networks(monkeypatch: pytest.MonkeyPatch, excluded: str) -> None:
    """Other hosts take the proxy, and hosts in an excluded network do not."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert proxied(VENDOR)
    assert proxied("https://[fd00::1]") == ("fd00" not in excluded)


@pytest.mark.parametrize(
    ("excluded", "url"),
    [
        ("*", VENDOR),
        ("invalid", VENDOR),
        (".invalid", VENDOR),
        ("vendor.invalid:8443", f"{VENDOR}:8443"),
        ("10.0.0.0/8", "https://10.1.2.3"),
        ("[fd00::1]", "https://[fd00::1]:8443"),
    ],
)
def test_excluded_hosts_take_no_proxy(monkeypatch: pytest.MonkeyPatch, excluded: str, url: str) -> None:
    """NO_PROXY holds domains, hosts with a port, addresses and networks."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    assert proxied(url)
    monkeypatch.setenv("NO_PROXY", f"other.example,{excluded}")
    assert not proxied(url)


def test_one_of_several_certificate_folders_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenSSL reads a list of folders."""
    monkeypatch.setenv("SSL_CERT_DIR", f"/missing:{tmp_path}")
    open_client(VENDOR).close()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server on localhost, and the file with the certificate of its own authority."""
    certificate, key = tmp_path / "company.pem", tmp_path / "key.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    command = ["openssl", "req", "-x509", *options.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://localhost:{server.server_port}", certificate
        server.shutdown()
        thread.join()


def test_a_company_may_have_its_own_certificate_authority(
    monkeypatch: pytest.MonkeyPatch, company: tuple[str, Path]
) -> None:
    """The error names SSL_CERT_FILE, without a retry, and the setting helps."""
    url, certificate = company

    def request() -> object:
        client = Client("vendor", url, HeaderAuth({}), error_from_response=lambda _: None, sleep=no_sleep)
        try:
            return client.get("/usage", {})
        finally:
            client.close()

    with pytest.raises(ConfigurationError, match=r"^vendor /usage: the certificate .*set SSL_CERT_FILE to a PEM file"):
        request()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert request() == {}


def test_one_providers_trouble_is_not_anothers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider on loopback loads; the other one fails with one line. `check` says so, too."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "localhost,[::1]")
    monkeypatch.setenv("SOURCES__REDUCTO__API_KEY", "a-key")
    output = cli("run", "mathpix.ocr_usage_by_app_id", "reducto", "--no-models", status=1)
    assert output.count("ALL_PROXY") == output.count("FAILED  reducto: ALL_PROXY is a SOCKS proxy") == 1
    assert cli.rows("select count(*) > 0 from mathpix.ocr_usage_by_app_id") == [(True,)]
    checked = cli("check", status=1)
    assert "mathpix  default  ok" in checked
    assert "reducto  default  reducto: ALL_PROXY is a SOCKS proxy" in checked
    assert "hunter2" not in output + checked
