"""`meterhouse run` keeps what it replaces: the run that did it, the size of the history, and a database from a backup."""

from datetime import UTC, datetime, timedelta

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.run.as_of import incomplete_history_warnings, require_histories, running_bucket_warnings
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.resolve import resolve_destination
from meterhouse.sources._core.errors import ConfigurationError
from tests.conftest import Cli

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
LOAD = ("run", "reducto.usage_by_product", "--no-models")
KEPT = "select superseded_at, superseded_by, is_withdrawn, run_id from reducto.usage_by_product__history"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("reducto",)


def test_the_history_names_the_runs_and_is_correct_after_a_restore(cli: Cli, sandbox: Sandbox) -> None:
    """After an old copy of the database is restored, the next run's history has the time and the id of that run."""
    with time_machine.travel(NOW) as clock:
        first = cli.json(*LOAD)["run_id"]
        assert cli.json("check")["history"] == []
        backup = cli.database.read_bytes()
        sandbox.reducto.usage.restate("2026-03-15", factor=3)
        sandbox.reducto.usage.withdraw("2026-03-16")
        for _ in range(2):
            clock.shift(timedelta(days=1))
            began, run = datetime.now(UTC), cli.json(*LOAD)["run_id"]
            found = cli.rows(KEPT)
            assert {(by, withdrawn, before) for _, by, withdrawn, before in found} == {
                (run, False, first),
                (run, True, first),
            }
            assert all(began <= at <= datetime.now(UTC) for at, *_ in found)
            (kept,) = cli.json("check")["history"]
            assert (kept["provider"], kept["table"], kept["rows"]) == ("reducto", "usage_by_product", len(found))
            assert f"history  replaced or withdrawn rows: {len(found)}, tables: 1, since {began:%Y-%m-%d}" in cli("check")
            cli.database.write_bytes(backup)


def test_warns_of_a_moment_before_an_earlier_version_was_replaced(cli: Cli) -> None:
    """That version kept no histories. A database that this version made has no such moment."""
    with time_machine.travel(NOW):
        cli(*LOAD)
    destination = resolve_destination()
    before = NOW - timedelta(days=10)
    assert list(incomplete_history_warnings(destination, NOW)) == []
    of_old_version = "* replace ('old' as run_id, started_at - interval 30 day as started_at)"
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute(
            f"insert into meterhouse.runs select {of_old_version} from meterhouse.runs where resource <> 'run'"
        )
    (warning,) = incomplete_history_warnings(destination, before)
    assert warning.startswith("histories begin on 2026-03-20 10:30 UTC")
    assert list(incomplete_history_warnings(destination, NOW + timedelta(days=1))) == []
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("delete from meterhouse.runs where resource = 'run'")
    (warning,) = incomplete_history_warnings(destination, before)
    assert warning.startswith("histories will begin, with the first run of this version")


def test_refuses_a_moment_that_the_histories_do_not_reach(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One before the first run, and one whose rows a load has pruned, even if `history_retention` is unset since."""
    monkeypatch.setenv("SOURCES__REDUCTO__HISTORY_RETENTION", "12 hours")
    with time_machine.travel(NOW, tick=False) as clock:
        cli(*LOAD)
        clock.shift(timedelta(days=1))
        cli(*LOAD)
    monkeypatch.delenv("SOURCES__REDUCTO__HISTORY_RETENTION")
    destination = resolve_destination()
    with pytest.raises(ConfigurationError, match="is before the first run, at 2026-03-20 10:30:00 UTC"):
        require_histories(destination, NOW - timedelta(seconds=1))
    with pytest.raises(ConfigurationError, match="histories lack what was superseded before 2026-03-20 22:30 UTC"):
        require_histories(destination, NOW + timedelta(hours=11))
    require_histories(destination, NOW + timedelta(hours=13))


def test_a_run_that_an_error_ends_records_what_it_pruned(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is not recorded, so it may have run for a day."""
    with time_machine.travel(NOW, tick=False) as clock:
        cli(*LOAD)
        clock.shift(timedelta(days=3))
        monkeypatch.setenv("SOURCES__REDUCTO__HISTORY_RETENTION", "2 days")
        monkeypatch.setattr("meterhouse.pipelines.run.orchestrate.load", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli(*LOAD)
        monkeypatch.delenv("SOURCES__REDUCTO__HISTORY_RETENTION")
        with pytest.raises(ConfigurationError, match="lack what was superseded before 2026-03-22 10:30 UTC"):
            require_histories(resolve_destination(), NOW + timedelta(days=1))


def test_warns_that_running_buckets_are_left_out_unless_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ("reducto", "mathpix")
    for provider in loaded:
        assert ["still running" in warning for warning in running_bucket_warnings(loaded)] == [True]
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__HISTORY", "all")
    assert list(running_bucket_warnings(loaded)) == []
