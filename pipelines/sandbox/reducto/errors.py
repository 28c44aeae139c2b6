"""The errors of Reducto's API."""

from typing import Any


def error_body(message: str) -> dict[str, Any]:
    """The body of an error. The vendor documents none for this host; this is the form of its other API."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}
