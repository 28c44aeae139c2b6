"""When a request is retried."""

import email.utils
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import tenacity

from meterhouse.sources._core.errors import TransientError
from meterhouse.sources._core.http.rate_limit import seconds_until_reset


def wait_before_retry(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: what the provider asks for, else 1, 2, 4 … 60 with up to a second of jitter."""
    error = state.outcome.exception() if state.outcome else None
    wait = error.retry_after if isinstance(error, TransientError) else None
    return wait if wait is not None else float(_backoff(state))


_backoff = tenacity.wait_exponential_jitter(initial=1, max=60, jitter=1)


def retry_after(headers: Mapping[str, str], *, is_limited: bool = False) -> float | None:
    """Seconds that the provider asks to wait, or None: `Retry-After-Ms`, or `Retry-After` as seconds or as a date.

    RFC 9110 §10.2.3. A date counts from the provider's own `Date` header, if the response has one, so that a difference
    between the clocks does not matter. After a 429 (`is_limited`), `X-RateLimit-Reset` alone means the same.
    """
    with suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    value = headers.get("retry-after", "").strip()
    if not value:
        reset = seconds_until_reset(headers, time.time()) if is_limited else None
        return max(0.0, reset) if reset is not None else None
    try:
        return max(0.0, float(value))
    except ValueError:
        deadline = parse_http_date(value)
    now = parse_http_date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (deadline - now).total_seconds()) if deadline else None


def parse_http_date(text: str) -> datetime | None:
    """The time of an HTTP date header (RFC 9110 §5.6.7), or None for a text that is not one."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
