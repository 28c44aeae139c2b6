# ruff: noqa: T201 - a command line
"""Floor, dlt's `rest_api` in both of its formats and meterhouse, side by side on the sandbox: see README.md."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from tests.benchmarks.workloads import SUMS, WORKLOADS, Workload

TOP = Path(__file__).parents[2]
CONTENDERS = ("floor", "meterhouse", "dlt rest_api (parquet)", "dlt rest_api (default)")
ENOUGH = 60.0
"""Seconds of one contender's runs of a workload, after which it starts no further one."""


@dataclass
class Measured:
    """The measurements of one contender's runs."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    result: dict[str, Any] | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@contextmanager
def serving(name: str, scale: float) -> Iterator[dict[str, Any]]:
    """A server with the usage of one workload."""
    command = [sys.executable, "-m", "tests.benchmarks.server", name, str(scale)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.kill()


def command_of(contender: str, name: str, scale: float, settings: Mapping[str, Any], database: Path) -> list[str]:
    """The arguments of Python that start a contender."""
    workload = WORKLOADS[name]
    if contender == "meterhouse":
        since, until = workload.start, workload.start + timedelta(days=workload.days(scale))
        window = ["--since", since.date().isoformat(), "--until", until.date().isoformat()]
        module = "tests.benchmarks.meterhouse" if workload.events else "meterhouse.pipelines.cli"
        return ["-m", module, "run", *workload.of, "--no-models", *window]
    module = "tests.benchmarks.floor" if contender == "floor" else "tests.benchmarks.rest_api"
    formats = ["parquet"] if "parquet" in contender else []
    return ["-m", module, name, str(scale), json.dumps(settings), str(database), *formats]


def environment(workload: Workload, settings: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The environment of one run: no configuration of the user, UTC, and a folder of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SOURCES__", "DESTINATION__"))}
    for provider, values in settings.items():
        for key, value in {**values["accounts"]["default"], "requests_per_minute": 1_000_000}.items():
            own[f"SOURCES__{provider}__{key}".upper()] = value if isinstance(value, str) else json.dumps(value)
    return own | {
        "PYTHONPATH": os.pathsep.join([str(TOP), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "DESTINATION__DUCKDB__CREDENTIALS": str(folder / "result.duckdb"),
        "TZ": "UTC",
        **workload.environment,
    }


def run(contender: str, name: str, scale: float, settings: Mapping[str, Any], *, arguments: Sequence[str] = ()) -> Any:
    """One run in a folder of its own: seconds, processor seconds, peak megabytes, and the sums of its tables."""
    folder = Path(tempfile.mkdtemp())
    database = folder / "result.duckdb"
    try:
        command = [sys.executable, *arguments, *command_of(contender, name, scale, settings, database)]
        with (folder / "output").open("wb") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=folder, env=environment(WORKLOADS[name], settings, folder), stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{contender} failed:\n{(folder / 'output').read_text()}")
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, result_of(database, WORKLOADS[name])
    finally:
        shutil.rmtree(folder)


def result_of(database: Path, workload: Workload) -> dict[str, Any]:
    """Number of rows and sum of each table."""
    with duckdb.connect(str(database), read_only=True) as connection:
        found = {}
        for table in workload.tables():
            named = "select table_schema from information_schema.tables where table_name = ?"
            (schema,) = connection.execute(named, [table]).fetchone() or ("",)
            rows, total = connection.execute(f"select count(*), {SUMS[table]} from {schema}.{table}").fetchone() or (0, 0)
            found[table] = (rows, round(float(total), 6))
        return found


def measure(name: str, scale: float, runs: int, contenders: Sequence[str]) -> dict[str, Measured]:
    """All contenders of one workload, in turns, so that a busy moment of the machine affects them alike."""
    measured = {contender: Measured() for contender in contenders}
    with serving(name, scale) as server:
        for contender in contenders:
            if not contender.startswith("dlt"):  # it sends the same requests as the floor
                run(contender, name, scale, server["settings"])  # the server computes its responses
        for _ in range(runs):
            for contender, so_far in measured.items():
                if sum(so_far.seconds) < ENOUGH:
                    seconds, processor, megabytes, result = run(contender, name, scale, server["settings"])
                    so_far.seconds.append(seconds)
                    so_far.processor.append(processor)
                    so_far.megabytes.append(megabytes)
                    so_far.result = result
    expected = measured[contenders[0]].result
    for contender, so_far in measured.items():
        if so_far.result != expected:
            sys.exit(f"{contender} has loaded {so_far.result}, {contenders[0]} {expected}")
    return measured


def shown(name: str, measured: Mapping[str, Measured]) -> str:
    """A row of the table."""
    first = next(iter(measured.values()))
    rows = sum(rows for rows, _ in (first.result or {}).values())
    cells = [f"{WORKLOADS[name].title} ({rows:,} rows)", f"{first.median:.2f} s, {max(first.megabytes):.0f} MB"]
    cells += [
        f"{so_far.median / first.median:.1f}×, {so_far.median:.2f} s, {max(so_far.megabytes):.0f} MB"  # noqa: RUF001
        for so_far in list(measured.values())[1:]
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", choices=[*WORKLOADS, []], help="all, if none")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the days and events of each workload")
    parser.add_argument("--without-dlt", action="store_true", help="floor and meterhouse only: dlt takes minutes")
    options = parser.parse_args()
    contenders = [name for name in CONTENDERS if not (options.without_dlt and name.startswith("dlt"))]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, medians of {options.runs}"
    )
    print(f"| workload | {' | '.join(contenders)} |\n|{' --- |' * (len(contenders) + 1)}")
    for name in options.workloads or WORKLOADS:
        measured = measure(name, options.scale, options.runs, contenders)
        print(shown(name, measured), flush=True)
        for contender, so_far in measured.items():
            seconds = " ".join(f"{second:.2f}" for second in so_far.seconds)
            processor = statistics.median(so_far.processor)
            print(f"    {contender}: {seconds} s; {processor:.2f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
