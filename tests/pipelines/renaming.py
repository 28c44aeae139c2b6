"""`meterhouse rename-account` on any destination, with Mathpix: what the tests of DuckDB and PostgreSQL share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from tests.conftest import Cli

NOW = "2026-03-20T10:30:00Z"
PRICES = "provider,billing_account,sku_id,pricing_model,tier_from,tier_to,unit,unit_price,currency,valid_from,valid_to"
TABLES = ("ocr_usage_by_usage_type", "ocr_usage_by_app_id")
FROZEN = (
    "create schema if not exists usage_intermediate",
    "create table usage_intermediate.int_usage__frozen (provider text, account text, quantity int)",
    "insert into usage_intermediate.int_usage__frozen values ('mathpix', 'old', 1), ('scopix', 'old', 2)",
)

Rows = Callable[[str], list[tuple[Any, ...]]]


def rename_and_continue(
    cli: Cli,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    rows: Rows,
    execute: Callable[[str], object],
    *options: str,
) -> None:
    """A run under the new name requests the lookback only and changes no row; the old name is nowhere."""
    run = ("run", *(f"mathpix.{table}" for table in TABLES), "--no-models", *options)
    rename = ("rename-account", "mathpix")
    credential = sandbox.mathpix.credential()
    key = {"app_id": credential.app_id, "app_key": credential.app_key}
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-03-12")
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "2 days")
    usage = (
        "select bucket_start, app_id, usage_type, count from mathpix.{} "
        "where account = '{}' and is_complete order by 1, 2, 3"
    )

    def loaded(account: str) -> list[list[tuple[Any, ...]]]:
        return [rows(usage.format(table, account)) for table in TABLES]

    with time_machine.travel(NOW) as clock:
        monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", json.dumps({"old": key}))
        cli(*run)
        for statement in FROZEN:
            execute(statement)
        before = loaded("old")
        clock.shift(60)
        monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", json.dumps({"new": key}))
        assert "`meterhouse rename-account mathpix old new`" in cli(*run, status=1)
        for names, message in (
            (("olt", "new"), "no row of mathpix has the account olt. Did you mean old?"),
            (("new", "newer"), "no row of mathpix has the account new. Loaded accounts: old."),
            (("old", "old"), "rows of mathpix have the account old already"),
            (("old", "new'"), "the new name is not a valid account name"),
        ):
            assert message in " ".join(cli(*rename, *names, *options, status=2).split()), names
        assert loaded("old") == before

        Path("prices.csv").write_text(f"{PRICES}\nmathpix,old,mathpix/image,flat,0,,image,0.1,USD,2026-01-01,\n")
        monkeypatch.setenv("SOURCES__BILLING__PRICES", "prices.csv")
        renamed = " ".join(cli(*rename, "old", "new", *options).split())
        monkeypatch.delenv("SOURCES__BILLING__PRICES")
        assert "renamed mathpix old to new" in renamed
        assert "change prices prices.csv row 2, billing_account: no account of mathpix is billed to 'old'" in renamed
        assert loaded("new") == before
        assert loaded("old") == [[], []]
        frozen = rows("select * from usage_intermediate.int_usage__frozen order by 3")
        assert frozen == [("mathpix", "new", 1), ("scopix", "old", 2)]
        clock.shift(60)
        sandbox.requests.clear()
        cli(*run)
        assert min(request.query["from_date"][0] for request in sandbox.requests) == "2026-03-18T10:00:00.000Z"
        assert loaded("new") == before
        assert rows("select distinct account from mathpix.fetched_windows") == [("new",)]
        clock.shift(60)
        monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", json.dumps({"old": key}))
        assert "`meterhouse rename-account mathpix new old`" in cli(*run, status=1)
