"""Every patch of dbt's internals, with its reason.

`tests/pipelines/transform/test_dbt_compat.py` fails if dbt changes what a patch relies on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def lean_dbt() -> Iterator[None]:
    """Within the block, dbt neither builds debug events nor validates the project's YAML, which saves time."""
    with without_debug_events(), without_validation():
        yield


@contextmanager
def without_validation() -> Iterator[None]:
    """Within the block, dbt does not compare the project's YAML with its JSON schemas.

    To do so, it derives a schema from each of its classes, which takes a quarter of the time of parsing. The files are the
    same everywhere, and the tests of downstream projects validate them. All other checks of dbt still run.
    """
    from dbt_common.dataclass_schema import dbtClassMixin

    with patch.object(dbtClassMixin, "validate", classmethod(lambda cls, data: None)):  # noqa: ARG005
        yield


@contextmanager
def without_debug_events() -> Iterator[None]:
    """Within the block, dbt delivers no debug event to loggers or callbacks.

    dbt fires about twenty debug events per node and builds two protobuf messages for each, at any log level, which takes a
    sixth of the build time. Within the block, it builds the message of a `DebugLevel` event only on first access.
    """
    from dbt_common.events.base_types import BaseEvent, DebugLevel, EventLevel
    from dbt_common.events.event_manager import EventManager

    fire = EventManager.fire_event

    def keep_arguments(event: Any, *args: Any, **kwargs: Any) -> None:
        vars(event)["_arguments"] = args, kwargs

    def get_pb_msg(event: Any) -> Any:
        if "pb_msg" not in vars(event):
            args, kwargs = vars(event)["_arguments"]
            BaseEvent.__init__(event, *args, **kwargs)  # sets pb_msg
        return vars(event)["pb_msg"]

    def set_pb_msg(event: Any, value: Any) -> None:
        vars(event)["pb_msg"] = value

    def fire_unless_debug(manager: Any, e: Any, level: Any = None, *args: Any, **kwargs: Any) -> None:
        if (level or e.level_tag()) != EventLevel.DEBUG:
            fire(manager, e, level, *args, **kwargs)

    with (
        patch.object(DebugLevel, "__init__", keep_arguments),
        patch.object(DebugLevel, "pb_msg", property(get_pb_msg, set_pb_msg), create=True),
        patch.object(EventManager, "fire_event", fire_unless_debug),
    ):
        yield
