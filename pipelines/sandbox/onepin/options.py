"""How Onepin's API behaves where its versions differ or its documentation leaves a choice."""

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Options:
    """Behaviour that differs between versions or that the documentation leaves open; change it at any time.

    Attributes:
        version: "older" is the API of the client 0.13.0: no `audio`, no `corrected`, no paused runs.
        includes_today: whether the last day of a range is today or yesterday.
        sparse: whether `daily` omits days without a run.
        disabled: the workspaces whose keys get 401.
        requests_per_minute: the limit of each key; None for no limit.
        retry_header: the header in which a 429 states how long to wait.
        required_version: the oldest version of the vendor's own client that gets responses; None for any. Other clients
            always get them.
    """

    version: Literal["older", "newer"] = "newer"
    includes_today: bool = True
    sparse: bool = False
    disabled: frozenset[str] = frozenset()
    requests_per_minute: int | None = None
    retry_header: Literal["Retry-After", "Retry-After-Ms", "X-RateLimit-Reset"] = "Retry-After"
    required_version: str | None = None
