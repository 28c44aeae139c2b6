"""Maps Onepin's responses to errors: `{data, meta}`, with `pagination` for lists, or `{error: {code, message, details}}`."""

from collections.abc import Mapping
from typing import Any

from meterhouse.sources._core.errors import (
    CredentialsRejected,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
)
from meterhouse.sources._core.http.client import Response

_STATUS_OF_CODE = {
    "BAD_REQUEST": 400,
    "INVALID_API_KEY": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
}
_ERROR_OF_STATUS: Mapping[int, tuple[type[SourceError], str]] = {
    401: (CredentialsRejected, "Correct api_key in [sources.onepin], then run again."),
    403: (
        CredentialsRejected,
        "Give the key the scope workspace:read; if workspace_id is set, it must be the key's own workspace.",
    ),
    404: (
        RequestRejected,
        "Check base_url, and that all members in sources.onepin.activity_user_ids still belong to the workspace.",
    ),
    409: (ServiceUnavailable, "Run again later."),
    426: (RequestRejected, "Onepin no longer serves clients as old as this one: update meterhouse."),
    429: (RateLimited, "Lower sources.onepin.requests_per_minute, or run again later."),
}
_REFUSED = (RequestRejected, "Check the settings in [sources.onepin] against sources/onepin/README.md.")
_BAD_TIMEZONE = (RequestRejected, "Set sources.onepin.timezone to an IANA name, such as Europe/Berlin.")


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None: by its status, or by its code if an error comes with status 200."""
    payload = response.payload
    if not isinstance(payload, dict):
        if payload is None or response.status != 200:
            return None  # not JSON: the status decides
        return MalformedResponse("the response is not an object", hint="Run again later; check base_url.")
    if response.status != 200 or payload.get("error") is not None:
        return _error_by_status(response.status, payload)
    data = payload.get("data")
    if not isinstance(data, dict | list):
        return MalformedResponse("the response has no data", hint="Run again later; check base_url.")
    if isinstance(data, list) and not _has_next(payload.get("pagination")):
        return MalformedResponse("the list does not say whether it continues", hint="Run again later; check base_url.")
    return None


def _has_next(pagination: Any) -> bool:
    """Whether a list has the cursor of its next page, or null; without the field, further pages may exist."""
    return isinstance(pagination, dict) and "next" in pagination and isinstance(pagination["next"], str | None)


def _error_by_status(status: int, payload: Mapping[str, Any]) -> SourceError | None:
    error = payload.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    code = str(error.get("code", ""))
    problem = str(error.get("message") or "the provider refuses the request") + (f" ({code})" if code else "")
    if details := _details(error.get("details") or payload.get("detail")):
        problem += ": " + ", ".join(details)
    if status == 200:
        status = _STATUS_OF_CODE.get(code, 500)
        if status == 500:  # an unknown code may be transient
            return ServiceUnavailable(problem, hint="Run again later; if the error stays, please report it.")
    if not 400 <= status < 500 or status == 408:
        return None
    bad_timezone = status == 422 and "timezone" in problem.lower()
    kind, hint = _BAD_TIMEZONE if bad_timezone else _ERROR_OF_STATUS.get(status, _REFUSED)
    return kind(problem, hint=hint)


def _details(details: Any) -> list[str]:
    """Field and reason of each detail, in the documented form or in that of the framework behind the API."""
    found = []
    for item in details if isinstance(details, list) else []:
        if isinstance(item, dict):
            location = item.get("loc")
            field = item.get("field") or (location[-1] if isinstance(location, list) and location else "")
            found.append(f"{field}: {item.get('message') or item.get('msg') or ''}")
    return found
