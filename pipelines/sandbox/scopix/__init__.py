"""The sandbox's Scopix."""

from collections.abc import Callable, Sequence
from datetime import datetime

from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month
from meterhouse.pipelines.sandbox.scopix.api import ROOT, Api
from meterhouse.pipelines.sandbox.scopix.billing import billing_rows
from meterhouse.pipelines.sandbox.scopix.errors import error_body
from meterhouse.pipelines.sandbox.scopix.fixtures import CREDENTIALS, Event
from meterhouse.pipelines.sandbox.scopix.options import Options
from meterhouse.pipelines.sandbox.scopix.rate_limit import DOCUMENTED_LIMITS
from meterhouse.pipelines.sandbox.scopix.store import EventStore
from meterhouse.pipelines.sandbox.vendor import BaseVendor

__all__ = ["Event", "EventStore", "Options", "Vendor", "error_body"]


class Vendor(BaseVendor):
    """Scopix: API keys of the accounts `default` and `studio`; a key sees its whole account."""

    name = "scopix"
    demo_years = None  # each day and key takes a request, so a year would take up most of the demo
    root = ROOT
    documented_limits = DOCUMENTED_LIMITS

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = EventStore(seed, clock)
        self.options = Options()
        self._api = Api(CREDENTIALS, self.usage, self.options)

    def endpoints(self) -> list[Route]:
        """`/api/v2/usage/*`, and 404 in the vendor's form for any other path below `/api/v2`."""
        return self._api.routes()

    def billing_rows(self, months: Sequence[Month]) -> BillingRows:
        """Its plan and its price of a credit."""
        return billing_rows(months)
