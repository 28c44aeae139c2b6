"""The rate limits that Scopix sets for each account: one for `check`, and one for all other endpoints together.

Documented (scopix.ai/docs/api/resources/rate-limits): both limits, the headers of every response, and Retry-After.
"""

from datetime import timedelta

from meterhouse.pipelines.sandbox.rate_limit import SlidingWindow
from meterhouse.pipelines.sandbox.responses import ErrorResponse, Headers
from meterhouse.pipelines.sandbox.scopix.errors import error_body
from meterhouse.pipelines.sandbox.scopix.options import Options

DOCUMENTED_LIMITS = {"requests_per_minute": 30, "check_requests_per_minute": 60}


class RateLimit:
    """Counts the requests of each account."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._window = SlidingWindow()

    def admit(self, account: str, *, is_check: bool) -> Headers:
        """The headers of the response.

        Raises:
            ErrorResponse: the request exceeds the limit.
        """
        limit = self._options.check_requests_per_minute if is_check else self._options.requests_per_minute
        now = timedelta(seconds=self._options.clock())
        admission = self._window.admit((account, is_check), limit, now)
        reset = max(1, int((admission.free_at - now).total_seconds() + 0.999))
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(admission.remaining),
            "X-RateLimit-Reset": str(reset),
        }
        if not admission.admitted:
            body = error_body("RATE_LIMIT_ERROR", "Rate limit exceeded", limit=limit)
            raise ErrorResponse(429, body, {**headers, "Retry-After": str(reset)})
        return headers
