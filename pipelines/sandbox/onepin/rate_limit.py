"""The rate limit that Onepin sets for each key.

Documented: that a key has a limit per minute, and 429; the client 0.16.1 reads `Retry-After-Ms`, `Retry-After` and
`X-RateLimit-Reset` (seconds since 1970). The other headers are those that usually accompany them.
"""

import math
from datetime import UTC, datetime

from meterhouse.pipelines.sandbox.onepin.errors import error_body
from meterhouse.pipelines.sandbox.onepin.options import Options
from meterhouse.pipelines.sandbox.rate_limit import SlidingWindow
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers

_EPOCH = datetime.fromtimestamp(0, UTC)


class RateLimit:
    """Counts the requests of each key."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._window = SlidingWindow()

    def admit(self, account: str, now: datetime) -> Headers:
        """The headers of the response; none if no limit is set.

        Raises:
            ErrorResponse: the request exceeds the limit.
        """
        limit = self._options.requests_per_minute
        if limit is None:
            return {}
        since_epoch = now - _EPOCH
        admission = self._window.admit(account, limit, since_epoch)
        reset = str(math.ceil(admission.free_at.total_seconds()))
        if admission.admitted:
            remaining = str(admission.remaining)
            return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
        wait = (admission.free_at - since_epoch).total_seconds()
        values = {
            "Retry-After": str(math.ceil(wait)),
            "Retry-After-Ms": str(math.ceil(wait * 1000)),
            "X-RateLimit-Reset": reset,
        }
        header = self._options.retry_header
        raise ErrorResponse(429, error_body("RATE_LIMITED", "Rate limit exceeded"), {header: values[header]})
