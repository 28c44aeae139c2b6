"""Requests to `GET /v1/usage`, with one account's credentials."""

from dataclasses import dataclass
from typing import Any

from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.windows import Window, after, floor, utc_now

from .constants import ENDPOINT


@dataclass(frozen=True)
class AcmeClient:
    """The usage endpoint for one account."""

    http: Client

    def usage(self, window: Window) -> list[Any]:
        """The rows of the days in `window`; `from` is included, `to` is excluded."""
        params = {"from": window.start.to_date_string(), "to": window.end.to_date_string()}
        rows: list[Any] = self.http.get(ENDPOINT, params)["usage"]
        return rows

    def check_credentials(self) -> None:
        """Requests the current day."""
        today = floor(utc_now(), "day")
        self.usage(Window(today, after(today, "day")))
