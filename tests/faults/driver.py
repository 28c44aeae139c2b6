"""Runs `meterhouse` in a process of its own and does something to it at the n-th step of its work.

    python driver.py AT ACTION ARGUMENTS…

Steps are answers of a provider, the phases of dlt, each statement that dlt sends to DuckDB, and each node of dbt. At the
step AT (0 for never), ACTION is one of

    kill    the process dies as by `kill -9`
    tell    "here" on stdout; the process goes on
    stick   "here" on stdout; the thread sticks in a query of DuckDB that does not end
    loads   "here" on stdout whenever a provider has been loaded

At the end of a run that lives the number of steps stands on stdout.
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
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from meterhouse.pipelines import cli
from meterhouse.pipelines.run.state import RecordingJournal, RunState

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background would ignore it
at, action = int(sys.argv.pop(1)), sys.argv.pop(1)
steps, taken, lock = count(1), 0, Lock()


def step() -> None:
    """Counts, and acts when it is time."""
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
    if action == "stick":
        duckdb.execute("select sum(a.range * b.range) from range(100000000) a, range(100000000) b").fetchall()


def counted(owner: Any, name: str) -> None:
    """Makes a step of every call."""
    inner: Callable[..., Any] = getattr(owner, name)

    @wraps(inner)
    def outer(*arguments: Any, **options: Any) -> Any:
        step()
        result = inner(*arguments, **options)
        if action == "loads" and name == "load":
            os.write(1, b"here\n")
        return result

    setattr(owner, name, outer)


counted(RecordingJournal, "requested")
counted(RunState, "note_model")
counted(DuckDbSqlClient, "execute_query")
counted(DuckDbSqlClient, "commit_transaction")
for phase in ("extract", "normalize", "load"):
    counted(dlt.Pipeline, phase)


@atexit.register
def last() -> None:
    """Says how many steps there were."""
    sys.stdout.flush()
    os.write(1, f"{taken}\n".encode())


cli.main()
