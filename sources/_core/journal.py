"""What a source tells about itself while it works, and what it does about an account that fails."""

from contextlib import AbstractContextManager, nullcontext

from meterhouse.sources._core.errors import SourceError
from meterhouse.sources._core.windows import Window


class Journal:
    """Hears of every window and every failure.

    This one is for a source in a dlt pipeline of one's own: it is silent, and a failure ends the extraction, so that
    dlt throws the load package away and nothing changes. `meterhouse run` passes one that draws progress and collects
    failures, so that an account that fails does not keep the others from being loaded.
    """

    def asking(self, table: str, account: str) -> AbstractContextManager[None]:
        """What is requested in the block is for this table of this account."""
        return nullcontext()

    def requested(self, left: int | None) -> None:
        """A request is sent, for the first time or again; `left` more may follow at once, None where no limit is known."""

    def retrying(self, endpoint: str, error: str, attempt: int, wait: float) -> None:
        """The attempt of this number has failed, and another one follows after so many seconds."""

    def planned(self, table: str, account: str, window: Window) -> None:
        """All of `window` is going to be asked for, in parts."""

    def fetching(self, table: str, account: str, window: Window) -> None:
        """A window is about to be asked for."""

    def fetched(self, table: str, account: str, window: Window, rows: int) -> None:
        """A window has been read whole."""

    def gap(self, table: str, account: str, window: Window) -> None:
        """The provider does not tell `window` any more, and no regular run has loaded it."""

    def expecting(self, table: str, account: str, requests: int, seconds: float) -> None:
        """So many requests are to come, which take so many seconds at the pace that the provider allows."""

    def failed(self, table: str, account: str, error: SourceError) -> None:
        """A window could not be read; raise to end the extraction, return to go on with the next account."""
        raise error
