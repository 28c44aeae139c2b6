"""Requests to `GET /v3/ocr-usage`, with one account's credentials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pendulum import DateTime

from meterhouse.sources._core.http.client import Client
from meterhouse.sources._core.windows import Unit, Window, floor, utc_now

from .constants import ENDPOINT


@dataclass(frozen=True)
class MathpixClient:
    """The usage endpoint for one account."""

    http: Client

    def usage(self, window: Window, *, group_by: Sequence[str], timespan: Unit, page: int, per_page: int) -> list[Any]:
        """One page of the usage in `window`; each dimension in `group_by` is a parameter of its own.

        `from_date` is included, `to_date` excluded (docs.mathpix.com/reference/ocr-usage).

        Raises:
            SourceError: the request failed; see `_core.errors`.
        """
        items: list[Any] = self.http.get(
            ENDPOINT,
            {
                "from_date": _text(window.start),
                "to_date": _text(window.end),
                "group_by": group_by,
                "timespan": timespan,
                "page": page,
                "per_page": per_page,
            },
        )["ocr_usage"]
        return items

    def check_credentials(self) -> None:
        """Requests one row of the running hour."""
        now = utc_now()
        self.usage(Window(floor(now, "hour"), now), group_by=["usage_type"], timespan="hour", page=1, per_page=1)


def _text(moment: DateTime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
