"""The errors of Scopix's API."""

from typing import Any

from meterhouse.pipelines.sandbox.responses import ErrorResponse


def error_body(code: str, message: str, **details: Any) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": code, "message": message, "details": details}, "request_id": "req_sandbox"}


def invalid(message: str, *location: str) -> ErrorResponse:
    """The error for a bad parameter or body: 422 in the form of the vendor's framework, FastAPI."""
    return ErrorResponse(422, {"detail": [{"loc": location, "msg": message, "type": "value_error"}]})
