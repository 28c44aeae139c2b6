"""Writes log lines: on stderr, one JSON object per line.

Every line has `time` (UTC), `level`, `event` and the command's `run_id`; further fields depend on the event.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TextIO

INFO, WARNING, ERROR, CRITICAL = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

_LOGGER = logging.getLogger("meterhouse")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False
_LOGGER.setLevel(logging.DEBUG)
_OTHERS = ("dlt", "py.warnings")
"""Loggers that would otherwise write to stderr themselves."""


class LogFormat(StrEnum):
    """What stderr is for: people, or a log collector."""

    TEXT = "text"
    JSON = "json"


def write_line(event: str, level: int = INFO, *, traceback_of: BaseException | None = None, **fields: Any) -> None:
    """Writes a line if the JSON log is on."""
    _LOGGER.log(level, event, exc_info=traceback_of, extra={"fields": fields})


def write_interrupted(signal_name: str, exit_status: int) -> bool:
    """Writes the last line of a command that a signal ends; False if the JSON log is off."""
    write_line("finished", ERROR, interrupted_by=signal_name, exit_status=exit_status)
    return any(isinstance(handler, JsonLines) for handler in _LOGGER.handlers)


@contextmanager
def json_lines(log_format: LogFormat, run_id: str) -> Iterator[None]:
    """Turns on the JSON log within the block if `log_format` is JSON; messages from dlt and Python become lines, too."""
    if log_format is LogFormat.TEXT:
        yield
        return
    handler = JsonLines(run_id)
    before = {logger: logger.handlers for logger in (_LOGGER, *map(logging.getLogger, _OTHERS))}
    for logger in before:
        logger.handlers = [handler]
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for logger, handlers in before.items():
            logger.handlers = handlers


class JsonLines(logging.StreamHandler[TextIO]):
    """Writes each log record as one JSON object, even if dlt sets another formatter on the handler."""

    def __init__(self, run_id: str) -> None:
        super().__init__(sys.stderr)
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "run_id": self._run_id,
        }
        if record.name == _LOGGER.name:
            line |= getattr(record, "fields", {})
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=json_text, ensure_ascii=False)


def json_text(value: Any) -> str:
    """The text for a value without a JSON type. Money is text, because most readers parse a JSON number as a float."""
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
