"""What every request to Onepin passes once its key is known: the key's limit a minute, and the age of the vendor's client.

Documented: that a key has a limit a minute, and 429; the client 0.16.1 reads `Retry-After-Ms`, `Retry-After` and
`X-RateLimit-Reset` (a time since 1970), and learns from 426 and `X-OnePin-Required-Version` that it is too old. The other
headers are those that go with them elsewhere.
"""

import math
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

_MINUTE = timedelta(minutes=1)


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.field, self.headers = status, code, field, headers or {}


@dataclass(slots=True)
class Options:
    """How the vendor behaves where its versions differ or its documents leave a choice; change them at any time.

    `version` "older" is what the client 0.13.0 knew: no `audio`, no `corrected`, no paused runs. `includes_today` says
    whether the last day of a range is today or yesterday. `sparse` leaves days without a run out of `daily`. `disabled`
    holds the workspaces whose keys are answered with 401.

    `requests_per_minute` switches a key's limit on; `asks_to_wait` is the header by which a 429 says how long.
    `required_version` is the oldest of the vendor's own clients that is still answered; others' are never too old.
    """

    version: Literal["older", "newer"] = "newer"
    includes_today: bool = True
    sparse: bool = False
    disabled: frozenset[str] = frozenset()
    requests_per_minute: int | None = None
    asks_to_wait: Literal["Retry-After", "Retry-After-Ms", "X-RateLimit-Reset"] = "Retry-After"
    required_version: str | None = None


@dataclass
class Gate:
    """Counts the requests of each key."""

    options: Options
    _turns: dict[str, deque[datetime]] = field(default_factory=dict, init=False)

    def admit(self, account: str, user_agent: str, now: datetime) -> dict[str, str]:
        """The headers of the answer.

        Raises:
            RefusedError: the client is too old, or it is one request too many this minute.
        """
        required = self.options.required_version
        client = re.match(r"onepin\S*/(\d+(?:\.\d+)*)", user_agent, re.IGNORECASE)
        if required is not None and client is not None and _parts(client[1]) < _parts(required):
            headers = {"X-OnePin-Required-Version": required}
            raise RefusedError(426, "UPGRADE_REQUIRED", f"Upgrade to {required} or later", headers=headers)
        return self._count(account, now)

    def _count(self, account: str, now: datetime) -> dict[str, str]:
        limit = self.options.requests_per_minute
        if limit is None:
            return {}
        turns = self._turns.setdefault(account, deque())
        while turns and turns[0] <= now - _MINUTE:
            turns.popleft()
        too_many = len(turns) >= limit
        if not too_many:
            turns.append(now)
        free = turns[0] + _MINUTE
        reset = {"X-RateLimit-Reset": str(math.ceil(free.timestamp()))}
        if too_many:
            wait = (free - now).total_seconds()
            forms = {"Retry-After": str(math.ceil(wait)), "Retry-After-Ms": str(math.ceil(wait * 1000))} | reset
            name = self.options.asks_to_wait
            raise RefusedError(429, "RATE_LIMITED", "Rate limit exceeded", headers={name: forms[name]})
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(limit - len(turns)), **reset}


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
