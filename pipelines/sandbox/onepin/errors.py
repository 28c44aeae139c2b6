"""The errors of Onepin's API."""

from typing import Any

from meterhouse.pipelines.sandbox.onepin.fixtures import identifier


def error_body(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The body of an error; `details` name the parameter `field`, if it is given."""
    error: dict[str, Any] = {"code": code, "message": message}
    if field is not None:
        error["details"] = [{"field": field, "message": message}]
    return {"error": error, "meta": {"request_id": identifier("error", code, message), "timestamp": "2026-01-01T00:00:00Z"}}
