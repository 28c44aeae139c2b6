"""The cheap request that shows whether a key works, as a resource of each source (`meterhouse check` reads it)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.errors import SourceError

NAME = "credentials_check"


def credentials_check(probes: Mapping[str, Callable[[], object]]) -> DltResource:
    """A resource that no run loads: one row per account, with `account` and `error` (None if the key works).

    Args:
        probes: by account, a function that sends the request and raises SourceError if the key does not work.
    """

    def accounts() -> Iterator[dict[str, Any]]:
        for account, probe in probes.items():
            try:
                probe()
            except SourceError as error:
                yield {"account": account, "error": error}
            else:
                yield {"account": account, "error": None}

    return dlt.resource(accounts, name=NAME, selected=False)
