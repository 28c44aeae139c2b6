"""The credentials that requests carry, and the addresses that may receive them."""

import ipaddress
from collections.abc import Generator, Mapping

import httpx

from meterhouse.sources._core.errors import ConfigurationError

SHORTEST_SECRET = 6
"""Characters. Keys are longer, and redacting shorter texts would make error messages unreadable."""


class HeaderAuth(httpx.Auth):
    """Sends the credentials as headers; httpx drops them from a request to another host."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name: value.strip() for name, value in headers.items()}
        for name, value in self._headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ConfigurationError(
                    f"{name} has characters that an HTTP header cannot hold",
                    hint="Copy its setting again, without line breaks.",
                )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the headers to the one request."""
        request.headers.update(self._headers)
        yield request

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that messages must not show."""
        return tuple(self._headers.values())


class BearerAuth(HeaderAuth):
    """Sends a key as `Authorization: Bearer`, with further headers that are not secret."""

    def __init__(self, key: str, headers: Mapping[str, str] | None = None) -> None:
        self._key = key.strip()
        super().__init__({"Authorization": f"Bearer {self._key}", **(headers or {})})

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key alone: a provider may repeat it in a message without the word `Bearer`."""
        return (self._key,)


def require_safe_url(url: str, *, provider: str) -> str:
    """Returns `url` without a trailing slash, or raises ConfigurationError.

    Credentials travel in headers, so anything but HTTPS is refused unless the host is this machine.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    setting = f"sources.{provider}.base_url"
    if not parsed.host or parsed.scheme not in {"http", "https"} or parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError(f"{setting} is not a URL", hint="Write it as https://host, without credentials.")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise ConfigurationError(
            f"{setting} ({parsed.host}) is not HTTPS",
            hint="Use https://; http:// is only allowed for this machine (127.0.0.1, ::1, localhost).",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
