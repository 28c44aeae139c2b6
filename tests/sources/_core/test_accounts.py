import json
import re
from typing import Any

import pytest

from meterhouse.sources._core.config.accounts import Account, resolve_accounts
from meterhouse.sources._core.errors import ConfigurationError, NotConfigured

NOTHING: dict[str, str | None] = {"app_id": None, "app_key": None}


def resolve(accounts: Any = None, **credentials: str | None) -> list[Account]:
    return resolve_accounts(
        "mathpix", accounts, credentials=NOTHING | credentials, settings={"base_url": "https://api.mathpix.com"}
    )


def test_one_account_is_called_default() -> None:
    """Without accounts, the provider's own credentials are one account."""
    (account,) = resolve(app_id="a", app_key="b")
    assert (account.name, account.credentials) == ("default", {"app_id": "a", "app_key": "b"})


BOTH = {"production": {"app_id": "a", "app_key": "b"}, "europe": {"app_id": "c", "app_key": "d", "base_url": "https://eu"}}


@pytest.mark.parametrize("accounts", [BOTH, json.dumps(BOTH), [{"name": name} | own for name, own in BOTH.items()]])
def test_accounts_may_be_tables_a_list_or_json(accounts: Any) -> None:
    """TOML tables by name, a TOML array of tables, and JSON in an environment variable mean the same."""
    production, europe = resolve(accounts)
    assert (production.name, europe.name) == ("production", "europe")
    assert production.settings == {"base_url": "https://api.mathpix.com"}
    assert europe.settings == {"base_url": "https://eu"}


@pytest.mark.parametrize("accounts", ["production,europe", '["production", "europe"]'])
def test_account_names_read_their_values_from_the_environment(accounts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each secret may have a variable of its own."""
    for account, key in (("PRODUCTION", "b"), ("EUROPE", "d")):
        monkeypatch.setenv(f"SOURCES__MATHPIX__ACCOUNTS__{account}__APP_ID", "a")
        monkeypatch.setenv(f"SOURCES__MATHPIX__ACCOUNTS__{account}__APP_KEY", key)
    assert [account.credentials["app_key"] for account in resolve(accounts)] == ["b", "d"]


def test_a_name_with_a_space_or_a_hyphen_has_a_variable_with_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell can set another one; the error for a missing key names it, too."""
    with pytest.raises(ConfigurationError, match="SOURCES__MATHPIX__ACCOUNTS__EU_WEST_1__APP_ID"):
        resolve("eu-west 1")
    for field in ("APP_ID", "APP_KEY"):
        monkeypatch.setenv(f"SOURCES__MATHPIX__ACCOUNTS__EU_WEST_1__{field}", "b")
    assert [account.name for account in resolve("eu-west 1")] == ["eu-west 1"]


def test_without_credentials_the_provider_is_not_in_use() -> None:
    """A provider without configuration is no error of a run."""
    with pytest.raises(NotConfigured, match=r"SOURCES__MATHPIX__APP_ID"):
        resolve()


def test_rejects_incomplete_credentials() -> None:
    """The error names the missing key and its variable."""
    with pytest.raises(ConfigurationError, match=r"no app_key in \[sources\.mathpix\].*SOURCES__MATHPIX__APP_KEY") as caught:
        resolve(app_id="a")
    assert not isinstance(caught.value, NotConfigured)


def test_names_the_section_that_lacks_a_key() -> None:
    """The message has the section of the account."""
    with pytest.raises(ConfigurationError, match=r"\[sources\.mathpix\.accounts\.europe\]"):
        resolve({"europe": {"app_id": "a"}})


def test_rejects_the_same_key_in_two_accounts() -> None:
    """Their usage would count twice."""
    with pytest.raises(ConfigurationError, match="same credentials"):
        resolve({"a": {"app_id": "x", "app_key": "y"}, "b": {"app_id": "x", "app_key": "y"}})


@pytest.mark.parametrize("name", ["", "o'brien", "a{b}", "x" * 64, 'a"b', "a;b", "a\nb", "a  b", "a__b", "a _b"])
def test_rejects_account_names_with_unsafe_characters(name: str) -> None:
    """Account names become part of SQL conditions, and of variables such as SOURCES__MATHPIX__ACCOUNTS__A_B__APP_ID."""
    with pytest.raises(ConfigurationError, match="does not have a valid name"):
        resolve({name: {"app_id": "x", "app_key": "y"}})


def test_rejects_a_key_in_quotation_marks() -> None:
    """Also in a dlt pipeline of the user's own, where nothing else checks the settings."""
    with pytest.raises(ConfigurationError, match=r"app_key in \[sources\.mathpix\] has quotation marks") as caught:
        resolve(app_id="a", app_key='"hunter2"')
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["europe ", " europe", "europe\n", "\u00a0europe"])
def test_rejects_an_account_name_with_space_around_it_by_name(name: str) -> None:
    """No row of `europe` would belong to it, and no table shows the difference."""
    with pytest.raises(ConfigurationError, match=f"the account {re.escape(repr(name))} in .* white space"):
        resolve(json.dumps({"production": BOTH["production"], name: BOTH["europe"]}))
    with pytest.raises(ConfigurationError, match="has a credential as its name") as caught:
        resolve([{"name": name, "app_id": "x", "app_key": name}])
    assert "europe" not in str(caught.value)


def test_rejects_two_accounts_with_one_name() -> None:
    """The second would overwrite the first."""
    with pytest.raises(ConfigurationError, match="the same name"):
        resolve([{"name": "a", "app_id": "x", "app_key": "y"}, {"name": "a", "app_id": "z", "app_key": "y"}])


def test_the_repr_of_an_account_has_no_secret() -> None:
    """It is the account's name."""
    assert "hidden" not in repr(Account("a", {"app_key": "hidden"}, {}, "sources.mathpix"))


def test_a_tenant_distinguishes_accounts_with_one_key() -> None:
    """One key for two tenants is two accounts; one key for one tenant twice is an error."""
    key = {"app_id": "a", "app_key": "b"}

    def named(*tenants: str) -> list[Account]:
        accounts = {f"account {number}": key | {"tenant": tenant} for number, tenant in enumerate(tenants)}
        return resolve_accounts(
            "vendor", accounts, credentials=NOTHING, settings={"tenant": ""}, distinguished_by=["tenant"]
        )

    assert [account.settings["tenant"] for account in named("one", "two")] == ["one", "two"]
    with pytest.raises(ConfigurationError, match="same credentials"):
        named("one", "one")


KEY = "4eC39HqLyjWDarjtT1zdp7dc"
HASH = "5f2b7c1e9a3d4f60a1b2c3d4e5f60718"


@pytest.mark.parametrize(
    "accounts",
    [
        f'{{"eu": {{"app_key": "{KEY}",}}}}',
        f"{{'eu': {{'app_key': '{KEY}'}}}}",
        json.dumps({KEY: {"app_id": "a", "app_key": "b"}}),
        json.dumps({"eu": {KEY: "b"}}),
        json.dumps({"eu": KEY}),
        json.dumps({HASH: {"app_id": "a", "app_key": HASH}}),
        json.dumps({HASH.upper(): {"app_id": "a", "app_key": HASH}}),
        json.dumps([KEY, 7]),
        KEY,
        HASH,
        f'"{KEY}"',
    ],
)
def test_no_error_shows_a_key(accounts: str) -> None:
    """Neither where the text is not JSON, nor where a key is in the place of a name."""
    with pytest.raises(ConfigurationError, match=r"sources\.mathpix\.accounts") as caught:
        resolve(accounts)
    assert not any(key in str(caught.value).lower() for key in (KEY.lower(), HASH))


def test_a_hash_may_be_the_name_of_an_account() -> None:
    """Apps have such identifiers; only a name that is also a credential is refused."""
    (account,) = resolve({HASH: {"app_id": "a", "app_key": "b"}})
    assert account.name == HASH
