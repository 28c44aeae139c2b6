"""What Reducto's answers mean. The statuses are documented, the body of an error is not: whatever text is in it is shown."""

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


def error_from_response(answer: Response) -> SourceError | None:
    """The error that an answer is, by its status."""
    status, said = answer.status, _said(answer.payload)
    if status == 200:
        return _without_data(answer.payload, said)
    if status == 401:
        return CredentialsRejected(
            f"the API key is missing or not accepted{said}",
            hint="Put your personal key from Studio's page of API keys into sources.reducto.api_key; the key that"
            " documents are processed with is another one.",
        )
    if status == 403:
        return RequestRejected(
            f"the owner of the API key is not a member{said}",
            hint="Join it, or take it out of sources.reducto.org_ids.",
        )
    if status == 400:
        return RequestRejected(
            f"a parameter is refused{said}",
            hint="Check org_ids, which an account of several organisations must set, and the filters in [sources.reducto].",
        )
    if status == 404:
        return RequestRejected(f"there is no usage export at this address{said}", hint="Check sources.reducto.base_url.")
    if status == 429:
        return RateLimited(f"too many requests{said}", hint="Lower sources.reducto.requests_per_minute, or run again later.")
    if status >= 500:
        return ServiceUnavailable(f"Reducto has a fault of its own{said}", hint="Run again later.")
    return None


def _without_data(payload: Any, said: str) -> SourceError | None:
    if payload is None or (isinstance(payload, dict) and isinstance(payload.get("data"), list)):
        return None  # no JSON at all: by its status
    return MalformedResponse(f"the answer has no list data{said}", hint="Run again later; check base_url.")


def _said(payload: Any) -> str:
    """The text of an error body of any of the forms in use, to be added to a sentence."""
    for name in ("error", "message", "detail", "name"):
        if isinstance(payload, dict) and payload.get(name):
            return _said(payload[name])
    if isinstance(payload, list) and payload:
        return _said(payload[0])
    return f": {payload.rstrip('. ')}" if isinstance(payload, str) and payload.strip() else ""
