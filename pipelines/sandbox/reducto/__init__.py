"""The sandbox's Reducto."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month
from meterhouse.pipelines.sandbox.reducto.api import Api
from meterhouse.pipelines.sandbox.reducto.billing import billing_rows
from meterhouse.pipelines.sandbox.reducto.errors import error_body
from meterhouse.pipelines.sandbox.reducto.fixtures import CREDENTIALS, EXAMPLE
from meterhouse.pipelines.sandbox.reducto.options import Options
from meterhouse.pipelines.sandbox.reducto.parameters import FILTERS, GROUPINGS
from meterhouse.pipelines.sandbox.reducto.store import CreditStore, Usage
from meterhouse.pipelines.sandbox.vendor import BaseVendor

__all__ = ["FILTERS", "GROUPINGS", "CreditStore", "Options", "Usage", "Vendor", "error_body"]


class Vendor(BaseVendor):
    """Reducto: the key of `default` is a member of three organisations, the key of `firm` of a fourth."""

    name = "reducto"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = CreditStore(seed, clock)
        self.options = Options()
        self._api = Api(CREDENTIALS, self.usage, self.options)

    def settings(self, url: str) -> dict[str, Any]:
        """As for every vendor, with all organisations except that of the printed examples, and without filters."""
        settings = super().settings(url)
        settings["accounts"]["default"]["org_ids"] = [name for name in self.credential().org_ids if name != EXAMPLE]
        return settings | {name: [] for name in ("products", "features", "api_keys", "file_types")}

    def endpoints(self) -> list[Route]:
        """`GET /api/v1/usage/export`."""
        return self._api.routes()

    def billing_rows(self, months: Sequence[Month]) -> BillingRows:
        """Its price of a credit and its pack of credits."""
        return billing_rows(months)
