"""The usage API of Acme in the sandbox. The worked example of sources/README.md."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

API_KEY = "sandbox-key-of-acme"
REQUESTS_PER_DAY = {"production": 40, "staging": 2}


class Vendor:
    """Acme: a constant number of requests per day and API key."""

    name = "acme"

    def __init__(self, seed: int, clock: Callable[[], datetime]) -> None:
        self._seed, self._clock = seed, clock

    def variables(self, url: str) -> dict[str, str]:
        """The environment variables that point the source at a sandbox at `url`."""
        return {"SOURCES__ACME__BASE_URL": url, "SOURCES__ACME__API_KEY": API_KEY}

    def settings(self, url: str) -> dict[str, Any]:
        """The arguments of `acme_source` that point it at a sandbox at `url`."""
        return {"base_url": url, "api_key": API_KEY}

    def routes(self) -> list[Route]:
        """The routes of the vendor."""
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
