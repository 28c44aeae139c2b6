# ruff: noqa: T201 - a script
"""Compares `meterhouse run` of two or more installations, in turns: `python -m tests.benchmarks.run OLD NEW …`.

Each argument is the `meterhouse` command of a virtual environment, for example one of an older commit. All of them load the
providers of one sandbox into folders of their own. After a first run, each round runs every command once per kind of work.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS

ROUNDS = 7
NOTHING, RESTATED, LOAD = "nothing new, with models", "a restated hour, with models", "a restated hour, without models"


def main(commands: list[str]) -> None:
    """Prints the median seconds of each command and work, and the ratio to the first command."""
    seconds: dict[tuple[str, str], list[float]] = {}
    with TemporaryDirectory() as folder, Sandbox(seed=7) as sandbox:
        start = utc_now().start_of("month").subtract(months=2)
        environment = os.environ | sandbox.variables()
        for provider in PROVIDERS:
            environment[f"SOURCES__{provider.upper()}__INITIAL_DATE"] = start.to_date_string()
            environment[f"SOURCES__{provider.upper()}__REQUESTS_PER_MINUTE"] = "1000000"

        def run(command: str, *arguments: str) -> float:
            number = commands.index(command)
            work_dir = Path(folder) / str(number)
            work_dir.mkdir(exist_ok=True)
            began = time.perf_counter()
            own = environment | {"DLT_DATA_DIR": str(Path(folder) / f"dlt-{number}")}
            subprocess.run([command, "run", *arguments], cwd=work_dir, env=own, check=True, capture_output=True)
            return time.perf_counter() - began

        for command in commands:
            run(command)
        for number in range(ROUNDS):
            for work in (RESTATED, NOTHING, LOAD):
                if work != NOTHING:
                    hour = utc_now().start_of("hour").subtract(hours=24 + number)
                    sandbox.mathpix.usage.restate(hour, factor=2)
                for command in commands if number % 2 else reversed(commands):
                    taken = run(command, *(["--no-models"] if work == LOAD else []))
                    seconds.setdefault((work, command), []).append(taken)
    for work in (NOTHING, RESTATED, LOAD):
        base = median(seconds[work, commands[0]])
        for command in commands:
            middle = median(seconds[work, command])
            print(f"{work}: {command} {middle:.2f} s, ratio {middle / base:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
