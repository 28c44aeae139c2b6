"""What meterhouse changes in dbt. tests/pipelines/transform/test_dbt_compat.py fails when dbt changes these parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def lazy_debug_events() -> Iterator[None]:
    """Within the block, dbt creates the message of a debug event only if somebody reads it.

    dbt fires about twenty debug events for each node and turns each into two protobuf messages, whatever the log level is.
    That takes a sixth of a build. No logger or callback gets these events within the block.
    """
    from dbt_common.events.base_types import BaseEvent, DebugLevel, EventLevel
    from dbt_common.events.event_manager import EventManager

    fire = EventManager.fire_event

    def keep_arguments(event: Any, *args: Any, **kwargs: Any) -> None:
        vars(event)["_arguments"] = args, kwargs

    def message(event: Any) -> Any:
        if "pb_msg" not in vars(event):
            args, kwargs = vars(event)["_arguments"]
            BaseEvent.__init__(event, *args, **kwargs)  # sets pb_msg
        return vars(event)["pb_msg"]

    def set_message(event: Any, value: Any) -> None:
        vars(event)["pb_msg"] = value

    def fire_unless_debug(manager: Any, e: Any, level: Any = None, *args: Any, **kwargs: Any) -> None:
        if (level or e.level_tag()) != EventLevel.DEBUG:
            fire(manager, e, level, *args, **kwargs)

    with (
        patch.object(DebugLevel, "__init__", keep_arguments),
        patch.object(DebugLevel, "pb_msg", property(message, set_message), create=True),
        patch.object(EventManager, "fire_event", fire_unless_debug),
    ):
        yield
