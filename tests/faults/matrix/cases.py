"""The matrix: each case is a name, what the server does, whom it concerns, and the exit status that tells the truth."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from meterhouse.pipelines.sandbox import Fault
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.vendors import NOW

ALL = ("mathpix", "reducto", "onepin", "scopix")
PAGED = ("mathpix", "onepin", "scopix")


@dataclass(frozen=True)
class Case:
    """One row of the matrix.

    `status` is the exit status of the run that meets the fault, of all providers or by provider. A run that ends with 0 has
    all that the vendor says now; `behind` names the providers that cannot know that, so that the next run has.
    """

    name: str
    does: Callable[[Scene], object]
    status: int | Mapping[str, int] = 0
    providers: tuple[str, ...] = ALL
    behind: tuple[str, ...] = ()
    then: Callable[[Scene], None] = field(default=lambda _: None)

    def status_of(self, provider: str) -> int:
        return self.status if isinstance(self.status, int) else self.status.get(provider, 0)


def fault(**what: Any) -> Callable[[Scene], object]:
    """The answers that hold data are faulty in this way."""
    return lambda scene: scene.sandbox.faults.add(Fault(path=scene.vendor.path, after=scene.vendor.probes, **what))


def text(change: Callable[[Scene, bytes], bytes], times: int | None = None) -> Callable[[Scene], object]:
    """The body's text is changed."""
    return lambda scene: scene.sandbox.faults.add(
        Fault(path=scene.vendor.path, after=scene.vendor.probes, times=times, edit=lambda body, _: change(scene, body))
    )


def payload(change: Callable[[Scene, Any], object], times: int | None = None) -> Callable[[Scene], object]:
    """The object in the body is changed in place."""

    def edit(scene: Scene, body: bytes) -> bytes:
        answer = json.loads(body)
        change(scene, answer)
        return json.dumps(answer).encode()

    return text(edit, times)


def everything(scene: Scene) -> None:
    """All tables of the vendor are loaded, not only the first one."""
    scene.only = ""


def counts(change: Callable[[Any], Any]) -> Callable[[Scene], object]:
    """All whole numbers of one field become something else."""

    def act(scene: Scene) -> None:
        everything(scene)

        def edit(body: bytes, _: object) -> bytes:
            answer = json.loads(body)
            for item in scene.vendor.counts(answer):
                item[scene.vendor.count] = change(item[scene.vendor.count])
            return json.dumps(answer).encode()

        after = scene.vendor.probes
        scene.sandbox.faults.add(Fault(path=scene.vendor.counted, after=after, edit=edit))

    return act


def meanwhile(happens: Callable[[Scene], object]) -> Callable[[Scene], object]:
    """Something happens at the vendor after the first page was read."""

    def then(scene: Scene, body: bytes) -> bytes:
        happens(scene)
        return body

    return text(then, times=1)


def exchange(scene: Scene) -> None:
    """One fact less and another one more, so that the count stays."""
    scene.vendor.withdraw(scene.sandbox)
    scene.vendor.arrive(scene.sandbox)


def before_the_second_page(scene: Scene) -> None:
    """Of the older envelope, which is asked for only after the newer one was found not to be taken."""
    older_envelope(scene)
    happened: list[bool] = []

    def edit(body: bytes, query: Mapping[str, list[str]]) -> bytes:
        if query.get("page") == ["1"] and not happened:
            happened.append(True)
            exchange(scene)
        return body

    scene.sandbox.faults.add(Fault(path=scene.vendor.path, edit=edit))


def together(*parts: Callable[[Scene], object]) -> Callable[[Scene], object]:
    return lambda scene: [part(scene) for part in parts]


def settings(**values: Any) -> Callable[[Scene], object]:
    """Limits of [sources.http]."""

    def act(scene: Scene) -> None:
        for name, value in values.items():
            scene.set(f"SOURCES__HTTP__{name.upper()}", value)

    return act


def for_twenty_seconds(status: int) -> Callable[[Scene], object]:
    return together(fault(status=status), lambda scene: scene.clock.at(20, scene.sandbox.faults.clear))


def clock(moment: datetime) -> Callable[[Scene], object]:
    return lambda scene: scene.clock.move_to(moment)


def limited(scene: Scene) -> None:
    """More than 30 requests a minute are answered with 429; there are more than 45 pages."""
    scene.limit(30)
    scene.set(f"SOURCES__{scene.vendor.name.upper()}__PAGE_SIZE", scene.vendor.small_page)
    scene.unset("SOURCES__SCOPIX__REQUESTS_PER_MINUTE")


def has_forty_five_pages(scene: Scene) -> None:
    assert len(scene.sandbox.requests) >= 45
    assert scene.clock.slept >= 30


def has_waited(seconds: float) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.clock.retries == [seconds, seconds]

    return check


def refused(scene: Scene) -> None:
    scene.point_at(scene.closed_port())


def first_page_always(scene: Scene) -> None:
    first: list[bytes] = []

    def edit(body: bytes, _: object) -> bytes:
        first.append(body)
        return first[0]

    scene.sandbox.faults.add(Fault(path=scene.vendor.path, edit=edit))


def ignores_paging(scene: Scene) -> None:
    if scene.vendor.name == "mathpix":
        scene.sandbox.mathpix.options.paging = "ignored"
    elif scene.vendor.name == "scopix":
        scene.sandbox.scopix.options.paging = "ignored"
    else:
        first_page_always(scene)


def endless(scene: Scene) -> None:
    """Always another page: a cursor that leads back, `has_more` on the last page, a last page for every further number."""
    told: list[bytes] = []

    def edit(body: bytes, query: Mapping[str, list[str]]) -> bytes:
        answer = json.loads(body)
        if scene.vendor.name == "onepin":
            told.append(answer["pagination"]["next"])
            answer["pagination"]["next"] = told[0]
        elif scene.vendor.name == "scopix":
            answer["has_more"] = True
        elif int(query["page"][0]) == 3:
            told.append(body)
        elif int(query["page"][0]) > 3 and told:
            return told[-1]
        return json.dumps(answer).encode()

    scene.sandbox.faults.add(Fault(path=scene.vendor.path, edit=edit))


def elsewhere(scene: Scene) -> None:
    """Another host, which is the same sandbox by another name: so it would see what follows."""
    scene.sandbox.faults.add(Fault(path=scene.vendor.path, redirect=f"http://localhost:{scene.port}/elsewhere"))


def nobody_followed(scene: Scene) -> None:
    assert not [asked for asked in scene.sandbox.requests if asked.path == "/elsewhere"]


def older_envelope(scene: Scene) -> None:
    scene.sandbox.scopix.options.envelope = "page"


def doubled(scene: Scene, answer: Any) -> None:
    answer[scene.vendor.items].append(answer[scene.vendor.items][-1])


def from_the_future(scene: Scene, answer: Any) -> None:
    item = dict(answer[scene.vendor.items][0])
    later = "2031-01-01" if scene.vendor.name == "reducto" else "2031-01-01T00:00:00Z"
    answer[scene.vendor.items].insert(0, item | {scene.vendor.moment: later} | ({"id": "future"} if "id" in item else {}))


def of_one_name(scene: Scene, body: bytes) -> bytes:
    """The first number twice under one name."""
    vendor = scene.vendor
    name = b'"' + (vendor.moment if vendor.count not in body.decode() else vendor.count).encode() + b'":'
    assert name in body
    return body.replace(name, name + b"1," + name, 1)


def memory_is_bounded(scene: Scene) -> None:
    assert scene.grown_by() < 96 * 2**20


SEVEN = {"Retry-After": "7"}
DATE = {"Date": format_datetime(NOW, usegmt=True), "Retry-After": format_datetime(NOW + timedelta(seconds=7), usegmt=True)}
AHEAD = NOW + timedelta(hours=2)
DATE_AHEAD = {
    "Date": format_datetime(AHEAD, usegmt=True),
    "Retry-After": format_datetime(AHEAD + timedelta(seconds=7), usegmt=True),
}
IMPATIENT = settings(read=0.25)
SMALL = settings(max_bytes=8 * 2**20)

CASES = (
    Case("429 twice, `Retry-After` in seconds", fault(status=429, headers=SEVEN, times=2), then=has_waited(7)),
    Case("429 twice, `Retry-After` as a date", fault(status=429, headers=DATE, times=2), then=has_waited(7)),
    Case("the same, the vendor's clock 2 h ahead", fault(status=429, headers=DATE_AHEAD, times=2), then=has_waited(7)),
    Case("429 three times, no `Retry-After`", fault(status=429, times=3)),
    Case("429 for ever", fault(status=429), status=1),
    Case("30 requests a minute, 45 pages", limited, providers=PAGED, then=has_forty_five_pages),
    *(
        case
        for code in (500, 502, 503)
        for case in (
            Case(f"{code} three times", fault(status=code, times=3)),
            Case(f"{code} for 20 s", for_twenty_seconds(code)),
            Case(f"{code} for ever", fault(status=code), status=1),
        )
    ),
    Case("connection refused", refused, status=1),
    Case("dropped mid-body, twice", fault(cut=150, times=2)),
    Case("dropped mid-body, for ever", fault(cut=150), status=1),
    Case("reset mid-body, twice", fault(cut=150, reset=True, times=2)),
    Case("reset mid-body, for ever", fault(cut=150, reset=True), status=1),
    Case("stalled mid-body, once", together(IMPATIENT, fault(stall=True, times=1))),
    Case("stalled mid-body, for ever", together(IMPATIENT, settings(attempts=2), fault(stall=True)), status=1),
    Case("truncated JSON, twice", text(lambda _, body: body[: len(body) // 2], times=2)),
    Case("truncated JSON, for ever", text(lambda _, body: body[: len(body) // 2]), status=1),
    Case("HTML with status 200, twice", fault(body="<html>maintenance</html>", times=2)),
    Case("HTML with status 200, for ever", fault(body="<html>maintenance</html>"), status=1),
    Case("empty body, twice", fault(body="", times=2)),
    Case("empty body, for ever", fault(body=""), status=1),
    Case("no data key, twice", payload(lambda scene, answer: answer.pop(scene.vendor.items), times=2)),
    Case("no data key, for ever", payload(lambda scene, answer: answer.pop(scene.vendor.items)), status=1),
    Case("error object inside 200, once", lambda scene: fault(body=scene.vendor.error, times=1)(scene)),
    Case("error object inside 200, for ever", lambda scene: fault(body=scene.vendor.error)(scene), status=1),
    Case("a text in place of a number", counts(lambda _: "many"), status=1),
    Case("an object in place of the list", payload(lambda s, a: a.update({s.vendor.items: {"0": {}}})), status=1),
    Case("5 turned 5.0", counts(float)),
    Case("5 turned 5.5", counts(lambda number: number + 0.5), status=1),
    Case("`NaN`", counts(lambda _: float("nan")), status=1),
    Case("a key twice in an object, twice", text(of_one_name, times=2)),
    Case("a key twice in an object, for ever", text(of_one_name), status=1),
    Case("an item twice in a page, once", payload(doubled, times=1), status={"reducto": 1}),
    Case("an item twice in a page, for ever", payload(doubled), status={"mathpix": 1, "reducto": 1, "scopix": 1}),
    Case("an event arrives between pages", meanwhile(lambda s: s.vendor.arrive(s.sandbox)), providers=PAGED, behind=()),
    Case(
        "an event vanishes between pages",
        meanwhile(lambda s: s.vendor.withdraw(s.sandbox)),
        providers=PAGED,
        behind=("onepin",),
    ),
    Case(
        "one arrives as one vanishes",
        meanwhile(exchange),
        providers=("onepin", "scopix"),
        behind=("onepin",),
    ),
    Case(
        "the same with numbered pages",
        before_the_second_page,
        providers=("scopix",),
    ),
    Case("the server ignores paging", ignores_paging, status={"onepin": 1, "scopix": 1}, providers=PAGED),
    Case("endless next page", endless, status={"onepin": 1, "scopix": 1}, providers=PAGED),
    Case("redirect to another host", elsewhere, status=1, then=nobody_followed),
    Case("an answer of 1 GB", together(SMALL, fault(size=2**30)), status=1, then=memory_is_bounded),
    Case("gzip bomb of 1 GB", together(SMALL, fault(size=2**30, gzip=True)), status=1, then=memory_is_bounded),
    Case("our clock 20 min behind", clock(NOW - timedelta(minutes=20)), behind=ALL),
    Case("our clock 20 min ahead", clock(NOW + timedelta(minutes=20))),
    Case("our clock 2 days behind", clock(NOW - timedelta(days=2)), status=1),
    Case("our clock 30 days ahead", clock(NOW + timedelta(days=30)), status=1),
    Case("an event dated 2031", payload(from_the_future), status={"mathpix": 1, "reducto": 1, "scopix": 1}),
    Case("a late event", together(everything, lambda scene: scene.vendor.arrive(scene.sandbox))),
    Case("a restated and partly withdrawn past", together(everything, lambda s: s.vendor.restate(s.sandbox))),
)
