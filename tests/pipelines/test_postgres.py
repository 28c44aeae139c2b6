"""PostgreSQL: a window replaces a window, a second run changes no row, and the models run."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import quote

import dlt
import pytest
import time_machine
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.job_client_impl import SqlLoadJob

from meterhouse.pipelines.run.load import load_one
from meterhouse.pipelines.run.restatements import lateness
from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.postgres import PostgresDestination
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines import saved_builds
from tests.pipelines.closed import comes_back
from tests.pipelines.renaming import rename_and_continue
from tests.pipelines.saved_builds import SavedBuilds
from tests.pipelines.transform.warehouse import Warehouse, build_selected, postgres_warehouse

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
START = "2026-03-01"
LATER = datetime(2026, 4, 20, 10, tzinfo=UTC)
"""After all other tests, whose rows are in the same database."""
ROUNDS = 3
CREDENTIALS = "DESTINATION__POSTGRES__CREDENTIALS"
PASSWORD = "a-password-that-the-server-does-not-require"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One server for the module."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with postgres_warehouse(folder, folder) as server:
        yield server


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture
def connected(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets dlt's credentials of the server."""
    where = {name.rpartition("_")[2].lower(): value for name, value in postgres.environment.items()}
    # The server listens on a socket in a folder. dlt requires a host; the driver uses the one in the query.
    at = f"localhost:{where['port']}/{where['database']}?host={quote(where['host'], safe='')}"
    monkeypatch.setenv(CREDENTIALS, f"postgresql://{where['user']}:{PASSWORD}@{at}")


@pytest.fixture
def load(cli: Cli, connected: None) -> Callable[[str], None]:
    """Loads one provider into the server."""

    def load(provider: str) -> None:
        cli("run", provider, "--no-models", "--destination", "postgres")

    return load


def rows(postgres: Warehouse, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every usage table."""
    named = postgres.query(
        f"select table_name from information_schema.tables where table_schema = '{schema}' "
        "and table_name not like '%dlt%' and table_name <> 'fetched_windows' order by 1"
    )
    return {table: sorted(postgres.query(f"select * from {schema}.{table}"), key=repr) for (table,) in named}


def value(postgres: Warehouse, expression: str) -> Any:
    return postgres.query(f"select {expression}")[0][0]


def reducto_change(sandbox: Sandbox) -> None:
    sandbox.reducto.usage.restate("2026-03-15", factor=3)
    sandbox.reducto.usage.withdraw("2026-03-16")


def onepin_change(sandbox: Sandbox) -> None:
    sandbox.onepin.usage.restate("2026-03-17", factor=3)
    sandbox.onepin.usage.withdraw("2026-03-18")


def scopix_change(sandbox: Sandbox) -> None:
    sandbox.scopix.usage.restate("2026-03-18", to={"credits": 9.0}, status_code=200)
    sandbox.scopix.usage.withdraw("2026-03-19")


@pytest.mark.parametrize(
    ("provider", "change", "loaded", "expected"),
    [
        (
            "reducto",
            reducto_change,
            f"sum(credits) from reducto.usage_by_product where date >= '{START}'",
            lambda sandbox: sandbox.reducto.usage.total(START).credits,
        ),
        pytest.param(
            "onepin",
            onepin_change,
            f"sum(credits) from onepin.usage_daily where date >= '{START}'",
            lambda sandbox: sandbox.onepin.usage.credits(START),
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            "scopix",
            scopix_change,
            "sum(total_credits) from scopix.usage_daily",
            lambda sandbox: sandbox.scopix.usage.total(START, what="credits"),
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_runs_mirror_the_vendor(
    postgres: Warehouse,
    sandbox: Sandbox,
    load: Callable[[str], None],
    provider: str,
    change: Callable[[Sandbox], None],
    loaded: str,
    expected: Callable[[Sandbox], Any],
) -> None:
    """A second run changes no row, stamps included. A third run replaces restated rows and deletes withdrawn ones.

    The histories have exactly the rows of ended buckets that the third run replaced or deleted.
    """
    with time_machine.travel(NOW, tick=False):
        load(provider)
        before = rows(postgres, provider)
        load(provider)
        assert rows(postgres, provider) == before
        first = expected(sandbox)
        assert value(postgres, loaded) == Decimal(str(first))
        tables = [table for table in before if f"{table}__history" in before]
        known = {table: postgres.query(f"select * from {provider}.{table} where is_complete") for table in tables}
        change(sandbox)
        assert expected(sandbox) != first
        load(provider)
        assert value(postgres, loaded) == Decimal(str(expected(sandbox)))
    after = rows(postgres, provider)
    assert after.keys() == before.keys()
    kept = {table: sorted((row[:-3] for row in after[f"{table}__history"]), key=repr) for table in tables}
    assert kept == {table: sorted(set(known[table]) - set(after[table]), key=repr) for table in tables}
    assert any(kept.values())
    assert all(len(set(before[table]) & set(after[table])) > 0 for table in before if len(before[table]) > 30)


@pytest.mark.thorough
def test_deletes_withdrawn_events(postgres: Warehouse, sandbox: Sandbox, load: Callable[[str], None]) -> None:
    """Events, whose table has no buckets, are deleted by id."""
    with time_machine.travel(NOW, tick=False):
        sandbox.scopix.usage.withdraw("2026-03-18", operation_type="chat")
        load("scopix")
        assert postgres.query("select id from scopix.usage_events order by id") == [
            (name,) for name in sorted(event.id for event in sandbox.scopix.usage.events("default", START))
        ]


@pytest.mark.thorough
def test_records_runs_and_finds_stale_tables(
    cli: Cli, postgres: Warehouse, sandbox: Sandbox, load: Callable[[str], None]
) -> None:
    """The counts of changed and deleted rows are exact, and `check --max-age` finds tables that are too old."""
    start = datetime(2026, 4, 1, 10, tzinfo=UTC)
    counted = (
        "resource, outcome, rows_changed, rows_gone from meterhouse.runs where provider = 'reducto' and started_at >= '{}'"
    )
    with time_machine.travel(start) as clock:
        load("reducto")
        clock.shift(timedelta(hours=1))
        load("reducto")
        second_run = postgres.query("select " + counted.format(start + timedelta(hours=1)))
        assert len(second_run) == 4
        before = rows(postgres, "reducto")
        sandbox.reducto.usage.restate("2026-03-25", factor=3)
        sandbox.reducto.usage.withdraw("2026-03-26")
        clock.shift(timedelta(hours=1))
        load("reducto")
        after = rows(postgres, "reducto")
        for table, outcome, came, gone in postgres.query("select " + counted.format(start + timedelta(hours=2))):
            was, now = set(before[table]), set(after[table])
            assert (outcome, came, gone) == ("ok", len(now - was), len(was - now)), table
            assert gone > came > 0
        checked = cli.json("check", "--max-age", "36h", "--destination", "postgres", status=1)
        assert not [old for old in checked["stale"] if old["provider"] == "reducto"]
        clock.shift(timedelta(days=3))
        checked = cli.json("check", "--max-age", "36h", "--destination", "postgres", status=1)
        stale = {old["table"]: round(old["hours"]) for old in checked["stale"] if old["provider"] == "reducto"}
        assert stale == dict.fromkeys((table for table in before if not table.endswith("__history")), 72)


@pytest.mark.thorough
def test_stores_text_without_characters_that_postgresql_rejects(
    postgres: Warehouse, sandbox: Sandbox, cli: Cli, load: Callable[[str], None]
) -> None:
    """U+0000 is left out, and half of a surrogate pair becomes U+FFFD; DuckDB stores U+0000."""
    bad = rb'"na\u0000me \ud83d"'
    sandbox.faults.add(Fault(path="/v3/ocr-usage", edit=lambda body, _: body.replace(b'"image"', bad)))
    named = "select distinct usage_type from mathpix.ocr_usage_by_usage_type where usage_type like 'na%'"
    with time_machine.travel(NOW, tick=False):
        load("mathpix")
        cli("run", "mathpix", "--no-models")
    assert postgres.query(named) == [("name \ufffd",)]
    assert cli.rows(named) == [("na\0me \ufffd",)]
    sandbox.faults.clear()
    with time_machine.travel(NOW, tick=False):
        cli("run", "mathpix", "--no-models", "--destination", "postgres", "--full-refresh")
    assert postgres.query(named) == []


@pytest.mark.thorough
def test_one_run_at_a_time_from_any_machine(
    cli: Cli, postgres: Warehouse, connected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with another dlt data folder, as on another machine, is refused; its staging tables are its own."""
    load = ("run", "mathpix", "--no-models", "--destination", "postgres")
    with resolve_destination("postgres").exclusive_run():
        monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "elsewhere"))
        assert "another run is using" in cli(*load, status=1)
        assert "another run is using" in cli("models", "--destination", "postgres", status=1)
    with time_machine.travel(NOW, tick=False):
        cli(*load)
    schemas = "select schema_name from information_schema.schemata where schema_name like 'mathpix_staging%'"
    assert postgres.query(schemas) == []
    assert postgres.query("select count(*) > 0 from mathpix.ocr_usage_by_usage_type") == [(True,)]


@pytest.mark.usefixtures("connected")
def test_runs_that_have_lost_their_lock_do_not_mix_their_rows(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every SQL destination: here, the second load begins and ends before the first one merges."""
    merge, before_merge = SqlLoadJob.run, [lambda: load_without_lock("second", [4, 5])]

    def interrupted(job: SqlLoadJob) -> None:
        if before_merge:
            other = Thread(target=before_merge.pop())
            other.start()
            other.join()
        merge(job)

    def load_without_lock(folder: str, ids: list[int]) -> None:
        resolved = resolve_destination("postgres")
        layout = resolve_destination("redshift").pipeline("unlocked").sql_client().staging_dataset_name
        dlt_destination = dlt.destinations.postgres(
            os.environ[CREDENTIALS], staging_dataset_name_layout=layout.replace("unlocked", "%s")
        )
        destination = Destination(folder, "postgres", resolved.location, dlt_destination)
        pipeline = dlt.pipeline("unlocked", destination=dlt_destination, dataset_name="unlocked", pipelines_dir=folder)
        rows = dlt.resource([{"id": id_} for id_ in ids], name="usage", primary_key="id", write_disposition="merge")
        load_one(pipeline, dlt.source(lambda: rows, name="unlocked")(), destination, Lock(), folder)

    monkeypatch.setenv("DESTINATION__REDSHIFT__CREDENTIALS", os.environ[CREDENTIALS])
    monkeypatch.setattr(SqlLoadJob, "run", interrupted)
    load_without_lock("first", [1, 2, 3])
    assert not before_merge
    assert postgres.query("select id from unlocked.usage order by id") == [(1,), (2,), (3,), (4,), (5,)]
    schemas = "select schema_name from information_schema.schemata where schema_name like 'unlocked%'"
    assert postgres.query(schemas) == [("unlocked",)]
    postgres.execute(["drop schema unlocked cascade"])


@pytest.mark.thorough
def test_a_load_that_fails_leaves_no_staging_dataset(
    cli: Cli, postgres: Warehouse, connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it end with the error of anything but the load."""

    def fail(job: SqlLoadJob) -> None:
        raise DestinationTerminalException("out of disk space")

    monkeypatch.setattr(SqlLoadJob, "run", fail)
    assert "out of disk space" in cli(*DAY, "--destination", "postgres", status=1)
    assert postgres.query("select schema_name from information_schema.schemata where schema_name like '%staging%'") == []


@pytest.mark.usefixtures("connected")
def test_a_run_drops_the_staging_datasets_of_killed_runs(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset with a similar name stays. One that belongs to another role stays, too, without an error."""
    leftover, other = "mathpix_staging_run_0123abcd", "mathpix_staging_run_by_hand"
    monkeypatch.setenv("DESTINATION__REDSHIFT__CREDENTIALS", os.environ[CREDENTIALS])
    postgres.execute([f"create schema {name}" for name in (leftover, other)] + [f"create table {leftover}.rows (a int)"])
    resolve_destination("redshift").create()
    schemas = "select schema_name from information_schema.schemata where schema_name like 'mathpix_staging%'"
    assert postgres.query(schemas) == [(other,)]
    postgres.execute(
        [f"create schema {leftover}", "create role loader login", f"grant usage on schema {leftover} to loader"]
    )
    url = os.environ[CREDENTIALS]
    monkeypatch.setenv(CREDENTIALS, url.replace(url[url.index("//") : url.index("@")], "//loader"))
    resolve_destination("postgres").create()
    assert len(postgres.query(schemas)) == 2
    postgres.execute([f"drop schema {leftover} cascade", f"drop schema {other}", "drop role loader"])


@pytest.mark.thorough
def test_two_runs_at_once_lose_nothing(
    cli: Cli, postgres: Warehouse, sandbox: Sandbox, connected: None, tmp_path: Path, load: Callable[[str], None]
) -> None:
    """A backfill beside a regular run, from another folder: each waits for the other, and all rows match the vendor's.

    Today's usage is left out, because it grows by the minute.
    """
    load("reducto")
    run = ("run", "reducto", "--no-models", "--destination", "postgres", "--wait", "5m")
    elsewhere = os.environ | {"DLT_DATA_DIR": str(tmp_path / "elsewhere")}
    today = datetime.now(UTC).date()
    total = f"sum(credits) from reducto.usage_by_product where date >= '{START}' and date < '{today}'"
    for round_ in range(ROUNDS):
        for days in (1 + round_ % 9, 10 + round_ % 9):  # within the lookback, and before it
            sandbox.reducto.usage.restate((today - timedelta(days=days)).isoformat(), factor=2)
        backfill = subprocess.Popen(
            [sys.executable, "-m", "meterhouse.pipelines.cli", *run, "--since", START], env=elsewhere, cwd=tmp_path
        )
        cli(*run)
        assert backfill.wait() == 0
        assert value(postgres, total) == Decimal(str(sandbox.reducto.usage.total(START, today).credits)), round_


@pytest.mark.thorough
def test_builds_the_models(
    postgres: Warehouse,
    cli: Cli,
    connected: None,
    sandbox: Sandbox,
    dlt_data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Costs and FOCUS file equal DuckDB's to the last digit, and dlt's credentials are in no file or variable afterwards.

    A role that may only read the marts sees the status, the report and the rows of a query.
    """
    costs = """
        select billing_month, sku_id, quantity, list_cost, billed_cost, currency from usage.cost_monthly
        where provider = 'mathpix' order by 1, 2, 3
    """
    exported = {name: tmp_path / f"{name}.csv" for name in ("postgres", "duckdb")}
    with time_machine.travel(LATER, tick=False):
        before = dict(os.environ)
        result = cli.json("run", "mathpix", "--destination", "postgres", "--tests", "none")
        assert dict(os.environ) == before
        assert result["models"]["built"] > 80
        assert result["models"]["failures"] == []
        assert result["cost_monthly"]
        cli("run", "mathpix", "--no-models")
        build_selected("cost_monthly", "focus_1_2_cost_and_usage")
        for name, file in exported.items():
            cli("export", "focus", str(file), "--destination", name)
    assert {late.provider for late in lateness(resolve_destination("postgres"))} <= set(PROVIDERS)
    assert postgres.query(costs) == cli.rows(costs)
    of_mathpix = [sorted(line for line in file.read_text().splitlines() if "Mathpix" in line) for file in exported.values()]
    assert of_mathpix[0] == of_mathpix[1]
    postgres.execute(
        [
            "create role reader login",
            "grant usage on schema usage to reader",
            "grant select on all tables in schema usage to reader",
        ]
    )
    url = os.environ[CREDENTIALS]
    monkeypatch.setenv(CREDENTIALS, url.replace(url[url.index("//") : url.index("@")], "//reader"))
    assert "fresh" in cli("status", "--destination", "postgres")
    assert cli("query", "select current_user", "--destination", "postgres", "--csv").splitlines()[-1] == "reader"
    cli("report", "-o", str(tmp_path / "report.html"), "--destination", "postgres")
    assert "cannot be used" in cli("run", "mathpix", "--no-models", "--destination", "postgres", status=1)
    files = [file for file in dlt_data_dir.rglob("*") if file.is_file()]
    assert any(file.name == "partial_parse.msgpack" for file in files)
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]


@pytest.fixture
def empty_database(postgres: Warehouse) -> Iterator[None]:
    """Without the rows of other tests; these get none of the test's."""

    def drop_schemas() -> None:
        schemas = "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|public)'"
        postgres.execute([f"drop schema {schema} cascade" for (schema,) in postgres.query(schemas)])

    drop_schemas()
    yield
    drop_schemas()


@pytest.mark.thorough
@pytest.mark.usefixtures("connected", "empty_database")
@pytest.mark.parametrize("providers", [saved_builds.PROVIDERS])
def test_builds_as_of_a_moment_equal_the_marts_of_that_moment(
    cli: Cli, postgres: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with time_machine.travel(saved_builds.FIRST, tick=False) as clock:
        options = ("--destination", "postgres")
        builds = SavedBuilds(cli, sandbox, clock, monkeypatch, postgres.rows_of_each, Psycopg2SqlClient, options)
        builds.make()
        cli("run", "--no-models", *options)
        builds.require_equal_builds()


@pytest.mark.thorough
@pytest.mark.usefixtures("connected", "empty_database")
def test_a_run_continues_after_a_rename(
    cli: Cli, postgres: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a second history, and with its closed quantities."""
    execute: Callable[[str], None] = lambda sql: postgres.execute([sql])  # noqa: E731
    rename_and_continue(cli, sandbox, monkeypatch, postgres.query, execute, "--destination", "postgres")


@pytest.mark.thorough
@pytest.mark.usefixtures("connected", "empty_database")
def test_a_file_of_closed_periods_comes_back_as_it_was_written(cli: Cli) -> None:
    """To the last digit and the microsecond; a second import adds nothing."""
    comes_back(cli, "--destination", "postgres")


DAY = ("run", "mathpix.ocr_usage_by_app_id", "--no-models", "--since", START, "--until", "2026-03-02")


@pytest.mark.usefixtures("connected")
def test_rows_land_in_the_database_that_a_run_prints(cli: Cli, postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of other programs do not move them; if dlt writes to another schema all the same, the run fails."""
    run = (*DAY, "--destination", "postgres")
    cli(*run)
    loads = value(postgres, "count(*) from mathpix._dlt_loads")
    foreign = {"PORT": "1", "HOST": "elsewhere", "DATABASE": "other", "USERNAME": "other", "DATASET_NAME_LAYOUT": "other_%s"}
    for variable, text in {**foreign, "STAGING_DATASET_NAME_LAYOUT": "mathpix", "DEV_MODE": "true"}.items():
        monkeypatch.setenv(variable, text)
    cli(*run)
    assert value(postgres, "count(*) from mathpix._dlt_loads") == loads + 1
    schemas = postgres.query("select schema_name from information_schema.schemata where schema_name ~ 'mathpix|meterhouse'")
    assert {name for (name,) in schemas} == {"mathpix", "meterhouse"}

    def pipeline(self: PostgresDestination, name: str) -> dlt.Pipeline:
        folder = str(self.working_dir)
        return dlt.pipeline(name, destination=self.dlt_destination, dataset_name=f"{name}_dev", pipelines_dir=folder)

    monkeypatch.setattr(PostgresDestination, "pipeline", pipeline)
    assert "FAILED mathpix: dlt has not recorded load" in " ".join(cli(*run, status=1).split())
    postgres.execute(["drop schema mathpix_dev cascade"])


@pytest.mark.thorough
def test_query_changes_nothing(postgres: Warehouse, cli: Cli, connected: None) -> None:
    """Not by functions either: neither the user's own, nor those for sequences, large objects, files and the server."""
    postgres.execute(
        [
            "create schema if not exists usage",
            "create table usage.kept as select 1 as a",
            "create sequence usage.numbers",
            "create function usage.wipe() returns int language sql as 'delete from usage.kept returning a'",
        ]
    )
    before = value(postgres, "current_setting('work_mem')")
    queries = ("--destination", "postgres", "--csv")
    assert cli("query", "select a from usage.kept", *queries).split() == ["a", "1"]
    for change in (
        "select usage.wipe()",
        "select setval('usage.numbers', 7)",
        "select nextval('usage.numbers')",
        "select lo_create(0)",
        "select lo_import('/etc/hosts')",
        "select lo_export(1, '/tmp/x')",
        "select pg_reload_conf()",
        "select pg_read_file('/etc/hosts')",
        "select set_config('transaction_read_only', 'off', false)",
        "select set_config('work_mem', '1MB', false)",
        "select pg_catalog.set_config('role', 'none', true), query_to_xml('select lo_create(0)', true, true, '')",
        "select query_to_xml('select 1', true, true, '')",
        "create table usage.made (a int)",
    ):
        assert "meterhouse: " in cli("query", change, *queries, status=2), change
    assert value(postgres, "current_setting('work_mem')") == before
    assert value(postgres, "count(*) from usage.kept") == 1
    assert value(postgres, "last_value from usage.numbers") == 1
    assert value(postgres, "count(*) from pg_largeobject_metadata") == 0


def test_query_changes_nothing_on_redshift(
    postgres: Warehouse, cli: Cli, connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt's Redshift client, here on PostgreSQL, opens a read-only transaction; Redshift's BEGIN accepts READ ONLY, too."""
    monkeypatch.setenv("DESTINATION__REDSHIFT__CREDENTIALS", os.environ[CREDENTIALS])
    postgres.execute(
        [
            "create table public.kept as select 1 as a",
            "create function public.wipe() returns int language sql as 'delete from public.kept returning a'",
        ]
    )
    query = ("--destination", "redshift", "--csv")
    assert cli("query", "select a from public.kept", *query).split() == ["a", "1"]
    assert "read-only transaction" in cli("query", "select public.wipe()", *query, status=2)
    assert value(postgres, "count(*) from public.kept") == 1
    postgres.execute(["drop function public.wipe", "drop table public.kept"])


@pytest.fixture
def reporter(postgres: Warehouse) -> Iterator[Any]:
    """A session of a BI tool."""
    psycopg2 = pytest.importorskip("psycopg2")
    where = {name.rpartition("_")[2].lower(): value for name, value in postgres.environment.items()}
    connection = psycopg2.connect(
        host=where["host"], port=where["port"], user=where["user"], dbname=where["database"], application_name="bi\x1btool"
    )
    yield connection
    connection.close()


@pytest.mark.usefixtures("connected")
def test_connects_without_a_password_user_and_host(cli: Cli, postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libpq does: the server may trust the client, or the driver finds the password. A database is required."""
    where = {name.rpartition("_")[2].lower(): value for name, value in postgres.environment.items()}
    monkeypatch.setattr("getpass.getuser", lambda: where["user"])
    socket = quote(where["host"], safe="")
    query = ("query", "select 'in'", "--csv", "--destination", "postgres")
    for url in (
        f"postgresql://{where['user']}@localhost:{where['port']}/{where['database']}?host={socket}",
        f"postgresql:///{where['database']}?host={socket}&port={where['port']}",
    ):
        monkeypatch.setenv(CREDENTIALS, url)
        assert cli(*query).splitlines()[-1] == "in"
    variables = resolve_destination("postgres").dbt_variables()
    assert variables["METERHOUSE_POSTGRES_USER"] == where["user"]
    assert variables["METERHOUSE_POSTGRES_PASSWORD"] == ""
    monkeypatch.setenv("PGPASSWORD", "from-libpq")
    assert resolve_destination("postgres").dbt_variables()["METERHOUSE_POSTGRES_PASSWORD"] == "from-libpq"
    for url, lack in (("postgresql://u@h", "has no database. Write it as"), ("postgresql:///costs", "has no host. Add it")):
        monkeypatch.setenv(CREDENTIALS, url)
        assert lack in cli(*query, status=2)


@pytest.mark.thorough
@pytest.mark.usefixtures("connected")
def test_a_run_that_meets_a_lock_names_the_session_that_holds_it(
    cli: Cli, postgres: Warehouse, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends, says what to do, and the next run loads everything. A lock timeout in the credentials wins."""
    monkeypatch.setenv(CREDENTIALS, f"{os.environ[CREDENTIALS]}&options=-clock_timeout%3D300ms")
    run = (*DAY, "--destination", "postgres")
    cli(*run)
    with reporter.cursor() as cursor:
        cursor.execute("lock table mathpix.ocr_usage_by_app_id in share mode")
        (failed,) = [line for line in cli(*run, status=1).splitlines() if line.startswith("FAILED")]
        assert f"is locked by pid {reporter.info.backend_pid} (application_name bi" in failed
        assert "user postgres, idle in transaction since" in failed
        assert f"select pg_terminate_backend({reporter.info.backend_pid}); then run again" in failed
        assert "\x1b" not in failed
    reporter.rollback()
    cli(*run)


@pytest.mark.usefixtures("connected")
def test_the_error_of_a_model_that_meets_a_lock_names_the_session(postgres: Warehouse, reporter: Any) -> None:
    """dbt's message has the reason only."""
    message, destination = "canceling statement due to lock timeout", resolve_destination("postgres")
    assert "waited too long for a lock, which nobody holds any more" in destination.explain(message)
    postgres.execute(["create schema if not exists usage", "create table if not exists usage.read (a int)"])
    with reporter.cursor() as cursor:
        cursor.execute("select * from usage.read")
        assert f"is locked by pid {reporter.info.backend_pid} " in destination.explain(message)
    reporter.rollback()
    postgres.execute(["drop table usage.read"])
    assert destination.explain("another error") == "another error"


@pytest.mark.usefixtures("connected")
def test_waits_a_minute_for_a_lock(cli: Cli) -> None:
    """On dlt's connections and on dbt's."""
    destination = resolve_destination("postgres")
    with destination.reader() as reader:
        assert reader.tuples("show lock_timeout")[1] == [("1min",)]
    assert destination.dbt_variables()["PGOPTIONS"] == "-clock_timeout=60s"
