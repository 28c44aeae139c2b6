"""Leases: one run at a time on destinations that have no lock of their own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dlt
import pytest
import time_machine
from fsspec.implementations.memory import MemoryFileSystem

from meterhouse.pipelines.warehouse import lease
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.pipelines.warehouse.lease import BucketLease, Lease, TableLease

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)

NewLease = Callable[[], Lease]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    """A clock that stands still, so that leases begin without a pause."""
    monkeypatch.setattr("random.random", lambda: 0)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture(params=["table", "bucket"])
def new_lease(request: pytest.FixtureRequest, tmp_path: Path, clock: time_machine.Traveller) -> NewLease:
    """Makes the lease of another run on the same destination."""
    bucket, database = MemoryFileSystem(), dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))

    def pipeline() -> dlt.Pipeline:
        return dlt.pipeline(
            "meterhouse", destination=database, dataset_name="meterhouse", pipelines_dir=str(tmp_path / "pipelines")
        )

    if request.param == "table":
        return lambda: TableLease("the warehouse", pipeline)
    return lambda: BucketLease("the bucket", lambda: (bucket, f"/{tmp_path.name}"))


def test_one_run_holds_the_lease_until_it_releases_it(new_lease: NewLease) -> None:
    """Another run gets it afterwards."""
    first, second = new_lease(), new_lease()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert not first.acquire()
    second.release()


def test_the_lease_of_a_killed_run_expires(new_lease: NewLease, clock: time_machine.Traveller) -> None:
    """A run that ends without a release blocks others for two minutes."""
    killed, second = new_lease(), new_lease()
    assert not killed.others(0)
    killed.write(int(NOW.timestamp()) + lease.LIFETIME)
    clock.shift(timedelta(seconds=lease.LIFETIME - 1))
    assert not second.acquire()
    clock.shift(timedelta(seconds=2))
    assert second.acquire()
    second.release()


def test_a_run_that_has_lost_its_lease_loads_nothing_more(new_lease: NewLease, clock: time_machine.Traveller) -> None:
    """It was suspended, or could not reach the destination for two minutes, so another run has begun."""
    first, second = new_lease(), new_lease()
    assert first.acquire()
    first.require_held()
    clock.shift(timedelta(seconds=lease.LIFETIME + 1))
    assert second.acquire()
    with pytest.raises(LoadError, match="the lease of this run expired"):
        first.require_held()
    second.require_held()
    for run in (first, second):
        run.release()


def test_a_working_run_renews_its_lease(
    new_lease: NewLease, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may take hours."""
    first, second, renewed = new_lease(), new_lease(), threading.Event()
    monkeypatch.setattr(lease, "RENEWAL_INTERVAL", 0.01)
    assert first.acquire()
    write = first.write

    def announce(expires_at: int) -> None:
        write(expires_at)
        renewed.set()

    monkeypatch.setattr(first, "write", announce)
    for _ in range(3):
        clock.shift(timedelta(seconds=0.6 * lease.LIFETIME))  # a slow machine has time left to renew
        renewed.clear()
        assert renewed.wait(10)
    assert not second.acquire()
    first.require_held()
    first.release()


@pytest.mark.parametrize("new_lease", ["bucket"], indirect=True)  # DuckDB has no second client; the steps are the same
def test_two_runs_that_start_at_once_never_both_hold_the_lease(new_lease: NewLease) -> None:
    """Each looks again after it has written its lease."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            runs, start = [new_lease(), new_lease()], threading.Barrier(2)

            def acquire(run: Lease, start: threading.Barrier = start) -> bool:
                start.wait()
                return run.acquire()

            assert sum(pool.map(acquire, runs)) <= 1
            for run in runs:
                run.release()


def test_a_bucket_that_cannot_be_written_is_an_error_in_one_line() -> None:
    """The message names the bucket."""

    def no_access() -> tuple[MemoryFileSystem, str]:
        raise PermissionError("Access Denied")

    with pytest.raises(LoadError, match="the bucket cannot be used: Access Denied"):
        BucketLease("the bucket", no_access).acquire()
