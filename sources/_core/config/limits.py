"""Limits of requests: how long, how often and how large."""

from dataclasses import dataclass, fields
from typing import Any

import dlt

from meterhouse.sources._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a request may take and how far two clocks may lie apart (seconds), how large an answer may be (bytes).

    `connect` and `read` are for one step, `total` for an answer with all retries, `run` for all that a run asks one account;
    `max_bytes` is of the decompressed answer.
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
        """The limits that `[sources.http]` sets, for all providers."""
        stated: dict[str, Any] = {}
        for item in fields(cls):
            value: Any = dlt.config.get(f"sources.http.{item.name}", type(item.default))
            if value is not None:
                stated[item.name] = value
        return cls(**stated)

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 < getattr(self, item.name) < float("inf"):
                raise ConfigurationError(
                    f"sources.http.{item.name} is {getattr(self, item.name)}", hint="Set it to a number above 0."
                )
