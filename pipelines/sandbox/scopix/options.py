"""How Scopix's API behaves where its documentation leaves a choice or has changed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

GRANTED = 100_000
"""Requests per minute: so many that no run against the sandbox waits."""


@dataclass(slots=True)
class Options:
    """Behaviour that the documentation leaves open, or that changed between its versions; change it at any time.

    Attributes:
        envelope: "offset" is the newer paging of events by limit and offset, "page" the older one by page and page_size.
        totals: whether the newer paging counts all rows.
        paging: "ignored" returns the first page for every page.
        tokens: the parameters of the monthly tokens: "dates" is the newer start_date and end_date, "end excluded" the same
            without the last day, "months" the older year and month. Each ignores the parameters of the other, as the
            vendor's framework does.
        keys: "ignored" returns the usage of all API keys, regardless of `api_key_id`.
        edit: called with the path and the body of each response before it is sent, for changes that no option covers.
        before_page: called with the path and its number of pages so far, before the next page is computed: the place where
            events arrive or are withdrawn while a client paginates.
        requests_per_minute: the limit in force, which every response states.
        check_requests_per_minute: the same for `check`.
        clock: returns the seconds by which the limits are counted.
        past_due: the accounts whose keys get 402.
        exhausted: the accounts whose keys get 403, because their allowance is used up.
    """

    envelope: Literal["offset", "page"] = "offset"
    totals: bool = True
    paging: Literal["honoured", "ignored"] = "honoured"
    tokens: Literal["dates", "end excluded", "months"] = "dates"
    keys: Literal["honoured", "ignored"] = "honoured"
    edit: Callable[[str, dict[str, Any]], None] | None = None
    before_page: Callable[[str, int], None] | None = None
    requests_per_minute: int = GRANTED
    check_requests_per_minute: int = GRANTED
    clock: Callable[[], float] = time.monotonic
    past_due: set[str] = field(default_factory=set)
    exhausted: set[str] = field(default_factory=set)
