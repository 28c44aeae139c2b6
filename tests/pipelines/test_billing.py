"""The command with the user's own prices, credits, fees and invoices."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dlt
import duckdb
import pytest
import time_machine

from meterhouse.pipelines.run.billing import configured_billing, load_billing
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.billing import TABLES, TEMPLATES, billing_source
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import select_models

LOAD = ("run", "--no-models")
COUNT = "select count(*) from billing.prices"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March. The clock keeps running, so that no two loads get the same name."""
    with time_machine.travel(datetime(2026, 3, 20, 10, 30, tzinfo=UTC)) as traveller:
        yield traveller


@pytest.fixture
def files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The templates that `check` writes, with prices and fees configured from them."""
    cli("check", "--billing-templates", "my/billing")
    for table in ("prices", "fees"):
        monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", f"my/billing/{table}.csv")
    return cli.folder / "my" / "billing"


def break_price(files: Path) -> None:
    """Replaces the price in the third line with text that is not a number."""
    prices = files / "prices.csv"
    prices.write_text(prices.read_text().replace("0.0012", "cheap"))


ERROR = "my/billing/prices.csv row 3, unit_price: 'cheap' is not a number; write it like 1234.56"


def test_writing_templates_keeps_existing_files(cli: Cli) -> None:
    """`check --billing-templates` overwrites no file and checks no provider."""
    Path("mine").mkdir()
    Path("mine/prices.csv").write_text("mine")
    output = cli("check", "--billing-templates", "mine")
    assert "mine/prices.csv already exists and stays unchanged" in output
    assert {file.stem for file in Path("mine").iterdir()} == set(TABLES)
    assert Path("mine/prices.csv").read_text() == "mine"
    assert "mathpix  default" not in output
    assert "cannot be written" in cli("check", "--billing-templates", "mine/prices.csv", status=2)


def test_templates_pass_the_check_of_a_new_configuration(
    cli: Cli, sandbox: Sandbox, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one key for each provider, and all files as they were written. A warning names each unchanged file."""
    for variable, setting in sandbox.variables().items():
        monkeypatch.setenv(variable, setting)
    for table in TABLES:
        monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", str(files / f"{table}.csv"))
    with (files / "prices.csv").open("a") as prices:
        prices.write("\n")
    output = cli("check")
    assert output.count("  ok\n") == len(PROVIDERS) + len(TABLES)
    unchanged = re.findall(r"WARNING  \S+/(\w+).csv is the unchanged example of `check --billing-templates`", output)
    assert set(unchanged) == set(TABLES) - {"prices"}


ACCOUNTS = "provider,account,billing_account,billing_timezone,plan,signed_up_on\n"
FEES = "provider,billing_account,fee_id,kind,description,amount,currency,valid_from,valid_to,sku_id\n"


@pytest.mark.parametrize(
    ("accounts", "fee", "error"),
    [
        ("", "mathpix,default", ""),
        (
            "",
            "mathpix,Default",
            "no account of mathpix is billed to 'Default' (see the table accounts); did you mean 'default'?",
        ),
        ("", "mathpix,acme", "no account of mathpix is billed to 'acme' (see the table accounts); known: 'default'"),
        ("", "reducto,acme", ""),  # no account of Reducto is known here
        ("mathpix,default,acme,,,\n", "mathpix,acme", ""),
        (
            "mathpix,default,acme,,,\n",
            "mathpix,default",
            "no account of mathpix is billed to 'default' (see the table accounts); known: 'acme'",
        ),
        ("mathpix,defualt,acme,,,\n", "mathpix,default", "mathpix has no account 'defualt'; did you mean 'default'?"),
    ],
)
def test_refuses_names_that_would_have_no_effect(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, accounts: str, fee: str, error: str
) -> None:
    """A billing account that pays for no known account, or an unknown account, is an error with the nearest known name."""
    Path("accounts.csv").write_text(ACCOUNTS + accounts)
    Path("fees.csv").write_text(FEES + f"{fee},plan,monthly,,10,USD,2026-01-01,,\n")
    monkeypatch.setenv("SOURCES__BILLING__ACCOUNTS", "accounts.csv")
    monkeypatch.setenv("SOURCES__BILLING__FEES", "fees.csv")
    assert error in cli("check", status=2 if error else 0)
    assert error in cli(*LOAD, status=1 if error else 0)
    loaded = "select count(*) from information_schema.tables where table_schema = 'billing' and table_name = 'fees'"
    assert cli.rows(loaded) == [(0 if error else 1,)]


def test_accounts_that_were_loaded_stay_known(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Billing rows of an account stay valid after the account is removed from the configuration."""
    cli(*LOAD)
    key = json.dumps({"europe": {"app_id": "a", "app_key": "b"}})
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", key)
    Path("fees.csv").write_text(
        FEES + "mathpix,default,plan,monthly,,10,USD,2026-01-01,,\nmathpix,europa,p,monthly,,1,USD,2026-01-01,,\n"
    )
    monkeypatch.setenv("SOURCES__BILLING__FEES", "fees.csv")
    output = cli("check", status=2)
    assert "'europa' (see the table accounts); did you mean 'europe'?" in output
    assert "'default'" not in output


def test_a_run_loads_the_configured_tables(cli: Cli, files: Path) -> None:
    """Any run loads the configured tables; the others are empty."""
    result = cli.json(*LOAD, "mathpix")
    assert result["billing"] == {"prices": "my/billing/prices.csv", "fees": "my/billing/fees.csv"}
    assert cli.rows(COUNT) == [(3,)]
    assert cli.rows("select count(*) from billing.invoices") == [(0,)]
    assert "billing  prices from my/billing/prices.csv, fees from my/billing/fees.csv" in cli(*LOAD)


WAY_OUT = "Configure the tables in this folder, or empty those without a setting: `meterhouse run --clear-billing`."


@pytest.mark.parametrize("command", [LOAD, ("run",), ("models",)], ids=" ".join)
def test_refuses_to_empty_billing_that_is_no_longer_configured(
    cli: Cli, sandbox: Sandbox, files: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A run without the settings of loaded billing data exits with 2, before any request, and empties nothing."""
    cli(*LOAD)
    sandbox.requests.clear()
    for table in ("PRICES", "FEES"):
        monkeypatch.delenv(f"SOURCES__BILLING__{table}")
    output = cli(*command, status=2)
    assert (
        f"billing.prices, billing.fees in {cli.database} have rows, but the configuration lacks prices, fees under"
        f" [sources.billing]. {WAY_OUT}" in output
    )
    assert not sandbox.requests
    assert cli.rows(COUNT) == [(3,)]


def test_refuses_to_empty_one_table_that_is_no_longer_configured(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds if one table of several loses its setting. `--clear-billing` empties it and keeps the others."""
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__BILLING__FEES", "")
    output = cli(*LOAD, status=2)
    assert f"billing.fees in {cli.database} has rows, but the configuration lacks fees under [sources.billing]" in output
    assert cli.rows("select count(*) > 0 from billing.fees") == [(True,)]
    cli(*LOAD, "--clear-billing")
    assert cli.rows("select count(*) from billing.fees") == [(0,)]
    assert cli.rows(COUNT) == [(3,)]
    cli(*LOAD)


def test_clear_billing_empties_what_is_not_configured(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `--clear-billing`, runs need neither the flag nor a setting. A configured table is loaded as usual."""
    cli(*LOAD, "--clear-billing")
    assert cli.rows(COUNT) == [(3,)]
    for table in ("PRICES", "FEES"):
        monkeypatch.delenv(f"SOURCES__BILLING__{table}")
    cli(*LOAD, "--clear-billing")
    assert cli.rows(COUNT) == [(0,)]
    assert cli.json(*LOAD)["billing"] == {}


def test_keeps_billing_that_another_pipeline_loaded(cli: Cli) -> None:
    """Without settings, a run does not touch billing data that the user's own dlt pipeline loads."""
    own = dlt.pipeline("own", destination=dlt.destinations.duckdb(str(cli.database)), dataset_name="billing")
    own.run(billing_source(prices=str(TEMPLATES / "prices.csv")))
    cli(*LOAD)
    cli(*LOAD, "--clear-billing")
    assert cli.rows(COUNT) == [(3,)]


@pytest.mark.thorough
def test_a_billing_error_stops_only_billing(cli: Cli, files: Path) -> None:
    """The last valid billing data stays, providers are loaded, the run reports each error and exits with 1."""
    cli(*LOAD)
    shutil.copy(files / "prices.csv", files / "good.csv")
    break_price(files)
    (files / "fees.csv").unlink()
    output = cli(*LOAD, "--since", "2026-03-01", status=1)
    assert f"FAILED  billing: {ERROR}. Nothing of billing was loaded." in output
    assert f"FAILED  billing: my/billing/fees.csv: there is no file {files / 'fees.csv'}" in output
    assert "ocr_usage_by_usage_type" in output
    assert cli.rows(COUNT) == [(3,)]
    result = cli.json(*LOAD, status=1)
    assert [(failure["provider"], failure["table"]) for failure in result["failures"]] == [
        ("billing", "prices"),
        ("billing", "fees"),
    ]
    assert result["billing"] == {}
    assert result["loaded"]


def test_check_lists_billing_errors(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` exits with 2 as for any configuration error, even without provider credentials, and loads nothing."""
    output = cli("check")
    assert "billing  prices  my/billing/prices.csv  ok" in output
    break_price(files)
    output = cli("check", status=2)
    assert f"billing  prices  {ERROR}" in output
    assert "billing  fees  my/billing/fees.csv  ok" in output
    assert "mathpix  default  ok" in output
    monkeypatch.delenv("SOURCES__MATHPIX__APP_ID")
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    checked = cli.json("check", status=2)
    assert checked["status"] == "failed"
    assert "mathpix" in checked["not_configured"]
    assert checked["billing"] == {
        "configured": {"prices": "my/billing/prices.csv", "fees": "my/billing/fees.csv"},
        "errors": [
            {
                "table": "prices",
                "source": "my/billing/prices.csv",
                "row": 3,
                "column": "unit_price",
                "reason": "'cheap' is not a number; write it like 1234.56",
            }
        ],
    }
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    owners = (files / "owners.csv").read_text().replace("app_id,notes", "app,notes", 1)
    (files / "owners.csv").write_text(owners)
    monkeypatch.setenv("SOURCES__BILLING__OWNERS", "my/billing/owners.csv")
    output = cli("check", status=2)
    assert "finance.prices: the destination has no such table" in output
    assert "owners.csv row 3, dimension: mathpix has no dimension 'app'; did you mean 'app_id'?" in output
    assert not cli.database.exists()


@pytest.mark.thorough
def test_models_load_billing_and_stage_it(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models` loads billing without a provider, so that a changed price takes effect at the next build."""
    select_models(monkeypatch, "stg_billing__prices")
    cli("models", "--tests", "none")
    assert cli.rows(
        "select billing_account, sku_id, sku_price_id, tier_no, unit_price"
        " from usage_staging.stg_billing__prices order by 1, 3"
    ) == [
        ("", "mathpix/pdf-page", "mathpix/pdf-page/t1", 1, cli.rows("select 0.0045::numeric(28,9)")[0][0]),
        ("default", "mathpix/image", "mathpix/image/t1", 1, cli.rows("select 0.0018::numeric(28,9)")[0][0]),
        ("default", "mathpix/image", "mathpix/image/t2", 2, cli.rows("select 0.0012::numeric(28,9)")[0][0]),
    ]


def test_ignores_bare_environment_variables(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRICES without the section prefix, or an empty setting, configures nothing."""
    monkeypatch.setenv("PRICES", "other.csv")
    monkeypatch.setenv("SOURCES__BILLING__FEES", "")
    cli(*LOAD)
    assert cli.rows("select count(*) from information_schema.tables where table_schema = 'billing'") == [(0,)]


def test_no_configuration_loads_nothing(cli: Cli) -> None:
    """Without configuration, loading creates no dataset and no database."""
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    state = RunState()
    load_billing(resolve_destination(), state, configured_billing())
    assert (state.billing, state.failures) == ({}, [])
    assert not cli.database.exists()


def test_refuses_a_database_named_billing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DuckDB file with the name of the schema is refused, as for other schemas."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "billing.duckdb")
    assert "like one of its schemas" in cli(*LOAD, status=2)


def test_reads_billing_from_a_table_of_the_destination(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` and `check` read a configured `schema.table` and check it like a file."""
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("create schema finance")
        connection.execute(f"create table finance.prices as from read_csv('{TEMPLATES}/prices.csv', all_varchar = true)")
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    cli(*LOAD)
    assert cli.rows("select distinct source from billing.prices") == [("finance.prices",)]
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("update finance.prices set currency = 'usd' where tier_to is not null")
    assert "finance.prices row 2, currency: 'usd' is not an ISO 4217 currency code" in cli("check", status=2)


def test_reports_an_unreachable_destination_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is reported in one line, without a traceback, and not as an error of the user's table."""
    cli(*LOAD)

    def broken(pipeline: object) -> None:
        raise OSError("the connection\nwas lost")

    monkeypatch.setattr("meterhouse.pipelines.run.billing.table_reader", broken)
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    output = f"billing: {cli.database} cannot be used: the connection was lost"
    assert f"meterhouse: {output}" in cli("check", status=1)
    assert f"FAILED  {output}" in cli(*LOAD, status=1)


def test_refuses_an_invalid_reporting_currency(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any request. Rates without a reporting currency have no effect, and `check` says so."""
    Path("fx_rates.csv").write_text("currency,date,rate\nUSD,2026-01-01,0.9\n")
    monkeypatch.setenv("SOURCES__BILLING__FX_RATES", "fx_rates.csv")
    assert "WARNING  fx_rates has no effect without sources.billing.reporting_currency" in cli("check")
    monkeypatch.setenv("SOURCES__BILLING__REPORTING_CURRENCY", "EURO")
    for command in (LOAD, ("check",), ("models",)):
        message = cli(*command, status=2)
        assert "sources.billing.reporting_currency is not an ISO 4217 currency code" in " ".join(message.split())
        assert not cli.database.exists()
    monkeypatch.setenv("SOURCES__BILLING__REPORTING_CURRENCY", "USD")
    assert "fx_rates.csv row 2, rate: 0.9 is not 1, the only rate of the reporting currency USD" in cli("check", status=2)
    monkeypatch.setenv("SOURCES__BILLING__REPORTING_CURRENCY", "EUR")
    assert "no effect" not in cli("check")
