"""What is closed: `check` lists it, and `export closed` and `import closed` carry it into a new database."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.export.closed import COLUMNS
from meterhouse.pipelines.run.closing import late_closings
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from tests.conftest import Cli
from tests.pipelines.closed import PERIOD, USAGE, comes_back, write
from tests.pipelines.report.marts import fill
from tests.pipelines.transform.warehouse import build_selected, select_models

ACCOUNTS = "provider,account,billing_account,billing_timezone,plan,signed_up_on\nmathpix,{},acme,,,\n"
INVOICES = """provider,billing_account,invoice_id,period_start,period_end,issued_on,status,currency,total
mathpix,acme,"MP,1",2026-01-01,2026-02-01,2026-02-02,issued,USD,4840.00
"""
FROZEN = "select * from usage_intermediate.int_usage__frozen order by all"
BILLED = """
    select billing_month, charge_class, sum(billed_cost) from usage.charges
    where charge_category = 'Usage' group by 1, 2 order by 1, 2
"""
AS_CLOSED = [(date(2026, 1, 1), None, Decimal(4840)), (date(2026, 2, 1), "Correction", Decimal(482))]
"""1,092,000 pages cost 5,000 for the first million at 0.005, and 322 for the others at 0.0035."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The tenth of March 2026."""
    with time_machine.travel(datetime(2026, 3, 10, 12, tzinfo=UTC)) as traveller:
        yield traveller


def pages(count: int) -> list[dict[str, Any]]:
    """That many PDF pages in January, at 0.005."""
    return [{"hour": datetime(2026, 1, 5, 10, tzinfo=UTC), "app_id": "a", "usage_type": "pdf-page", "count": count}]


@pytest.mark.thorough
def test_a_new_database_bills_as_the_old_one(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Build, close, export; a new database, import, build: the restatement after the closing is still a correction.

    Then the account is renamed: the next build bills the same under the new name.
    """
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-01-01")
    for name, text in {"accounts": ACCOUNTS.format("default"), "invoices": INVOICES}.items():
        Path(f"{name}.csv").write_text(text)
        monkeypatch.setenv(f"SOURCES__BILLING__{name.upper()}", f"{name}.csv")
    load = ("run", "mathpix.ocr_usage_by_usage_type")
    assert "there is no database" in cli("export", "closed", "closed.csv", status=1)
    assert not Path("closed.csv").exists()

    sandbox.mathpix.usage.set(pages(968_000))
    select_models(monkeypatch, "charges", "int_usage__frozen")
    warnings = cli.json(*load, "--tests", "none")["warnings"]
    assert [warning.partition(".")[0] for warning in warnings if "closed" in warning] == [
        "closed more than a month after the end: mathpix default 2026-01 by invoice MP,1"
    ]
    assert "2 rows of closed quantities written to closed.csv" in cli("export", "closed", "closed.csv")
    frozen = cli.rows(FROZEN)

    sandbox.mathpix.usage.set(pages(1_092_000))  # restated by the vendor
    cli.database.unlink()
    clock.shift(3600)
    assert "2 rows imported" in cli("import", "closed", "closed.csv")
    assert cli.rows(FROZEN) == frozen
    since = datetime.now(UTC)
    cli(*load, "--no-models")
    build_selected("charges", "int_usage__frozen")
    assert late_closings(resolve_destination(), since) is None
    assert set(cli.rows(FROZEN)) > set(frozen)
    assert cli.rows(BILLED) == AS_CLOSED
    assert "0 rows imported" in cli("import", "closed", "closed.csv")

    cli("rename-account", "mathpix", "default", "europe")
    Path("accounts.csv").write_text(ACCOUNTS.format("europe"))
    key = sandbox.mathpix.credential()
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", "europe")
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS__EUROPE__APP_ID", key.app_id)
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS__EUROPE__APP_KEY", key.app_key)
    cli(*load, "--no-models")
    build_selected("charges")
    assert cli.rows(BILLED) == AS_CLOSED
    assert cli.rows("select distinct account from usage.charges where charge_category = 'Usage'") == [("europe",)]

    with Path("closed.csv").open(newline="") as stream:
        *rows, _ = csv.DictReader(stream)
    assert {row["quantity"] for row in rows} == {"0.000000000", "968000.000000000"}
    write([row | {"account": "europe", "quantity": "7"} if row["timespan"] == "hour" else row for row in rows])
    before = cli.rows(FROZEN)
    message = " ".join(cli("import", "closed", "closed.csv", status=2).split())
    assert "has closed the hour 2026-01-05 10:00 of mathpix europe pdf-page otherwise; nothing was imported" in message
    assert cli.rows(FROZEN) == before


def test_export_and_import_are_a_round_trip(cli: Cli) -> None:
    """To the last digit and the microsecond; a second import adds nothing, and a longer history continues a shorter one."""
    comes_back(cli)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"quantity": "1.5e3"}, "line 2: quantity '1.5e3' is not a decimal number"),
        ({"quantity": "0.0000000001"}, "line 2: quantity '0.0000000001' is not a decimal number"),
        ({"closed_at": "2026-02-03 06:00"}, "line 2: closed_at '2026-02-03 06:00' is not a time with a zone"),
        ({"period_end": "02/01/2026"}, "line 2: period_end '02/01/2026' is not a date"),
        ({"provider": "mathpics"}, "line 2: provider 'mathpics' is not one of mathpix"),
        ({"account": ""}, "line 2: account is blank"),
        ({"event": "opened"}, "line 2: event 'opened' is not one of closed"),
        ({"timespan": "hour"}, "line 2: period_start and period_end must be set if the timespan is `period`"),
    ],
)
def test_refuses_a_row_that_it_cannot_read(cli: Cli, changed: dict[str, str], message: str) -> None:
    """The error names line, column and reason, and nothing is imported, not even a database."""
    write([PERIOD | changed, USAGE])
    assert message in " ".join(cli("import", "closed", "closed.csv", status=2).split())
    assert not cli.database.exists()


@pytest.mark.parametrize("name", ["meterhouse.duckdb", "meterhouse.duckdb.wal", "./meterhouse.duckdb.lock"])
def test_an_export_never_replaces_the_database(cli: Cli, name: str) -> None:
    """Nor a file that belongs to it; the same holds for FOCUS and the report."""
    fill(cli.database)
    before = cli.database.read_bytes()
    for command in (("export", "closed", name), ("export", "focus", name, "--format", "csv"), ("report", "-o", name)):
        assert "belongs to the database" in cli(*command, status=2), command
    assert cli.database.read_bytes() == before


def test_refuses_files_that_are_no_exports(cli: Cli) -> None:
    """A missing file, another table, and a broken one."""
    assert "missing.csv cannot be read" in cli("import", "closed", "missing.csv", status=2)
    Path("other.csv").write_text("provider,account\nmathpix,default\n")
    assert "other.csv does not have the columns provider, account" in cli("import", "closed", "other.csv", status=2)
    Path("broken.csv").write_text(",".join(COLUMNS) + "\nmathpix\n")
    assert "line 2: has 1 values, but the header has 12" in cli("import", "closed", "broken.csv", status=2)


def test_refuses_a_truncated_file(cli: Cli) -> None:
    """Without the rows that the file lacks, the usage of a closed period would count as 0."""
    write([PERIOD, USAGE])
    whole = Path("closed.csv").read_text().splitlines(keepends=True)
    for lines, problem in (
        (whole[:2], "closed.csv is truncated or was edited: it has 1 rows, but its last line is not `end of export`"),
        ([whole[0], *whole[2:]], "it has 1 rows, but its last line says 2"),
        ([*whole, whole[1]], "closed.csv, line 5: follows the line `end of export`"),
    ):
        Path("closed.csv").write_text("".join(lines))
        assert problem in " ".join(cli("import", "closed", "closed.csv", status=2).split())
        assert not cli.database.exists()


def test_refuses_conflicting_closings(cli: Cli) -> None:
    """The same period closed at another time is not closed twice."""
    write([PERIOD])
    cli("import", "closed", "closed.csv")
    write([PERIOD | {"closed_at": "2026-03-09T00:00:00Z"}, USAGE])
    refused = " ".join(cli("import", "closed", "closed.csv", status=2).split())
    assert "closed.csv, line 2" in refused
    assert "has closed the period 2026-01-01 00:00 of mathpix default otherwise" in refused
    with duckdb.connect(str(cli.database)) as connection:
        assert connection.sql(FROZEN).fetchall()[0][-1] == "MP-1"
        assert len(connection.sql(FROZEN).fetchall()) == 1


def test_the_columns_are_those_of_the_models() -> None:
    """An import creates the table that the models append to."""
    macro = (PROJECT / "macros/closing.sql").read_text().partition("macro frozen_columns()")[2].partition("endmacro")[0]
    assert [line.split("'")[1] for line in macro.splitlines() if line.startswith("        '")] == list(COLUMNS)


def test_check_says_what_an_invoice_waits_for(cli: Cli) -> None:
    """One line per invoice that has not closed its period. An invoice for a plan only, and a credit note, close none."""
    march, april, may = (date(2026, month, 1) for month in (3, 4, 5))
    invoice = {"provider": "mathpix", "billing_account": "default"}
    statuses = [
        ("M-2", 1, march, april, "under", "Usage", 7),
        ("M-3", 1, march, april, "over", "total", 7),
        ("M-4", 1, april, may, "draft", "mathpix/image", 0),
        ("M-4", 2, april, may, "draft", "Usage", 7),
        ("M-5", 1, april, may, "under", "mathpix/fee/plan", 7),
        ("M-5", 2, april, may, "under", "Purchase", 7),
        ("M-6", 1, april, may, "under", "total", -7),
    ]
    names = ("invoice_id", "line_number", "period_start", "period_end", "status", "line", "invoiced")
    lines = [invoice | dict(zip(names, status, strict=True)) | {"what_to_do": "Wait."} for status in statuses]
    other = lines[1] | {"billing_account": "other"}  # with the number of the invoice that closed `default`
    fill(cli.database, invoice_reconciliation=[*lines, other, invoice | {"status": "month still open"}])
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("create schema usage_intermediate")
        connection.execute("""
            create table usage_intermediate.int_usage__frozen as
            select
                'mathpix' as provider, 'default' as account, meter, date '2026-03-01' as period_start,
                date '2026-04-01' as period_end, 'M-3' as invoice_id, timestamp '2026-04-02 06:00' as closed_at,
                'closed' as event, 'period' as timespan
            from unnest(['pdf-page', 'image']) as meters(meter)
        """)
    printed = cli("check")
    assert "closed  mathpix  default  2026-03  image, pdf-page  by invoice M-3 since 2026-04-02 06:00\n" in printed
    assert "pending  mathpix  default  invoice M-4 of 2026-04-01 to 2026-04-30: draft. Wait.\n" in printed
    later = "It closes the period a day after it was first seen, despite the difference."
    assert f"pending  mathpix  default  invoice M-2 of 2026-03-01 to 2026-03-31: under. Wait. {later}\n" in printed
    assert "pending  mathpix  other  invoice M-3 of 2026-03-01 to 2026-03-31: over. Wait.\n" in printed
    assert printed.count("invoice M-") == 4
    checked = cli.json("check")
    assert [row["meter"] for row in checked["closed"]] == ["image", "pdf-page"]
    assert [(row["invoice_id"], row["status"]) for row in checked["pending"]] == [
        ("M-2", "under"), ("M-4", "draft"), ("M-3", "over"),
    ]  # fmt: skip
