"""Maps Scopix's responses to errors: its error envelope, and that of the framework behind it (FastAPI)."""

from typing import Any

from meterhouse.sources._core.errors import (
    CredentialsRejected,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
)
from meterhouse.sources._core.http.client import Response

REJECTED_KEYS = {"INVALID_API_KEY", "EXPIRED_API_KEY"}
EXHAUSTED_QUOTAS = {"USAGE_LIMIT_EXCEEDED", "STORAGE_QUOTA_EXCEEDED"}
RATE_LIMITED = "RATE_LIMIT_ERROR"


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None: by the error code if it has one, otherwise by the status."""
    payload = response.payload
    if response.status < 400:
        if payload is None:
            return None  # not JSON: the core maps it by its status
        if not isinstance(payload, dict):
            return MalformedResponse("the response is not an object", hint="Run again later; check base_url.")
        if not payload.get("error"):
            return None  # a null `error` means that there is no error
    code, message = _code_and_message(payload)
    if response.status < 400 and _error_from_code(code, message) is None:
        return ServiceUnavailable(message, hint="Run again later; if the error stays, please report it.")
    return _error_from_code(code, message) or _error_from_status(response.status, message)


def _code_and_message(payload: Any) -> tuple[str, str]:
    """Code and message of `{"error": {…}, "request_id": …}` or of `{"detail": …}`."""
    payload = payload if isinstance(payload, dict) else {}
    error = payload.get("error")
    code, message = "", ""
    if isinstance(error, dict):
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
        if error.get("details"):
            message += f": {_as_text(error['details'])}"
    elif error:
        message = str(error)
    elif payload.get("detail"):
        message = _as_text(payload["detail"])
    identifiers = [f"({code})"] if code else []
    if payload.get("request_id"):
        identifiers.append(f"[request {payload['request_id']}]")
    return code, " ".join([message or "no reason given", *identifiers])


def _as_text(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(_as_text(entry) for entry in detail)
    if isinstance(detail, dict) and "msg" in detail:
        location = ".".join(str(step) for step in detail.get("loc") or ())
        return f"{location} {detail['msg']}".strip()
    if isinstance(detail, dict):
        return ", ".join(f"{name} {value}" for name, value in detail.items())
    return str(detail)


def _error_from_code(code: str, message: str) -> SourceError | None:
    if code in REJECTED_KEYS:
        return CredentialsRejected(message, hint="Correct api_key in [sources.scopix], then run again.")
    if code in EXHAUSTED_QUOTAS:
        return QuotaExhausted(message, hint="Wait until the quota renews, or raise it in the Scopix console.")
    if code == RATE_LIMITED:
        return RateLimited(message, hint="Lower sources.scopix.requests_per_minute, or run again later.")
    return None


def _error_from_status(status: int, message: str) -> SourceError:
    if status == 401:
        return CredentialsRejected(message, hint="Correct api_key in [sources.scopix], then run again.")
    if status == 402:
        return RequestRejected(
            f"the subscription is past due: {message}", hint="Settle it with Scopix, then run again; no data is lost."
        )
    if status == 403:
        return CredentialsRejected(
            message, hint="Give the key the permission to view usage, and check tenant_id in [sources.scopix]."
        )
    if status == 404:
        return RequestRejected(message, hint="Check sources.scopix.base_url; it ends with /api/v2.")
    if status == 429:
        return RateLimited(message, hint="Lower sources.scopix.requests_per_minute, or run again later.")
    if status >= 500 or status == 408:
        return ServiceUnavailable(message, hint="Run again later.")
    return RequestRejected(message, hint="Check the settings in [sources.scopix] against sources/scopix/README.md.")
