"""Runs `meterhouse` in a process of its own and interferes at the n-th step of its work.

    python driver.py STEP ACTION ARGUMENTS…

Steps are the requests to a provider, the phases of dlt, each statement that dlt sends to DuckDB, and each node of dbt. At
step STEP (0 for never), ACTION is one of

    kill            end the process as `kill -9` does
    announce        print "here" and go on
    hang            print "here" and keep the thread in a DuckDB query that does not end
    announce-loads  print "here" whenever a provider has been loaded

A run that survives prints its number of steps at the end.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from itertools import count
from threading import Lock
from typing import Any

import dlt
import duckdb
import httpx
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from meterhouse.pipelines import cli
from meterhouse.pipelines.run.events import ModelFinished
from meterhouse.pipelines.run.state import RunState

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
at, action = int(sys.argv.pop(1)), sys.argv.pop(1)
steps, taken, lock = count(1), 0, Lock()


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
    sys.stdout.flush()
    os.write(1, f"{taken}\n".encode())


cli.main()
