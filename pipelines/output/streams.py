"""Output that fails does not stop a command: a full disk, a closed pipe, a character that the encoding lacks."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def escape_unencodable_characters() -> None:
    r"""Makes stdout and stderr write a character that their encoding lacks as an escape sequence, such as \U0001f600."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def open_missing_streams() -> None:
    """Opens /dev/null for each closed standard stream, so that no other file gets its file descriptor."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # stdin, stdout and stderr
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


class ForgivingStream:
    """A text stream that continues into /dev/null after its first failure, and reports the failure on another stream."""

    def __init__(self, stream: TextIO, other: TextIO, *, broken_pipe_is_normal: bool = False) -> None:
        self._stream, self._other, self._broken_pipe_is_normal = stream, other, broken_pipe_is_normal
        self.has_failed = False

    def write(self, text: str) -> int:
        """Writes the text, or discards it after a failure."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        self.has_failed = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # the buffered text goes there, too, so that nothing fails again
        os.close(null)
        if isinstance(error, BrokenPipeError) and self._broken_pipe_is_normal:
            return
        with suppress(OSError, ValueError):
            self._other.write(f"WARNING  {self._stream.name} cannot be written ({error.strerror}); the command goes on\n")
            self._other.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving_streams(*, broken_pipe_is_normal: bool = False) -> Iterator[ForgivingStream]:
    """Within the block, a failed write to stdout or stderr is a warning. Yields the stream in place of stdout.

    A reader such as `head` may close stdout early: with `broken_pipe_is_normal`, this is not a warning.
    """
    before = sys.stdout, sys.stderr
    out = ForgivingStream(*before, broken_pipe_is_normal=broken_pipe_is_normal)
    streams: Any = out, ForgivingStream(*reversed(before))
    sys.stdout, sys.stderr = streams
    try:
        yield out
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before
