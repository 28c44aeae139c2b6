"""Errors that the responses of all providers have in common."""

from collections.abc import Mapping
from datetime import UTC, datetime

from meterhouse.sources._core.errors import (
    ClockSkew,
    CredentialsRejected,
    MalformedResponse,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SourceError,
)
from meterhouse.sources._core.http.retry import parse_http_date


def error_from_status(status: int, *, is_json: bool) -> SourceError | None:
    """Maps a status to an error, or None; used if the provider's own `error_from_response` returns None."""
    if status in {401, 403}:
        return CredentialsRejected("the key is not accepted", hint="Correct the credentials, then run again.")
    if status == 429:
        return RateLimited("too many requests", hint="Lower requests_per_minute, or run again later.")
    if status >= 500 or status == 408:
        return ServiceUnavailable("the provider reports an internal error", hint="Run again later.")
    if 300 <= status < 400:
        return RequestRejected("the provider redirects, which its usage API does not document", hint="Check base_url.")
    if status >= 400:
        return RequestRejected(
            "the provider refuses the request", hint="Check the settings of this source against its README."
        )
    if status != 200:
        return MalformedResponse("no usage API documents this status", hint="Run again later; check base_url.")
    if not is_json:
        return MalformedResponse(
            "the response is not JSON (cut off, empty, a web page, nested too deeply, with a number out of range, or with"
            " two fields of one name)",
            hint="Check base_url; if it is right, run again later.",
        )
    return None


def error_from_clock(headers: Mapping[str, str], tolerance: float) -> SourceError | None:
    """Maps a difference between the clocks of more than `tolerance` seconds to an error.

    With a slow clock, a run would mark a partly fetched window as complete; with a fast one, a running bucket.
    """
    theirs = parse_http_date(headers.get("date", ""))
    if theirs is None or "age" in headers:  # a cache keeps the date at which it was filled
        return None
    seconds = (datetime.now(UTC) - theirs).total_seconds()
    if abs(seconds) <= tolerance:
        return None
    direction = "ahead of" if seconds > 0 else "behind"
    return ClockSkew(
        f"this machine's clock is {abs(seconds) / 3600:.1f} hours {direction} the provider's",
        hint="Set this machine's clock, then run again; sources.http.clock_tolerance allows a difference in seconds.",
    )
