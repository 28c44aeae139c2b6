"""A partition is the subset of a table's rows that is requested separately; a fetch result is one window of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.incremental import Plan
from meterhouse.sources._core.windows import Window

UNSAFE = "'\"\\{}"
"""Characters that no value in a scope may have: quotes and backslashes have a meaning in SQL, and braces in dlt, which
formats the text."""

SEPARATOR = "|"
"""Stands between the values of a partition's name; neither they nor an account's name contain it."""


class FetchResult(NamedTuple):
    """The rows of a fetch, and the window that they cover completely; None if the response covers no part of the request."""

    rows: pa.Table
    window: Window | None


@dataclass(frozen=True)
class Partition:
    """The rows of a table that are requested on their own: those of one account, and of `fixed_columns` within it.

    Args:
        account: the configured name of the account.
        plan: the windows to request.
        fetch: reads one window completely, as a table of the declared columns without the stamps, or raises SourceError.
            Partitions of several tables may share a client, so it runs in several threads at once.
        fixed_columns: columns that have one value in the whole partition, such as the organisation. Rows that lack such a
            column get it, and rows with another value are an error. The values become SQL, so they come from the
            configuration or the source, never from a response. A `timezone` comes last: two partitions that differ only
            in it are two histories of the same usage.
        resolve_columns: requests fixed columns that only the API knows. It must refuse every value that is not a plain
            identifier, because the values become SQL.
        identify: requests the values that identify the account, by column; see `identities`. Called if the source has, or
            had, another account, or if nothing has identified this one.
        identified_by: the resource whose rows identify the account, too.
        limited_to: the products to which the account is limited; none if it loads all of them.
        estimate: receives the windows that a run will request. All tables of a source estimate, one after the other,
            before the first one fetches, so that the source can announce the total duration.
    """

    account: str
    plan: Plan
    fetch: Callable[[Window], FetchResult]
    fixed_columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    resolve_columns: Callable[[], Mapping[str, str]] | None = None
    estimate: Callable[[Sequence[Window]], None] | None = None
    identify: Callable[[], Mapping[str, Collection[str]]] | None = None
    identified_by: str = ""
    limited_to: Collection[str] = ()

    def __post_init__(self) -> None:
        for name, value in self.fixed_columns.items():
            if any(character in value for character in UNSAFE + SEPARATOR):
                raise ConfigurationError(
                    f"{name} has characters that SQL conditions cannot hold",
                    hint="Write it without quotes, braces, backslashes and vertical bars.",
                )

    @property
    def name(self) -> str:
        """Distinguishes the partition from the account's other partitions; '' for a partition without fixed columns."""
        return SEPARATOR.join(value for value in self.fixed_columns.values() if value)

    @property
    def cursor_key(self) -> str:
        """The key of the partition's cursor in dlt's state."""
        return SEPARATOR.join(name for name in (self.account, self.name) if name)

    def resolved(self) -> "Partition":
        """The same partition with the columns of `resolve_columns` among its fixed ones.

        Raises:
            SourceError: the API did not return them.
        """
        if self.resolve_columns is None:
            return self
        return replace(self, fixed_columns={**self.resolve_columns(), **self.fixed_columns}, resolve_columns=None)
