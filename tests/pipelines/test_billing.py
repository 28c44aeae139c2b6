"""What the command does with the user's own prices, credits and invoices."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.run.billing import configured_billing, load_billing
from meterhouse.pipelines.run.state import RunState
from meterhouse.sources.billing import TABLES, TEMPLATES
from tests.conftest import Cli

LOAD = ("run", "--no-models")
COUNT = "select count(*) from billing.prices"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; it goes on by itself, so that no two loads have one name."""
    with time_machine.travel(datetime(2026, 3, 20, 10, 30, tzinfo=UTC)) as traveller:
        yield traveller


@pytest.fixture
def files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The templates, as `check` writes them, and prices and fees configured from them."""
    cli("check", "--billing-templates", "my/billing")
    for table in ("prices", "fees"):
        monkeypatch.setenv(f"SOURCES__BILLING__{table.upper()}", f"my/billing/{table}.csv")
    return cli.folder / "my" / "billing"


def spoil(files: Path) -> None:
    """A price that is no number, in the third line."""
    prices = files / "prices.csv"
    prices.write_text(prices.read_text().replace("0.0012", "cheap"))


FAULT = "my/billing/prices.csv row 3, unit_price: 'cheap' is not a number, which is written as 1234.56"


def test_templates_are_written_beside_what_is_there(cli: Cli) -> None:
    """No file of the user's is overwritten, and nothing is asked of anyone."""
    Path("mine").mkdir()
    Path("mine/prices.csv").write_text("mine")
    said = cli("check", "--billing-templates", "mine")
    assert "mine/prices.csv is there already and stays as it is" in said
    assert {file.stem for file in Path("mine").iterdir()} == set(TABLES)
    assert Path("mine/prices.csv").read_text() == "mine"
    assert "mathpix  default" not in said
    assert "cannot be written" in cli("check", "--billing-templates", "mine/prices.csv", status=2)


def test_a_run_loads_billing_and_its_removal_empties_it(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the providers, whichever are named; without configuration the facts are gone again."""
    report = cli.json(*LOAD, "mathpix")
    assert report["billing"] == {"prices": "my/billing/prices.csv", "fees": "my/billing/fees.csv"}
    assert cli.rows(COUNT) == [(3,)]
    assert cli.rows("select count(*) from billing.invoices") == [(0,)]
    assert "billing  prices from my/billing/prices.csv, fees from my/billing/fees.csv" in cli(*LOAD)
    for table in ("PRICES", "FEES"):
        monkeypatch.delenv(f"SOURCES__BILLING__{table}")
    cli(*LOAD)
    assert cli.rows(COUNT) == [(0,)]


def test_a_fault_stops_billing_and_nothing_else(cli: Cli, files: Path) -> None:
    """The last good facts stay, the providers are loaded, the fault is named, and the status is 1."""
    cli(*LOAD)
    shutil.copy(files / "prices.csv", files / "good.csv")
    spoil(files)
    (files / "fees.csv").unlink()
    said = cli(*LOAD, "--since", "2026-03-01", status=1)
    assert f"FAILED  billing: {FAULT}. Nothing of billing was loaded." in said
    assert f"FAILED  billing: my/billing/fees.csv: there is no file {files / 'fees.csv'}" in said
    assert "ocr_usage_by_usage_type" in said
    assert cli.rows(COUNT) == [(3,)]
    report = cli.json(*LOAD, status=1)
    assert [(failure["provider"], failure["table"]) for failure in report["failures"]] == [
        ("billing", "prices"),
        ("billing", "fees"),
    ]
    assert report["billing"] == {}
    assert report["loaded"]


def test_check_lists_the_faults(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 2, as for any wrong configuration; also where no provider has credentials; nothing is loaded."""
    said = cli("check")
    assert "billing  prices  my/billing/prices.csv  ok" in said
    spoil(files)
    said = cli("check", status=2)
    assert f"billing  prices  {FAULT}" in said
    assert "billing  fees  my/billing/fees.csv  ok" in said
    assert "mathpix  default  ok" in said
    monkeypatch.delenv("SOURCES__MATHPIX__APP_ID")
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    answer = cli.json("check", status=2)
    assert answer["status"] == "failed"
    assert "mathpix" in answer["not_configured"]
    assert answer["billing"] == {
        "configured": {"prices": "my/billing/prices.csv", "fees": "my/billing/fees.csv"},
        "faults": [
            {
                "table": "prices",
                "source": "my/billing/prices.csv",
                "row": 3,
                "column": "unit_price",
                "reason": "'cheap' is not a number, which is written as 1234.56",
            }
        ],
    }
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    assert "finance.prices: the destination has no such table" in cli("check", status=2)
    assert not cli.database.exists()


@pytest.mark.thorough
def test_models_load_billing_and_stage_it(cli: Cli, files: Path) -> None:
    """Also without a provider, so that a price that changed counts at the next build."""
    cli("models")
    assert cli.rows(
        "select billing_account, sku_id, sku_price_id, tier_no, unit_price"
        " from usage_staging.stg_billing__prices order by 1, 3"
    ) == [
        ("", "mathpix/pdf-page", "mathpix/pdf-page/t1", 1, cli.rows("select 0.0045::numeric(28,9)")[0][0]),
        ("default", "mathpix/image", "mathpix/image/t1", 1, cli.rows("select 0.0018::numeric(28,9)")[0][0]),
        ("default", "mathpix/image", "mathpix/image/t2", 2, cli.rows("select 0.0012::numeric(28,9)")[0][0]),
    ]


def test_variables_of_other_programs_are_no_files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRICES and FEES without a section are somebody else's."""
    monkeypatch.setenv("PRICES", "other.csv")
    monkeypatch.setenv("SOURCES__BILLING__FEES", "")
    cli(*LOAD)
    assert cli.rows("select count(*) from information_schema.tables where table_schema = 'billing'") == [(0,)]


def test_nothing_configured_does_nothing(cli: Cli) -> None:
    """No dataset, no file, no working folder of it."""
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    record = RunState()
    load_billing(resolve_destination(), record, configured_billing())
    assert (record.billing, record.failures) == ({}, [])
    assert not cli.database.exists()


def test_a_database_may_not_be_called_billing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the other schemas."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "billing.duckdb")
    assert "has the name of a schema" in cli(*LOAD, status=2)


def test_a_table_of_the_destination_will_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` and `check` read it from the database that they load into, and hold it to the same."""
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("create schema finance")
        connection.execute(f"create table finance.prices as from read_csv('{TEMPLATES}/prices.csv', all_varchar = true)")
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    cli(*LOAD)
    assert cli.rows("select distinct source from billing.prices") == [("finance.prices",)]
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("update finance.prices set currency = 'usd' where tier_to is not null")
    assert "finance.prices row 2, currency: 'usd' is no currency of ISO 4217" in cli("check", status=2)


def test_a_destination_that_cannot_be_asked_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a traceback nor a fault of the user's table; the providers are loaded."""
    cli(*LOAD)

    def broken(pipeline: object) -> None:
        raise OSError("the connection\nwas lost")

    monkeypatch.setattr("meterhouse.pipelines.run.billing.table_reader", broken)
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "finance.prices")
    said = f"billing: {cli.database} cannot be used: the connection was lost"
    assert f"meterhouse: {said}" in cli("check", status=1)
    assert f"FAILED  {said}" in cli(*LOAD, status=1)
