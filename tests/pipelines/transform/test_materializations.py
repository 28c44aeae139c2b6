"""A mart that is built again stays the same table for those who read it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event, Thread

import pytest

from tests.pipelines.transform.warehouse import MODELS_ONLY, Warehouse, required

MART = "usage.prices"
BUILD = ("build", "--select", "+prices", *MODELS_ONLY)


@contextmanager
def reader_in_a_loop(warehouse: Warehouse) -> Iterator[set[int]]:
    """Collects how many rows the mart has, again and again until the block ends."""
    found: set[int] = set()
    ended = Event()

    def read() -> None:
        while not ended.is_set():
            found.add(warehouse.query(f"select count(*) from {MART}")[0][0])

    thread = Thread(target=read)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def columns(warehouse: Warehouse) -> list[tuple[str, ...]]:
    return sorted(
        warehouse.query(
            "select column_name, data_type, numeric_precision, is_nullable from information_schema.columns"
            f" where table_schema || '.' || table_name = '{MART}'"
        )
    )


@pytest.mark.thorough
def test_a_mart_keeps_its_privileges_and_dependent_views_on_postgresql(postgres: Warehouse) -> None:
    """Readers see the old or the new rows, never none. Columns of another version of the mart become those of this one."""
    postgres.load()
    assert postgres.dbt(*BUILD).success
    declared = columns(postgres)
    before = postgres.table("prices", ", ".join(name for name, *_ in declared))
    postgres.execute(
        [
            "create role analyst",
            f"grant select on {MART} to analyst",
            f"create view public.list_prices as select provider, unit_price from {MART} where billing_account = ''",
            f"alter table {MART} add column retired integer, drop column tier_to, alter column sku_id drop not null",
            f"alter table {MART} alter column tier_from type numeric(10, 1)",
        ]
    )
    seen = postgres.query("select * from public.list_prices order by 1, 2")
    assert seen
    with reader_in_a_loop(postgres) as counts:
        assert postgres.dbt(*BUILD).success
    assert counts == {len(before)}
    assert columns(postgres) == declared
    assert postgres.query("select * from public.list_prices order by 1, 2") == seen
    assert postgres.query(f"select has_table_privilege('analyst', '{MART}', 'select')") == [(True,)]
    names = ", ".join(name for name, *_ in declared)
    assert postgres.table("prices", names) == before
    postgres.execute(["drop view public.list_prices", "drop owned by analyst", "drop role analyst"])


@pytest.mark.thorough
def test_builds_that_overlap_do_not_add_up_their_rows_on_postgresql(postgres: Warehouse) -> None:
    """A build waits for another one that has not committed; PostgreSQL would not show it the other's rows."""
    postgres.load()
    assert postgres.dbt(*BUILD).success
    before = postgres.table("prices")
    other = required("psycopg2").connect(
        **{name.removeprefix("METERHOUSE_POSTGRES_").lower(): value for name, value in postgres.environment.items()}
    )
    with closing(other), other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute(f"create temporary table copied as select * from {MART}; delete from {MART}")
        cursor.execute(f"insert into {MART} select * from copied")
        building = pool.submit(postgres.dbt, *BUILD)
        while not postgres.query("select 1 from pg_locks where not granted"):
            assert not building.done()
        other.commit()
        assert building.result().success
    assert postgres.table("prices") == before


@pytest.mark.thorough
def test_a_build_names_the_view_that_reads_a_retired_column(postgres: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    """It drops neither the view nor the rows."""
    postgres.load()
    assert postgres.dbt(*BUILD).success
    rows = len(postgres.table("prices"))
    postgres.execute(
        [f"alter table {MART} add column retired integer", f"create view public.old_report as select retired from {MART}"]
    )
    assert postgres.dbt(*BUILD).having("error") == ["prices"]
    assert "old_report" in capsys.readouterr().out
    assert postgres.query("select count(*) from public.old_report") == [(rows,)]
    postgres.execute(["drop view public.old_report"])


def test_a_users_view_outlives_a_build_on_duckdb(warehouse: Warehouse) -> None:
    warehouse.load()
    assert warehouse.dbt(*BUILD).success
    warehouse.execute(["create schema team", f"create view team.prices as select * from {MART}"])
    seen = warehouse.query("from team.prices order by all")
    assert seen
    assert warehouse.dbt(*BUILD).success
    assert warehouse.query("from team.prices order by all") == seen
