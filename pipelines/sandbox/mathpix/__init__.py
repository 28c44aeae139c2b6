"""The sandbox's Mathpix."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month
from meterhouse.pipelines.sandbox.mathpix.api import Api
from meterhouse.pipelines.sandbox.mathpix.billing import billing_rows
from meterhouse.pipelines.sandbox.mathpix.errors import error_body
from meterhouse.pipelines.sandbox.mathpix.fixtures import CREDENTIALS, Series
from meterhouse.pipelines.sandbox.mathpix.options import Options
from meterhouse.pipelines.sandbox.mathpix.store import CountStore, Usage
from meterhouse.pipelines.sandbox.vendor import BaseVendor

__all__ = ["CountStore", "Options", "Series", "Usage", "Vendor", "error_body"]


class Vendor(BaseVendor):
    """Mathpix: a credential for each app; a key sees all apps of its account, `default` or `press`."""

    name = "mathpix"
    key_names = ("app_id", "app_key")
    usage: CountStore

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = CountStore(seed, clock)
        self.options = Options()
        self._api = Api(CREDENTIALS, self.usage, self.options)

    def settings(self, url: str) -> dict[str, Any]:
        """As for every vendor, with the source's defaults for all other settings that a configuration may have."""
        return {**super().settings(url), "timespan": "hour", "page_size": 1000, "lookback": "7 days"}

    def endpoints(self) -> list[Route]:
        """`GET /v3/ocr-usage`."""
        return self._api.routes()

    def billing_rows(self, months: Sequence[Month]) -> BillingRows:
        """Its invoices."""
        return billing_rows(months, self.usage)
