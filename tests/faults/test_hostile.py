"""Names in responses are data: never SQL, terminal markup or a spreadsheet formula."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.faults.conftest import LOAD, require_complete
from tests.pipelines.transform.warehouse import select_models
from tests.providers import DESCRIPTIONS

pytestmark = pytest.mark.thorough

HOSTILE = "'; drop schema {provider} cascade; --\"{{}}\\%s$1[/red]\n"
COLUMN = 'x"; drop schema {provider} cascade; --'


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(DESCRIPTIONS)


def make_hostile(provider: str, changed: set[str]) -> Callable[[bytes, Mapping[str, Any]], bytes]:
    """An edit that appends SQL to every name, and adds a field with a hostile name to each object that has one."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        result = {name: renamed(inner) for name, inner in value.items()}
        for name in DESCRIPTIONS[provider].names.fields:
            if isinstance(result.get(name), str) and result[name]:
                result[name] += HOSTILE.format(provider=provider)
                result[COLUMN.format(provider=provider)] = HOSTILE.format(provider=provider)
                changed.add(name)
        return result

    def edit(body: bytes, query: Mapping[str, Any]) -> bytes:
        return json.dumps(renamed(json.loads(body))).encode()

    return edit


def test_hostile_names_are_stored_unchanged(recent_cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, of which the second merges, and the models lose no row, and keep every name letter by letter."""
    cli, changed = recent_cli, {provider: set[str]() for provider in DESCRIPTIONS}
    for name, provider in DESCRIPTIONS.items():
        sandbox.faults.add(Fault(path=provider.prefix, edit=make_hostile(name, changed[name])))
    cli(*LOAD)
    schemas = "select distinct schema_name, table_name from duckdb_tables() where schema_name not like 'usage%' order by all"
    tables = cli.rows(schemas)
    select_models(monkeypatch, "usage_by_dimension", "focus_1_2_cost_and_usage")
    cli("run", "--tests", "none")
    assert changed == {name: set(provider.names.fields) for name, provider in DESCRIPTIONS.items()}
    assert cli.rows(schemas) == tables
    require_complete(cli, sandbox, DESCRIPTIONS)
    for name, provider in DESCRIPTIONS.items():
        names, value = provider.names, HOSTILE.format(provider=name).replace("'", "''")
        ((named, added),) = cli.rows(
            f"select count(*) filter (where ends_with({names.column}, '{value}')),"
            f" count(*) filter (where x_drop_schema_{name}_cascade = '{value}') from {name}.{names.table}"
        )
        assert named == added > 0, name
    dimensions = cli.rows("select distinct provider from usage.usage_by_dimension where contains(value, 'drop schema')")
    assert {name for (name,) in dimensions} == {
        name for name, provider in DESCRIPTIONS.items() if provider.names.are_dimensions
    }
    cli("export", "focus", "focus.csv")


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"ocr_usage": 1e999999999999999999999, "data": -1e999999999999999999999}',
        "[]",
        "{}",
        '"text"',
        "1",
        '{"ocr_usage": 1, "data": [1], "summary": null, "error": [], "result": {"data": 1}}',
    ],
    ids=range(8),
)
def test_check_reports_any_response(cli: Cli, sandbox: Sandbox, body: str) -> None:
    """A line for each provider, and no traceback."""
    for provider in DESCRIPTIONS.values():
        sandbox.faults.add(Fault(path=provider.prefix, body=body))
    result = cli.json("check", status=1)
    assert [account["provider"] for account in result["providers"]] == list(DESCRIPTIONS)
