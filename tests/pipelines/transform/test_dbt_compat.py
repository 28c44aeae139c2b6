"""Tests of the patches of dbt; they fail if a new version of dbt changes the patched internals."""

import pytest
from dbt.artifacts.resources import Owner
from dbt_common.dataclass_schema import ValidationError
from dbt_common.events import functions
from dbt_common.events.base_types import DebugLevel, EventLevel, EventMsg
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Note, SystemExecutingCmd

from meterhouse.pipelines.transform.dbt_compat import without_debug_events, without_validation


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[EventMsg]:
    """Events that a callback of dbt receives."""
    manager, events = EventManager(), list[EventMsg]()
    manager.add_callback(events.append)
    monkeypatch.setattr(functions, "get_event_manager", lambda: manager)
    return events


def test_callbacks_receive_all_events_except_debug(received: list[EventMsg]) -> None:
    """The level passed to `fire_event` takes precedence over the level of the event's class."""
    with without_debug_events():
        functions.fire_event(SystemExecutingCmd(cmd=["git"]))
        functions.fire_event(Note(msg="information"), level=EventLevel.INFO)
        functions.fire_event(Note(msg="warning"), level=EventLevel.WARN)
    assert [(event.info.level, event.data.msg) for event in received] == [("info", "information"), ("warn", "warning")]


def test_a_debug_event_builds_its_message_on_first_access() -> None:
    """The message has the arguments of the constructor."""
    with without_debug_events():
        event = SystemExecutingCmd(cmd=["git", "status"])
        assert "git status" in event.message()
        assert list(event.cmd) == ["git", "status"]


def test_dbt_is_unchanged_afterwards(received: list[EventMsg]) -> None:
    """After the block, a callback receives debug events."""
    before = vars(DebugLevel).keys()
    with without_debug_events():
        pass
    functions.fire_event(SystemExecutingCmd(cmd=["git"]))
    assert [event.info.name for event in received] == ["SystemExecutingCmd"]
    assert vars(DebugLevel).keys() == before


def test_validation_is_off_within_the_block_only() -> None:
    """A wrong type passes within it, and is an error of dbt afterwards."""
    wrong = {"name": [1]}
    with without_validation():
        Owner.validate(wrong)
    with pytest.raises(ValidationError):
        Owner.validate(wrong)
