"""Maps Reducto's responses to errors.

The documentation states the statuses, but not the body of an error: the message shows any text in it.
"""

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


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None, by its status."""
    status, detail = response.status, _detail(response.payload)
    if status == 200:
        return _error_without_data(response.payload, detail)
    if status == 401:
        return CredentialsRejected(
            f"the API key is missing or not accepted{detail}",
            hint="Put your personal key from Studio's page of API keys into sources.reducto.api_key; the key for processing"
            " documents is a different one.",
        )
    if status == 403:
        return RequestRejected(
            f"the owner of the API key is not a member{detail}",
            hint="Join the organisation, or remove it from sources.reducto.org_ids.",
        )
    if status == 400:
        return RequestRejected(
            f"the API refuses a parameter{detail}",
            hint="Check the filters and org_ids in [sources.reducto]; a key with several organisations needs org_ids.",
        )
    if status == 404:
        return RequestRejected(f"this address has no usage export{detail}", hint="Check sources.reducto.base_url.")
    if status == 429:
        return RateLimited(
            f"too many requests{detail}", hint="Lower sources.reducto.requests_per_minute, or run again later."
        )
    if status >= 500:
        return ServiceUnavailable(f"Reducto reports an internal error{detail}", hint="Run again later.")
    return None


def _error_without_data(payload: Any, detail: str) -> SourceError | None:
    if payload is None or (isinstance(payload, dict) and isinstance(payload.get("data"), list)):
        return None  # a body that is not JSON: the status decides
    return MalformedResponse(f"the response has no list data{detail}", hint="Run again later; check base_url.")


def _detail(payload: Any) -> str:
    """The text of an error body in any of the common forms, as the end of a sentence."""
    for name in ("error", "message", "detail", "name"):
        if isinstance(payload, dict) and payload.get(name):
            return _detail(payload[name])
    if isinstance(payload, list) and payload:
        return _detail(payload[0])
    return f": {payload.rstrip('. ')}" if isinstance(payload, str) and payload.strip() else ""
