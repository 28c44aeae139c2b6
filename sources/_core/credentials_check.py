"""The cheap request that shows whether a key works, as a resource of each source (`meterhouse check` reads it)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dlt
from dlt.sources import DltResource

from meterhouse.sources._core.errors import READ_ERRORS, SourceError, UnexpectedValue

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
            except READ_ERRORS as error:
                problem = f"the response cannot be read ({type(error).__name__}: {error})"
                hint = "Check base_url; if it is right, the response differs from the documentation: please report it."
                yield {"account": account, "error": UnexpectedValue(problem, hint=hint)}
            else:
                yield {"account": account, "error": None}

    return dlt.resource(accounts, name=NAME, selected=False)
