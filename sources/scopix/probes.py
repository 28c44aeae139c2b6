"""Requests that show whether the server applies a parameter.

A server that ignores `api_key_id` returns the usage of all keys for each key. A server that ignores the dates of
`tokens/monthly` returns the running month for each day. Neither response looks wrong, so these functions request usage that
cannot exist: that of an unknown key, and that of a day before Scopix existed.
"""

from collections.abc import Callable

from pendulum import DateTime

from meterhouse.sources._core.errors import CredentialsRejected, IncompleteResponse, RequestRejected
from meterhouse.sources._core.schema import Table
from meterhouse.sources._core.windows import Window, floor, utc_now

from .client import Json, ScopixClient

UNKNOWN_KEY_ID = "00000000-0000-4000-8000-000000000000"
"""The id of an API key that does not exist."""

DAY_WITHOUT_USAGE = DateTime(2000, 1, 1)
"""A day before Scopix existed."""


def require_key_filter(
    client: ScopixClient, table: Table, request: Callable[[str], Json], has_usage: Callable[[Json], bool]
) -> None:
    """Checks once per endpoint that the server applies `api_key_id`, with a key that does not exist.

    Call it after a window with usage has been found.

    Args:
        client: the account.
        table: the table of the endpoint.
        request: requests the usage of the same time for the key with this id.
        has_usage: whether a response has usage.

    Raises:
        IncompleteResponse: the server ignores `api_key_id`, so each key would get the usage of all keys.
    """
    checked = client.server.key_filter_endpoints
    if table.endpoint in checked:
        return
    try:
        payload = request(UNKNOWN_KEY_ID)
    except (CredentialsRejected, RequestRejected):
        payload = {}  # the server applies the filter, and does not know the key
    if payload and has_usage(payload):
        raise IncompleteResponse(
            "the server ignores api_key_id: it returns usage for a key that does not exist",
            provider=table.provider,
            endpoint=table.endpoint,
            hint="Remove api_key_ids from [sources.scopix]: usage is then loaded for all keys together.",
        )
    checked.add(table.endpoint)


def proven_token_days(client: ScopixClient, table: Table, window: Window, *, has_tokens: bool) -> Window | None:
    """The days of the window whose responses are proven to be for these days; `has_tokens`: whether any day is not zero.

    Zeros prove nothing: a server that excludes `end_date` returns zero for any single day, and a server that ignores dates
    returns the running month, which may have no tokens yet.

    Raises:
        IncompleteResponse: the server does not return the requested time.
    """
    server = client.server
    last = window.end.subtract(days=1)
    if has_tokens and not server.applies_token_dates:
        if tokens := _tokens(client, DAY_WITHOUT_USAGE, DAY_WITHOUT_USAGE):
            raise _dates_ignored(table, f"for {DAY_WITHOUT_USAGE.to_date_string()}, it returns {tokens} tokens")
        server.applies_token_dates = True
    may_exclude_end = not has_tokens and not server.includes_last_token_day
    if may_exclude_end and last > window.start and (tokens := _tokens(client, window.start, last)):
        raise _dates_ignored(table, f"it returns 0 tokens for each day of {window}, and {tokens} for all of them")
    server.includes_last_token_day = server.includes_last_token_day or has_tokens
    if server.applies_token_dates is None:
        server.applies_token_dates = bool(_tokens(client, DAY_WITHOUT_USAGE, utc_now()))
    if server.applies_token_dates:
        return window
    # The account never used a token, or every response is for the running month, which has none yet. Either way, only the
    # days of the running month are certainly zero.
    start = max(window.start, floor(utc_now(), "month"))
    return Window(start, window.end) if start < window.end else None


def require_month(table: Table, payload: Json, requested: DateTime) -> None:
    """Compares the month that a response names with the requested one: an older server ignores the dates.

    Raises:
        IncompleteResponse: the response is of another month.
    """
    year, month = payload.get("year"), payload.get("month")
    if (year, month) not in ((None, None), (requested.year, requested.month)):
        raise _dates_ignored(table, f"for {requested.to_date_string()}, it returns {year}-{month}")


def _tokens(client: ScopixClient, first: DateTime, last: DateTime) -> int:
    try:
        payload = client.tokens(first, last)
    except RequestRejected:
        return 0  # the server reads the dates, and refuses them
    return int(payload.get("total_tokens") or 0)


def _dates_ignored(table: Table, problem: str) -> IncompleteResponse:
    return IncompleteResponse(
        f"the server does not apply start_date and end_date as documented: {problem}",
        provider=table.provider,
        endpoint=table.endpoint,
        hint=f"It cannot serve {table.name}: name the other tables in `run`, or ask Scopix for the newer API.",
    )
