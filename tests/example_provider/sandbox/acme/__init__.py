"""The sandbox's Acme. The worked example of sources/README.md."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meterhouse.pipelines.sandbox.vendor import BaseVendor

API_KEY = "sandbox-key-of-acme"
REQUESTS_PER_DAY = {"production": 40, "staging": 2}


class Vendor(BaseVendor):
    """Acme: the same number of requests every day."""

    name = "acme"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self._seed, self._clock = seed, clock

    def _keys(self) -> dict[str, str]:
        return {"api_key": API_KEY}

    def routes(self) -> list[Route]:
        """The API alone: this vendor never restates its usage."""
        return self.endpoints()

    def endpoints(self) -> list[Route]:
        """`GET /v1/usage`."""
        return [Route("/v1/usage", self._usage, methods=["GET"])]

    async def _usage(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return JSONResponse({"error": "invalid key"}, 401)
        start, end = (date.fromisoformat(request.query_params[name]) for name in ("from", "to"))
        days = min(end, self._clock().date() + timedelta(days=1)) - start
        return JSONResponse(
            {
                "usage": [
                    {"date": str(start + timedelta(days=day)), "api_key": key, "requests": requests}
                    for day in range(days.days)
                    for key, requests in REQUESTS_PER_DAY.items()
                ]
            }
        )
