"""A run skips dbt only if a build would change nothing, and the data tests only if they need not run again."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT, DataTestMode
from meterhouse.pipelines.transform.build import build, cached_build, forget_parse_of_other_files
from meterhouse.pipelines.transform.build_cache import CachedBuild, forget, last_build, remember
from meterhouse.pipelines.transform.data_tests import DataTests, record_tests, recorded_tests
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import select_models

NOW = datetime(2026, 3, 20, 10, 10, tzinfo=UTC)
TESTS = DataTests(run_at=NOW, passed=5, warnings=("a warning",))
PASSED = CachedBuild(built=3, data_tests=TESTS)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Ten past ten."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


def execute(database: Path, *statements: str) -> None:
    with duckdb.connect(str(database)) as connection:
        for statement in statements:
            connection.execute(statement)


def duckdb_destination(file: Path, patch: pytest.MonkeyPatch) -> Destination:
    patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(file))
    return resolve_destination()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with raw tables and marts, and the mark of a build."""
    file = tmp_path / "costs.duckdb"
    execute(
        file,
        "create schema mathpix",
        "create table mathpix.usage as select 'a' as account, 1 as count, timestamptz '2026-03-20 10:00Z' as fetched_at",
        """create table mathpix.fetched_windows as
        select 'usage' as resource, 'a' as account, timestamptz '2026-03-19 00:00Z' as window_start,
            timestamptz '2026-03-20 10:05Z' as window_end, timestamptz '2026-03-20 10:00Z' as complete_until,
            timestamptz '2026-03-20 10:05Z' as fetched_at, 1 as row_count""",
        "create table mathpix._dlt_loads as select 1 as load_id",
        "create schema billing",
        "create table billing.prices as select 'sku' as sku_id, timestamptz '2026-03-20 10:00Z' as loaded_at",
        "create schema usage",
        "create table usage.charges as select 1 as charge_id",
        "create schema usage_staging",
        "create view usage_staging.stg as select * from mathpix.usage",
        "create schema usage_intermediate",
    )
    remember(file, PROJECT, PASSED)
    return file


FETCHED_AGAIN = """insert into mathpix.fetched_windows
    select * replace (
        fetched_at + interval {later} as fetched_at, window_end + interval {later} as window_end, 7 as row_count
    ) from mathpix.fetched_windows"""


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "insert into mathpix._dlt_loads values (2)",
        "update billing.prices set loaded_at = timestamptz '2026-03-20 11:00Z'",
        FETCHED_AGAIN.format(later="'40 minutes'"),
    ],
)
def test_a_load_without_news_needs_no_build(database: Path, statement: str) -> None:
    """The same rows or billing data loaded again keep the last build valid, with its warnings."""
    execute(database, statement)
    assert last_build(database, PROJECT) == PASSED


@pytest.mark.parametrize(
    "statement",
    [
        "update mathpix.usage set count = 2",
        "delete from mathpix.usage",
        "insert into mathpix.usage select * from mathpix.usage",
        "alter table mathpix.usage add column new_field text",
        "create table scopix_events as select 1; create schema scopix; create table scopix.usage_events as select 1 as id",
        "drop table mathpix.fetched_windows",
        "update mathpix.fetched_windows set complete_until = timestamptz '2026-03-20 09:00Z'",
        FETCHED_AGAIN.format(later="'1 hour'"),
        "update billing.prices set sku_id = 'other'",
        "drop table usage.charges",
        "delete from usage.charges",
        "create or replace view usage_staging.stg as select 1 as one",
        "drop table usage_intermediate._built_from",
    ],
)
def test_a_changed_database_needs_a_build(database: Path, statement: str) -> None:
    """For example a restated count, a deleted row, a new column or table, a new price, an hour later, a missing mart."""
    execute(database, *statement.split(";"))
    assert last_build(database, PROJECT) is None


def _new_dbt(patch: pytest.MonkeyPatch, project: Path) -> None:
    patch.setattr("meterhouse.pipelines.transform.digests.version", lambda _: "99")


def _new_setting(patch: pytest.MonkeyPatch, project: Path) -> None:
    patch.setenv("DBT_FULL_REFRESH", "1")


def _new_model(patch: pytest.MonkeyPatch, project: Path) -> None:
    (project / "model.sql").write_text("select 2")


def _new_variable(patch: pytest.MonkeyPatch, project: Path) -> None:
    (project / "dbt_project.yml").write_text("vars: {anomaly_threshold: 4}")


@pytest.mark.parametrize("change", [_new_dbt, _new_setting, _new_model, _new_variable])
def test_changed_code_or_settings_need_a_build(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch, Path], None]
) -> None:
    """Another version of dbt or DuckDB, a changed model or variable, or dbt settings in the environment."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "dbt_project.yml").write_text("vars: {anomaly_threshold: 3}")
    (project / "model.sql").write_text("select 1")
    remember(database, project, PASSED)
    assert last_build(database, project) == PASSED
    change(monkeypatch, project)
    assert last_build(database, project) is None


def test_a_started_build_has_no_mark(database: Path, tmp_path: Path) -> None:
    """A killed build is repeated. A missing database has no mark, and is not created."""
    forget(database)
    assert last_build(database, PROJECT) is None
    forget(database)
    assert last_build(tmp_path / "none.duckdb", PROJECT) is None
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.thorough
def test_a_run_without_news_skips_the_build(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still reports costs. A restated count triggers a build without data tests; a failed build triggers both."""
    sandbox.mathpix.usage.withdraw("2026-03-20T10:00:00", "2026-03-20T11:00:00")  # the running hour grows by the minute
    select_models(monkeypatch)
    cli("run", "--no-models")  # later runs request the lookback only
    first = cli.json("run")
    clock.move_to(NOW + timedelta(minutes=20))
    same = cli.json("run")
    assert [run["models"]["up_to_date"] for run in (first, same)] == [False, True]
    assert same["models"] == first["models"] | {"up_to_date": True}
    assert same["cost_monthly"] == first["cost_monthly"] != []
    assert "models  up to date: nothing has changed" in cli("run")
    marks = "select count(*) from information_schema.tables where table_name = '_built_from'"
    assert cli.rows(marks) == [(1,)]
    sandbox.mathpix.usage.restate("2026-03-19", factor=2)
    clock.move_to(NOW + timedelta(hours=3))
    rebuilt = cli.json("run")["models"]
    assert rebuilt == first["models"]  # the same data tests, and they ran three hours ago
    assert rebuilt["tests_run_at"].startswith("2026-03-20T10:10")
    assert rebuilt["tests_passed"] > 10
    with monkeypatch.context() as patch:
        patch.setattr("meterhouse.pipelines.transform.build.PROJECT", cli.folder)  # a folder without a project
        patch.setattr(
            "meterhouse.pipelines.transform.build.forget_parse_of_other_files", lambda *_: None
        )  # later tests use it
        assert build(resolve_destination(), DataTestMode.ALL).failures
    assert cli.rows(marks) == [(0,)]
    assert cli.rows(marks.replace("_built_from", "_data_tests")) == [(0,)]
    assert last_build(cli.database, PROJECT) is None


@pytest.mark.parametrize(
    ("statement", "later", "is_valid"),
    [
        ("select 1", timedelta(hours=13), True),
        ("update mathpix.usage set count = 2", timedelta(0), True),
        ("update billing.prices set loaded_at = timestamptz '2026-03-20 11:00Z'", timedelta(0), True),
        (FETCHED_AGAIN.format(later="'1 hour'"), timedelta(0), True),
        ("select 1", timedelta(hours=14), False),
        ("update billing.prices set sku_id = 'other'", timedelta(0), False),
        ("delete from billing.prices", timedelta(0), False),
        (
            "insert into mathpix.fetched_windows select * replace ('b' as account) from mathpix.fetched_windows",
            timedelta(0),
            False,
        ),
        ("drop table usage_intermediate._data_tests", timedelta(0), False),
    ],
)
def test_data_tests_run_daily_and_after_changes(
    database: Path, monkeypatch: pytest.MonkeyPatch, statement: str, later: timedelta, is_valid: bool
) -> None:
    """New usage needs no new tests on the same day (UTC); a changed billing row or a new account does."""
    destination = duckdb_destination(database, monkeypatch)
    record_tests(destination, PROJECT, TESTS)
    execute(database, statement)
    assert recorded_tests(destination, PROJECT, NOW + later) == (TESTS if is_valid else None)


@pytest.mark.parametrize("change", [_new_dbt, _new_setting, _new_model, _new_variable])
def test_changed_code_or_settings_need_new_data_tests(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch, Path], None]
) -> None:
    """The changes that also need a build."""
    destination, project = duckdb_destination(database, monkeypatch), tmp_path / "project"
    project.mkdir()
    record_tests(destination, project, TESTS)
    assert recorded_tests(destination, project, NOW) == TESTS
    change(monkeypatch, project)
    assert recorded_tests(destination, project, NOW) is None


def test_after_an_untested_build_the_tests_are_still_due(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `--tests none`, the next run builds and tests, unless it wants no tests either; `--tests all` always builds."""
    destination = duckdb_destination(database, monkeypatch)
    for data_tests, expected in (
        (None, {DataTestMode.NONE: True, DataTestMode.CHANGED: False, DataTestMode.ALL: False}),
        (TESTS, {DataTestMode.NONE: True, DataTestMode.CHANGED: True, DataTestMode.ALL: False}),
    ):
        remember(database, PROJECT, CachedBuild(3, data_tests))
        assert {tests: cached_build(destination, tests) is not None for tests in DataTestMode} == expected


def test_another_reporting_currency_needs_a_new_build(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As does the first one, and its removal: the marts have the cost in it."""
    destination = duckdb_destination(database, monkeypatch)
    for built_with in ("EUR", None):
        remember(database, PROJECT, CachedBuild(3, TESTS, built_with))
        for currency in ("EUR", "USD", None):
            cached = cached_build(destination, DataTestMode.CHANGED, reporting_currency=currency)
            assert (cached is not None) is (currency == built_with)


def test_dbt_parses_a_changed_project_anew(tmp_path: Path) -> None:
    """dbt's partial parsing would lose the descriptions of data tests after a macro has changed."""
    project, target = tmp_path / "project", tmp_path / "target"
    project.mkdir()
    macro, parsed = project / "macro.sql", target / "partial_parse.msgpack"
    for text, is_kept in (("one", False), ("one", True), ("two", False), ("two", True)):
        macro.write_text(text)
        forget_parse_of_other_files(target, project)
        assert parsed.exists() == is_kept
        parsed.touch()
