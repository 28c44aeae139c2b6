"""What the tests need to know of a provider beyond the registry: one `Description` in `tests/providers/<name>.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meterhouse.pipelines.sandbox import Sandbox

Facts = dict[tuple[Any, ...], Any]
"""What the vendor counts or the database holds: a key, and its value."""

Edit = Callable[[bytes, Mapping[str, list[str]]], bytes]
"""Changes the body of a response, given the query of its request."""

Count = Callable[[str], int]
"""Runs SQL that selects one number."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Where the endpoint of the first table has its rows, and how to change what the vendor counts.

    Attributes:
        path: the endpoint.
        items: the name of the list in its response.
        time: the field of an item that holds its time.
        future: a value of that field in 2031.
        probes: how many of a run's requests to `path` come before those for rows.
        restate: multiplies the figures of a day, and withdraws some or all of the next one.
        arrive: adds one fact at a moment of the past.
        withdraw: removes one fact since a day, the newest where the vendor lists single events.
    """

    path: str
    items: str
    time: str
    future: str = "2031-01-01T00:00:00Z"
    probes: int = 0
    restate: Callable[[Sandbox, datetime], object]
    arrive: Callable[[Sandbox, datetime], object]
    withdraw: Callable[[Sandbox, datetime], object]


@dataclass(frozen=True, kw_only=True)
class Paging:
    """How the endpoint of the first table is paginated.

    Attributes:
        page_size: a size with which a run of three days has several pages.
        small_page_size: a size with which it has more than 45.
        lists_events: its items are single events, so that one may arrive while another one vanishes.
        set_ignored: makes the server ignore which page a request names, or heed it again.
        never_ending: returns an edit under which the server always announces another page.
        use_numbers: makes the server use the older numbered pages, where it knows two kinds.
    """

    page_size: int
    small_page_size: int
    lists_events: bool
    set_ignored: Callable[[Sandbox, bool], object]
    never_ending: Callable[[], Edit]
    use_numbers: Callable[[Sandbox], object] | None = None


@dataclass(frozen=True, kw_only=True)
class WholeNumber:
    """A whole number in a response: the endpoint, the objects that have it, and its field."""

    path: str
    objects: Callable[[Any], list[dict[str, Any]]]
    field: str


@dataclass(frozen=True, kw_only=True)
class DailySum:
    """A table whose days add up to what the vendor counts.

    Attributes:
        table: without the schema.
        day: the UTC day of a row, in SQL.
        value: the sum of a day, in SQL.
        key: a column or expression that no two rows share; '' where only the whole row is unique.
        expected: what the vendor counts in [start, end), both ISO dates.
    """

    table: str
    day: str = "date"
    value: str
    key: str = ""
    expected: Callable[[Sandbox, str, str], Any]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A table and fields of its JSON objects, by the vendor's names, that the tests add, drop and retype.

    Attributes:
        table: without the schema.
        marker: a field that only the objects of this table have.
        required: a key or quantity, without which the table stays as it was.
        optional: a field that may be missing, and `column`, where it is stored; '' for none.
        is_dimension: rows without `optional` would share their key, so that they are an error.
        number: a field that holds a number, whole where `is_whole`; '' for none.
    """

    table: str
    marker: str
    required: str
    optional: str = ""
    column: str = ""
    is_dimension: bool = False
    number: str = ""
    is_whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Names:
    """Fields that hold names which the vendor or its users choose.

    Attributes:
        fields: by the vendor's names, all of them.
        table: a table, without the schema, and `column` of it, which holds one of them.
        are_dimensions: `usage_by_dimension` has these names as values.
    """

    fields: tuple[str, ...]
    table: str
    column: str
    are_dimensions: bool = True


@dataclass(frozen=True, kw_only=True)
class Requests:
    """The requests that a run needs, by the end of the path; `tests/pipelines/test_requests.py` has the times.

    Attributes:
        first: of a first run over twenty days, calculated from the rows that it has loaded.
        later: of a run a day later, as far as they can be calculated.
        earliest: of such a run: an endpoint, its parameter, and the first moment that the parameter may name.
    """

    first: Callable[[Count], Mapping[str, int]]
    later: Callable[[Count], Mapping[str, int]]
    earliest: tuple[str, str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """One provider, as the tests of every provider see it.

    Attributes:
        prefix: the path that all of its endpoints begin with.
        secret: the setting that holds its key.
        error: an error object that its API could send with status 200.
        tables: those that the fault matrix loads, the first one alone where figures do not matter.
        facts: what the vendor counts for these tables since a day.
        stored: SQL for the same facts in the database; the last column is the value.
        exit_status: cases of the fault matrix that end with another status than for most providers.
        behind: cases after which a run with status 0 cannot know all, so that the next one does.
    """

    name: str
    prefix: str
    secret: str = "api_key"
    error: Mapping[str, Any]
    tables: tuple[str, ...]
    facts: Callable[[Sandbox, datetime], Facts]
    stored: str
    usage: Usage
    paging: Paging | None = None
    whole_number: WholeNumber
    daily_sums: tuple[DailySum, ...]
    fields: tuple[Fields, ...]
    names: Names
    requests: Requests
    exit_status: Mapping[str, int] = field(default_factory=dict)
    behind: frozenset[str] = frozenset()

    def setting(self, name: str) -> str:
        """The environment variable of one of its settings."""
        return f"SOURCES__{self.name.upper()}__{name.upper()}"
