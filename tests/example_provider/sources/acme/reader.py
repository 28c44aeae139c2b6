"""From a window to its rows."""

from meterhouse.sources._core.partition import FetchResult
from meterhouse.sources._core.windows import Window

from .client import AcmeClient
from .tables import USAGE_DAILY


def read_window(client: AcmeClient, window: Window) -> FetchResult:
    """All rows of the window: one response holds them."""
    return FetchResult(USAGE_DAILY.rows(client.usage(window)), window)
