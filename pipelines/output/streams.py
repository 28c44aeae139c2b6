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


class ForgivingStream:
    """A text stream that continues into /dev/null after its first failure, and reports the failure on another stream."""

    def __init__(self, stream: TextIO, other: TextIO) -> None:
        self._stream, self._other = stream, other

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
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # the buffered text goes there, too, so that nothing fails again
        os.close(null)
        with suppress(OSError, ValueError):
            self._other.write(f"WARNING  {self._stream.name} cannot be written ({error.strerror}); the run goes on\n")
            self._other.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Within the block, stdout and stderr are forgiving."""
    before = sys.stdout, sys.stderr
    streams: Any = ForgivingStream(*before), ForgivingStream(*reversed(before))
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before
