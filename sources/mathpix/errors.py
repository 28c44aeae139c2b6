"""What Mathpix's answers mean: most errors come with HTTP 200 (docs.mathpix.com/reference/error-handling)."""

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
PASSING_FAULTS = {"sys_exception", "connection_closed"}


def error_from_response(answer: Response) -> SourceError | None:
    """The error that an answer is, by `error_info.id`, which the vendor calls the reliable identifier."""
    payload = answer.payload
    if payload is None:
        return None  # no JSON: by its status
    if not isinstance(payload, dict):
        payload = {}
    if payload.get("error") or payload.get("error_info"):
        info = payload.get("error_info")
        info = info if isinstance(info, dict) else {}
        error = _by_id(str(info.get("id", "")), str(info.get("message") or payload.get("error")), info)
        # What nobody documents inside an error status is the status's: a gateway's 503 may pass, though it speaks JSON.
        return None if isinstance(error, RequestRejected) and answer.status != 200 else error
    if answer.status == 200 and not isinstance(payload.get("ocr_usage"), list):
        return MalformedResponse("the answer has no list ocr_usage", hint="Run again later; check base_url.")
    return None


def _by_id(error_id: str, message: str, info: dict[str, object]) -> SourceError | None:
    said = f"{message} ({error_id})" if error_id else message
    if error_id in REJECTED_CREDENTIALS:
        return CredentialsRejected(said, hint="Correct app_id and app_key in [sources.mathpix], then run again.")
    if error_id == "http_max_requests":
        limit = str(info.get("limit_name", ""))
        if "month" in limit:
            # The same id and status as the limit a minute; only limit_name tells that waiting a minute is in vain.
            return QuotaExhausted(
                f"{said}: {limit} is {info.get('limit_value')}, {info.get('count')} used",
                hint="Raise the limit in the Mathpix console, or wait for the next month.",
            )
        return RateLimited(said, hint="Lower sources.mathpix.requests_per_minute, or run again later.")
    if error_id in PASSING_FAULTS:
        return ServiceUnavailable(said, hint="Run again later.")
    return RequestRejected(said, hint="Check the settings in [sources.mathpix] against sources/mathpix/README.md.")
