from datetime import timedelta

import pendulum
import pytest

from meterhouse.sources._core.config.parse import (
    backfill_window,
    parse_duration,
    parse_moment,
    parse_names,
    parse_number,
    parse_unit,
)
from meterhouse.sources._core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
    ],
)
def test_moments_are_read_as_utc(text: str, moment: str) -> None:
    """A bound without a zone is UTC."""
    assert parse_moment(text, setting="since") == pendulum.parse(moment)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "01/02/2026", "P7D", "2026", "20260131", "12"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    """The error names the setting, the value and the way to write it."""
    with pytest.raises(ConfigurationError, match=r"since is .* not a date\. Write it as"):
        parse_moment(text, setting="since")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("7 days", timedelta(days=7)),
        ("7d", timedelta(days=7)),
        ("7", timedelta(days=7)),
        (7, timedelta(days=7)),
        ("36 hours", timedelta(hours=36)),
        ("2w", timedelta(weeks=2)),
        ("P7D", timedelta(days=7)),
        ("PT36H", timedelta(hours=36)),
        ("0", timedelta()),
    ],
)
def test_lengths_of_time(text: str | int, span: timedelta) -> None:
    """People write a length in several ways; all mean the same."""
    assert parse_duration(text, setting="lookback") == span


@pytest.mark.parametrize("text", ["", "-1", "a week", "P1M", "7 months", "1.5 days"])
def test_what_is_no_length_is_refused(text: str) -> None:
    """Months have no length; neither has prose."""
    with pytest.raises(ConfigurationError, match="lookback"):
        parse_duration(text, setting="lookback")


def test_backfill_bounds_are_checked() -> None:
    """An end without a start, an empty window and one still to come are told apart."""
    with pytest.raises(ConfigurationError, match="without since"):
        backfill_window(None, "2026-01-01", "hour")
    with pytest.raises(ConfigurationError, match="not before until"):
        backfill_window("2026-01-02", "2026-01-02", "hour")
    with pytest.raises(ConfigurationError, match="lies in the future"):
        backfill_window("2999-01-01", None, "hour")
    assert backfill_window(None, None, "hour") is None


def test_a_schedulers_interval_is_a_backfill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of dlt's variables, in UTC; what the caller says goes before them, and half an interval is none."""
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-01-01T05:00:00+05:00")
    with pytest.raises(ConfigurationError, match="only one is set"):
        backfill_window(None, None, "day")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-01-03")
    window = backfill_window(None, None, "day")
    assert window == backfill_window("2026-01-01", "2026-01-03", "day")
    assert backfill_window("2026-02-01", "2026-02-02", "day") != window
    monkeypatch.setenv("DLT_INTERVAL_END", "tomorrow")
    with pytest.raises(ConfigurationError, match="is not a time"):
        backfill_window(None, None, "day")
    monkeypatch.setenv("DLT_INTERVAL_END", "")
    monkeypatch.setenv("DLT_INTERVAL_START", "")
    assert backfill_window(None, None, "day") is None


def test_numbers_and_units_are_checked() -> None:
    """What is out of range is told with the range."""
    assert parse_number(5, setting="x", most=5) == 5
    with pytest.raises(ConfigurationError, match=r"x is 6\. Use a number from 1 to 5\."):
        parse_number(6, setting="x", most=5)
    with pytest.raises(ConfigurationError, match=r"x is 0\. Use 1 or more\."):
        parse_number(0, setting="x")
    with pytest.raises(ConfigurationError, match=r"x is 'year'\. Use hour, day, week or month\."):
        parse_unit("year", setting="x")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("one", ("one",)),
        (" one, two,,one ", ("one", "two")),
        (["two", "one", "two"], ("two", "one")),
        ('["one, two", "three"]', ("one, two", "three")),
    ],
)
def test_names_are_a_list_or_a_text_with_commas(value: object, names: tuple[str, ...]) -> None:
    """In the order given, each once, nothing empty."""
    assert parse_names(value, setting="sources.vendor.names") == names


@pytest.mark.parametrize("value", [7, [7], {"one": "two"}, "[one", '["one", 2]'])
def test_what_is_no_list_of_names_is_refused(value: object) -> None:
    """The error names the setting and the way to write it."""
    with pytest.raises(ConfigurationError, match=r"sources\.vendor\.names is .* Write it as \['one', 'two'\]"):
        parse_names(value, setting="sources.vendor.names")
