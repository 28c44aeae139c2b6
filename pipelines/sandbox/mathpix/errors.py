"""The errors of Mathpix's API."""

from typing import Any


def error_body(identifier: str, message: str, **details: Any) -> dict[str, Any]:
    """The body of an error as https://docs.mathpix.com/reference/error-handling documents it.

    Args:
        identifier: `error_info.id`, the part that the vendor calls reliable.
        message: text for a human, in `error` and in `error_info.message`.
        **details: further fields of `error_info`, such as `limit_name`, `limit_value` and `count` of `http_max_requests`.
    """
    return {"error": message, "error_info": {"id": identifier, "message": message, **details}}
