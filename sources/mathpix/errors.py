"""Maps Mathpix's responses to errors: most errors come with HTTP 200 (docs.mathpix.com/reference/error-handling)."""

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

REJECTED_CREDENTIALS = {"http_unauthorized", "account_disabled", "unauthorized_token_request", "expired_license"}
TRANSIENT_ERRORS = {"sys_exception", "connection_closed"}
REQUEST_ERROR_PREFIXES = ("opts_", "json_syntax", "sys_request_too_large")
"""How the ids of errors in the request begin; the documentation lists them as request validation errors."""


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None, by `error_info.id`, which Mathpix calls the reliable identifier.

    An undocumented error in a 200 may be transient, so it is retried.
    """
    payload = response.payload
    if payload is None:
        return None  # not JSON: the status decides
    if not isinstance(payload, dict):
        payload = {}
    if payload.get("error") or payload.get("error_info"):
        info = payload.get("error_info")
        info = info if isinstance(info, dict) else {}
        error_id, message = str(info.get("id", "")), str(info.get("message") or payload.get("error") or "an error")
        problem = f"{message} ({error_id})" if error_id else message
        if error := _error_by_id(error_id, problem, info):
            return error
        # With another status, the status decides: a 503 of a gateway may be transient, a 400 is not.
        if response.status == 200:
            return _error_in_200(error_id, problem)
    if response.status == 200 and not isinstance(payload.get("ocr_usage"), list):
        return MalformedResponse("the response has no list ocr_usage", hint="Run again later; check base_url.")
    return None


def _error_by_id(error_id: str, problem: str, info: dict[str, object]) -> SourceError | None:
    """The error for an id that means the same with every status."""
    if error_id in REJECTED_CREDENTIALS:
        return CredentialsRejected(problem, hint="Correct app_id and app_key in [sources.mathpix], then run again.")
    if error_id == "http_max_requests":
        limit = str(info.get("limit_name", ""))
        if "month" in limit:
            # Same id and status as the limit per minute; only limit_name shows that a retry within minutes cannot help.
            return QuotaExhausted(
                f"{problem}: {limit} is {info.get('limit_value')}, {info.get('count')} used",
                hint="Raise the limit in the Mathpix console, or wait for the next month.",
            )
        return RateLimited(problem, hint="Lower sources.mathpix.requests_per_minute, or run again later.")
    if error_id in TRANSIENT_ERRORS:
        return ServiceUnavailable(problem, hint="Run again later.")
    return None


def _error_in_200(error_id: str, problem: str) -> SourceError:
    if error_id.startswith(REQUEST_ERROR_PREFIXES):
        return RequestRejected(problem, hint="Check the settings in [sources.mathpix] against sources/mathpix/README.md.")
    return ServiceUnavailable(problem, hint="Run again later; if the error stays, check the settings in [sources.mathpix].")
