"""Maps Acme's responses to errors."""

from meterhouse.sources._core.errors import CredentialsRejected, MalformedResponse, SourceError
from meterhouse.sources._core.http.client import Response


def error_from_response(response: Response) -> SourceError | None:
    """Maps a response to an error, or None; the core maps the statuses that are not handled here."""
    if response.status == 401:
        return CredentialsRejected("the API key is not valid", hint="Correct api_key in [sources.acme], then run again.")
    if response.status == 200 and not (isinstance(response.payload, dict) and "usage" in response.payload):
        return MalformedResponse("the response has no list usage", hint="Run again later; check base_url.")
    return None
