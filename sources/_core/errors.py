"""The error tree. Each name tells the reader what to do; each message names provider, endpoint, HTTP status and a hint.

SourceError
├── ConfigurationError      correct the configuration; no request was sent
│   └── NotConfigured       no credentials: the provider is not in use
├── CredentialsRejected     correct the key
├── RequestRejected         the provider understood the request and refuses it; a retry changes nothing
├── Unsupported             nothing to do: the table stays as it is, and the next run tries again
├── QuotaExhausted          wait until the quota renews, or raise it
├── UnexpectedValue         a field holds a value that the provider does not document
├── ClockSkew               set this machine's clock
├── AccountConflict         rename or remove an account: another account has its usage
├── IncompleteResponse      the API does not return all the data requested
└── TransientError          retries failed too; run again later
    ├── RateLimited
    ├── ServiceUnavailable
    ├── Unreachable
    └── MalformedResponse
"""


class SourceError(Exception):
    """A source cannot read its data. The message is one line and holds no secret."""

    def __init__(
        self,
        problem: str,
        *,
        hint: str,
        provider: str = "",
        endpoint: str = "",
        status: int | None = None,
    ) -> None:
        self.provider, self.endpoint, self.status = provider, endpoint, status
        self.problem, self.hint = problem, hint
        place = " ".join(name for name in (provider, endpoint) if name)
        http_status = f" (HTTP {status})" if status is not None else ""
        super().__init__(f"{place}{http_status}: {problem}. {hint}" if place else f"{problem}. {hint}")


class ConfigurationError(SourceError):
    """The configuration is wrong; no request was sent."""


class NotConfigured(ConfigurationError):
    """No credential of the provider is set: the provider is not in use."""


class CredentialsRejected(SourceError):
    """The provider does not accept the key."""


class RequestRejected(SourceError):
    """The provider understood the request and refuses it; a retry changes nothing."""


class Unsupported(SourceError):
    """The provider does not accept an undocumented request that only one table needs. This is no failure."""


class QuotaExhausted(SourceError):
    """A quota that renews in days or weeks is used up; a retry within minutes changes nothing."""


class UnexpectedValue(SourceError):
    """A field holds a value that the provider does not document."""


class IncompleteResponse(SourceError):
    """The API does not return all the data that was requested."""


class ClockSkew(SourceError):
    """This machine's clock differs from the provider's, so windows and completeness would be wrong."""


class AccountConflict(SourceError):
    """An account reports usage that another account has, or that of another organisation than before."""


class TransientError(SourceError):
    """An error that a retry may cure; raised when the retries failed too.

    `retry_after` is the wait in seconds that the provider asks for, None without one.
    """

    retry_after: float | None = None


class RateLimited(TransientError):
    """Too many requests a minute."""


class ServiceUnavailable(TransientError):
    """The provider reports an error of its own."""


class Unreachable(TransientError):
    """No response arrived, or the connection broke."""


class MalformedResponse(TransientError):
    """The response is not what the endpoint documents: cut off, not JSON, or without its data."""


READ_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code raises when it reads a response of unknown form."""
