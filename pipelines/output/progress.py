"""The live progress of a run: a line for each provider, drawn while other threads update the run's state."""

import time
from datetime import timedelta

from rich.console import Group
from rich.text import Text

from meterhouse.pipelines.output.tables import make_table
from meterhouse.pipelines.run.state import RunState
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.windows import utc_now


def progress_table(state: RunState) -> Group:
    """The progress of each provider, and of the models."""
    table = make_table("", "provider", "requests", "rate limit left", "rows", "loaded until", "time left")
    fetched = list(state.fetched)
    for provider, requests in list(state.requests.items()):
        windows = [window for window in fetched if window.place.provider == provider]
        remaining = state.remaining.get(provider)
        end = max((window.window.end for window in windows), default=None)
        time_left = _time_left(state, provider)
        table.add_row(
            provider,
            f"{requests:,}",
            "no known limit" if remaining is None else f"{remaining:,}",
            f"{sum(window.rows for window in windows):,}",
            min(end.subtract(microseconds=1), utc_now()).to_date_string() if end else "–",
            "–" if time_left is None else _clock(time_left),
        )
    models = state.finished_models
    lines = []
    if models:
        lines.append(Text(f"models    {len(models)} built or tested, {escape_control_characters(models[-1])}"[:79]))
    return Group(table, *lines)


def _time_left(state: RunState, provider: str) -> float | None:
    """Seconds left: the source's own estimate, or an extrapolation from the usage time that has been read.

    Tables are fetched side by side, so the extrapolation counts the time since the first of them began.
    """
    if provider in state.estimated_end:
        return state.estimated_end[provider] - time.monotonic()
    tables = [progress for place, progress in list(state.tables.items()) if place.provider == provider]
    read = sum((progress.read for progress in tables), timedelta())
    rest = max(timedelta(), sum((progress.planned for progress in tables), timedelta()) - read)
    return (time.monotonic() - min(progress.began for progress in tables)) * (rest / read) if read else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"
