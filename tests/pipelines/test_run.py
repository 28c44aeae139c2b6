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
from tests.conftest import House

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
TABLES = ("ocr_usage_by_usage_type", "ocr_usage_by_request_args_hash", "ocr_usage_by_app_id")
LOAD = ("run", "--no-models")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March; it goes on by itself, so that no two loads have one name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


def loaded(house: House, table: str = TABLES[0], columns: str = "*") -> list[tuple[Any, ...]]:
    return house.rows(f"select {columns} from mathpix.{table} order by all")


def total(house: House, where: str = "true", table: str = TABLES[0]) -> int:
    ((answer,),) = house.rows(f"select coalesce(sum(count), 0) from mathpix.{table} where {where}")
    return int(answer)


def asked(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(request.query["from_date"][0][:13], request.query["to_date"][0][:13]) for request in sandbox.requests}


def test_a_first_run_loads_what_the_vendor_says(house: House, sandbox: Sandbox) -> None:
    """Every table holds the vendor's total, of the default account, in UTC buckets."""
    house(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW)
    assert truth > 0
    assert {total(house, table=table) for table in TABLES} == {truth}
    assert house.rows(
        "select distinct account, timespan, bucket_end - bucket_start, typeof(count), typeof(bucket_start)"
        f" from mathpix.{TABLES[0]}"
    ) == [("default", "hour", timedelta(hours=1), "BIGINT", "TIMESTAMP WITH TIME ZONE")]


def test_a_second_run_changes_no_row(house: House, clock: time_machine.Traveller) -> None:
    """Not even the time of fetching: a row that reads as before is left as it is."""
    with_usage_at_rest = datetime(2026, 3, 20, 10, 0, 1, tzinfo=UTC)
    clock.move_to(with_usage_at_rest, tick=True)
    house(*LOAD)
    before = {table: loaded(house, table) for table in TABLES}
    house(*LOAD)
    assert {table: loaded(house, table) for table in TABLES} == before


def test_what_the_vendor_restates_is_mirrored(house: House, sandbox: Sandbox) -> None:
    """A changed count, a vanished group and a vanished day, each within the lookback; the rest stays as it was."""
    house(*LOAD)
    untouched = loaded(house, TABLES[0], "* exclude (fetched_at)")
    usage = sandbox.mathpix.usage
    usage.restate("2026-03-18T05:00:00", "2026-03-18T06:00:00", count=77, usage_type="image", app_id="lyceum_notes")
    usage.vanish("2026-03-17", usage_type="pdf-page")
    usage.vanish("2026-03-16")
    house(*LOAD)
    assert {total(house, table=table) for table in TABLES} == {usage.total("2026-03-01", NOW)}
    assert house.rows(f"select count(*) from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-16'") == [(0,)]
    assert not house.rows(
        f"select * from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-17' and usage_type = 'pdf-page'"
    )
    earlier = house.rows(
        f"select * exclude (fetched_at) from mathpix.{TABLES[0]} where bucket_start < '2026-03-13' order by all"
    )
    assert earlier == [row for row in untouched if row[2] < datetime(2026, 3, 13, tzinfo=UTC)]


def test_everything_that_vanishes_is_mirrored(house: House, sandbox: Sandbox) -> None:
    """An empty answer empties the window, and only the window."""
    house(*LOAD)
    before_the_lookback = total(house, "bucket_start < '2026-03-13 10:00Z'")
    sandbox.mathpix.usage.vanish("2026-03-10", "2026-04-01")
    house(*LOAD)
    assert total(house, "bucket_start >= '2026-03-13 10:00Z'") == 0
    assert total(house) == before_the_lookback


def test_a_later_run_asks_for_the_lookback_only(
    house: House, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor stands at the last hour that had ended; the lookback is the configured one."""
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-01T00", "2026-03-20T11")}
    sandbox.requests.clear()
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "2 days")
    clock.move_to(NOW + timedelta(days=1))
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-18T10", "2026-03-21T11")}


def test_a_bucket_is_incomplete_while_it_runs(house: House, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """The running hour is marked, grows, and is complete on a run after its end."""
    house(*LOAD)
    incomplete = f"select distinct bucket_start from mathpix.{TABLES[0]} where not is_complete"
    assert house.rows(incomplete) == [(datetime(2026, 3, 20, 10, tzinfo=UTC),)]
    before = total(house, "bucket_start = '2026-03-20 10:00Z'")
    clock.move_to(NOW + timedelta(hours=1))
    house(*LOAD)
    assert house.rows(incomplete) == [(datetime(2026, 3, 20, 11, tzinfo=UTC),)]
    assert total(house, "bucket_start = '2026-03-20 10:00Z'") > before


def test_a_backfill_touches_nothing_outside_it_and_moves_no_cursor(house: House, sandbox: Sandbox) -> None:
    """[since, until) is loaded exactly; rows around it stay, and the next run asks what it would have asked."""
    house(*LOAD)
    rows = loaded(house)
    sandbox.mathpix.usage.restate("2026-01-01", "2026-04-01", factor=2)
    sandbox.requests.clear()
    house(*LOAD, "--since", "2026-03-02", "--until", "2026-03-04")
    assert asked(sandbox) == {("2026-03-02T00", "2026-03-04T00")}
    inside = "bucket_start >= '2026-03-02' and bucket_start < '2026-03-04'"
    assert total(house, inside) == sandbox.mathpix.usage.total("2026-03-02", "2026-03-04")
    outside = house.rows(f"select * from mathpix.{TABLES[0]} where not ({inside}) order by all")
    start, end = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    assert outside == [row for row in rows if not start <= row[2] < end]
    sandbox.requests.clear()
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


def test_a_backfill_before_the_first_run_leaves_the_first_run_whole(house: House, sandbox: Sandbox) -> None:
    """It moves no cursor where there is none."""
    house(*LOAD, "--since", "2026-01-05", "--until", "2026-01-06")
    assert total(house) == sandbox.mathpix.usage.total("2026-01-05", "2026-01-06")
    sandbox.requests.clear()
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-01T00", "2026-03-20T11")}


def test_full_refresh_asks_for_everything_again(house: House, sandbox: Sandbox) -> None:
    """Changes older than the lookback are mirrored then."""
    house(*LOAD)
    sandbox.mathpix.usage.restate("2026-03-01", "2026-03-05", factor=3)
    house(*LOAD)
    assert total(house) != sandbox.mathpix.usage.total("2026-03-01", NOW)
    house(*LOAD, "--full-refresh")
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_an_earlier_initial_date_loads_the_older_history(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting it back after the first run works."""
    house(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2026-02-01", NOW)
    sandbox.requests.clear()
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


@pytest.mark.parametrize("timespan", ["day", "week", "month"])
def test_another_timespan(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, timespan: str) -> None:
    """Longer buckets hold the same total, on their own edges; a month that runs is incomplete."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", timespan)
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    house(*LOAD)
    start = "2026-01-26" if timespan == "week" else "2026-02-01"
    assert total(house) == sandbox.mathpix.usage.total(start, NOW)
    assert house.rows(f"select count(distinct bucket_start) from mathpix.{TABLES[0]} where not is_complete") == [(1,)]


def test_a_change_of_timespan_replaces_the_old_buckets(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours and days of the same time never stand side by side: they would count twice."""
    house(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "day")
    house(*LOAD)
    assert house.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("day",)]
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def accounts(sandbox: Sandbox, **keys: str) -> str:
    import json

    named = {name: sandbox.mathpix.credential(account) for name, account in keys.items()}
    return json.dumps({name: {"app_id": key.app_id, "app_key": key.app_key} for name, key in named.items()})


def test_several_accounts_each_have_rows_and_a_cursor(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that is added later begins at initial_date, not where the others stand."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default"))
    house(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    house(*LOAD)
    for name, account in (("notes", "default"), ("print", "press")):
        assert total(house, f"account = '{name}'") == sandbox.mathpix.usage.total("2026-03-01", NOW, account=account)


def test_an_account_that_fails_does_not_stop_or_undo_the_others(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Its rows and cursor stay, the other's move on, the exit status and the report say which; later it catches up."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    house(*LOAD)
    before = total(house, "account = 'print'")
    clock.move_to(NOW + timedelta(days=10))
    sandbox.mathpix.options.disabled.add("press")
    report = house.json(*LOAD, status=1)
    assert {(failure["account"], failure["kind"]) for failure in report["failures"]} == {("print", "CredentialsRejected")}
    assert total(house, "account = 'print'") == before
    later = NOW + timedelta(days=10)
    assert total(house, "account = 'notes'") == sandbox.mathpix.usage.total("2026-03-01", later)
    sandbox.mathpix.options.disabled.clear()
    house(*LOAD)
    assert total(house, "account = 'print'") == sandbox.mathpix.usage.total("2026-03-01", later, account="press")


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
def test_a_fault_loses_and_doubles_nothing(
    house: House, sandbox: Sandbox, clock: time_machine.Traveller, fault: Fault
) -> None:
    """What only Mathpix can say wrongly; all else is in tests/faults. The tables stay, and the next healthy run is exact."""
    house(*LOAD)
    before = loaded(house)
    clock.move_to(NOW + timedelta(days=12))
    sandbox.faults.add(fault)
    house(*LOAD, status=1)
    assert loaded(house) == before
    sandbox.faults.clear()
    house(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=12))
    assert {total(house, table=table) for table in TABLES} == {truth}


@pytest.mark.thorough
def test_a_failure_between_windows_keeps_what_was_read(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The windows before the fault are loaded, the cursor stands behind them, and the next run goes on from there."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2024-06-01")
    monkeypatch.setenv("SOURCES__MATHPIX__REQUESTS_PER_MINUTE", "10000")  # two runs within one minute: none waits
    sandbox.faults.add(
        Fault(path="/v3", query={"group_by": "usage_type", "to_date": "2026-03-20T11:00:00.000Z"}, status=500)
    )
    house(*LOAD, status=1)
    assert total(house) == sandbox.mathpix.usage.total("2024-06-01", "2025-06-02")
    sandbox.faults.clear()
    sandbox.requests.clear()
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2024-06-01", NOW)
    assert ("2025-05-26T00", "2026-03-20T11") in asked(sandbox)


def test_a_lost_working_directory_is_restored_from_the_destination(
    house: House, sandbox: Sandbox, dlt_data_dir: Path
) -> None:
    """State lives with the data: a new machine goes on where the old one stopped."""
    house(*LOAD)
    shutil.rmtree(dlt_data_dir)
    sandbox.requests.clear()
    house(*LOAD)
    assert asked(sandbox) == {("2026-03-13T10", "2026-03-20T11")}
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_lost_database_is_loaded_again(house: House, sandbox: Sandbox) -> None:
    """No cursor outlives the rows that it stands for."""
    house(*LOAD)
    house.database.unlink()
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_another_database_has_a_cursor_of_its_own(house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second file beside the first is loaded whole."""
    house(*LOAD)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "other.duckdb")
    house(*LOAD)
    house.database = house.folder / "other.duckdb"
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_database_from_a_backup_is_brought_up_to_date(
    house: House, sandbox: Sandbox, clock: time_machine.Traveller
) -> None:
    """The destination is the only truth: what an older file does not hold is asked for again, whatever was loaded since."""
    house(*LOAD)
    backup = house.database.read_bytes()
    clock.move_to(NOW + timedelta(days=40))
    house(*LOAD)
    house.database.write_bytes(backup)
    clock.move_to(NOW + timedelta(days=41))
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=41))


def test_a_second_run_at_the_same_time_is_told_to_wait(house: House, sandbox: Sandbox) -> None:
    """Two runs share a working directory; the second ends at once, in one line, and nothing is asked or written."""
    script = (
        "from pipelines.destination import only_run, resolve_destination\n"
        "with only_run(resolve_destination()): print('at work', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "at work\n"
    house(*LOAD, status=1)
    assert "another run is at work" in house.output
    assert len(sandbox.requests) == 0
    other.communicate("\n")
    house(*LOAD)


def test_a_change_of_timespan_begins_where_the_longer_buckets_did(
    house: House, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From months to hours with an initial date inside a month: the month's row goes, and its hours come."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "month")
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-15")
    house(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "hour")
    house(*LOAD, "--since", "2026-02-20", "--until", "2026-02-21", status=1)
    assert "would count twice what lies in both" in house.output
    house(*LOAD)
    assert house.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("hour",)]
    assert total(house) == sandbox.mathpix.usage.total("2026-02-01", NOW)


def test_variables_of_other_programs_are_not_ours(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt falls back to names without a section; a BASE_URL or API_KEY of somebody else's is neither used nor sent."""
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("API_KEY", "somebody-elses-key")
    monkeypatch.setenv("TIMESPAN", "year")
    house(*LOAD)
    report = house.json("check")
    assert [entry["provider"] for entry in report["providers"]] == ["mathpix"]


def test_a_field_by_the_name_of_one_of_our_columns_is_kept_apart(house: House, sandbox: Sandbox) -> None:
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
    house(*LOAD)
    assert house.rows(f"select account, count, vendor_account, vendor_count from mathpix.{TABLES[0]}") == [
        ("default", 9, "x", "1")
    ]


def test_a_key_from_a_file_with_a_line_break_works(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The break is not the key's; a character that no header can hold is refused without being shown."""
    key = os.environ["SOURCES__MATHPIX__APP_KEY"]
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", f"{key}\n")
    house(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "geheimschlüssel")
    house(*LOAD, status=2)
    assert "app_key in [sources.mathpix] has characters that no key has" in house.output
    assert "geheim" not in house.output


def test_a_package_that_was_left_behind_does_no_harm(house: House, sandbox: Sandbox) -> None:
    """A run that died between extraction and load moved no cursor; the next one asks again and loads the truth."""
    from meterhouse.pipelines.warehouse.destination import resolve_destination

    house(*LOAD)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    pipeline = resolve_destination().pipeline("mathpix")
    pipeline.extract(mathpix_source())
    sandbox.mathpix.usage.restate("2026-03-18", factor=2)
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_field_that_the_vendor_adds_is_a_new_column(house: House, sandbox: Sandbox) -> None:
    """It arrives as text; rows loaded before have nothing in it, and totals stay."""
    house(*LOAD)
    row = {"from_date": "2026-03-19T00:00:00Z", "usage_type": "image", "count": 9, "region": "eu"}
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "usage_type"}, body={"ocr_usage": [row]}))
    house(*LOAD)
    assert house.rows(f"select count, region from mathpix.{TABLES[0]} where region is not null") == [(9, "eu")]
    sandbox.faults.clear()
    house(*LOAD)
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_windows_are_on_record(house: House) -> None:
    """What was asked for, when, up to where it was complete and how many rows came, stands beside the tables."""
    house(*LOAD)
    assert house.rows(
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


def test_a_new_account_without_usage_has_its_tables(house: House, sandbox: Sandbox) -> None:
    """An empty first run makes the tables, so that SQL on them is valid."""
    sandbox.mathpix.usage.set([])
    house(*LOAD)
    assert all(loaded(house, table) == [] for table in TABLES)


def test_one_table_may_be_run_alone(house: House, sandbox: Sandbox) -> None:
    """PROVIDER.RESOURCE asks for nothing else."""
    house("run", "mathpix.ocr_usage_by_app_id", "--no-models")
    assert {request.query["group_by"][0] for request in sandbox.requests} == {"app_id"}


def test_in_a_pipeline_of_ones_own_a_failure_is_raised_and_nothing_is_loaded(house: House, sandbox: Sandbox) -> None:
    """Without a journal that collects failures, dlt's own rule holds: an exception, and no half-written package."""
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb("meterhouse.duckdb"), dataset_name="mathpix")
    pipeline.run(mathpix_source())
    before = loaded(house)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "app_id"}, status=500))
    with pytest.raises(Exception, match="the provider has a fault of its own"):
        pipeline.run(mathpix_source())
    assert loaded(house) == before
    sandbox.faults.clear()
    pipeline.run(mathpix_source())
    assert total(house) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_a_fault_of_the_program_is_not_the_databases(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong before anything is written does not send its reader to the database."""

    def unforeseen(*_: object, **__: object) -> None:
        raise KeyError("data")

    monkeypatch.setattr("meterhouse.sources._core.windowed_resource._stamped", unforeseen)
    (failure,) = house.json(*LOAD, status=1)["failures"]
    assert "could not be made into tables (KeyError 'data')" in failure["error"]
    assert "cannot be used" not in failure["error"]
