"""Runs `meterhouse` in processes of their own, and interferes at the n-th step of their work.

The driver imports what a run needs, which takes seconds. It then reads one `Job` per line of stdin, as JSON, and forks a
child for each. It prints the child's process id, and its exit status once the child has ended. The driver has a single
thread, no connection and no open file, so that a child starts like a new process.

Steps are the requests to a provider, the phases of dlt, each statement that dlt sends to DuckDB, and each node of dbt. At
step `at` (0 for never), `action` is one of

    kill            end the process as `kill -9` does
    announce        print "here" and go on
    hang            print "here" and keep the thread in a DuckDB query that does not end
    announce-loads  print "here" whenever a provider has been loaded

A run that survives prints its number of steps at the end. The environment variable PACKAGE_ROWS replaces
`package.MAX_ROWS`.
"""

import atexit
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib import import_module
from itertools import count
from typing import Any, TypedDict

import dlt
import duckdb
import httpx
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from meterhouse.pipelines import cli
from meterhouse.pipelines.run.events import ModelFinished
from meterhouse.pipelines.run.state import RunState
from meterhouse.sources._core import package
from meterhouse.sources.registry import PROVIDERS

IMPORTED_BY_A_RUN = (
    "dlt.destinations.impl.duckdb.duck",
    "meterhouse.pipelines.output.console",
    "meterhouse.pipelines.output.progress",
    "meterhouse.pipelines.output.summary",
    "meterhouse.pipelines.run.orchestrate",
    "meterhouse.pipelines.warehouse.resolve",
    "pyarrow.dataset",
    *(f"meterhouse.sources.{name}" for name in PROVIDERS),
)


class Job(TypedDict):
    """A run: the command line, the step, the action, and the environment of the process."""

    arguments: list[str]
    at: int
    action: str
    environment: dict[str, str]
    folder: str
    stdout: str
    stderr: str


def next_job() -> Job:
    """Forks a child for each job, one after the other. Returns only in the children."""
    for line in sys.stdin:
        process = os.fork()
        if not process:
            job: Job = json.loads(line)
            return job
        print(process, flush=True)  # noqa: T201 - the response to the job
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
    sys.exit()


def set_up_process(job: Job) -> None:
    """Sets the environment, working directory, standard streams and SIGINT handler of this process for the job."""
    for path, descriptor in ((os.devnull, 0), (job["stdout"], 1), (job["stderr"], 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.argv[1:] = job["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it


for module in IMPORTED_BY_A_RUN:
    import_module(module)
assert threading.active_count() == 1
set_up_process(job := next_job())
at, action = job["at"], job["action"]
steps, taken, lock = count(1), 0, threading.Lock()
package.MAX_ROWS = int(os.environ.get("PACKAGE_ROWS", package.MAX_ROWS))


def step() -> None:
    """Counts a step, and acts at step `at`."""
    global taken
    with lock:
        taken = next(steps)
        if taken != at:
            return
        match action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                os.write(1, b"here\n")
    if action == "hang":
        duckdb.execute("select sum(a.range * b.range) from range(100000000) a, range(100000000) b").fetchall()


def count_calls(owner: Any, name: str, *, of: type = object) -> None:
    """Makes every call of a method a step; with `of`, only the calls whose last argument is of this type."""
    inner: Callable[..., Any] = getattr(owner, name)

    @wraps(inner)
    def outer(*arguments: Any, **options: Any) -> Any:
        if isinstance(arguments[-1], of):
            step()
        result = inner(*arguments, **options)
        if action == "announce-loads" and name == "load":
            os.write(1, b"here\n")
        return result

    setattr(owner, name, outer)


count_calls(httpx.Client, "send")
count_calls(RunState, "observe", of=ModelFinished)
count_calls(DuckDbSqlClient, "execute_query")
count_calls(DuckDbSqlClient, "commit_transaction")
for phase in ("extract", "normalize", "load"):
    count_calls(dlt.Pipeline, phase)


@atexit.register
def print_steps() -> None:
    with suppress(OSError):  # on a full disk
        sys.stdout.flush()
        os.write(1, f"{taken}\n".encode())


cli.main()
