"""A field that a vendor adds, drops or retypes has the same effect for every provider, and never a silent one."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import time_machine

import meterhouse.sources._core.http.client as http
from meterhouse.sources._core.http.decoding import decode_json
from tests.conftest import Cli
from tests.providers import DESCRIPTIONS
from tests.providers.description import Fields

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
CASES = tuple(
    pytest.param(name, fields, id=f"{name}.{fields.table}")
    for name, provider in DESCRIPTIONS.items()
    for fields in provider.fields
)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(DESCRIPTIONS)


@pytest.fixture(autouse=True)
def clock(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-03-18")
    with time_machine.travel(NOW, tick=True) as traveller:
        yield traveller


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def change_objects(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Change], None]:
    """Changes every object that has a certain field, in all responses of the real sandbox."""
    decode = decode_json

    def change_all(marker: str, change: Change) -> None:
        def changed(value: Any) -> Any:
            if isinstance(value, dict):
                inner = {name: changed(field) for name, field in value.items()}
                return change(inner) if marker in inner else inner
            return [changed(item) for item in value] if isinstance(value, list) else value

        monkeypatch.setattr(http, "decode_json", lambda body: changed(decode(body)))

    return change_all


ChangeObjects = Callable[[str, Change], None]


@dataclass(frozen=True)
class Table:
    """One table of a provider in the database of `cli`."""

    cli: Cli
    provider: str
    fields: Fields

    @property
    def name(self) -> str:
        return f"{self.provider}.{self.fields.table}"

    def load(self, status: int = 0) -> Any:
        return self.cli.json("run", self.name, "--no-models", status=status)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.cli.rows(f"select * from {self.name} order by all")

    def count(self, condition: str) -> int:
        ((number,),) = self.cli.rows(f"select count(*) from {self.name} where {condition}")
        return int(number)

    def columns(self) -> dict[str, str]:
        return dict(
            self.cli.rows(
                "select column_name, data_type from information_schema.columns"
                f" where table_schema = '{self.provider}' and table_name = '{self.fields.table}'"
            )
        )

    def load_fails(self) -> str:
        """The error of a run that leaves the table as it was."""
        before = self.rows()
        failures = self.load(status=1)["failures"]
        assert self.rows() == before
        return str(failures[0]["error"])


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database per table after a first run. The first test of the table creates it."""
    return tmp_path_factory.mktemp("first")


@pytest.fixture
def table(cli: Cli, provider: str, fields: Fields, first_runs: Path) -> Table:
    """The table after a first run."""
    table = Table(cli, provider, fields)
    first = first_runs / f"{table.name}.duckdb"
    if not first.exists():
        table.load()
        shutil.copy(cli.database, first)
    shutil.copy(first, cli.database)
    return table


OF_EVERY_TABLE = pytest.mark.parametrize(("provider", "fields"), CASES)


@OF_EVERY_TABLE
def test_a_new_field_becomes_a_new_column(table: Table, change_objects: ChangeObjects) -> None:
    """Of text, whatever its type, so that no later change of the type stops a run; the other columns stay."""
    columns, count = table.columns(), len(table.rows())
    assert count > 2
    for added in ({"7": 7}, {"7.5": Decimal("7.5"), "[2, null]": [2, None], "true": True}):
        values = cycle(added.values())

        def add(item: dict[str, Any], values: Iterator[Any] = values) -> dict[str, Any]:
            return item | {"regionCode": next(values)}

        change_objects(table.fields.marker, add)
        table.load()
        assert table.columns() == columns | {"region_code": "VARCHAR"}
        for stored in added:
            assert table.count(f"region_code = '{stored}'") > 0
    assert len(table.rows()) == count


@OF_EVERY_TABLE
def test_a_missing_field_is_null_or_an_error(table: Table, change_objects: ChangeObjects) -> None:
    """An error for a key or a quantity, and for a dimension without which rows would share a key; null for the others."""
    fields, count, columns = table.fields, len(table.rows()), table.columns()
    change_objects(fields.marker, lambda item: {name: item[name] for name in item if name != fields.required})
    error = table.load_fails()
    assert f"field {fields.required} holds nothing" in error or f"has no {fields.required}" in error
    if fields.optional:
        change_objects(fields.marker, lambda item: {name: item[name] for name in item if name != fields.optional})
        if fields.is_dimension:
            assert "the same key" in table.load_fails()
        else:
            table.load()
            assert table.count(f"{fields.column} is not null") == 0
            assert len(table.rows()) == count
        assert table.columns() == columns


@pytest.mark.parametrize(("provider", "fields"), [case for case in CASES if case.values[1].number])  # type: ignore[union-attr]
def test_a_number_of_another_type_is_an_error(table: Table, change_objects: ChangeObjects) -> None:
    """With endpoint, field and value, and the table stays as it was; a whole number written as 7.0 is accepted.

    `tests/sources/_core/test_schema.py` has all other types.
    """
    fields, count, columns = table.fields, len(table.rows()), table.columns()
    value: Any = Decimal("7.5") if fields.is_whole else "many"
    change_objects(fields.marker, lambda item: item | {fields.number: value})
    error = table.load_fails()
    assert table.provider in error
    assert " /" in error
    assert f"field {fields.number} holds {value!r}" in error
    change_objects(fields.marker, lambda item: item | {fields.number: Decimal("7.0")})
    table.load()
    assert table.columns() == columns
    assert len(table.rows()) == count
