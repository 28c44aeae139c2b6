"""What a field does that a vendor adds, drops or turns into another type: for each provider the same, and never silently."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

import meterhouse.sources._core.http.client as http
from meterhouse.sources._core.http.decoding import decode_json
from tests.conftest import Cli

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
ALL = ("mathpix", "reducto", "onepin", "scopix")


@dataclass(frozen=True)
class Case:
    """A table, a field by which its JSON objects are known, and fields to change, by the vendor's names."""

    table: str
    marker: str
    optional: str
    column: str
    missing: Any
    required: str
    number: str
    whole: bool


CASES = (
    Case("mathpix.ocr_usage_by_app_id", "from_date", "app_id", "app_id", "", "count", "count", whole=True),
    Case("reducto.usage_by_product", "requestCount", "credits", "credits", None, "requestCount", "requestCount", whole=True),
    Case("onepin.usage_activity", "action", "ip", "ip", None, "action", "", whole=True),
    Case("onepin.usage_daily", "runs", "", "", None, "credits", "runs", whole=True),
    Case("scopix.usage_events", "operation_type", "model", "model", None, "id", "response_time_ms", whole=False),
)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ALL


@pytest.fixture(autouse=True)
def clock(cli: Cli, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-03-18")
    with time_machine.travel(NOW, tick=True) as traveller:
        yield traveller


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Change], None]:
    """Changes every object that has a field, in all true answers."""
    decode = decode_json

    def changes(marker: str, change: Change) -> None:
        def changed(value: Any) -> Any:
            if isinstance(value, dict):
                inner = {name: changed(part) for name, part in value.items()}
                return change(inner) if marker in inner else inner
            return [changed(part) for part in value] if isinstance(value, list) else value

        monkeypatch.setattr(http, "decode_json", lambda body: changed(decode(body)))

    return changes


def load(cli: Cli, case: Case, status: int = 0) -> Any:
    return cli.json("run", case.table, "--no-models", status=status)


def rows(cli: Cli, case: Case) -> list[tuple[Any, ...]]:
    return cli.rows(f"select * from {case.table} order by all")


def columns(cli: Cli, case: Case) -> dict[str, str]:
    schema, table = case.table.split(".")
    return dict(
        cli.rows(
            "select column_name, data_type from information_schema.columns"
            f" where table_schema = '{schema}' and table_name = '{table}'"
        )
    )


def refused(cli: Cli, case: Case, before: list[tuple[Any, ...]]) -> str:
    """What the run says that leaves the table as it was."""
    failures = load(cli, case, status=1)["failures"]
    assert rows(cli, case) == before
    return str(failures[0]["error"])


BY_TABLE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.table)


@BY_TABLE
def test_a_new_field_is_a_new_column(cli: Cli, case: Case, vendor: Callable[[str, Change], None]) -> None:
    """As text, whatever its type is and becomes, so that no later change of it stops a run; known columns stay."""
    load(cli, case)
    known, count = columns(cli, case), len(rows(cli, case))
    assert count > 0
    for value, stored in ((7, "7"), (Decimal("7.5"), "7.5"), ([2, None], "[2, null]"), (True, "true")):

        def add(item: dict[str, Any], value: Any = value) -> dict[str, Any]:
            return item | {"regionCode": value}

        vendor(case.marker, add)
        load(cli, case)
        assert columns(cli, case) == known | {"region_code": "VARCHAR"}
        assert cli.rows(f"select count(*) from {case.table} where region_code = '{stored}'") != [(0,)]
    assert len(rows(cli, case)) == count


@BY_TABLE
def test_a_field_that_vanishes(cli: Cli, case: Case, vendor: Callable[[str, Change], None]) -> None:
    """What is no key and no quantity becomes null, or '' where it is a dimension; without the others the table stays."""
    load(cli, case)
    before, known = rows(cli, case), columns(cli, case)
    vendor(case.marker, lambda item: {name: value for name, value in item.items() if name != case.required})
    said = refused(cli, case, before)
    assert f"field {case.required} holds nothing" in said or f"has no {case.required}" in said
    if case.optional:
        vendor(case.marker, lambda item: {name: value for name, value in item.items() if name != case.optional})
        report = load(cli, case, status=1 if case.missing == "" else 0)
        assert columns(cli, case) == known
        if case.missing is None:
            assert cli.rows(f"select count(*) from {case.table} where {case.column} is not null") == [(0,)]
            assert len(rows(cli, case)) == len(before)
        else:
            assert "the same key" in report["failures"][0]["error"]
            assert rows(cli, case) == before


@pytest.mark.parametrize("case", [case for case in CASES if case.number], ids=lambda case: case.table)
def test_a_number_of_another_type(cli: Cli, case: Case, vendor: Callable[[str, Change], None]) -> None:
    """An error with endpoint, field and value, and the table as it was; a whole number written as 7.0 is still one."""
    load(cli, case)
    before, known = rows(cli, case), columns(cli, case)
    wrong: list[Any] = ["many", True, {"value": 7}, [7]]
    wrong += [Decimal("7.5")] if case.whole else []
    for value in wrong:

        def turn(item: dict[str, Any], value: Any = value) -> dict[str, Any]:
            return item | {case.number: value}

        vendor(case.marker, turn)
        said = refused(cli, case, before)
        assert case.table.split(".")[0] in said
        assert " /" in said
        assert f"field {case.number} holds {value!r}" in said
    vendor(case.marker, lambda item: item | {case.number: Decimal("7.0")})
    load(cli, case)
    assert columns(cli, case) == known
    assert len(rows(cli, case)) == len(before)
