"""The rows of a table that are requested on their own, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa
from pendulum import DateTime

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.windows import Window

C = TypeVar("C")

UNSAFE = "'\"\\{}"
"""Characters that no value in a scope has: quotes and backslashes are SQL's, braces are dlt's, which formats the text."""


SEPARATOR = "|"
"""Between the values that a part is named by; neither they nor the name of an account has it."""


@dataclass(frozen=True)
class Partition(Generic[C]):
    """The rows of a table that are asked for on their own: those of one account, and of `where` within it.

    `client` is whatever `fetch` asks with. `where` fixes columns of the table, such as the organisation: rows that lack such
    a column get it, and rows with another value in it are an error. Its values come from the configuration or the source,
    never from an answer, because they become SQL; the exception is `learn`, which asks the provider for those that only it
    can tell, and has to refuse whatever is no plain identifier. A `timezone` stands last in it: two calendars of one name
    up to there are two histories of the same usage.
    """

    account: str
    client: C
    plan: Plan
    where: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    learn: Callable[[], Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        for name, value in self.where.items():
            if any(character in value for character in UNSAFE + SEPARATOR):
                raise ConfigurationError(
                    f"{name} is {value!r}", hint="Write it without quotes, braces, backslashes and vertical bars."
                )

    @property
    def name(self) -> str:
        """What distinguishes it from the account's other parts: '' where there is none."""
        return SEPARATOR.join(value for value in self.where.values() if value)

    @property
    def slot(self) -> str:
        """Under which its cursor is kept."""
        return SEPARATOR.join(part for part in (self.account, self.name) if part)

    def known(self) -> "Partition[C]":
        """The same part, with what it had to `learn`.

        Raises:
            SourceError: the provider did not tell.
        """
        return self if self.learn is None else replace(self, where={**self.learn(), **self.where}, learn=None)


class FetchResult(NamedTuple):
    """What `fetch` has read: the rows, and the window that they are all rows of; None where nothing can be said of it."""

    rows: pa.Table
    window: Window | None


@dataclass(frozen=True)
class _Replaced:
    part: Partition[Any]
    window: Window
    rows: int
    asked_at: DateTime
