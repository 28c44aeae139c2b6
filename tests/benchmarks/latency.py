# ruff: noqa: T201 - a command line
"""The cost of a slow connection: each provider alone and all together, with 100 ms before every response.

`python -m tests.benchmarks.latency` prints seconds and requests, and all together as a multiple of the slowest alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS

DELAY = 0.1
DAYS = 30


def run(sandbox: Sandbox, *names: str) -> tuple[float, int]:
    """Seconds and requests of a first run of these providers."""
    sandbox.requests.clear()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SOURCES__", "DESTINATION__"))}
    initial = (utc_now() - timedelta(days=DAYS)).to_date_string()
    with tempfile.TemporaryDirectory() as folder:
        environment = (
            own | sandbox.variables() | {"DLT_DATA_DIR": f"{folder}/dlt", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        )
        for provider in PROVIDERS:
            environment[f"SOURCES__{provider.upper()}__REQUESTS_PER_MINUTE"] = "1000000"
            if provider != "onepin":  # its API has no dates
                environment[f"SOURCES__{provider.upper()}__INITIAL_DATE"] = initial
        start = time.perf_counter()
        command = [sys.executable, "-m", "meterhouse.pipelines.cli", "run", *names, "--no-models"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start, len(sandbox.requests)


def main() -> None:
    """The command."""
    with Sandbox(seed=7) as sandbox:
        sandbox.faults.add(Fault(delay=DELAY))
        print("| provider | seconds | requests |\n| --- | --- | --- |")
        alone = {}
        for provider in PROVIDERS:
            alone[provider], requests = run(sandbox, provider)
            print(f"| {provider} | {alone[provider]:.2f} | {requests} |", flush=True)
        together, requests = run(sandbox)
        slowest = max(alone.values())
        print(f"| all four | {together:.2f}, {together / slowest:.2f}× the slowest | {requests} |")  # noqa: RUF001


if __name__ == "__main__":
    main()
