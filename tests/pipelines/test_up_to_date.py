"""A run skips dbt if a build would change nothing, and only then."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.transform.build import BuildResult, build, forget_parse_of_other_files
from meterhouse.pipelines.transform.build_cache import CachedBuild, forget, last_build, remember
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 10, tzinfo=UTC)
PASSED = CachedBuild(built=3, tested=5, warnings=("a warning",))


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Ten past ten."""
    with time_machine.travel(NOW) as traveller:
        yield traveller


def execute(database: Path, *statements: str) -> None:
    with duckdb.connect(str(database)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with raw tables and marts, and the mark of a build."""
    file = tmp_path / "costs.duckdb"
    execute(
        file,
        "create schema mathpix",
        "create table mathpix.usage as select 'a' as account, 1 as count, timestamptz '2026-03-20 10:00Z' as fetched_at",
        """create table mathpix.fetched_windows as
        select 'usage' as resource, timestamptz '2026-03-19 00:00Z' as window_start,
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
    patch.setattr("meterhouse.pipelines.transform.build_cache.version", lambda _: "99")


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
    """It still reports costs. A restated count triggers a build, and so does a failed build."""
    sandbox.mathpix.usage.withdraw("2026-03-20T10:00:00", "2026-03-20T11:00:00")  # the running hour grows by the minute
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
    with monkeypatch.context() as patch:  # dbt would take long here
        patch.setattr("meterhouse.pipelines.run.orchestrate.build", lambda *_, **__: BuildResult(3, 5, (), ()))
        rebuilt = cli.json("run")["models"]
    assert rebuilt == {"built": 3, "tests_passed": 5, "failures": [], "warnings": [], "up_to_date": False}
    with monkeypatch.context() as patch:
        patch.setattr("meterhouse.pipelines.transform.build.PROJECT", cli.folder)  # a folder without a project
        assert build(resolve_destination()).failures
    assert cli.rows(marks) == [(0,)]
    assert last_build(cli.database, PROJECT) is None


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
