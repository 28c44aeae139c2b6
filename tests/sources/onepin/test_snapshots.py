"""The snapshots: totals of a range and of its languages, kept once a day."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.onepin import MEMBERS, Run
from tests.conftest import Cli
from tests.sources.onepin.conftest import NOW, SUMMARY, loaded, steady


def test_separates_the_owners_credits_from_the_workspaces(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """Both columns hold what the API returns for the owner's billing period and for the workspace's window."""
    owner, other = MEMBERS["default"][:2]
    noon = NOW.replace(hour=8)
    sandbox.onepin.usage.set([Run(noon, credits=30, member=owner), Run(noon, credits=70, member=other)])
    load("usage_summary", "usage_daily")
    assert cli.rows("select distinct credits_used, activity_credits_total from onepin.usage_summary") == [(30, 100)]
    assert cli.rows("select sum(credits) from onepin.usage_daily") == [(100,)]


@pytest.mark.thorough
def test_the_last_snapshot_of_a_day_stays(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """One set of rows a day and range, without a vanished language; the next day adds another."""
    spoken = [Run(NOW - timedelta(days=2), locale="en-us"), Run(NOW - timedelta(days=2), locale="de-de")]
    sandbox.onepin.usage.set(spoken)
    load("usage_summary", "usage_by_language")
    sandbox.onepin.usage.set([*spoken[:1], Run(NOW - timedelta(days=1), locale="ko-kr", credits=7)])
    load("usage_summary", "usage_by_language")
    languages = (
        "select snapshot_date::text, locale_code, credits from onepin.usage_by_language where range = '60d' order by 1, 2"
    )
    assert cli.rows(languages) == [("2026-03-20", "en-us", 100), ("2026-03-20", "ko-kr", 7)]
    assert cli.rows("select count(*), min(activity_credits_total) from onepin.usage_summary") == [(3, 107)]
    clock.move_to(NOW + timedelta(days=5))
    report = load("usage_summary", "usage_by_language")
    assert report["gaps"] == []
    assert cli.rows("select snapshot_date::text, count(*) from onepin.usage_summary group by 1 order by 1") == [
        ("2026-03-20", 3),
        ("2026-03-25", 3),
    ]


def test_loads_languages_of_a_views_period(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have their own name beside the ranges."""
    monkeypatch.setenv("SOURCES__ONEPIN__LANGUAGE_VIEWS", "monthly")
    sandbox.onepin.usage.set(steady("2025-06-01", "2026-03-19"))
    load("usage_by_language")
    assert loaded(cli, "usage_by_language", "range, activity_view, credits") == [
        ("", "monthly", 201),
        ("30d", "", 101),
        ("60d", "", 101),
        ("90d", "", 101),
    ]


@pytest.mark.thorough
def test_loads_older_and_newer_versions(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """A column that an older version lacks is null; a field that a newer one adds becomes a text column."""
    sandbox.onepin.options.version = "older"
    load("usage_summary", "usage_by_language")
    newer = "select distinct audio_total_ms, corrected_total, runs_paused from onepin.usage_summary"
    assert cli.rows(newer) == [(None, None, None)]
    assert cli.rows("select distinct corrected from onepin.usage_by_language") == [(None,)]
    sandbox.onepin.options.version = "newer"
    key = sandbox.onepin.credential().api_key
    query = {"range": "30d", "activity_view": "monthly"}
    answer = httpx.get(sandbox.url + SUMMARY, params=query, headers={"Authorization": f"Bearer {key}"}).json()
    answer["data"] |= {"video": {"total_ms": 5, "codec": "av1"}, "avatars": None, "tags": ["a"]}
    answer["data"]["credits"]["rolled_over"] = 7
    sandbox.faults.add(Fault(path=SUMMARY, query=query, body=answer))
    load("usage_summary")
    assert cli.rows("select count(*) from onepin.usage_summary where audio_total_ms > 0 and corrected_total > 0") == [(3,)]
    assert cli.rows(
        "select video_total_ms, video_codec, credits_rolled_over, tags from onepin.usage_summary where range = '30d'"
    ) == [("5", "av1", "7", '["a"]')]
    assert "avatars" not in {name for (name, *_) in cli.rows("describe onepin.usage_summary")}


@pytest.mark.thorough
def test_credits_without_a_language_have_a_row(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> None:
    """The rows of a period add up to its total, even without any language."""
    untagged = Run(NOW - timedelta(days=1), credits=100, locale="")
    sandbox.onepin.usage.set([untagged])
    load("usage_by_language")
    columns = "range, locale_code, share, credits, characters, total_credits, untagged_credits"
    assert loaded(cli, "usage_by_language", columns) == [
        (range_, "", None, 100, None, 100, 100) for range_ in ("30d", "60d", "90d")
    ]
    sandbox.onepin.usage.set([untagged, Run(NOW - timedelta(days=1), credits=7, locale="ko-kr")])
    load("usage_by_language")
    assert cli.rows("select locale_code, credits, total_credits from onepin.usage_by_language where range = '30d'"
                      " order by 1") == [("", 100, 107), ("ko-kr", 7, 107)]  # fmt: skip
