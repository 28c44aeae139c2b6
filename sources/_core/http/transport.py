"""HTTP connections, with the proxy and the certificates that the environment names.

httpx reads the same variables. But it raises errors of many kinds for values that it does not support, and it does so for
hosts that need neither proxy nor certificates, too.
"""

import ipaddress
import os
import ssl
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from meterhouse.sources._core.errors import ConfigurationError, SourceError, Unreachable
from meterhouse.sources._core.http.auth import is_loopback
from meterhouse.sources._core.http.timeouts import enforce_deadlines

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_client(url: str, **options: Any) -> httpx.Client:
    """A client for requests to the host of `url`; `options` are those of `httpx.Client`.

    HTTPS_PROXY, ALL_PROXY and NO_PROXY have no effect on requests to this machine, and SSL_CERT_FILE and SSL_CERT_DIR have
    none on plain HTTP. Redirects are not followed: no usage API documents one, and a key must not travel to another address.

    Raises:
        ConfigurationError: the proxy or the certificates cannot be used. The message names the variable and hides its
            value, which may hold a password.
    """
    address = httpx.URL(url)
    if address.scheme == "https":
        certificates = _certificates(*(os.environ.get(name, "") for name in CERTIFICATES))
    else:
        certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it trusts no authority; reading certificates takes 50 ms
    proxy = _proxy(address, certificates)
    return enforce_deadlines(
        httpx.Client(verify=certificates, proxy=proxy, trust_env=False, follow_redirects=False, **options)
    )


@cache
def _certificates(file: str, folder: str) -> ssl.SSLContext:
    """The trusted certificates: those of SSL_CERT_FILE, else those of SSL_CERT_DIR, else those of the package certifi.

    Reading them is the slowest step of making a client, so it happens once.
    """
    if not file and not folder:
        return httpx.create_ssl_context()
    variable = CERTIFICATES[0] if file else CERTIFICATES[1]
    hint = f"Set {variable} to an existing {'PEM file' if file else 'folder'} with certificates, or remove it."
    # OpenSSL ignores folders that do not exist. Then it would trust no authority, and every request would fail.
    if not file and not any(part and Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise ConfigurationError(f"{variable} names no existing folder", hint=hint)
    try:
        return httpx.create_ssl_context()
    except ssl.SSLError:
        raise ConfigurationError(f"{variable} has no certificates in PEM format", hint=hint) from None
    except OSError as error:
        raise ConfigurationError(f"{variable} cannot be read ({error.strerror})", hint=hint) from None


def _proxy(address: httpx.URL, certificates: ssl.SSLContext) -> httpx.Proxy | None:
    """The proxy for requests to `address`; None for a direct connection."""
    variable, given = _proxy_setting(address)
    if not variable:
        return None
    try:
        proxy = httpx.Proxy(given if "://" in given else f"http://{given}")
    except (ValueError, httpx.InvalidURL):
        proxy = None
    if proxy is None or not proxy.url.host:
        raise ConfigurationError(
            f"{variable} is not the address of a proxy",
            hint=f"Write it as http://host:port, remove it, or exclude {address.host} by NO_PROXY.",
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(
            f"{variable} is a SOCKS proxy, for which a package is missing",
            hint=f"pip install 'httpx[socks]', use an HTTP proxy, or exclude {address.host} by NO_PROXY.",
        )
    if proxy.url.scheme == "https":
        proxy.ssl_context = certificates
    return proxy


def _proxy_setting(address: httpx.URL) -> tuple[str, str]:
    """The variable that names the proxy for requests to `address`, and its value; empty for a direct connection."""
    proxies = getproxies()
    scheme = next((scheme for scheme in (address.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None or is_loopback(address.host) or _is_excluded(address, proxies.get("no", "")):
        return "", ""
    variable = f"{scheme}_proxy" if os.environ.get(f"{scheme}_proxy") else f"{scheme}_proxy".upper()
    return variable, proxies[scheme]


def _is_excluded(address: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY excludes the host: by name, by network, such as 10.0.0.0/8 or fd00::/8, or with all hosts (`*`)."""
    for entry in map(str.strip, no_proxy.split(",")):
        with suppress(ValueError):  # a name
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
            if ipaddress.ip_address(address.host) in network:
                return True
        if entry == "*":
            return True
    return bool(proxy_bypass(address.netloc.decode()))


def error_from_transport(error: httpx.HTTPError, provider: str) -> SourceError:
    """Maps a failed exchange to an error that names the failed step, with httpx's own detail.

    An untrusted certificate needs a setting; all else may be transient.
    """
    detail = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in detail:
        return ConfigurationError(
            f"the certificate of the host is not trusted ({detail})",
            hint="If your network uses its own certificate authority, set SSL_CERT_FILE to a PEM file with its certificate."
            " Public authorities are then no longer trusted, so add those that you need.",
        )
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.ProxyError):
        variable, _ = _proxy_setting(error.request.url)
        if variable:
            return Unreachable(
                f"the proxy cannot be reached, or it refuses the connection ({detail})",
                hint=f"Check {variable}, or exclude {error.request.url.host} by NO_PROXY, then run again.",
            )
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        problem = f"no connection in time ({detail})"
    elif isinstance(error, httpx.ConnectError):
        problem = f"the host cannot be reached ({detail})"
    elif isinstance(error, httpx.TimeoutException):
        problem = f"no complete response in time ({detail})"
    else:
        problem = f"the connection broke ({detail})"
    return Unreachable(problem, hint=f"Check the network and sources.{provider}.base_url, then run again.")
