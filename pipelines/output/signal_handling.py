"""Ctrl-C, and the SIGTERM of a scheduler: the command ends at once, whatever it is waiting for.

Not through an exception: dbt takes a KeyboardInterrupt for a failed model, threads that wait for a provider keep the
interpreter from ending, and a main thread that waits for DuckDB hears of a signal late. A write that is cut off is
DuckDB's to undo, as after a kill; the lock of the run goes with the process.
"""

import atexit
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread

from meterhouse.pipelines.output.json_log import interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.0
"""Seconds for the last words, which a reader that does not read must not turn into a hang."""


@contextmanager
def exit_on_signals(*, as_json: bool) -> Iterator[None]:
    """Within the block SIGINT ends the process with status 130, SIGTERM with 143, each after one line on stderr."""
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup's wish is kept
    if current_thread() is not main_thread():  # only the main thread may say what a signal does
        yield
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    former = {number: signal.signal(number, lambda *_: None) for number in heeded}
    # Python's own handlers wait for the main thread; this descriptor is written to by the C handler itself.
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    listener = Thread(target=_listen, args=(heard, frozenset(heeded), as_json), name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(told)
        listener.join()
        os.close(heard)


@contextmanager
def exit_quickly() -> Iterator[None]:
    """The end of the block is that of the process, with the status of its SystemExit: a quarter of a second earlier.

    So long does the interpreter take apart, object by object, what dlt and dbt have imported. Before, what is registered
    for the end is done, and what has been said is written. An exception that is no exit ends the process as ever.
    """
    status = 0
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        status = ended.code or 0
    atexit._run_exitfuncs()  # noqa: SLF001 - logs, semaphores; the interpreter itself calls the same
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # closed by whoever started us
                stream.flush()
        except (OSError, ValueError):  # whoever read it is gone
            status = status or 1
    os._exit(status)


def stop_by_exception() -> None:
    """For a command that has an end of its own: Ctrl-C is a KeyboardInterrupt again, and SIGTERM ends the process."""
    if current_thread() is main_thread():
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _listen(heard: int, heeded: frozenset[int], as_json: bool) -> None:  # noqa: FBT001 - a thread's target
    while received := os.read(heard, 1):
        if received[0] in heeded:
            status = 128 + received[0]
            last = Thread(target=_last_words, args=(status, as_json), daemon=True)
            last.start()
            last.join(PATIENCE)
            os._exit(status)


def _last_words(status: int, as_json: bool) -> None:  # noqa: FBT001 - a thread's target
    what = "interrupted" if status == 128 + signal.SIGINT else "terminated"
    said = f"meterhouse: {what}; what was loaded stays, and the next run goes on from there"
    with suppress(OSError):
        if sys.stdout.isatty():
            os.write(1, b"\x1b[?25h\n")  # the live line has hidden the cursor
        if as_json:
            os.write(1, (json.dumps({"status": "failed", "exit_status": status, "error": said}) + "\n").encode())
        if not interrupted(signal.Signals(status - 128).name, status):
            os.write(2, f"{said}\n".encode())
    if (shared := sys.modules.get("multiprocessing.util")) is not None:
        shared._run_finalizers(0)  # noqa: SLF001 - dbt's semaphores, which would be complained about as leaked
