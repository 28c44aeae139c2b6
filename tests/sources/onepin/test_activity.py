"""The activity feed: each event once, and none missing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.onepin import MEMBERS, Event
from tests.conftest import Cli
from tests.sources.onepin.conftest import ACTIVITY, NOW, loaded, steady

pytestmark = pytest.mark.thorough


def event(name: str, moment: datetime) -> dict[str, Any]:
    return {
        "id": name,
        "timestamp": moment.isoformat(),
        "user": None,
        "action": "settings_changed",
        "kind": "workspace",
        "resource": {"type": "workspace"},
    }


def page(*events: dict[str, Any], following: str | None) -> dict[str, Any]:
    return {"data": list(events), "meta": {}, "pagination": {"next": following, "prev": None, "limit": 2}}


def test_reads_the_feed_back_to_known_events(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """A day later one page is enough; after sixty days without a run the feed is complete, without duplicates."""
    load("usage_activity")
    sandbox.requests.clear()
    clock.move_to(NOW + timedelta(days=1))
    load("usage_activity")
    assert len(sandbox.requests) <= 3
    clock.move_to(NOW + timedelta(days=61))
    assert load("usage_activity")["gaps"] == []
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW + timedelta(days=61))
    assert sorted(loaded(cli, "usage_activity", "id")) == sorted((event.id,) for event in events)
    clock.move_to(NOW + timedelta(days=161))
    (gap,) = load("usage_activity")["gaps"]
    assert (gap["table"], gap["from"][:13], gap["until"][:10]) == ("usage_activity", "2026-05-20T10", "2026-05-31")


@pytest.mark.parametrize(
    "second",
    [
        page(event("b", NOW - timedelta(hours=2)), following="again"),
        page(event("a", NOW - timedelta(hours=1)), following="another"),
        page(following="another"),
    ],
    ids=["a cursor that repeats", "a page that repeats", "an empty page that goes on"],
)
def test_a_feed_that_repeats_itself_is_an_error(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, second: dict[str, Any]
) -> None:
    """It is neither an endless loop nor a short result, and none of it is loaded."""
    sandbox.faults.add(Fault(path=ACTIVITY, times=1, body=page(event("a", NOW - timedelta(hours=1)), following="again")))
    sandbox.faults.add(Fault(path=ACTIVITY, body=second))
    (failure,) = load("usage_activity", status=1)["failures"]
    assert failure["kind"] == "IncompleteResponse"
    assert "repeats itself" in failure["error"]
    assert 2 <= len(sandbox.requests) <= 3


def test_takes_an_event_once_that_arrives_while_pages_are_read(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """It may push another one onto the next page."""
    first, second, third = (event(name, NOW - timedelta(hours=hours)) for hours, name in enumerate("abc", 1))
    sandbox.faults.add(Fault(path=ACTIVITY, times=1, body=page(first, second, following="next")))
    sandbox.faults.add(Fault(path=ACTIVITY, query={"cursor": "next"}, body=page(second, third, following=None)))
    load("usage_activity")
    assert loaded(cli, "usage_activity", "id, is_complete") == [("a", True), ("b", True), ("c", True)]


def test_an_event_of_the_future_waits_for_its_time(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """It neither stops the reading nor moves the cursor beyond the present."""
    ahead = NOW + timedelta(days=20)
    sandbox.onepin.usage.set(steady("2026-03-18"), [Event(ahead, "ahead", action="settings_changed")])
    load("usage_activity")
    assert loaded(cli, "usage_activity", "action") == [("workflow_run",)]
    clock.move_to(NOW + timedelta(days=1))
    sandbox.onepin.usage.set(steady("2026-03-18", "2026-03-20"), [Event(ahead, "ahead", action="settings_changed")])
    load("usage_activity")
    assert len(loaded(cli, "usage_activity")) == 2
    clock.move_to(ahead + timedelta(days=1))
    load("usage_activity")
    assert cli.rows("select id from onepin.usage_activity where action = 'settings_changed'") == [("ahead",)]


def test_filters_the_feed(cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """By action and by member, each with its own cursor."""
    member = MEMBERS["default"][1]
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_TYPES", "voice_generated,template_applied")
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_USER_IDS", member.id)
    load("usage_activity")
    events = sandbox.onepin.usage.events("default", datetime(2025, 12, 21, tzinfo=UTC), NOW)
    chosen = {e.id for e in events if e.member == member and e.action in {"voice_generated", "template_applied"}}
    assert chosen
    assert {name for (name,) in loaded(cli, "usage_activity", "id")} == chosen


def test_a_page_without_its_next_field_is_an_error(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """The feed may go on, so no row is deleted."""
    load("usage_activity")
    before = loaded(cli, "usage_activity")
    bodies: tuple[Any, ...] = ({}, {"next": {"cursor": "x"}}, {"next": 7}, None)
    for pagination in bodies:
        body = {"data": [event("a", NOW - timedelta(hours=1))], "meta": {}, "pagination": pagination}
        sandbox.faults.add(Fault(path=ACTIVITY, body=body))
        (failure,) = load("usage_activity", status=1)["failures"]
        assert (failure["kind"], "whether it continues" in failure["error"]) == ("MalformedResponse", True)
        assert loaded(cli, "usage_activity") == before
        sandbox.faults.clear()


def test_notices_a_server_that_ignores_the_filter(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would return each event once an action."""
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_TYPES", "voice_generated,settings_changed")
    sandbox.faults.add(Fault(path=ACTIVITY, body=page(event("a", NOW - timedelta(hours=1)), following=None)))
    (failure,) = load("usage_activity", status=1)["failures"]
    assert "'settings_changed', but the request was for action 'voice_generated'" in failure["error"]
    assert loaded(cli, "usage_activity", "id, action") == [("a", "settings_changed")]
