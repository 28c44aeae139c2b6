"""`meterhouse rename-account` on DuckDB, and where it does not work; tests/pipelines/test_postgres.py has PostgreSQL."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from meterhouse.pipelines.run.accounts import rename_account
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from tests.conftest import Cli
from tests.pipelines.renaming import PRICES, rename_and_continue

PRICE = "mathpix,default,mathpix/image,flat,0,,,{},USD,2026-01-01,"


def execute(file: Path, sql: str) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute(sql)


@pytest.mark.thorough
def test_a_run_continues_after_a_rename(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second history, and with its closed quantities."""
    rename_and_continue(cli, sandbox, monkeypatch, cli.rows, lambda sql: execute(cli.database, sql))


@pytest.mark.parametrize("is_shared", [False, True])
def test_renames_the_account_in_loaded_billing_rows(cli: Cli, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool) -> None:
    """And in their history, so that earlier prices still apply; not a billing account that other accounts share."""
    day = ("--no-models", "--since", "2026-03-18", "--until", "2026-03-19")
    accounts = "provider,account,billing_account,billing_timezone,plan,signed_up_on\nmathpix,default,default,,,\n"
    for price in ("0.004", "0.003"):
        for name, text in {"accounts": accounts, "prices": f"{PRICES}\n{PRICE.format(price)}\n"}.items():
            Path(f"{name}.csv").write_text(text)
            monkeypatch.setenv(f"SOURCES__BILLING__{name.upper()}", f"{name}.csv")
        cli("run", "mathpix.ocr_usage_by_app_id", *day)
    if is_shared:
        execute(cli.database, "insert into billing.accounts select * replace ('other' as account) from billing.accounts")
    cli("rename-account", "mathpix", "default", "europe")
    assert cli.rows("select account from billing.accounts where account <> 'other'") == [("europe",)]
    payer = "default" if is_shared else "europe"
    for table in ("prices", "prices__history", "accounts"):
        assert cli.rows(f"select distinct billing_account from billing.{table}") == [(payer,)]


def test_refuses_what_it_cannot_rename_whole(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty database, another provider's name, and a destination without transactions."""
    assert "there is no provider 'mathpics'" in cli("rename-account", "mathpics", "a", "b", status=2)
    assert "no row of mathpix has the account a. Loaded accounts: none." in cli(
        "rename-account", "mathpix", "a", "b", status=2
    )
    assert not cli.database.exists()
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path))
    refused = cli("rename-account", "mathpix", "a", "b", "--destination", "filesystem", status=2)
    assert "rename-account does not work on filesystem" in refused


def test_renames_everything_or_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last statement fails, no table has the new name."""
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models", "--since", "2026-03-18", "--until", "2026-03-19")
    run_together = DuckDBDestination.execute_in_transaction

    def failing(self: DuckDBDestination, statements: Any) -> None:
        run_together(self, [*statements, ("select * from missing", ())])

    monkeypatch.setattr(DuckDBDestination, "execute_in_transaction", failing)
    with pytest.raises(LoadError):
        rename_account(resolve_destination("duckdb"), "mathpix", "default", "new")
    assert cli.rows("select distinct account from mathpix.ocr_usage_by_app_id") == [("default",)]
    assert cli.rows("select distinct account from mathpix.fetched_windows") == [("default",)]
