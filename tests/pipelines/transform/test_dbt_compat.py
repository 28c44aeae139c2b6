"""What meterhouse changes in dbt, tested so that a new version of dbt that changes it fails here."""

import pytest
from dbt_common.events import functions
from dbt_common.events.base_types import DebugLevel, EventLevel, EventMsg
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Note, SystemExecutingCmd

from meterhouse.pipelines.transform.dbt_compat import lazy_debug_events


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[EventMsg]:
    """What a callback of dbt receives."""
    manager, received = EventManager(), list[EventMsg]()
    manager.add_callback(received.append)
    monkeypatch.setattr(functions, "get_event_manager", lambda: manager)
    return received


def test_debug_events_reach_nobody_and_all_others_do(fired: list[EventMsg]) -> None:
    """An event has the level with which dbt fires it."""
    with lazy_debug_events():
        functions.fire_event(SystemExecutingCmd(cmd=["git"]))
        functions.fire_event(Note(msg="information"), level=EventLevel.INFO)
        functions.fire_event(Note(msg="warning"), level=EventLevel.WARN)
    assert [(event.info.level, event.data.msg) for event in fired] == [("info", "information"), ("warn", "warning")]


def test_a_debug_event_has_its_message_when_it_is_read() -> None:
    """Its fields are those with which it was created."""
    with lazy_debug_events():
        event = SystemExecutingCmd(cmd=["git", "status"])
        assert "git status" in event.message()
        assert list(event.cmd) == ["git", "status"]


def test_dbt_is_unchanged_afterwards(fired: list[EventMsg]) -> None:
    """Debug events reach the callback again."""
    before = vars(DebugLevel).keys()
    with lazy_debug_events():
        pass
    functions.fire_event(SystemExecutingCmd(cmd=["git"]))
    assert [event.info.name for event in fired] == ["SystemExecutingCmd"]
    assert vars(DebugLevel).keys() == before
