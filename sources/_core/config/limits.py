"""Limits for requests: their duration, attempts and size."""

from dataclasses import dataclass, fields
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException

from meterhouse.sources._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of `[sources.http]`, for all providers.

    In seconds: `connect` and `read` for one step of a request, `total` for a request with all its retries, `run` for all
    requests of one account in a run, `clock_tolerance` for the difference between this machine's clock and the provider's.
    `attempts` includes the first one. `max_bytes` limits a decompressed response.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0
    run: float = 6 * 3600.0
    attempts: int = 6
    max_bytes: int = 256 * 1024 * 1024
    clock_tolerance: float = 3600.0

    @classmethod
    def from_config(cls) -> "Limits":
        """The configured limits.

        Raises:
            ConfigurationError: a limit is not a number above 0.
        """
        configured: dict[str, Any] = {}
        for item in fields(cls):
            setting = f"sources.http.{item.name}"
            try:
                value: Any = dlt.config.get(setting, type(item.default))
            except ConfigValueCannotBeCoercedException:
                raise ConfigurationError(f"{setting} is not a number", hint="Set it to a number above 0.") from None
            if value is not None:
                configured[item.name] = value
        return cls(**configured)

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 < getattr(self, item.name) < float("inf"):
                raise ConfigurationError(f"sources.http.{item.name} is out of range", hint="Set it to a number above 0.")
