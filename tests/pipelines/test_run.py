"""The promises of a run (what it does to the raw tables), each on a real DuckDB file and over real HTTP."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources.mathpix import mathpix_source
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
TABLES = ("ocr_usage_by_usage_type", "ocr_usage_by_request_args_hash", "ocr_usage_by_app_id")
LOAD = ("run", "--no-models")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; it goes on by itself, so that no two loads have one name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


def loaded(cli: Cli, table: str = TABLES[0], columns: str = "*") -> list[tuple[Any, ...]]:
    return cli.rows(f"select {columns} from mathpix.{table} order by all")


def total(cli: Cli, where: str = "true", table: str = TABLES[0]) -> int:
    ((answer,),) = cli.rows(f"select coalesce(sum(count), 0) from mathpix.{table} where {where}")
    return int(answer)


def asked(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(request.query["from_date"][0][:13], request.query["to_date"][0][:13]) for request in sandbox.requests}


def test_a_first_run_loads_what_the_vendor_says(cli: Cli, sandbox: Sandbox) -> None:
    """Every table holds the vendor's total, of the default account, in UTC buckets."""
    cli(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW)
    assert truth > 0
    assert {total(cli, table=table) for table in TABLES} == {truth}
    assert cli.rows(
        "select distinct account, timespan, bucket_end - bucket_start, typeof(count), typeof(bucket_start)"
        f" from mathpix.{TABLES[0]}"
    ) == [("default", "hour", timedelta(hours=1), "BIGINT", "TIMESTAMP WITH TIME ZONE")]


def test_a_second_run_changes_no_row(cli: Cli, clock: time_machine.Traveller) -> None:
    """Not even the time of fetching: a row that reads as before is left as it is."""
    with_usage_at_rest = datetime(2026, 3, 20, 10, 0, 1, tzinfo=UTC)
    clock.move_to(with_usage_at_rest, tick=True)
    cli(*LOAD)
    before = {table: loaded(cli, table) for table in TABLES}
    cli(*LOAD)
    assert {table: loaded(cli, table) for table in TABLES} == before


def test_what_the_vendor_restates_is_mirrored(cli: Cli, sandbox: Sandbox) -> None:
    """A changed count, a vanished group and a vanished day, each within the lookback; the rest stays as it was."""
    cli(*LOAD)
    untouched = loaded(cli, TABLES[0], "* exclude (fetched_at)")
    usage = sandbox.mathpix.usage
    usage.restate("2026-03-18T05:00:00", "2026-03-18T06:00:00", count=77, usage_type="image", app_id="lyceum_notes")
    usage.vanish("2026-03-17", usage_type="pdf-page")
    usage.vanish("2026-03-16")
    cli(*LOAD)
    assert {total(cli, table=table) for table in TABLES} == {usage.total("2026-03-01", NOW)}
    assert cli.rows(f"select count(*) from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-16'") == [(0,)]
    assert not cli.rows(
        f"select * from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-17' and usage_type = 'pdf-page'"
    )
    earlier = cli.rows(
        f"select * exclude (fetched_at) from mathpix.{TABLES[0]} where bucket_start < '2026-03-13' order by all"
    )
    assert earlier == [row for row in untouched if row[2] < datetime(2026, 3, 13, tzinfo=UTC)]


def test_everything_that_vanishes_is_mirrored(cli: Cli, sandbox: Sandbox) -> None:
    """An empty answer empties the window, and only the window."""
    cli(*LOAD)
    before_the_lookback = total(cli, "bucket_start < '2026-03-13 10:00Z'")
    sandbox.mathpix.usage.vanish("2026-03-10", "2026-04-01")
    cli(*LOAD)
    assert total(cli, "bucket_start >= '2026-03-13 10:00Z'") == 0
    assert total(cli) == before_the_lookback


def test_a_later_run_asks_for_the_lookback_only(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor stands at the last hour that had ended; the lookback is the configured one."""
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-01T00", "2026-03-20T11")}
    sandbox.requests.clear()
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "2 days")
    clock.move_to(NOW + timedelta(days=1))
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-18T10", "2026-03-21T11")}


def test_a_bucket_is_incomplete_while_it_runs(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """The running hour is marked, grows, and is complete on a run after its end."""
    cli(*LOAD)
    incomplete = f"select distinct bucket_start from mathpix.{TABLES[0]} where not is_complete"
    assert cli.rows(incomplete) == [(datetime(2026, 3, 20, 10, tzinfo=UTC),)]
    before = total(cli, "bucket_start = '2026-03-20 10:00Z'")
    clock.move_to(NOW + timedelta(hours=1))
    cli(*LOAD)
    assert cli.rows(incomplete) == [(datetime(2026, 3, 20, 11, tzinfo=UTC),)]
    assert total(cli, "bucket_start = '2026-03-20 10:00Z'") > before


def test_a_backfill_touches_nothing_outside_it_and_moves_no_cursor(cli: Cli, sandbox: Sandbox) -> None:
    """[since, until) is loaded exactly; rows around it stay, and the next run asks what it would have asked."""
    cli(*LOAD)
    rows = loaded(cli)
    sandbox.mathpix.usage.restate("2026-01-01", "2026-04-01", factor=2)
    sandbox.requests.clear()
    cli(*LOAD, "--since", "2026-03-02", "--until", "2026-03-04")
    assert asked(sandbox) == {("2026-03-02T00", "2026-03-04T00")}
    inside = "bucket_start >= '2026-03-02' and bucket_start < '2026-03-04'"
    assert total(cli, inside) == sandbox.mathpix.usage.total("2026-03-02", "2026-03-04")
    outside = cli.rows(f"select * from mathpix.{TABLES[0]} where not ({inside}) order by all")
    start, end = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    assert outside == [row for row in rows if not start <= row[2] < end]
    sandbox.requests.clear()
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


def test_a_backfill_before_the_first_run_leaves_the_first_run_whole(cli: Cli, sandbox: Sandbox) -> None:
    """It moves no cursor where there is none."""
    cli(*LOAD, "--since", "2026-01-05", "--until", "2026-01-06")
    assert total(cli) == sandbox.mathpix.usage.total("2026-01-05", "2026-01-06")
    sandbox.requests.clear()
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-01T00", "2026-03-20T11")}


def test_full_refresh_asks_for_everything_again(cli: Cli, sandbox: Sandbox) -> None:
    """Changes older than the lookback are mirrored then."""
    cli(*LOAD)
    sandbox.mathpix.usage.restate("2026-03-01", "2026-03-05", factor=3)
    cli(*LOAD)
    assert total(cli) != sandbox.mathpix.usage.total("2026-03-01", NOW)
    cli(*LOAD, "--full-refresh")
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_an_earlier_initial_date_loads_the_older_history(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting it back after the first run works."""
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-02-01", NOW)
    sandbox.requests.clear()
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


@pytest.mark.parametrize("timespan", ["day", "week", "month"])
def test_another_timespan(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, timespan: str) -> None:
    """Longer buckets hold the same total, on their own edges; a month that runs is incomplete."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", timespan)
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    cli(*LOAD)
    start = "2026-01-26" if timespan == "week" else "2026-02-01"
    assert total(cli) == sandbox.mathpix.usage.total(start, NOW)
    assert cli.rows(f"select count(distinct bucket_start) from mathpix.{TABLES[0]} where not is_complete") == [(1,)]


def test_a_change_of_timespan_replaces_the_old_buckets(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours and days of the same time never stand side by side: they would count twice."""
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "day")
    cli(*LOAD)
    assert cli.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("day",)]
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def accounts(sandbox: Sandbox, **keys: str) -> str:
    import json

    named = {name: sandbox.mathpix.credential(account) for name, account in keys.items()}
    return json.dumps({name: {"app_id": key.app_id, "app_key": key.app_key} for name, key in named.items()})


def test_several_accounts_each_have_rows_and_a_cursor(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that is added later begins at initial_date, not where the others stand."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default"))
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    cli(*LOAD)
    for name, account in (("notes", "default"), ("print", "press")):
        assert total(cli, f"account = '{name}'") == sandbox.mathpix.usage.total("2026-03-01", NOW, account=account)


def test_an_account_that_fails_does_not_stop_or_undo_the_others(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Its rows and cursor stay, the other's move on, the exit status and the report say which; later it catches up."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    cli(*LOAD)
    before = total(cli, "account = 'print'")
    clock.move_to(NOW + timedelta(days=10))
    sandbox.mathpix.options.disabled.add("press")
    report = cli.json(*LOAD, status=1)
    assert {(failure["account"], failure["kind"]) for failure in report["failures"]} == {("print", "CredentialsRejected")}
    assert total(cli, "account = 'print'") == before
    later = NOW + timedelta(days=10)
    assert total(cli, "account = 'notes'") == sandbox.mathpix.usage.total("2026-03-01", later)
    sandbox.mathpix.options.disabled.clear()
    cli(*LOAD)
    assert total(cli, "account = 'print'") == sandbox.mathpix.usage.total("2026-03-01", later, account="press")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/v3", body={"ocr_usage": [{"from_date": "2026-03-30T00:30:00Z", "count": 1}]}),
        Fault(path="/v3", body='{"ocr_usage": [{"from_date": "2026-03-30T00:00:00Z", "count": 1e9999999}]}'),
        Fault(path="/v3", body="[" * 100_000),
        Fault(path="/v3", query={"group_by": "usage_type"}, status=500),
    ],
)
def test_a_fault_loses_and_doubles_nothing(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, fault: Fault) -> None:
    """What only Mathpix can say wrongly; all else is in tests/faults. The tables stay, and the next healthy run is exact."""
    cli(*LOAD)
    before = loaded(cli)
    clock.move_to(NOW + timedelta(days=12))
    sandbox.faults.add(fault)
    cli(*LOAD, status=1)
    assert loaded(cli) == before
    sandbox.faults.clear()
    cli(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=12))
    assert {total(cli, table=table) for table in TABLES} == {truth}


@pytest.mark.thorough
def test_a_failure_between_windows_keeps_what_was_read(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows before the fault are loaded, the cursor stands behind them, and the next run goes on from there."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2024-06-01")
    monkeypatch.setenv("SOURCES__MATHPIX__REQUESTS_PER_MINUTE", "10000")  # two runs within one minute: none waits
    sandbox.faults.add(
        Fault(path="/v3", query={"group_by": "usage_type", "to_date": "2026-03-20T11:00:00.000Z"}, status=500)
    )
    cli(*LOAD, status=1)
    assert total(cli) == sandbox.mathpix.usage.total("2024-06-01", "2025-06-02")
    sandbox.faults.clear()
    sandbox.requests.clear()
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2024-06-01", NOW)
    assert ("2025-05-26T00", "2026-03-20T11") in asked(sandbox)


def test_a_lost_working_directory_is_restored_from_the_destination(cli: Cli, sandbox: Sandbox, dlt_data_dir: Path) -> None:
    """State lives with the data: a new machine goes on where the old one stopped."""
    cli(*LOAD)
    shutil.rmtree(dlt_data_dir)
    sandbox.requests.clear()
    cli(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_lost_database_is_loaded_again(cli: Cli, sandbox: Sandbox) -> None:
    """No cursor outlives the rows that it stands for."""
    cli(*LOAD)
    cli.database.unlink()
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_another_database_has_a_cursor_of_its_own(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second file beside the first is loaded whole."""
    cli(*LOAD)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "other.duckdb")
    cli(*LOAD)
    cli.database = cli.folder / "other.duckdb"
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_database_from_a_backup_is_brought_up_to_date(cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """The destination is the only truth: what an older file does not hold is asked for again, whatever was loaded since."""
    cli(*LOAD)
    backup = cli.database.read_bytes()
    clock.move_to(NOW + timedelta(days=40))
    cli(*LOAD)
    cli.database.write_bytes(backup)
    clock.move_to(NOW + timedelta(days=41))
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=41))


def test_a_second_run_at_the_same_time_is_told_to_wait(cli: Cli, sandbox: Sandbox) -> None:
    """Two runs share a working directory; the second ends at once, in one line, and nothing is asked or written."""
    script = (
        "from pipelines.destination import only_run, resolve_destination\n"
        "with only_run(resolve_destination()): print('at work', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "at work\n"
    cli(*LOAD, status=1)
    assert "another run is at work" in cli.output
    assert len(sandbox.requests) == 0
    other.communicate("\n")
    cli(*LOAD)


def test_a_change_of_timespan_begins_where_the_longer_buckets_did(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From months to hours with an initial date inside a month: the month's row goes, and its hours come."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "month")
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-15")
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "hour")
    cli(*LOAD, "--since", "2026-02-20", "--until", "2026-02-21", status=1)
    assert "would count twice what lies in both" in cli.output
    cli(*LOAD)
    assert cli.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("hour",)]
    assert total(cli) == sandbox.mathpix.usage.total("2026-02-01", NOW)


def test_variables_of_other_programs_are_not_ours(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt falls back to names without a section; a BASE_URL or API_KEY of somebody else's is neither used nor sent."""
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("API_KEY", "somebody-elses-key")
    monkeypatch.setenv("TIMESPAN", "year")
    cli(*LOAD)
    report = cli.json("check")
    assert [entry["provider"] for entry in report["providers"]] == ["mathpix"]


def test_a_field_by_the_name_of_one_of_our_columns_is_kept_apart(cli: Cli, sandbox: Sandbox) -> None:
    """A name that we have already, in whatever case, does not stop the table for good."""
    names = {
        "account": "x",
        "bucket_end": "x",
        "is_complete": True,
        "_dlt_load_id": "x",
        "groupId": "x",
        "Count": 1,
        "": "x",
    }
    row = {"from_date": "2026-03-19T00:00:00Z", "usage_type": "image", "count": 9, **names}
    sandbox.faults.add(Fault(path="/v3", body={"ocr_usage": [row]}))
    cli(*LOAD)
    assert cli.rows(f"select account, count, vendor_account, vendor_count from mathpix.{TABLES[0]}") == [
        ("default", 9, "x", "1")
    ]


def test_a_key_from_a_file_with_a_line_break_works(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The break is not the key's; a character that no header can hold is refused without being shown."""
    key = os.environ["SOURCES__MATHPIX__APP_KEY"]
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", f"{key}\n")
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "geheimschlüssel")
    cli(*LOAD, status=2)
    assert "app_key in [sources.mathpix] has characters that no key has" in cli.output
    assert "geheim" not in cli.output


def test_a_package_that_was_left_behind_does_no_harm(cli: Cli, sandbox: Sandbox) -> None:
    """A run that died between extraction and load moved no cursor; the next one asks again and loads the truth."""
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    cli(*LOAD)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    pipeline = resolve_destination().pipeline("mathpix")
    pipeline.extract(mathpix_source())
    sandbox.mathpix.usage.restate("2026-03-18", factor=2)
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_field_that_the_vendor_adds_is_a_new_column(cli: Cli, sandbox: Sandbox) -> None:
    """It arrives as text; rows loaded before have nothing in it, and totals stay."""
    cli(*LOAD)
    row = {"from_date": "2026-03-19T00:00:00Z", "usage_type": "image", "count": 9, "region": "eu"}
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "usage_type"}, body={"ocr_usage": [row]}))
    cli(*LOAD)
    assert cli.rows(f"select count, region from mathpix.{TABLES[0]} where region is not null") == [(9, "eu")]
    sandbox.faults.clear()
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_windows_are_on_record(cli: Cli) -> None:
    """What was asked for, when, up to where it was complete and how many rows came, stands beside the tables."""
    cli(*LOAD)
    assert cli.rows(
        "select resource, account, window_start, window_end, complete_until, row_count > 0"
        " from mathpix.fetched_windows order by resource"
    ) == [
        (
            table,
            "default",
            datetime(2026, 3, 1, tzinfo=UTC),
            datetime(2026, 3, 20, 11, tzinfo=UTC),
            datetime(2026, 3, 20, 10, tzinfo=UTC),
            True,
        )
        for table in sorted(TABLES)
    ]


def test_a_new_account_without_usage_has_its_tables(cli: Cli, sandbox: Sandbox) -> None:
    """An empty first run makes the tables, so that SQL on them is valid."""
    sandbox.mathpix.usage.set([])
    cli(*LOAD)
    assert all(loaded(cli, table) == [] for table in TABLES)


def test_one_table_may_be_run_alone(cli: Cli, sandbox: Sandbox) -> None:
    """PROVIDER.RESOURCE asks for nothing else."""
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models")
    assert {request.query["group_by"][0] for request in sandbox.requests} == {"app_id"}


def test_in_a_pipeline_of_ones_own_a_failure_is_raised_and_nothing_is_loaded(cli: Cli, sandbox: Sandbox) -> None:
    """Without a journal that collects failures, dlt's own rule holds: an exception, and no half-written package."""
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb("meterhouse.duckdb"), dataset_name="mathpix")
    pipeline.run(mathpix_source())
    before = loaded(cli)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "app_id"}, status=500))
    with pytest.raises(Exception, match="the provider has a fault of its own"):
        pipeline.run(mathpix_source())
    assert loaded(cli) == before
    sandbox.faults.clear()
    pipeline.run(mathpix_source())
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_fault_of_the_program_is_not_the_databases(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong before anything is written does not send its reader to the database."""

    def unforeseen(*_: object, **__: object) -> None:
        raise KeyError("data")

    monkeypatch.setattr("meterhouse.sources._core.windowed_resource._stamped", unforeseen)
    (failure,) = cli.json(*LOAD, status=1)["failures"]
    assert "could not be made into tables (KeyError 'data')" in failure["error"]
    assert "cannot be used" not in failure["error"]
