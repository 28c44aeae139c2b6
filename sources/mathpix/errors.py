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


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None, by `error_info.id`, which Mathpix calls the reliable identifier."""
    payload = response.payload
    if payload is None:
        return None  # not JSON: the status decides
    if not isinstance(payload, dict):
        payload = {}
    if payload.get("error") or payload.get("error_info"):
        info = payload.get("error_info")
        info = info if isinstance(info, dict) else {}
        error = _error_by_id(str(info.get("id", "")), str(info.get("message") or payload.get("error")), info)
        # For an undocumented id the status decides: a gateway's 503 may be transient, even with a JSON body.
        return None if isinstance(error, RequestRejected) and response.status != 200 else error
    if response.status == 200 and not isinstance(payload.get("ocr_usage"), list):
        return MalformedResponse("the response has no list ocr_usage", hint="Run again later; check base_url.")
    return None


def _error_by_id(error_id: str, message: str, info: dict[str, object]) -> SourceError:
    problem = f"{message} ({error_id})" if error_id else message
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
    return RequestRejected(problem, hint="Check the settings in [sources.mathpix] against sources/mathpix/README.md.")
