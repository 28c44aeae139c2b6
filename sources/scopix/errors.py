"""What Scopix's answers mean: its error envelope, that of the framework behind it, and objects inside objects."""

from collections.abc import Mapping
from typing import Any

import pendulum
from pendulum import DateTime

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
from meterhouse.sources._core.schema import Table

REJECTED_KEYS = {"INVALID_API_KEY", "EXPIRED_API_KEY"}
EXHAUSTED_QUOTAS = {"USAGE_LIMIT_EXCEEDED", "STORAGE_QUOTA_EXCEEDED"}
TOO_FAST = "RATE_LIMIT_ERROR"


def error_from_response(answer: Response) -> SourceError | None:
    """The error that an answer is: by its code where it has one, by its status else."""
    payload = answer.payload
    if answer.status < 400:
        if payload is None:
            return None  # no JSON: by its status
        if not isinstance(payload, dict):
            return MalformedResponse("the answer is no object", hint="Run again later; check base_url.")
        if not payload.get("error"):
            return None  # a field that is null says that there is no error
    code, said = _said(payload)
    if answer.status < 400 and _by_code(code, said) is None:
        return ServiceUnavailable(said, hint="Run again later; if it stays so, please report it.")  # it may pass
    return _by_code(code, said) or _by_status(answer.status, said)


def _said(payload: Any) -> tuple[str, str]:
    """Code and message of `{"error": {…}, "request_id": …}` or of `{"detail": …}`."""
    payload = payload if isinstance(payload, dict) else {}
    error = payload.get("error")
    code, message = "", ""
    if isinstance(error, dict):
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
        if error.get("details"):
            message += f": {_in_words(error['details'])}"
    elif error:
        message = str(error)
    elif payload.get("detail"):
        message = _in_words(payload["detail"])
    told = [f"({code})"] if code else []
    if payload.get("request_id"):
        told.append(f"[request {payload['request_id']}]")
    return code, " ".join([message or "no reason given", *told])


def _in_words(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(_in_words(entry) for entry in detail)
    if isinstance(detail, dict) and "msg" in detail:
        where = ".".join(str(part) for part in detail.get("loc") or ())
        return f"{where} {detail['msg']}".strip()
    if isinstance(detail, dict):
        return ", ".join(f"{name} {value}" for name, value in detail.items())
    return str(detail)


def _by_code(code: str, said: str) -> SourceError | None:
    if code in REJECTED_KEYS:
        return CredentialsRejected(said, hint="Correct api_key in [sources.scopix], then run again.")
    if code in EXHAUSTED_QUOTAS:
        return QuotaExhausted(said, hint="Wait for the allowance to renew, or raise it in the Scopix console.")
    if code == TOO_FAST:
        return RateLimited(said, hint="Lower sources.scopix.requests_per_minute, or run again later.")
    return None


def _by_status(status: int, said: str) -> SourceError:
    if status == 401:
        return CredentialsRejected(said, hint="Correct api_key in [sources.scopix], then run again.")
    if status == 402:
        return RequestRejected(
            f"the subscription is past due: {said}", hint="Settle it with Scopix, then run again; nothing is lost."
        )
    if status == 403:
        return CredentialsRejected(
            said, hint="Give the key the permission to view usage, and check tenant_id in [sources.scopix]."
        )
    if status == 404:
        return RequestRejected(said, hint="Check sources.scopix.base_url; it ends with /api/v2.")
    if status == 429:
        return RateLimited(said, hint="Lower sources.scopix.requests_per_minute, or run again later.")
    if status >= 500 or status == 408:
        return ServiceUnavailable(said, hint="Run again later.")
    return RequestRejected(said, hint="Check the settings in [sources.scopix] against sources/scopix/README.md.")


def flattened(payload: Mapping[str, Any], sections: Mapping[str, str]) -> dict[str, Any]:
    """The object with the fields of its sections beside its own, each with the section's prefix before its name.

    A section that is null has no fields: Scopix leaves out what a plan does not include.
    """
    flat: dict[str, Any] = {}
    for name, value in payload.items():
        if name in sections and (value is None or isinstance(value, dict)):
            flat |= {f"{sections[name]}{inner}": held for inner, held in (value or {}).items()}
        else:
            flat[name] = value
    return flat


def moment(table: Table, name: str, text: Any) -> DateTime:
    """The UTC time that a field of the answer holds.

    Raises:
        UnexpectedValue: it holds none.
    """
    try:
        parsed = pendulum.parse(text, tz="UTC") if isinstance(text, str) else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, DateTime):
        raise table.unexpected(f"field {name} holds {text!r}, not a time")
    return parsed.in_timezone("UTC")
