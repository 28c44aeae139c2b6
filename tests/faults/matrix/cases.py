"""The cases of the fault matrix: a name, the fault, the providers that it applies to, and the exit status of the run."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from typing import Any

from meterhouse.pipelines.sandbox import Fault
from tests.faults.matrix.scenario import LATE, NOW, START, Scenario
from tests.providers import DESCRIPTIONS
from tests.providers.description import Description, Edit

REFERENCE = next(iter(DESCRIPTIONS))
"""The provider on which all cases run that do not depend on the provider."""

Act = Callable[[Scenario], object]


class Kind(Enum):
    """What a fault affects. The core handles the first six for all providers; each provider's own code handles the rest."""

    STATUS = "status"
    CONNECTION = "connection"
    BODY = "body"
    SIZE = "size"
    CLOCK = "clock"
    NUMBER = "number"
    PAGING = "paging"
    ENVELOPE = "envelope"
    RESTATEMENT = "restatement"

    @property
    def depends_on_provider(self) -> bool:
        return self in {Kind.PAGING, Kind.ENVELOPE, Kind.RESTATEMENT}


@dataclass(frozen=True)
class Case:
    """One row of the matrix.

    A run that ends with status 0 has loaded all that the vendor counts now, unless the case is in the provider's `behind`.

    Attributes:
        act: brings the fault about.
        status: exit status of the run that meets the fault; a provider's `exit_status` may name another one.
        applies: whether the fault can happen to a provider.
        then: checks after that run.
        represents: the case stands for its kind on the providers on which not all cases of the kind run.
        is_behind: no provider can know all that the vendor counts.
    """

    kind: Kind
    name: str
    act: Act
    status: int = 0
    applies: Callable[[Description], bool] = lambda _: True
    then: Callable[[Scenario], None] = lambda _: None
    represents: bool = False
    is_behind: bool = False

    def status_of(self, provider: Description) -> int:
        return provider.exit_status.get(self.name, self.status)

    def leaves_behind(self, provider: Description) -> bool:
        return self.is_behind or self.name in provider.behind

    def runs_on(self, provider: Description) -> bool:
        everywhere = self.kind.depends_on_provider or self.represents or provider.name == REFERENCE
        return everywhere and self.applies(provider)


def is_paged(provider: Description) -> bool:
    return provider.paging is not None


def lists_events(provider: Description) -> bool:
    return provider.paging is not None and provider.paging.lists_events


def knows_numbered_pages(provider: Description) -> bool:
    return provider.paging is not None and provider.paging.use_numbers is not None


def fault(**options: Any) -> Act:
    """A fault of the responses that hold the rows."""

    def act(scenario: Scenario) -> None:
        usage = scenario.provider.usage
        scenario.sandbox.faults.add(Fault(path=usage.path, after=usage.probes, **options))

    return act


def text(change: Callable[[Scenario, bytes], bytes], times: int | None = None) -> Act:
    """Changes the text of the body."""
    return lambda scenario: fault(times=times, edit=lambda body, _: change(scenario, body))(scenario)


def payload(change: Callable[[Scenario, Any], object], times: int | None = None) -> Act:
    """Changes the object in the body in place."""

    def edit(scenario: Scenario, body: bytes) -> bytes:
        response = json.loads(body)
        change(scenario, response)
        return json.dumps(response).encode()

    return text(edit, times)


def load_all_tables(scenario: Scenario) -> None:
    scenario.only = ""


def whole_numbers(change: Callable[[Any], Any]) -> Act:
    """Changes every value of one whole-number field."""

    def act(scenario: Scenario) -> None:
        load_all_tables(scenario)
        number = scenario.provider.whole_number

        def edit(body: bytes, _: object) -> bytes:
            response = json.loads(body)
            for item in number.objects(response):
                item[number.field] = change(item[number.field])
            return json.dumps(response).encode()

        scenario.sandbox.faults.add(Fault(path=number.path, after=scenario.provider.usage.probes, edit=edit))

    return act


def after_first_page(change: Act) -> Act:
    """Changes the vendor's usage once the first page has been sent."""

    def edit(scenario: Scenario, body: bytes) -> bytes:
        change(scenario)
        return body

    return text(edit, times=1)


def arrive(scenario: Scenario) -> None:
    scenario.provider.usage.arrive(scenario.sandbox, LATE)


def withdraw(scenario: Scenario) -> None:
    scenario.provider.usage.withdraw(scenario.sandbox, START)


def exchange(scenario: Scenario) -> None:
    """One event less and another one more, so that their number stays."""
    withdraw(scenario)
    arrive(scenario)


def exchange_before_second_numbered_page(scenario: Scenario) -> None:
    """The source requests numbered pages only after the server has ignored the newer parameters."""
    assert scenario.provider.paging
    assert scenario.provider.paging.use_numbers
    scenario.provider.paging.use_numbers(scenario.sandbox)
    exchanged: list[bool] = []

    def edit(body: bytes, query: Mapping[str, list[str]]) -> bytes:
        if query.get("page") == ["1"] and not exchanged:
            exchanged.append(True)
            exchange(scenario)
        return body

    scenario.sandbox.faults.add(Fault(path=scenario.provider.usage.path, edit=edit))


def together(*acts: Act) -> Act:
    return lambda scenario: [act(scenario) for act in acts]


def limits(**values: Any) -> Act:
    return lambda scenario: scenario.limit(**values)


def for_twenty_seconds(status: int) -> Act:
    return together(fault(status=status), lambda scenario: scenario.clock.after(20, scenario.sandbox.faults.clear))


def our_clock_at(moment: datetime) -> Act:
    return lambda scenario: scenario.clock.move_to(moment)


def more_pages_than_requests_a_minute(scenario: Scenario) -> None:
    assert scenario.provider.paging
    scenario.limit_requests_per_minute(30)
    scenario.set("page_size", scenario.provider.paging.small_page_size)
    scenario.unset("requests_per_minute")


def has_read_all_pages(scenario: Scenario) -> None:
    assert len(scenario.sandbox.requests) >= 45
    assert scenario.clock.slept >= 30


def has_waited_seven_seconds_twice(scenario: Scenario) -> None:
    assert scenario.clock.retries == [7, 7]


def refuse_connections(scenario: Scenario) -> None:
    scenario.point_at(scenario.closed_port())


def ignore_paging(scenario: Scenario) -> None:
    assert scenario.provider.paging
    scenario.provider.paging.set_ignored(scenario.sandbox, True)


def never_end(scenario: Scenario) -> None:
    assert scenario.provider.paging
    edit: Edit = scenario.provider.paging.never_ending()
    scenario.sandbox.faults.add(Fault(path=scenario.provider.usage.path, edit=edit))


def redirect(scenario: Scenario) -> None:
    """To another host, which is the same sandbox by another name, so that it would see the request."""
    elsewhere = f"http://localhost:{scenario.port}/elsewhere"
    scenario.sandbox.faults.add(Fault(path=scenario.provider.usage.path, redirect=elsewhere))


def has_not_followed(scenario: Scenario) -> None:
    assert not [request for request in scenario.sandbox.requests if request.path == "/elsewhere"]


def remove_items(scenario: Scenario, response: Any) -> None:
    response.pop(scenario.provider.usage.items)


def replace_list(scenario: Scenario, response: Any) -> None:
    response[scenario.provider.usage.items] = {"0": {}}


def double_last_item(scenario: Scenario, response: Any) -> None:
    items = response[scenario.provider.usage.items]
    items.append(items[-1])


def insert_future_item(scenario: Scenario, response: Any) -> None:
    usage = scenario.provider.usage
    items = response[usage.items]
    future = items[0] | {usage.time: usage.future}
    items.insert(0, future | {"id": "future"} if "id" in future else future)


def repeat_a_key(scenario: Scenario, body: bytes) -> bytes:
    """The same field twice in one object."""
    number, usage = scenario.provider.whole_number.field, scenario.provider.usage
    field = b'"' + (number if number in body.decode() else usage.time).encode() + b'":'
    assert field in body
    return body.replace(field, field + b"1," + field, 1)


def error_object(times: int | None = None) -> Act:
    return lambda scenario: fault(body=scenario.provider.error, times=times)(scenario)


def has_bounded_memory(scenario: Scenario) -> None:
    assert scenario.grown_by() < 96 * 2**20


SEVEN = {"Retry-After": "7"}


def seven_seconds_after(date: datetime) -> dict[str, str]:
    """`Retry-After` as a date, with the `Date` of the vendor's clock."""
    later = date + timedelta(seconds=7)
    return {"Date": format_datetime(date, usegmt=True), "Retry-After": format_datetime(later, usegmt=True)}


AT_ONCE, AHEAD = seven_seconds_after(NOW), seven_seconds_after(NOW + timedelta(hours=2))
IMPATIENT = limits(read=0.25)
EIGHT_MEGABYTES = limits(max_bytes=8 * 2**20)
SEVEN_TWICE = has_waited_seven_seconds_twice


def statuses() -> Iterator[Case]:
    kind = Kind.STATUS
    seconds = fault(status=429, headers=SEVEN, times=2)
    yield Case(kind, "429 twice, `Retry-After` in seconds", seconds, then=SEVEN_TWICE, represents=True)
    yield Case(kind, "429 twice, `Retry-After` as a date", fault(status=429, headers=AT_ONCE, times=2), then=SEVEN_TWICE)
    yield Case(kind, "the same, the vendor's clock 2 h ahead", fault(status=429, headers=AHEAD, times=2), then=SEVEN_TWICE)
    yield Case(kind, "429 three times, no `Retry-After`", fault(status=429, times=3))
    yield Case(kind, "429 for ever", fault(status=429), status=1)
    for code in (500, 502, 503):
        yield Case(kind, f"{code} three times", fault(status=code, times=3))
    yield Case(kind, "503 for 20 s", for_twenty_seconds(503))
    yield Case(kind, "503 for ever", fault(status=503), status=1)
    yield Case(kind, "redirect to another host", redirect, status=1, then=has_not_followed)


def connections() -> Iterator[Case]:
    kind = Kind.CONNECTION
    yield Case(kind, "connection refused", refuse_connections, status=1)
    yield Case(kind, "dropped mid-body, twice", fault(cut=150, times=2), represents=True)
    yield Case(kind, "dropped mid-body, for ever", fault(cut=150), status=1)
    yield Case(kind, "reset mid-body, twice", fault(cut=150, reset=True, times=2))
    yield Case(kind, "reset mid-body, for ever", fault(cut=150, reset=True), status=1)
    yield Case(kind, "stalled mid-body, once", together(IMPATIENT, fault(stall=True, times=1)))
    stalled = together(IMPATIENT, limits(attempts=2), fault(stall=True))
    yield Case(kind, "stalled mid-body, for ever", stalled, status=1)


def half(_: Scenario, body: bytes) -> bytes:
    return body[: len(body) // 2]


def bodies() -> Iterator[Case]:
    kind = Kind.BODY
    html = "<html>maintenance</html>"
    yield Case(kind, "truncated JSON, twice", text(half, times=2), represents=True)
    yield Case(kind, "truncated JSON, for ever", text(half), status=1)
    yield Case(kind, "HTML with status 200, twice", fault(body=html, times=2))
    yield Case(kind, "HTML with status 200, for ever", fault(body=html), status=1)
    yield Case(kind, "empty body, twice", fault(body="", times=2))
    yield Case(kind, "empty body, for ever", fault(body=""), status=1)
    yield Case(kind, "duplicate key in an object, twice", text(repeat_a_key, times=2))
    yield Case(kind, "duplicate key in an object, for ever", text(repeat_a_key), status=1)
    large = together(EIGHT_MEGABYTES, fault(size=2**30))
    yield Case(Kind.SIZE, "a response of 1 GB", large, status=1, then=has_bounded_memory)
    bomb = together(EIGHT_MEGABYTES, fault(size=2**30, gzip=True))
    yield Case(Kind.SIZE, "gzip bomb of 1 GB", bomb, status=1, then=has_bounded_memory, represents=True)


def clocks() -> Iterator[Case]:
    kind = Kind.CLOCK
    behind = our_clock_at(NOW - timedelta(minutes=20))
    yield Case(kind, "our clock 20 min behind", behind, is_behind=True, represents=True)
    yield Case(kind, "our clock 20 min ahead", our_clock_at(NOW + timedelta(minutes=20)))
    yield Case(kind, "our clock 2 days behind", our_clock_at(NOW - timedelta(days=2)), status=1)
    yield Case(kind, "our clock 30 days ahead", our_clock_at(NOW + timedelta(days=30)), status=1)


def paging() -> Iterator[Case]:
    kind = Kind.PAGING
    many = more_pages_than_requests_a_minute
    yield Case(kind, "30 requests a minute, 45 pages", many, applies=is_paged, then=has_read_all_pages)
    yield Case(kind, "an event arrives between pages", after_first_page(arrive), applies=is_paged)
    yield Case(kind, "an event vanishes between pages", after_first_page(withdraw), applies=is_paged)
    yield Case(kind, "one arrives as one vanishes", after_first_page(exchange), applies=lists_events)
    numbered = exchange_before_second_numbered_page
    yield Case(kind, "the same with numbered pages", numbered, applies=knows_numbered_pages)
    yield Case(kind, "the server ignores paging", ignore_paging, applies=is_paged)
    yield Case(kind, "endless next page", never_end, applies=is_paged)


def envelopes() -> Iterator[Case]:
    kind = Kind.ENVELOPE
    yield Case(kind, "no data key, twice", payload(remove_items, times=2))
    yield Case(kind, "no data key, for ever", payload(remove_items), status=1)
    yield Case(kind, "error object inside 200, once", error_object(times=1))
    yield Case(kind, "error object inside 200, for ever", error_object(), status=1)
    yield Case(kind, "an object instead of the list", payload(replace_list), status=1)
    yield Case(kind, "an item twice in a page, once", payload(double_last_item, times=1))
    yield Case(kind, "an item twice in a page, for ever", payload(double_last_item))
    yield Case(kind, "an event dated 2031", payload(insert_future_item))


def numbers() -> Iterator[Case]:
    kind = Kind.NUMBER
    yield Case(kind, "a string instead of a number", whole_numbers(lambda _: "many"), status=1)
    yield Case(kind, "5 becomes 5.0", whole_numbers(float))
    yield Case(kind, "5 becomes 5.5", whole_numbers(lambda number: number + 0.5), status=1, represents=True)
    yield Case(kind, "`NaN`", whole_numbers(lambda _: float("nan")), status=1)


def restatements() -> Iterator[Case]:
    kind = Kind.RESTATEMENT
    yield Case(kind, "a late event", together(load_all_tables, arrive))
    restated = together(load_all_tables, lambda s: s.provider.usage.restate(s.sandbox, START))
    yield Case(kind, "a restated and partly withdrawn past", restated)


CASES = (
    *statuses(),
    *connections(),
    *bodies(),
    *clocks(),
    *numbers(),
    *paging(),
    *envelopes(),
    *restatements(),
)
