"""No usage is loaded under two accounts: two keys of one organisation, a renamed account, a key that was replaced."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli

TABLES = {
    "mathpix": "ocr_usage_by_usage_type",
    "reducto": "usage_by_product",
    "onepin": "usage_daily",
    "scopix": "usage_daily",
}
OTHERS = {"mathpix": "press", "reducto": "firm", "onepin": "podcast", "scopix": "studio"}
"""An account of the sandbox with another organisation."""

Account = dict[str, str]
Load = Callable[..., list[dict[str, str]]]


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(TABLES)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel("2026-03-20T10:30:00Z") as traveller:
        yield traveller


@pytest.fixture
def load(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the priced table of a provider for the given accounts, and returns the failures."""

    def load(provider: str, initial_date: str = "2026-03-18", **accounts: Account) -> list[dict[str, str]]:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", initial_date)
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__ACCOUNTS", json.dumps(accounts))
        tables = ("usage_events", "usage_daily") if provider == "scopix" else (TABLES[provider],)
        run = ["run", *(f"{provider}.{table}" for table in tables), "--no-models", "--json"]
        result = CliRunner().invoke(app, run, catch_exceptions=False)
        failures: list[dict[str, str]] = json.loads(result.stdout)["failures"]
        assert result.exit_code == bool(failures)
        return failures

    return load


def key(sandbox: Sandbox, provider: str, account: str = "default", number: int = 0) -> Account:
    """A key of an account of the sandbox."""
    vendor = getattr(sandbox, provider)
    found = [credential for credential in vendor.credentials if credential.account == account][number]
    return {name: getattr(found, name) for name in vendor.key_names}


def rows(cli: Cli, provider: str) -> dict[str, list[tuple[Any, ...]]]:
    """By account, the rows of the priced table."""
    found = cli.rows(f"select account, * from {provider}.{TABLES[provider]} order by all")
    return {account: [row for row in found if row[0] == account] for account in sorted({row[0] for row in found})}


@pytest.mark.parametrize(
    ("provider", "identity"),
    [
        ("reducto", "org_id ORG_HARBOUR"),
        pytest.param("mathpix", "app_id lyceum_archive", marks=pytest.mark.thorough),
        pytest.param("onepin", "workspace_id ", marks=pytest.mark.thorough),
        pytest.param("scopix", "api_key_id ", marks=pytest.mark.thorough),
    ],
)
def test_refuses_a_second_account_of_an_organisation(
    cli: Cli, sandbox: Sandbox, load: Load, provider: str, identity: str
) -> None:
    """The first one is loaded, the second is refused by name, in any case of the identity, and nothing of it is merged."""
    first = key(sandbox, provider)
    second = {
        "reducto": first | {"org_ids": "ORG_HARBOUR"},
        "onepin": first | {"workspace_id": sandbox.onepin.credential().workspace_id},
    }.get(provider) or key(sandbox, provider, number=1)
    failures = load(provider, one=first, two=second)
    assert {(failure["account"], failure["kind"]) for failure in failures} == {("two", "AccountConflict")}
    assert f"the accounts one and two both report {identity}" in failures[0]["error"]
    assert rows(cli, provider).keys() == {"one"}
    assert cli.rows(f"select distinct account from {provider}.fetched_windows") == [("one",)]


@pytest.mark.parametrize(
    "provider", ["mathpix", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("reducto", "onepin", "scopix"))]
)
def test_refuses_an_account_renamed_in_the_configuration(cli: Cli, sandbox: Sandbox, load: Load, provider: str) -> None:
    """It is refused, and the error names the command that renames it; under the old name it goes on."""
    assert load(provider, old=key(sandbox, provider)) == []
    before = rows(cli, provider)
    failures = load(provider, new=key(sandbox, provider))
    assert {failure["account"] for failure in failures} == {"new"}
    assert f"`meterhouse rename-account {provider} old new` (on DuckDB and PostgreSQL)" in failures[0]["error"]
    assert rows(cli, provider) == before
    assert load(provider, old=key(sandbox, provider)) == []


@pytest.mark.thorough
@pytest.mark.parametrize("provider", ["mathpix", "reducto", "onepin"])
def test_refuses_a_key_of_another_organisation(cli: Cli, sandbox: Sandbox, load: Load, provider: str) -> None:
    """It is refused until its account has another name."""
    load(provider, ours=key(sandbox, provider))
    before = rows(cli, provider)
    other = key(sandbox, provider, OTHERS[provider])
    (failure,) = load(provider, ours=other)
    assert failure["kind"] == "AccountConflict"
    assert "the key of the account ours now reports" in failure["error"]
    assert rows(cli, provider) == before
    assert load(provider, ours=key(sandbox, provider), theirs=other) == []
    assert rows(cli, provider).keys() == {"ours", "theirs"}


@pytest.mark.thorough
@pytest.mark.parametrize("provider", TABLES)
def test_loads_accounts_of_different_organisations(cli: Cli, sandbox: Sandbox, load: Load, provider: str) -> None:
    """Both are loaded; if they exchange their keys, both are refused."""
    ours, theirs = key(sandbox, provider), key(sandbox, provider, OTHERS[provider])
    assert load(provider, a=ours, b=theirs) == []
    before = rows(cli, provider)
    assert {failure["account"] for failure in load(provider, a=theirs, b=ours)} == {"a", "b"}
    assert rows(cli, provider) == before


@pytest.mark.thorough
def test_accounts_of_one_organisation_may_load_different_products(cli: Cli, sandbox: Sandbox, load: Load) -> None:
    """Not if they have a product in common, in any case of it, nor if one of them has ever loaded all products."""
    harbour = key(sandbox, "reducto") | {"org_ids": "org_harbour"}
    parse, others = harbour | {"products": "parse"}, harbour | {"products": "split,extract"}
    assert load("reducto", a=parse, b=others) == []
    loaded = {account: {row[4] for row in found} for account, found in rows(cli, "reducto").items()}
    assert loaded == {"a": {"parse"}, "b": {"split", "extract"}}
    for third in (harbour | {"products": "Split,edit"}, harbour):
        (failure,) = load("reducto", a=parse, b=others, c=third)
        assert failure["account"] == "c"
        assert "both report org_id org_harbour" in failure["error"]
    assert load("reducto", a=parse, c=harbour | {"products": "edit"}) == []
    assert {failure["account"] for failure in load("reducto", a=parse | {"products": "split"})} == {"a"}


@pytest.mark.thorough
def test_an_organisation_that_moved_to_another_key_is_loaded_by_its_account(cli: Cli, sandbox: Sandbox, load: Load) -> None:
    """As the error says: the account that has its rows gets the key, and no other account loads the organisation."""
    both = "org_harbour", "org_harbour_legal"
    ours, theirs = (key(sandbox, "reducto") | {"org_ids": org_id} for org_id in both)
    assert load("reducto", ours=ours, theirs=theirs) == []
    (failure,) = load("reducto", theirs=theirs | {"org_ids": ",".join(both)})
    assert "Configure ours again with this key, and load org_id org_harbour in no other account" in failure["error"]
    assert "rename-account" not in failure["error"]  # it would refuse the name of a loaded account
    assert load("reducto", ours=ours, theirs=theirs) == []


@pytest.mark.thorough
def test_refuses_one_organisation_in_two_spellings(cli: Cli, sandbox: Sandbox, load: Load) -> None:
    """An account that lists it twice loads it once."""
    failures = load("reducto", one=key(sandbox, "reducto") | {"org_ids": "org_harbour, ORG_HARBOUR"})
    assert "reports org_id org_harbour and ORG_HARBOUR, which differ in case only" in failures[0]["error"]
    assert cli.rows("select distinct org_id from reducto.usage_by_product") == [("org_harbour",)]


@pytest.mark.thorough
def test_refuses_a_renamed_account_whose_tables_do_not_identify_it(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scopix's days name neither tenant nor key, so the first run of an account requests its newest events."""
    for name, status in (("old", 0), ("new", 1)):
        monkeypatch.setenv("SOURCES__SCOPIX__ACCOUNTS", json.dumps({name: key(sandbox, "scopix")}))
        cli("run", "scopix.usage_daily", "--no-models", status=status)
    assert "`meterhouse rename-account scopix old new`" in " ".join(cli.output.split())
    assert cli.rows("select distinct account from scopix.usage_daily") == [("old",)]


@pytest.mark.thorough
def test_a_refused_account_leaves_no_cursor(cli: Cli, sandbox: Sandbox, load: Load) -> None:
    """The years before the first usage are empty windows. The rename that the error advises works all the same."""
    load("mathpix", old=key(sandbox, "mathpix"))
    refused = load("mathpix", initial_date="2022-06-06", new=key(sandbox, "mathpix"))
    assert [failure["kind"] for failure in refused] == ["AccountConflict"]
    assert cli.rows("select distinct account from mathpix.fetched_windows") == [("old",)]
    cli("rename-account", "mathpix", "old", "new")
    assert load("mathpix", new=key(sandbox, "mathpix")) == []
    assert rows(cli, "mathpix").keys() == {"new"}


@pytest.mark.thorough
def test_a_failed_first_run_reserves_no_identity(cli: Cli, sandbox: Sandbox, load: Load) -> None:
    """Under another name, its organisation is loaded."""
    account = key(sandbox, "reducto") | {"org_ids": "org_harbour"}
    sandbox.faults.add(Fault(path="/api/v1/usage/export", status=500))
    assert {failure["kind"] for failure in load("reducto", first=account)} == {"ServiceUnavailable"}
    sandbox.faults.clear()
    assert load("reducto", second=account) == []
    assert rows(cli, "reducto").keys() == {"second"}
