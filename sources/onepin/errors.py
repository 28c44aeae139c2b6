"""What Onepin's answers mean: `{data, meta}`, with `pagination` for lists, or `{error: {code, message, details}}`."""

from collections.abc import Collection, Mapping
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
from meterhouse.sources._core.schema import Table

_STATUS_OF = {
    "BAD_REQUEST": 400,
    "INVALID_API_KEY": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
}


def error_from_response(answer: Response) -> SourceError | None:
    """The error that an answer is, by its status, or by its code where an error comes with status 200."""
    payload = answer.payload
    if not isinstance(payload, dict):
        if payload is None or answer.status != 200:
            return None  # no JSON: by its status
        return MalformedResponse("the answer is not an object", hint="Run again later; check base_url.")
    if answer.status != 200 or payload.get("error") is not None:
        return _by_status(answer.status, payload)
    data = payload.get("data")
    if not isinstance(data, dict | list):
        return MalformedResponse("the answer has no data", hint="Run again later; check base_url.")
    if isinstance(data, list) and not _says_whether_it_goes_on(payload.get("pagination")):
        return MalformedResponse("the list does not say whether it goes on", hint="Run again later; check base_url.")
    return None


def _says_whether_it_goes_on(pagination: Any) -> bool:
    """By a cursor, or by a null in its place: a feed that leaves it out has not said that it ends."""
    return isinstance(pagination, dict) and "next" in pagination and isinstance(pagination["next"], str | None)


_WAY_OUT: Mapping[int, tuple[type[SourceError], str]] = {
    401: (CredentialsRejected, "Correct api_key in [sources.onepin], then run again."),
    403: (
        CredentialsRejected,
        "Give the key the scope workspace:read; if workspace_id is set, it must be the key's own workspace.",
    ),
    404: (
        RequestRejected,
        "Check base_url, and that everyone in sources.onepin.activity_user_ids is still a member.",
    ),
    409: (ServiceUnavailable, "Run again later."),
    426: (RequestRejected, "Onepin no longer answers clients as old as this one: update meterhouse."),
    429: (RateLimited, "Lower sources.onepin.requests_per_minute, or run again later."),
}
_REFUSED = (RequestRejected, "Check the settings in [sources.onepin] against sources/onepin/README.md.")
_BAD_TIMEZONE = (RequestRejected, "Set sources.onepin.timezone to an IANA name, such as Europe/Berlin.")


def _by_status(status: int, payload: Mapping[str, Any]) -> SourceError | None:
    error = payload.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    code = str(error.get("code", ""))
    said = str(error.get("message") or "the provider refuses the request") + (f" ({code})" if code else "")
    if details := _details(error.get("details") or payload.get("detail")):
        said += ": " + ", ".join(details)
    if status == 200:
        status = _STATUS_OF.get(code, 500)
        if status == 500:  # nothing says that it cannot pass
            return ServiceUnavailable(said, hint="Run again later; if it stays so, please report it.")
    if not 400 <= status < 500 or status == 408:
        return None
    bad_timezone = status == 422 and "timezone" in said.lower()
    kind, hint = _BAD_TIMEZONE if bad_timezone else _WAY_OUT.get(status, _REFUSED)
    return kind(said, hint=hint)


def _details(stated: Any) -> list[str]:
    """Field and reason of each detail, in the documented form or in that of the framework behind the API."""
    found = []
    for item in stated if isinstance(stated, list) else []:
        if isinstance(item, dict):
            place = item.get("loc")
            field = item.get("field") or (place[-1] if isinstance(place, list) and place else "")
            found.append(f"{field}: {item.get('message') or item.get('msg') or ''}")
    return found


def flat(item: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """Nested objects as one level: `credits.used` where the table knows that path, `credits_used` where it does not.

    An unknown field without a value is left out, so that `audio: null` is no column.

    Raises:
        UnexpectedValue: there is a value where the table knows an object, whose columns would be null.
    """
    known = {column.field for column in table.columns if column.field}
    fields: dict[str, Any] = {}
    for path, value in _paths(item, "", known):
        if path in known:
            fields[path] = value
        elif value is not None:
            if any(name.startswith(f"{path}.") for name in known):
                raise table.unexpected(f"field {path} holds {value!r:.80}, not an object")
            fields[path.replace(".", "_")] = value
    return fields


def _paths(item: Mapping[str, Any], prefix: str, known: Collection[str]) -> list[tuple[str, Any]]:
    paths: list[tuple[str, Any]] = []
    for name, value in item.items():
        path = f"{prefix}{name}"
        paths += _paths(value, f"{path}.", known) if isinstance(value, dict) and path not in known else [(path, value)]
    return paths
