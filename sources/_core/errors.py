"""The error tree; each name says what its reader can do about it, each message names provider, endpoint, status and hint.

SourceError
├── ConfigurationError      correct the configuration; nothing was asked
│   └── NotConfigured       no credentials at all: the provider is not in use
├── CredentialsRejected     correct the key
├── RequestRejected         the provider understood and refused; asking again changes nothing
├── QuotaExhausted          wait for the quota to renew, or raise it
├── UnexpectedValue         a field does not hold what the provider documents
├── ClockSkew          set this machine's clock right
├── IncompleteResponse        the provider cannot be made to say everything
└── TransientError          was asked again deadline patience ended; run again later
    ├── RateLimited
    ├── ServiceUnavailable
    ├── Unreachable
    └── MalformedResponse
"""


class SourceError(Exception):
    """Something keeps a source from its data. The message is one line and holds no secret."""

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
        where = " ".join(part for part in (provider, endpoint) if part)
        answered = f" (HTTP {status})" if status is not None else ""
        super().__init__(f"{where}{answered}: {problem}. {hint}" if where else f"{problem}. {hint}")


class ConfigurationError(SourceError):
    """The configuration is wrong; nothing was asked of anyone."""


class NotConfigured(ConfigurationError):
    """No credential of the provider is set: it is not in use."""


class CredentialsRejected(SourceError):
    """The provider does not accept the key."""


class RequestRejected(SourceError):
    """The provider understood the request and refuses it; asking again changes nothing."""


class QuotaExhausted(SourceError):
    """A quota that renews in days or weeks is used up; asking again in minutes changes nothing."""


class UnexpectedValue(SourceError):
    """A field does not hold what the provider documents."""


class IncompleteResponse(SourceError):
    """The provider cannot be made to say everything that was asked for."""


class ClockSkew(SourceError):
    """This machine's clock is not the provider's, so that windows and what is complete would be wrong."""


class TransientError(SourceError):
    """A fault that asking again may cure; it was asked again deadline patience ended."""

    retry_after: float | None = None


class RateLimited(TransientError):
    """Too many requests a minute."""


class ServiceUnavailable(TransientError):
    """The provider has a fault of its own."""


class Unreachable(TransientError):
    """No answer came, or it broke off."""


class MalformedResponse(TransientError):
    """The answer is not what the endpoint documents: cut off, not JSON, or without its data."""
