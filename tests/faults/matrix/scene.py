"""One run under a fault: the vendor, its clock and ours, and the database before and after."""

import resource
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import time_machine
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.faults.matrix.vendors import NOW, Facts, Vendor


class Clock:
    """Our clock. Waiting moves it and takes no time; `retries` are the waits for another attempt, of all that was slept."""

    def __init__(self, traveller: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
        self._traveller = traveller
        self.slept = 0.0
        self.retries: list[float] = []
        self._alarms: list[tuple[float, Callable[[], None]]] = []
        for module, sleep in (("http", self._wait_to_retry), ("budget", self._sleep)):
            seam = SimpleNamespace(time=time.time, monotonic=self.monotonic, sleep=sleep)
            monkeypatch.setattr(f"sources._core.{module}.time", seam)

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def at(self, seconds: float, happens: Callable[[], None]) -> None:
        """Lets something happen once so many seconds have been slept."""
        self._alarms.append((seconds, happens))

    def move_to(self, moment: datetime) -> None:
        self._traveller.move_to(moment, tick=True)

    def _wait_to_retry(self, seconds: float) -> None:
        self.retries.append(seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._traveller.shift(seconds)
        for alarm in [alarm for alarm in self._alarms if alarm[0] <= self.slept]:
            self._alarms.remove(alarm)
            alarm[1]()


@dataclass(frozen=True)
class Differences:
    """What the database has not or wrongly, compared with what the vendor says."""

    lost: tuple[Any, ...] = ()
    doubled: tuple[Any, ...] = ()
    wrong: tuple[Any, ...] = ()
    surplus: tuple[Any, ...] = ()


NONE = Differences()


@dataclass
class Scene:
    """A vendor that may misbehave, and a database that holds what it said two days ago."""

    sandbox: Sandbox
    vendor: Vendor
    cli: Cli
    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    only: str = ""
    """The kind of facts that are loaded, by the first table alone, and compared; all where it is ''."""
    _peak: int = field(default_factory=lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    def run(self) -> int:
        """`meterhouse run` of the vendor's tables, without models: its exit status."""
        tables = self.vendor.tables[:1] if self.only else self.vendor.tables
        names = [f"{self.vendor.name}.{table}" for table in tables]
        result = CliRunner().invoke(app, ["run", *names, "--no-models"], catch_exceptions=False)
        self.cli.output = result.output
        return result.exit_code

    def held(self) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.cli.database), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            rows = connection.execute(self.vendor.held).fetchall()
        return [row for row in rows if not self.only or row[0] == self.only]

    def differences(self) -> Differences:
        """Rows lost, doubled, with other figures, and too many."""
        rows = self.held()
        truth = {
            key: value for key, value in self.vendor.truth(self.sandbox).items() if not self.only or key[0] == self.only
        }
        held: Facts = {row[:-1]: row[-1] for row in rows}
        return Differences(
            lost=tuple(sorted(truth.keys() - held.keys())),
            doubled=self.doubled(),
            wrong=tuple(
                (key, held[key], truth[key]) for key in sorted(held.keys() & truth.keys()) if held[key] != truth[key]
            ),
            surplus=tuple(sorted(held.keys() - truth.keys())),
        )

    def doubled(self) -> tuple[Any, ...]:
        keys = [row[:-1] for row in self.held()]
        return tuple(sorted({key for key in keys if keys.count(key) > 1})) if len(set(keys)) < len(keys) else ()

    def set(self, name: str, value: Any) -> None:
        self.monkeypatch.setenv(name, str(value))

    def unset(self, name: str) -> None:
        self.monkeypatch.delenv(name, raising=False)

    @property
    def port(self) -> str:
        return self.sandbox.url.rsplit(":", 1)[1]

    def closed_port(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return str(server.getsockname()[1])

    def point_at(self, port: str) -> None:
        """The base_url is that of another port from now on."""
        url = dict(self.sandbox.variables())[f"SOURCES__{self.vendor.name.upper()}__BASE_URL"]
        self.set(f"SOURCES__{self.vendor.name.upper()}__BASE_URL", url.replace(self.port, port))

    def limit(self, requests: int) -> None:
        """The server answers so many requests in any minute of our clock, and the others with 429."""
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
        """The vendor is well again, and our clock is right. What it has changed of its past stays changed."""
        self.sandbox.faults.clear()
        self.sandbox.mathpix.options.paging = self.sandbox.scopix.options.paging = "honoured"
        self.point_at(self.port)
        for name in ("MAX_BYTES", "READ", "ATTEMPTS"):
            self.unset(f"SOURCES__HTTP__{name}")
        self.clock.move_to(NOW)

    def grown_by(self) -> int:
        """Bytes by which the process has become larger than it ever was, with the sandbox in it."""
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._peak) * 1024
