"""One run under a fault: the provider's sandbox, its clock and ours, and the database before and after."""

import resource
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import time_machine
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.providers.description import Description, Facts

START = datetime(2026, 3, 17, tzinfo=UTC)
"""`initial_date` of the first run."""
LOADED = datetime(2026, 3, 18, 10, 30, tzinfo=UTC)
"""The time of the first run, which meets no fault."""
NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
"""The time of the run that meets the fault."""
A_MINUTE = timedelta(minutes=1)
"""How far the provider's clock is behind ours."""
LATE = START + timedelta(hours=3, minutes=7)
"""A moment whose usage the first run has loaded."""


class Clock:
    """Our clock, whose sleeps take no time.

    Attributes:
        slept: seconds slept in all.
        retries: of these, the waits before each retry.
    """

    def __init__(self, traveller: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
        self._traveller = traveller
        self.slept = 0.0
        self.retries: list[float] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []
        for module, sleep in (("client", self._wait_to_retry), ("rate_limit", self._sleep)):
            seam = SimpleNamespace(time=time.time, monotonic=self.monotonic, sleep=sleep)
            monkeypatch.setattr(f"meterhouse.sources._core.http.{module}.time", seam)

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` once so many seconds have been slept."""
        self._timers.append((seconds, action))

    def move_to(self, moment: datetime) -> None:
        self._traveller.move_to(moment, tick=True)

    def _wait_to_retry(self, seconds: float) -> None:
        self.retries.append(seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._traveller.shift(seconds)
        for timer in [timer for timer in self._timers if timer[0] <= self.slept]:
            self._timers.remove(timer)
            timer[1]()


@dataclass(frozen=True)
class Differences:
    """Keys by which the database differs from what the vendor counts."""

    lost: tuple[Any, ...] = ()
    doubled: tuple[Any, ...] = ()
    wrong: tuple[Any, ...] = ()
    surplus: tuple[Any, ...] = ()


NONE = Differences()


def doubled(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The keys of which there are several rows."""
    times = Counter(row[:-1] for row in rows)
    return tuple(sorted(key for key, number in times.items() if number > 1))


@dataclass
class Scenario:
    """A provider that may misbehave, and a database that was up to date two days ago.

    Attributes:
        only: the kind of facts that is loaded, by the first table alone, and compared; '' for all.
    """

    sandbox: Sandbox
    provider: Description
    cli: Cli
    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    only: str = ""
    _peak: int = field(default_factory=lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    def run(self) -> int:
        """The exit status of `meterhouse run` for the provider's tables, without models."""
        tables = self.provider.tables[:1] if self.only else self.provider.tables
        names = [f"{self.provider.name}.{table}" for table in tables]
        result = CliRunner().invoke(app, ["run", *names, "--no-models"], catch_exceptions=False)
        self.cli.output = result.output
        return result.exit_code

    def stored(self) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.cli.database), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            rows = connection.execute(self.provider.stored).fetchall()
        return [row for row in rows if not self.only or row[0] == self.only]

    def differences(self) -> Differences:
        rows = self.stored()
        counted = self.provider.facts(self.sandbox, START)
        expected = {key: value for key, value in counted.items() if not self.only or key[0] == self.only}
        stored: Facts = {row[:-1]: row[-1] for row in rows}
        both = sorted(stored.keys() & expected.keys())
        return Differences(
            lost=tuple(sorted(expected.keys() - stored.keys())),
            doubled=doubled(rows),
            wrong=tuple((key, stored[key], expected[key]) for key in both if stored[key] != expected[key]),
            surplus=tuple(sorted(stored.keys() - expected.keys())),
        )

    def set(self, setting: str, value: Any) -> None:
        """Sets a setting of the provider."""
        self.monkeypatch.setenv(self.provider.setting(setting), str(value))

    def unset(self, setting: str) -> None:
        self.monkeypatch.delenv(self.provider.setting(setting), raising=False)

    def limit(self, **limits: Any) -> None:
        """Sets limits of [sources.http]."""
        for name, value in limits.items():
            self.monkeypatch.setenv(f"SOURCES__HTTP__{name.upper()}", str(value))

    @property
    def port(self) -> str:
        return self.sandbox.url.rsplit(":", 1)[1]

    def closed_port(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return str(server.getsockname()[1])

    def point_at(self, port: str) -> None:
        """Sets the base_url to another port."""
        url = self.sandbox.variables()[self.provider.setting("base_url")]
        self.set("base_url", url.replace(self.port, port))

    def limit_requests_per_minute(self, requests: int) -> None:
        """Makes the server respond with 429 to more than so many requests in any minute of our clock."""
        turns: deque[float] = deque()

        def take(*_: Any) -> Fault | None:
            now = self.clock.monotonic()
            while turns and turns[0] <= now - 60:
                turns.popleft()
            if len(turns) < requests:
                turns.append(now)
                return None
            return Fault(status=429, headers={"Retry-After": str(int(turns[0] + 61 - now))})

        self.monkeypatch.setattr(self.sandbox.faults, "take", take)

    def heal(self) -> None:
        """Ends the fault and corrects our clock; what the vendor has changed of the past stays changed."""
        self.sandbox.faults.clear()
        if self.provider.paging:
            self.provider.paging.set_ignored(self.sandbox, False)
        self.point_at(self.port)
        for name in ("MAX_BYTES", "READ", "ATTEMPTS"):
            self.monkeypatch.delenv(f"SOURCES__HTTP__{name}", raising=False)
        self.clock.move_to(NOW)

    def grown_by(self) -> int:
        """Bytes by which the peak memory of this process, which includes the sandbox, has grown."""
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._peak) * 1024
