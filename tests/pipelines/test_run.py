"""The promises of a run for the raw tables, each tested on a real DuckDB file and over real HTTP."""

import os
import shutil
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
TABLES = tuple(
    f"ocr_usage_by_{grouping}" for grouping in ("usage_type", "request_args_hash", "app_id", "usage_type_and_app_id")
)
LOAD = ("run", "--no-models")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A morning in March. The clock keeps running, so that no two loads get the same name."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database after a first run at NOW. The first test that needs it creates it."""
    return tmp_path_factory.mktemp("first") / "meterhouse.duckdb"


@pytest.fixture
def loaded_cli(cli: Cli, sandbox: Sandbox, first_run: Path) -> Cli:
    """`cli` after a first run at NOW, as on another machine: without dlt's working directory."""
    if not first_run.exists():
        cli(*LOAD)
        shutil.copy(cli.database, first_run)
    shutil.copy(first_run, cli.database)
    sandbox.requests.clear()
    return cli


def loaded_rows(cli: Cli, table: str = TABLES[0], columns: str = "*") -> list[tuple[Any, ...]]:
    return cli.rows(f"select {columns} from mathpix.{table} order by all")


def total(cli: Cli, where: str = "true", table: str = TABLES[0]) -> int:
    ((count,),) = cli.rows(f"select coalesce(sum(count), 0) from mathpix.{table} where {where}")
    return int(count)


def requested_windows(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(request.query["from_date"][0][:13], request.query["to_date"][0][:13]) for request in sandbox.requests}


def test_a_first_run_loads_all_usage(cli: Cli, sandbox: Sandbox) -> None:
    """Every table holds the vendor's total for the default account, in UTC buckets."""
    cli(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW)
    assert truth > 0
    assert {total(cli, table=table) for table in TABLES} == {truth}
    assert cli.rows(
        "select distinct account, timespan, bucket_end - bucket_start, typeof(count), typeof(bucket_start)"
        f" from mathpix.{TABLES[0]}"
    ) == [("default", "hour", timedelta(hours=1), "BIGINT", "TIMESTAMP WITH TIME ZONE")]


def test_a_second_run_changes_no_row(cli: Cli, clock: time_machine.Traveller) -> None:
    """An unchanged row keeps even its fetch time."""
    start_of_hour = datetime(2026, 3, 20, 10, 0, 1, tzinfo=UTC)  # the running hour has no usage yet
    clock.move_to(start_of_hour, tick=True)
    cli(*LOAD)
    before = {table: loaded_rows(cli, table) for table in TABLES}
    cli(*LOAD)
    assert {table: loaded_rows(cli, table) for table in TABLES} == before


def test_mirrors_restated_usage(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """Within the lookback, a changed count, a withdrawn group and a withdrawn day are mirrored; older rows stay."""
    untouched = loaded_rows(loaded_cli, TABLES[0], "* exclude (fetched_at)")
    usage = sandbox.mathpix.usage
    usage.restate("2026-03-18T05:00:00", "2026-03-18T06:00:00", count=77, usage_type="image", app_id="lyceum_notes")
    usage.withdraw("2026-03-17", usage_type="pdf-page")
    usage.withdraw("2026-03-16")
    loaded_cli(*LOAD)
    assert {total(loaded_cli, table=table) for table in TABLES} == {usage.total("2026-03-01", NOW)}
    assert loaded_cli.rows(f"select count(*) from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-16'") == [(0,)]
    assert not loaded_cli.rows(
        f"select * from mathpix.{TABLES[0]} where bucket_start::date = '2026-03-17' and usage_type = 'pdf-page'"
    )
    earlier = loaded_cli.rows(
        f"select * exclude (fetched_at) from mathpix.{TABLES[0]} where bucket_start < '2026-03-13' order by all"
    )
    assert earlier == [row for row in untouched if row[2] < datetime(2026, 3, 13, tzinfo=UTC)]


def test_an_empty_response_empties_its_window(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """Rows before the window stay."""
    before_the_lookback = total(loaded_cli, "bucket_start < '2026-03-13 10:00Z'")
    sandbox.mathpix.usage.withdraw("2026-03-10", "2026-04-01")
    loaded_cli(*LOAD)
    assert total(loaded_cli, "bucket_start >= '2026-03-13 10:00Z'") == 0
    assert total(loaded_cli) == before_the_lookback


def test_a_later_run_requests_the_lookback_only(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts at the last complete hour less the configured lookback."""
    cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-01T00", "2026-03-20T11")}
    sandbox.requests.clear()
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "2 days")
    clock.move_to(NOW + timedelta(days=1))
    cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-18T10", "2026-03-21T11")}


def test_a_running_bucket_is_incomplete(loaded_cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """The running hour is marked, grows, and becomes complete in a run after its end."""
    incomplete = f"select distinct bucket_start from mathpix.{TABLES[0]} where not is_complete"
    assert loaded_cli.rows(incomplete) == [(datetime(2026, 3, 20, 10, tzinfo=UTC),)]
    before = total(loaded_cli, "bucket_start = '2026-03-20 10:00Z'")
    clock.move_to(NOW + timedelta(hours=1))
    loaded_cli(*LOAD)
    assert loaded_cli.rows(incomplete) == [(datetime(2026, 3, 20, 11, tzinfo=UTC),)]
    assert total(loaded_cli, "bucket_start = '2026-03-20 10:00Z'") > before


def test_a_backfill_changes_nothing_else(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """It loads exactly [since, until) and moves no cursor: rows outside stay, and so do the windows of the next run."""
    rows = loaded_rows(loaded_cli)
    sandbox.mathpix.usage.restate("2026-01-01", "2026-04-01", factor=2)
    sandbox.requests.clear()
    loaded_cli(*LOAD, "--since", "2026-03-02", "--until", "2026-03-04")
    assert requested_windows(sandbox) == {("2026-03-02T00", "2026-03-04T00")}
    inside = "bucket_start >= '2026-03-02' and bucket_start < '2026-03-04'"
    assert total(loaded_cli, inside) == sandbox.mathpix.usage.total("2026-03-02", "2026-03-04")
    outside = loaded_cli.rows(f"select * from mathpix.{TABLES[0]} where not ({inside}) order by all")
    start, end = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    assert outside == [row for row in rows if not start <= row[2] < end]
    sandbox.requests.clear()
    loaded_cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


@pytest.mark.thorough
def test_a_backfill_before_the_first_run_sets_no_cursor(cli: Cli, sandbox: Sandbox) -> None:
    """The first run requests everything since initial_date."""
    cli(*LOAD, "--since", "2026-01-05", "--until", "2026-01-06")
    assert total(cli) == sandbox.mathpix.usage.total("2026-01-05", "2026-01-06")
    sandbox.requests.clear()
    cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-01T00", "2026-03-20T11")}


@pytest.mark.thorough
def test_full_refresh_requests_everything_again(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """It mirrors changes older than the lookback."""
    sandbox.mathpix.usage.restate("2026-03-01", "2026-03-05", factor=3)
    loaded_cli(*LOAD)
    assert total(loaded_cli) != sandbox.mathpix.usage.total("2026-03-01", NOW)
    loaded_cli(*LOAD, "--full-refresh")
    assert total(loaded_cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


@pytest.mark.thorough
def test_an_earlier_initial_date_loads_the_older_history(
    loaded_cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting may change after the first run."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    loaded_cli(*LOAD)
    assert total(loaded_cli) == sandbox.mathpix.usage.total("2026-02-01", NOW)
    sandbox.requests.clear()
    loaded_cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-13T10", "2026-03-20T11")}


@pytest.mark.parametrize("timespan", ["day", "week", "month"])
def test_loads_buckets_of_any_timespan(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, timespan: str) -> None:
    """Longer buckets hold the same total between their own bounds, and the running bucket is incomplete."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", timespan)
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-01")
    cli(*LOAD)
    start = "2026-01-26" if timespan == "week" else "2026-02-01"
    assert total(cli) == sandbox.mathpix.usage.total(start, NOW)
    assert cli.rows(f"select count(distinct bucket_start) from mathpix.{TABLES[0]} where not is_complete") == [(1,)]


@pytest.mark.thorough
def test_a_change_of_timespan_replaces_the_old_buckets(
    loaded_cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours and days of the same time never coexist, because they would count twice."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "day")
    loaded_cli(*LOAD)
    assert loaded_cli.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("day",)]
    assert total(loaded_cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def accounts(sandbox: Sandbox, **keys: str) -> str:
    import json

    named = {name: sandbox.mathpix.credential(account) for name, account in keys.items()}
    return json.dumps({name: {"app_id": key.app_id, "app_key": key.app_key} for name, key in named.items()})


@pytest.mark.thorough
def test_each_account_has_its_own_cursor(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that is added later starts at initial_date."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default"))
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    cli(*LOAD)
    for name, account in (("notes", "default"), ("print", "press")):
        assert total(cli, f"account = '{name}'") == sandbox.mathpix.usage.total("2026-03-01", NOW, account=account)


def test_a_failing_account_does_not_affect_the_others(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    """Its rows and cursor stay, and a later run catches up. The exit status is 1, and the result names the account."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", accounts(sandbox, notes="default", print="press"))
    cli(*LOAD)
    before = total(cli, "account = 'print'")
    clock.move_to(NOW + timedelta(days=10))
    sandbox.mathpix.options.disabled.add("press")
    result = cli.json(*LOAD, status=1)
    assert {(failure["account"], failure["kind"]) for failure in result["failures"]} == {("print", "CredentialsRejected")}
    assert total(cli, "account = 'print'") == before
    later = NOW + timedelta(days=10)
    assert total(cli, "account = 'notes'") == sandbox.mathpix.usage.total("2026-03-01", later)
    sandbox.mathpix.options.disabled.clear()
    cli(*LOAD)
    assert total(cli, "account = 'print'") == sandbox.mathpix.usage.total("2026-03-01", later, account="press")


@pytest.mark.thorough
def test_a_failed_run_changes_no_row(loaded_cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """After faults that only Mathpix can have (tests/faults has all others), the next run is exact."""
    before = loaded_rows(loaded_cli)
    clock.move_to(NOW + timedelta(days=12))
    for fault in (
        Fault(path="/v3", body={"ocr_usage": [{"from_date": "2026-03-30T00:30:00Z", "count": 1}]}),
        Fault(path="/v3", body='{"ocr_usage": [{"from_date": "2026-03-30T00:00:00Z", "count": 1e9999999}]}'),
        Fault(path="/v3", body="[" * 100_000),
        Fault(path="/v3", query={"group_by": "usage_type"}, status=500),
    ):
        sandbox.faults.add(fault)
        loaded_cli(*LOAD, status=1)
        assert loaded_rows(loaded_cli) == before
        sandbox.faults.clear()
    loaded_cli(*LOAD)
    truth = sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=12))
    assert {total(loaded_cli, table=table) for table in TABLES} == {truth}


@pytest.mark.thorough
def test_a_failure_keeps_the_windows_before_it(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows before the failure are loaded, and the next run continues after them."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2025-03-01")
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "day")
    monkeypatch.setenv("SOURCES__MATHPIX__REQUESTS_PER_MINUTE", "10000")  # two runs within one minute: none waits
    sandbox.faults.add(
        Fault(path="/v3", query={"group_by": "usage_type", "to_date": "2026-03-21T00:00:00.000Z"}, status=500)
    )
    cli(*LOAD, status=1)
    assert total(cli) == sandbox.mathpix.usage.total("2025-03-01", "2026-03-02")
    sandbox.faults.clear()
    sandbox.requests.clear()
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2025-03-01", NOW)
    assert ("2026-02-23T00", "2026-03-21T00") in requested_windows(sandbox)


@pytest.mark.thorough
def test_restores_a_lost_working_directory(cli: Cli, sandbox: Sandbox, dlt_data_dir: Path) -> None:
    """The destination holds the state, so another machine continues where the last one stopped."""
    cli(*LOAD)
    shutil.rmtree(dlt_data_dir)
    sandbox.requests.clear()
    cli(*LOAD)
    assert requested_windows(sandbox) == {("2026-03-13T10", "2026-03-20T11")}
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


@pytest.mark.thorough
def test_reloads_a_lost_database(cli: Cli, sandbox: Sandbox) -> None:
    """No cursor survives the rows that it stands for."""
    cli(*LOAD)
    cli.database.unlink()
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


@pytest.mark.thorough
def test_each_database_has_its_own_cursor(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second database is loaded from initial_date."""
    cli(*LOAD)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "other.duckdb")
    cli(*LOAD)
    cli.database = cli.folder / "other.duckdb"
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


@pytest.mark.thorough
def test_catches_up_after_a_restored_backup(loaded_cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller) -> None:
    """A run requests all that the restored file lacks, even if it was loaded before."""
    backup = loaded_cli.database.read_bytes()
    clock.move_to(NOW + timedelta(days=40))
    loaded_cli(*LOAD)
    loaded_cli.database.write_bytes(backup)
    clock.move_to(NOW + timedelta(days=41))
    loaded_cli(*LOAD)
    assert total(loaded_cli) == sandbox.mathpix.usage.total("2026-03-01", NOW + timedelta(days=41))


@pytest.mark.thorough
def test_a_change_to_shorter_buckets_reloads_the_first_bucket(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From months to hours, with initial_date inside a month, the hours of the whole month replace its row."""
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "month")
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-02-15")
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__TIMESPAN", "hour")
    cli(*LOAD, "--since", "2026-02-20", "--until", "2026-02-21", status=1)
    assert "would count the same usage twice" in cli.output
    cli(*LOAD)
    assert cli.rows(f"select distinct timespan from mathpix.{TABLES[0]}") == [("hour",)]
    assert total(cli) == sandbox.mathpix.usage.total("2026-02-01", NOW)


def test_ignores_variables_of_other_programs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt falls back to variables without a section, such as BASE_URL or API_KEY; a run neither uses nor sends them."""
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("API_KEY", "key-of-another-program")
    monkeypatch.setenv("TIMESPAN", "year")
    cli(*LOAD)
    result = cli.json("check")
    assert [entry["provider"] for entry in result["providers"]] == ["mathpix"]


def test_renames_vendor_fields_with_our_column_names(cli: Cli, sandbox: Sandbox) -> None:
    """A vendor field with the name of one of our columns, in any case, gets the prefix `vendor_`."""
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


def test_added_fields_may_have_names_outside_of_ascii(cli: Cli, sandbox: Sandbox) -> None:
    """Each gets a column of its own, although dlt would spell both names alike."""
    row = {"from_date": "2026-03-19T00:00:00Z", "usage_type": "image", "count": 9, "größe": "large", "grüße": "many"}
    sandbox.faults.add(Fault(path="/v3", body={"ocr_usage": [row]}))
    cli("run", f"mathpix.{TABLES[0]}", "--no-models")
    assert cli.rows(f"select gr_xf6_xdfe, gr_xfc_xdfe from mathpix.{TABLES[0]}") == [("large", "many")]


def test_strips_line_breaks_from_keys(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a character that no header can hold is refused without being printed."""
    key = os.environ["SOURCES__MATHPIX__APP_KEY"]
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", f"{key}\n")
    cli(*LOAD)
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "geheimschlüssel")
    cli(*LOAD, status=2)
    assert "app_key in [sources.mathpix] has characters that a key cannot have" in cli.output
    assert "geheim" not in cli.output


@pytest.mark.thorough
def test_discards_the_package_of_a_killed_run(cli: Cli, sandbox: Sandbox) -> None:
    """A run that died between extract and load moved no cursor; the next one requests its windows again."""
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    cli(*LOAD)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    pipeline = resolve_destination().pipeline("mathpix")
    pipeline.extract(mathpix_source())
    sandbox.mathpix.usage.restate("2026-03-18", factor=2)
    cli(*LOAD)
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


@pytest.mark.thorough
def test_a_new_vendor_field_becomes_a_column(loaded_cli: Cli, sandbox: Sandbox) -> None:
    """The column holds text, and null in older rows; totals stay."""
    row = {"from_date": "2026-03-19T00:00:00Z", "usage_type": "image", "count": 9, "region": "eu"}
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "usage_type"}, body={"ocr_usage": [row]}))
    loaded_cli(*LOAD)
    assert loaded_cli.rows(f"select count, region from mathpix.{TABLES[0]} where region is not null") == [(9, "eu")]
    sandbox.faults.clear()
    loaded_cli(*LOAD)
    assert total(loaded_cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_records_fetched_windows(loaded_cli: Cli) -> None:
    """`fetched_windows` has the bounds, the complete part and the row count of each window."""
    assert loaded_cli.rows(
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


def test_creates_tables_for_an_account_without_usage(cli: Cli, sandbox: Sandbox) -> None:
    """SQL on the tables is valid after an empty first run."""
    sandbox.mathpix.usage.set([])
    cli(*LOAD)
    assert all(loaded_rows(cli, table) == [] for table in TABLES)


def test_runs_one_table_alone(cli: Cli, sandbox: Sandbox) -> None:
    """PROVIDER.RESOURCE requests no other table."""
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models")
    assert {request.query["group_by"][0] for request in sandbox.requests} == {"app_id"}


@pytest.mark.thorough
def test_a_failure_in_another_dlt_pipeline_raises_rows(cli: Cli, sandbox: Sandbox) -> None:
    """Without an observer that collects failures, a failure is an exception, and dlt loads nothing."""
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb("meterhouse.duckdb"), dataset_name="mathpix")
    pipeline.run(mathpix_source())
    before = loaded_rows(cli)
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "app_id"}, status=500))
    with pytest.raises(Exception, match="the provider reports an internal error"):
        pipeline.run(mathpix_source())
    assert loaded_rows(cli) == before
    sandbox.faults.clear()
    pipeline.run(mathpix_source())
    assert total(cli) == sandbox.mathpix.usage.total("2026-03-01", NOW)


def test_an_internal_error_does_not_blame_the_database(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error before anything is written does not say that the database cannot be used."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("data")

    monkeypatch.setattr("meterhouse.sources._core.windowed_resource.stamped", fail)
    (failure,) = cli.json(*LOAD, status=1)["failures"]
    assert "could not be converted to tables (KeyError 'data')" in failure["error"]
    assert "cannot be used" not in failure["error"]
