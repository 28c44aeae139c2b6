"""The cheap call that says whether a key works, as a resource of each source (`meterhouse check` reads it)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.errors import SourceError

C = TypeVar("C")

NAME = "credentials_check"


def credentials_check(clients: Mapping[str, C], probe: Callable[[C], object]) -> DltResource:
    """A resource that no run loads; one row an account: `account`, and `error` (None where `probe` passes)."""

    def accounts() -> Iterator[dict[str, Any]]:
        for account, client in clients.items():
            try:
                probe(client)
            except SourceError as error:
                yield {"account": account, "error": error}
            else:
                yield {"account": account, "error": None}

    return dlt.resource(accounts, name=NAME, selected=False)
