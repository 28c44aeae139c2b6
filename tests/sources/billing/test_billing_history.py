"""Billing tables keep what they had: an unchanged row keeps its `loaded_at`, any other goes to `<table>__history`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
import time_machine

from meterhouse.sources._core.schema import arrow_schema
from meterhouse.sources.billing import TABLES, billing_source
from meterhouse.sources.billing.resource import ORIGIN, STAMPS

START = datetime(2026, 3, 20, 10, tzinfo=UTC)
HEADER = "provider,billing_account,unit_price,currency,valid_from,valid_to\n"
PRICE = "mathpix,{},{},USD,2026-01-01,\n"


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def load(**prices: int) -> str | None:
    """Loads the price of each billing account; returns the id of the load, or None if nothing was loaded."""
    Path("credit_prices.csv").write_text(HEADER + "".join(PRICE.format(*item) for item in prices.items()))
    pipeline = dlt.pipeline("billing", destination=dlt.destinations.duckdb("costs.duckdb"), dataset_name="billing")
    ids = pipeline.run(billing_source(credit_prices="credit_prices.csv" if prices else None)).loads_ids
    return ids[0] if ids else None


def rows(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("costs.duckdb", read_only=True) as connection:
        connection.sql("set timezone = 'UTC'")
        return connection.sql(sql).fetchall()


def test_a_changed_row_goes_to_history_and_an_unchanged_one_stays(clock: time_machine.Traveller) -> None:
    """A table that is no longer configured is emptied, and its rows are withdrawn."""
    first = load(a=1, b=1)
    clock.shift(timedelta(hours=1))
    second = load(a=1, b=2)
    assert rows("select billing_account, unit_price, loaded_at, run_id from billing.credit_prices order by 1") == [
        ("a", 1, START, first),
        ("b", 2, START + timedelta(hours=1), second),
    ]
    clock.shift(timedelta(hours=1))
    third = load()
    kept = "select billing_account, unit_price, loaded_at, run_id, superseded_at, superseded_by, is_withdrawn"
    assert rows(f"{kept} from billing.credit_prices__history order by 1, 2") == [
        ("a", 1, START, first, START + timedelta(hours=2), third, True),
        ("b", 1, START, first, START + timedelta(hours=1), second, False),
        ("b", 2, START + timedelta(hours=1), second, START + timedelta(hours=2), third, True),
    ]
    assert rows("from billing.credit_prices") == rows("from billing.fees__history") == []


def test_unchanged_files_load_nothing(clock: time_machine.Traveller) -> None:
    assert load(a=1)
    clock.shift(timedelta(hours=1))
    assert load(a=1) is None


def test_a_table_of_an_earlier_version_is_replaced_once(clock: time_machine.Traveller) -> None:
    """It has no `row_version` to compare."""
    schema = pa.schema([*arrow_schema(TABLES["credit_prices"].columns), *ORIGIN, STAMPS[0]])
    row = {"provider": "mathpix", "billing_account": "a", "unit_price": 5, "currency": "USD", "valid_from": START.date()}
    old = pa.Table.from_pylist([row | {"source": "x", "row_number": 1, "loaded_at": START}], schema)
    pipeline = dlt.pipeline("billing", destination=dlt.destinations.duckdb("costs.duckdb"), dataset_name="billing")
    resource = dlt.resource([old], name="credit_prices", write_disposition="replace")
    pipeline.run(dlt.source(lambda: resource, name="billing_source")())
    load(a=1)
    assert rows("select unit_price, row_version is not null from billing.credit_prices") == [(1, True)]
    clock.shift(timedelta(hours=1))
    load(a=2)
    assert rows("select unit_price from billing.credit_prices__history") == [(1,)]
