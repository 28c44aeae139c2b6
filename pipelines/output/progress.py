"""What a run has done so far, a line a provider."""

import time
from datetime import timedelta

from rich.console import Group
from rich.text import Text

from meterhouse.pipelines.output.summary import make_table
from meterhouse.pipelines.run.state import RunState
from meterhouse.sources._core.windows import utc_now


def progress_table(record: RunState) -> Group:
    """What a run has done until now, a line a provider; it is drawn while others write to `record`."""
    table = make_table("", "provider", "pages", "left in budget", "rows", "loaded until", "to go")
    fetched = list(record.fetched)
    for provider, requests in list(record.requests.items()):
        mine = [entry for entry in fetched if entry.provider == provider]
        left = record.left.get(provider)
        last = max((entry.window.end for entry in mine), default=None)
        to_go = _to_go(record, provider)
        table.add_row(
            provider,
            f"{requests:,}",
            "no limit known" if left is None else f"{left:,}",
            f"{sum(entry.rows for entry in mine):,}",
            min(last.subtract(microseconds=1), utc_now()).to_date_string() if last else "–",
            "–" if to_go is None else _clock(to_go),
        )
    models = [Text(f"models    {len(record.models)} built or tested, {record.models[-1]}"[:79])] if record.models else []
    return Group(table, *models)


def _to_go(record: RunState, provider: str) -> float | None:
    """Seconds: those that the source has announced, or what the rest takes if it takes as long as what has been read.

    Tables are read side by side, so that it is the time since the first of them began which counts, not that of each.
    """
    awaited = [entry.announced_at + entry.seconds for entry in list(record.expectations) if entry.provider == provider]
    if awaited:
        return max(awaited) - time.monotonic()
    tallies = [tally for (name, _, _), tally in list(record.asked.items()) if name == provider]
    read = sum((tally.read for tally in tallies), timedelta())
    rest = max(timedelta(), sum((tally.planned for tally in tallies), timedelta()) - read)
    return (time.monotonic() - min(tally.began for tally in tallies)) * (rest / read) if read else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"
