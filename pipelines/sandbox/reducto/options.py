"""How Reducto's API behaves where its documentation leaves a choice."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Options:
    """Behaviour that the documentation leaves open; change it at any time.

    Attributes:
        end_date: whether the response includes the day `endDate`.
        end_in_future: what happens to an `endDate` after today: accepted, replaced by today (in the echo, too), or refused
            with 400.
        on_new_pricing: the organisations on the pricing of 2026-09-01, whose credits are `unrated` from that day on.
        unrated: how the response shows their credits.
    """

    end_date: Literal["included", "excluded"] = "included"
    end_in_future: Literal["taken", "clamped", "refused"] = "taken"
    on_new_pricing: set[str] = field(default_factory=set)
    unrated: Literal["null", "zero", "absent"] = "null"
