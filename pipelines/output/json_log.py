"""What a run tells a machine while it works: one JSON object a line on stderr, for whoever collects logs.

Every line has `time` (UTC), `level`, `event` and, from the start of the command on, `run_id`; the other fields are those of
the event. Without `--log-format json` nothing of it is written.
"""

import json
import logging
import sys
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TextIO

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR

_OURS = logging.getLogger("meterhouse")
_OURS.addHandler(logging.NullHandler())
_OURS.propagate = False
_OURS.setLevel(logging.DEBUG)
_OTHERS = ("dlt", "py.warnings")
"""Loggers that would write to stderr themselves."""


class LogFormat(StrEnum):
    """What stderr is written for: people, or a machine."""

    TEXT = "text"
    JSON = "json"


def new_run_id() -> str:
    """A name for a run that no other has."""
    return uuid.uuid4().hex


def tell(event: str, level: int = INFO, **fields: Any) -> None:
    """Writes a line, where lines are written."""
    _OURS.log(level, event, extra={"fields": fields})


def interrupted(by: str, exit_status: int) -> bool:
    """Writes the last line of a command that a signal ends; False where no lines are written."""
    tell("finished", ERROR, interrupted_by=by, exit_status=exit_status)
    return any(isinstance(handler, JsonLines) for handler in _OURS.handlers)


@contextmanager
def log_lines(log_format: LogFormat, run_id: str) -> Iterator[None]:
    """Within the block events are lines on stderr, and so is what dlt and Python would write there."""
    if log_format is LogFormat.TEXT:
        yield
        return
    handler = JsonLines(run_id)
    former = {logger: logger.handlers for logger in (_OURS, *map(logging.getLogger, _OTHERS))}
    for logger in former:
        logger.handlers = [handler]
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for logger, handlers in former.items():
            logger.handlers = handlers


class JsonLines(logging.StreamHandler[TextIO]):
    """Writes each record as one JSON object, whatever formatter dlt gives to the handlers that it finds."""

    def __init__(self, run_id: str) -> None:
        super().__init__(sys.stderr)
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "run_id": self._run_id,
        }
        if record.name == _OURS.name:
            line |= getattr(record, "fields", {})
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=plain, ensure_ascii=False)


def plain(value: Any) -> str:
    """What JSON has no form for, as text: times in ISO 8601, and money, because a JSON number is a float to most readers."""
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
