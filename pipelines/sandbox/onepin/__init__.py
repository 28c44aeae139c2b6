"""The sandbox's Onepin."""

from collections.abc import Callable, Sequence
from datetime import datetime

from starlette.routing import Route

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month
from meterhouse.pipelines.sandbox.onepin.api import Api
from meterhouse.pipelines.sandbox.onepin.billing import billing_rows
from meterhouse.pipelines.sandbox.onepin.errors import error_body
from meterhouse.pipelines.sandbox.onepin.fixtures import CREDENTIALS, MEMBERS, Event, Run
from meterhouse.pipelines.sandbox.onepin.options import Options
from meterhouse.pipelines.sandbox.onepin.store import RunStore
from meterhouse.pipelines.sandbox.vendor import BaseVendor

__all__ = ["MEMBERS", "Event", "Options", "Run", "RunStore", "Vendor", "error_body"]


class Vendor(BaseVendor):
    """Onepin: one key each for the workspaces `default` and `podcast`."""

    name = "onepin"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self.credentials = CREDENTIALS
        self.usage = RunStore(seed, clock)
        self.options = Options()
        self._api = Api(CREDENTIALS, self.usage, self.options)

    def endpoints(self) -> list[Route]:
        """`GET /api/v1/usage/*` and `/api/v1/auth/whoami`."""
        return self._api.routes()

    def billing_rows(self, months: Sequence[Month]) -> BillingRows:
        """Its plan and its price of a credit."""
        return billing_rows(months)
