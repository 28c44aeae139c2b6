"""How every vendor of the sandbox responds: with JSON, or with an error that the endpoint raises."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

Headers = dict[str, str]
Respond = Callable[[Request, Headers], Awaitable[Any]]
"""Returns the body of a response. The headers that it adds are sent with the body, and with an error that it raises."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class ErrorResponse(Exception):
    """A response that is an error."""

    def __init__(self, status: int, body: dict[str, Any], headers: Headers | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


def endpoint(respond: Respond) -> Callable[[Request], Awaitable[Response]]:
    """The handler of a route."""

    async def handle(request: Request) -> Response:
        headers: Headers = {}
        try:
            return json_response(await respond(request, headers), headers=headers)
        except ErrorResponse as error:
            return json_response(error.body, error.status, headers | error.headers)

    return handle


def json_response(body: Any, status: int = 200, headers: Headers | None = None) -> Response:
    """A response whose body is JSON."""
    return Response(_encode(body), status, headers, media_type="application/json")
