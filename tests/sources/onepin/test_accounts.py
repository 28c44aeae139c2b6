"""Keys, workspaces and settings."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.sandbox.onepin import MEMBERS
from tests.conftest import Cli
from tests.sources.onepin.conftest import NEW_YORK, SUMMARY, loaded, steady


@pytest.mark.thorough
def test_loads_two_accounts_separately(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails leaves the other alone, and the result names it."""
    keys = {name: {"api_key": sandbox.onepin.credential(name).api_key} for name in ("default", "podcast")}
    monkeypatch.setenv("SOURCES__ONEPIN__ACCOUNTS", json.dumps({"studio": keys["default"], "show": keys["podcast"]}))
    sandbox.onepin.options.disabled = frozenset({"podcast"})
    failures = load("usage_daily", status=1)["failures"]
    assert [(failure["account"], failure["kind"]) for failure in failures] == [("show", "CredentialsRejected")]
    sandbox.onepin.options.disabled = frozenset()
    load("usage_daily")
    assert cli.rows("select account, sum(credits) from onepin.usage_daily group by 1 order by 1") == [
        (name, sandbox.onepin.usage.credits("2025-12-21", account=account))
        for name, account in (("show", "podcast"), ("studio", "default"))
    ]


def test_rejects_unusable_settings(cli: Cli, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """The error names the setting and shows how to write it; no request is sent."""
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", "New York")
    assert "sources.onepin.timezone is not an IANA time zone" in cli("run", "onepin", status=2)
    monkeypatch.setenv("SOURCES__ONEPIN__TIMEZONE", NEW_YORK)
    monkeypatch.setenv("SOURCES__ONEPIN__ACTIVITY_TYPES", "workflow_run,lunch")
    assert "sources.onepin.activity_types has an unknown value" in cli("run", "onepin", status=2)
    assert len(sandbox.requests) == 0


def test_check_sends_one_request(cli: Cli, sandbox: Sandbox) -> None:
    """It checks the key's right to read usage."""
    cli("check")
    assert [request.path for request in sandbox.requests] == [SUMMARY]


@pytest.mark.thorough
def test_a_key_of_another_workspace_needs_another_account(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither overwrites nor deletes the rows of the first one, nor adds its own to them."""
    tables = ("usage_daily", "usage_buckets", "usage_summary", "usage_activity")
    sandbox.onepin.usage.set([*steady("2026-03-18", "2026-03-19"), *steady("2026-03-19", account="podcast")])
    load(*tables)
    before = {table: loaded(cli, table) for table in tables}
    other = sandbox.onepin.credential("podcast")
    monkeypatch.setenv("SOURCES__ONEPIN__API_KEY", other.api_key)
    failures = load(*tables, status=1)["failures"]
    assert {(failure["table"], failure["kind"]) for failure in failures} == {(table, "AccountConflict") for table in tables}
    assert {table: loaded(cli, table) for table in tables} == before
    assert not cli.rows("select * from onepin.fetched_windows where window_start is null")


@pytest.mark.parametrize("own", [None, "", "w' or 1=1 --", "two words", 7])
def test_rejects_a_workspace_id_that_is_not_an_identifier(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, own: Any
) -> None:
    """The id becomes SQL."""
    sandbox.faults.add(Fault(path="/api/v1/auth/whoami", body={"data": {"workspace_id": own}}))
    (failure,) = load("usage_daily", status=1)["failures"]
    assert "is not an identifier" in failure["error"]


@pytest.mark.thorough
def test_each_account_has_its_own_filters(
    cli: Cli, load: Callable[..., Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members of one workspace are not those of another."""
    monkeypatch.setenv("SOURCES__ONEPIN__LANGUAGE_VIEWS", "weekly")
    keys = {name: {"api_key": sandbox.onepin.credential(name).api_key} for name in ("default", "podcast")}
    member = MEMBERS["podcast"][0].id
    own = {"activity_types": "voice_generated", "activity_user_ids": [member], "language_views": "monthly"}
    monkeypatch.setenv("SOURCES__ONEPIN__ACCOUNTS", json.dumps({"studio": keys["default"], "show": keys["podcast"] | own}))
    load("usage_activity", "usage_by_language")
    assert cli.rows("select distinct account, activity_view from onepin.usage_by_language where activity_view <> '' "
                      "order by 1") == [("show", "monthly"), ("studio", "weekly")]  # fmt: skip
    assert cli.rows("select distinct user_id, action from onepin.usage_activity where account = 'show'") == [
        (member, "voice_generated")
    ]
    assert len(cli.rows("select distinct action from onepin.usage_activity where account = 'studio'")) > 3


def test_rejects_a_workspace_id_unfit_for_a_header(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a configuration error, not a crash."""
    monkeypatch.setenv("SOURCES__ONEPIN__WORKSPACE_ID", "wörk")
    for command in ("check", "run"):
        assert "X-Workspace-Id" in cli(command, status=2)
    assert len(sandbox.requests) == 0
