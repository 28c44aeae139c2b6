"""Who uses Onepin in the sandbox: two workspaces, their members, the runs of their workflows and what else they do.

The first workspace dubs courses into five languages; the second makes one podcast. A run settles when it ends: until then
it has no credits and no audio. One run in thirty is parked for days, so that days that looked finished still grow.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID, uuid5

from meterhouse.pipelines.sandbox.seasonality import OFFICE, day_of_counts, draws

Outcome = Literal["completed", "failed", "cancelled"]
Action = Literal[
    "workflow_run", "voice_generated", "template_applied", "member_invited", "api_key_created", "settings_changed"
]

_NAMESPACE = UUID("6f6e6570-696e-4000-8000-73616e64626f")
QUEUE = timedelta(seconds=15)
"""How long a run is pending before it is running."""

LANGUAGES = {
    "en-us": "English (US)",
    "ko-kr": "Korean (South Korea)",
    "es-mx": "Spanish (Mexico)",
    "de-de": "German (Germany)",
    "ja-jp": "Japanese (Japan)",
}
UNTAGGED = ""
"""The locale of a run whose credits belong to no language."""


def identifier(*names: object) -> str:
    """The UUID for these names, the same in every process."""
    return str(uuid5(_NAMESPACE, "/".join(map(str, names))))


@dataclass(frozen=True, slots=True)
class Member:
    """A user of a workspace, who starts `share` of its runs."""

    name: str
    share: float

    @property
    def id(self) -> str:
        """Their user id."""
        return identifier("user", self.name)


MEMBERS: dict[str, tuple[Member, ...]] = {
    "default": (Member("Ada Okafor", 0.45), Member("Bruno Keller", 0.3), Member("Chae-won Lim", 0.25)),
    "podcast": (Member("Dalia Haddad", 1.0),),
}


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key: `account` is our name of its workspace, `owner` the member to whom the key belongs."""

    account: str
    api_key: str
    owner: Member
    quota: int

    @property
    def workspace_id(self) -> str:
        """The workspace's id at the vendor."""
        return identifier("workspace", self.account)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow. It settles `minutes` after its start; a `parked` run pauses in between."""

    started_at: datetime
    credits: int = 100
    characters: int = 4000
    lines: int = 80
    corrected: int = 0
    audio_ms: int = 240_000
    locale: str = "en-us"
    outcome: Outcome = "completed"
    minutes: float = 5.0
    parked: bool = False
    member: Member = MEMBERS["default"][0]
    workflow: str = "Narration"
    account: str = "default"

    @property
    def ended_at(self) -> datetime:
        """When the run settles."""
        return self.started_at + timedelta(minutes=self.minutes)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the activity feed."""

    timestamp: datetime
    id: str
    action: Action = "workflow_run"
    kind: str = "completed"
    member: Member | None = None
    resource: tuple[str, str | None, str | None] = ("workflow", None, None)
    metadata: dict[str, Any] | None = None
    ip: str | None = None
    account: str = "default"


CREDENTIALS = (
    Credential("default", "op_live_sandbox_of_the_course_studio", MEMBERS["default"][0], 30_000),
    Credential("podcast", "op_live_sandbox_of_the_podcast", MEMBERS["podcast"][0], 8_000),
)
_RUNS_A_MONTH = {"default": 420, "podcast": 70}
_LOCALES = {
    "default": (("en-us", 0.4), ("ko-kr", 0.2), ("es-mx", 0.17), ("de-de", 0.12), ("ja-jp", 0.07), (UNTAGGED, 0.04)),
    "podcast": (("en-us", 0.96), (UNTAGGED, 0.04)),
}
_WORKFLOWS = {"default": ("Course narration", "Quiz voices", "Trailer"), "podcast": ("Weekly episode",)}
_RARE: tuple[tuple[Action, str, str, float], ...] = (
    ("voice_generated", "preview", "voice", 0.8),
    ("template_applied", "workflow_template", "template", 0.25),
    ("member_invited", "email", "member", 0.02),
    ("api_key_created", "live", "api_key", 0.015),
    ("settings_changed", "workspace", "workspace", 0.05),
)
"""The other events of a workspace: action, kind, resource, and how often a day."""


class UsageFixtures:
    """The runs and events of both workspaces, a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def runs(self, account: str, day: date) -> tuple[Run, ...]:
        """The runs that were started on the UTC day `day`, which is `FIRST_DAY` or later, in order."""
        return _runs(self.seed, account, day) if account in MEMBERS else ()

    def events(self, account: str, day: date) -> tuple[Event, ...]:
        """The other events of the UTC day `day`, which is `FIRST_DAY` or later, in order."""
        return _events(self.seed, account, day) if account in MEMBERS else ()


@lru_cache(maxsize=8192)
def _runs(seed: int, account: str, day: date) -> tuple[Run, ...]:
    runs = []
    for hour, count in enumerate(day_of_counts(_RUNS_A_MONTH[account], OFFICE, day, seed, "onepin", account)):
        for number in range(count):
            chance = draws(seed, "onepin", account, day.isoformat(), hour, number)
            lines = 4 + int(chance[1] ** 2 * 160)
            characters = int(lines * (30 + 45 * chance[2]))
            outcome: Outcome = "completed" if chance[3] < 0.93 else "failed" if chance[3] < 0.97 else "cancelled"
            share = 1.0 if outcome == "completed" else chance[4]
            parked = chance[5] < 0.033
            runs.append(
                Run(
                    started_at=datetime.combine(day, time(hour), UTC) + timedelta(seconds=int(chance[0] * 3600)),
                    credits=max(1, int(characters * share / 40)),
                    characters=characters,
                    lines=lines,
                    corrected=int(lines * chance[6] / 10),
                    audio_ms=int(characters * share * (55 + 15 * chance[7])),
                    locale=_chosen(_LOCALES[account], chance[8]),
                    outcome=outcome,
                    minutes=1440 * (1 + 4 * chance[9]) if parked else 2 + lines * 0.3,
                    parked=parked,
                    member=_chosen(tuple((member, member.share) for member in MEMBERS[account]), chance[10]),
                    workflow=_WORKFLOWS[account][int(chance[11] * len(_WORKFLOWS[account]))],
                    account=account,
                )
            )
    return tuple(sorted(runs, key=lambda run: run.started_at))


@lru_cache(maxsize=8192)
def _events(seed: int, account: str, day: date) -> tuple[Event, ...]:
    events = []
    for action, kind, resource, often in _RARE:
        chance = draws(seed, "onepin", account, day.isoformat(), action)
        for number in range(int(often + chance[0])):
            moment = datetime.combine(day, time(), UTC) + timedelta(seconds=int(chance[1 + number] * 86_400))
            member = _chosen(tuple((member, member.share) for member in MEMBERS[account]), chance[8])
            name = identifier(account, action, day, number)
            events.append(
                Event(
                    timestamp=moment,
                    id=name,
                    action=action,
                    kind=kind,
                    member=None if action == "settings_changed" and chance[9] < 0.3 else member,
                    resource=(resource, identifier("resource", name), None if chance[10] < 0.2 else f"{resource} {day:%j}"),
                    metadata={"source": "app", "count": number + 1} if chance[11] < 0.7 else None,
                    ip=f"192.0.2.{1 + int(chance[12] * 250)}" if chance[13] < 0.8 else None,
                    account=account,
                )
            )
    return tuple(sorted(events, key=lambda event: event.timestamp))


@lru_cache(maxsize=32768)
def event_of(run: Run) -> Event:
    """The event of a run that has ended."""
    name = identifier("run", run.account, run.started_at.isoformat(), run.characters, run.credits, run.locale)
    return Event(
        timestamp=run.ended_at,
        id=identifier("event", name),
        action="workflow_run",
        kind=run.outcome,
        member=run.member,
        resource=("workflow", identifier("workflow", run.account, run.workflow), run.workflow),
        metadata={"run_id": name, "lines": run.lines},
        ip=None,
        account=run.account,
    )


def _chosen(choices: tuple[tuple[Any, float], ...], chance: float) -> Any:
    for choice, share in choices:
        chance -= share
        if chance < 0:
            return choice
    return choices[-1][0]
