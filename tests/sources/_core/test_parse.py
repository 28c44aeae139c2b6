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
from meterhouse.sources._core.config.secrets import looks_like_key, looks_like_secret
from meterhouse.sources._core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
    ],
)
def test_parses_moments_as_utc(text: str, moment: str) -> None:
    """A moment without a zone is UTC."""
    assert parse_moment(text, setting="since") == pendulum.parse(moment)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "01/02/2026", "P7D", "2026", "20260131", "12"]
)
def test_rejects_texts_that_are_not_dates(text: str) -> None:
    """The error names the setting, but not the value, which may be a misplaced key, and shows how to write it."""
    with pytest.raises(ConfigurationError, match=r"since is not a date\. Write it as"):
        parse_moment(text, setting="since")


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59Z", "9999-12-31", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "1999-12-31"]
)
def test_rejects_years_that_cannot_be_meant(text: str) -> None:
    """Arithmetic with the ends of the calendar overflows."""
    with pytest.raises(ConfigurationError, match="until is not between 2000 and 2099"):
        parse_moment(text, setting="until")


@pytest.mark.parametrize("text", ["99999", "99999w", "P99999999W", "PT9999999999H"])
def test_rejects_durations_of_centuries(text: str) -> None:
    """Subtracting such a duration from a date overflows."""
    with pytest.raises(ConfigurationError, match="lookback is longer than a century"):
        parse_duration(text, setting="lookback")


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
def test_parses_durations_in_several_spellings(text: str | int, span: timedelta) -> None:
    """All spellings of a length mean the same."""
    assert parse_duration(text, setting="lookback") == span


@pytest.mark.parametrize("text", ["", "-1", "a week", "P1M", "7 months", "1.5 days"])
def test_rejects_texts_that_are_not_durations(text: str) -> None:
    """Months have no fixed length; prose has none."""
    with pytest.raises(ConfigurationError, match="lookback"):
        parse_duration(text, setting="lookback")


def test_rejects_unusable_backfill_bounds() -> None:
    """An end without a start, an empty window and a future one have different errors."""
    with pytest.raises(ConfigurationError, match="without since"):
        backfill_window(None, "2026-01-01", "hour")
    with pytest.raises(ConfigurationError, match="not before until"):
        backfill_window("2026-01-02", "2026-01-02", "hour")
    with pytest.raises(ConfigurationError, match="lies in the future"):
        backfill_window("2099-01-01", None, "hour")
    assert backfill_window(None, None, "hour") is None


def test_a_schedulers_interval_is_a_backfill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of dlt's variables count, in UTC; the caller's arguments take precedence, and one bound alone is an error."""
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-01-01T05:00:00+05:00")
    with pytest.raises(ConfigurationError, match="only one of DLT_INTERVAL_START and DLT_INTERVAL_END is set"):
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


def test_rejects_numbers_and_units_out_of_range() -> None:
    """The error shows the allowed values."""
    assert parse_number(5, setting="x", most=5) == 5
    with pytest.raises(ConfigurationError, match=r"x must be from 1 to 5"):
        parse_number(6, setting="x", most=5)
    with pytest.raises(ConfigurationError, match=r"x must be 1 or more"):
        parse_number(0, setting="x")
    with pytest.raises(ConfigurationError, match=r"x is not a unit of time\. Use hour, day, week or month\."):
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
def test_parses_names_from_lists_and_texts(value: object, names: tuple[str, ...]) -> None:
    """The order stays; duplicates and blanks are dropped."""
    assert parse_names(value, setting="sources.vendor.names") == names


@pytest.mark.parametrize("value", [7, [7], {"one": "two"}, '["one", 2]'])
def test_rejects_values_that_are_not_lists_of_names(value: object) -> None:
    """The error names the setting and shows how to write it."""
    with pytest.raises(ConfigurationError, match=r"sources\.vendor\.names is not a list of strings\. Write it as"):
        parse_names(value, setting="sources.vendor.names")


@pytest.mark.parametrize("value", ["[one", "{'one': 'two'}", '["one",]', '{"one": "two",}'])
def test_rejects_what_begins_like_json_and_is_none(value: str) -> None:
    """The error names the setting and the place, and shows nothing of the value."""
    with pytest.raises(ConfigurationError, match=r"sources\.vendor\.names is not valid JSON") as caught:
        parse_names(value, setting="sources.vendor.names")
    assert "one'" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_secret", "is_key"),
    [
        ("sk-test", True, True),
        ("Bearer sk_live_4eC39HqLyjWDarjtT1zdp7dc", True, True),
        ("op_live_sandbox", True, True),
        ("eyJhbGciOiJIUzI1NiJ9.e30.x", True, True),
        ("4eC39HqLyjWDarjtT1zdp7dc", True, True),
        ("the key 4eC39HqLyjWDarjtT1zdp7dc", True, True),
        ("5f2b7c1e9a3d4f60", True, False),
        ("123e4567-e89b-12d3-a456-426614174000", True, False),
        ("acme", False, False),
        ("Europe 2026", False, False),
        ("eu-production-2026-customers", False, False),
        ("MyCompany2026EuropeProduction", False, False),
        ("team@example.com", False, False),
        ("voice.generated", False, False),
    ],
)
def test_tells_keys_from_names(text: str, *, is_secret: bool, is_key: bool) -> None:
    """A hash may be a key, and may be the name of an app: no error shows it, but an account may have it as its name."""
    assert (looks_like_secret(text), looks_like_key(text)) == (is_secret, is_key)
