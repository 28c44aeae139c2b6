"""Names that vendors send are data, whatever they look like: no SQL, no markup of the terminal, no formula."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.faults.conftest import LOAD, require_whole

pytestmark = pytest.mark.thorough

ALL = ("mathpix", "reducto", "onepin", "scopix")
HOSTILE = "'; drop schema {provider} cascade; --\"{{}}\\%s$1[/red]\n"
COLUMN = 'x"; drop schema {provider} cascade; --'
NAMES = {
    "mathpix": ("app_id", "group_id", "usage_type", "request_args_hash"),
    "reducto": ("group",),
    "onepin": ("label", "locale_code", "display_name", "name", "action", "kind"),
    "scopix": ("endpoint", "operation_type", "title", "name", "method"),
}
"""Fields of the vendors' answers that hold what their users or they themselves call things."""
PATHS = {"mathpix": "/v3", "reducto": "/api/v1/usage/export", "onepin": "/api/v1", "scopix": "/api/v2"}
STORED = {
    "mathpix": ("ocr_usage_by_app_id", "app_id"),
    "reducto": ("usage_by_product", "product"),
    "onepin": ("usage_activity", "action"),
    "scopix": ("usage_events", "endpoint"),
}
"""Of each provider a table, and a column of it that holds such a name."""


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ALL


def hostile(provider: str, changed: set[str]) -> Callable[[bytes, Mapping[str, Any]], bytes]:
    """An edit that makes hostile names of all names, and adds a field of such a name to each row that has one."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        answer = {name: renamed(held) for name, held in value.items()}
        for name in NAMES[provider]:
            if isinstance(answer.get(name), str) and answer[name]:
                answer[name] += HOSTILE.format(provider=provider)
                answer[COLUMN.format(provider=provider)] = HOSTILE.format(provider=provider)
                changed.add(name)
        return answer

    def edit(body: bytes, query: Mapping[str, Any]) -> bytes:
        return json.dumps(renamed(json.loads(body))).encode()

    return edit


def test_hostile_names_are_stored_as_they_are(few_days: Cli, sandbox: Sandbox) -> None:
    """By two runs, of which the second merges, and by the models: nothing is lost, and the names are there to the letter."""
    cli, changed = few_days, {provider: set[str]() for provider in ALL}
    cli(*LOAD)
    schemas = "select distinct schema_name, table_name from duckdb_tables() where schema_name not like 'usage%' order by all"
    tables = cli.rows(schemas)
    for provider, path in PATHS.items():
        sandbox.faults.add(Fault(path=path, edit=hostile(provider, changed[provider])))
    cli(*LOAD)
    cli("run")
    assert {provider: tuple(sorted(names)) for provider, names in changed.items()} == {
        provider: tuple(sorted(names)) for provider, names in NAMES.items()
    }
    assert cli.rows(schemas) == tables
    require_whole(cli, sandbox, ALL)
    for provider, (table, column) in STORED.items():
        name = HOSTILE.format(provider=provider).replace("'", "''")
        ((named, added),) = cli.rows(
            f"select count(*) filter (where ends_with({column}, '{name}')), count(*) filter (where x_drop_schema_{provider}"
            f"_cascade = '{name}') from {provider}.{table}"
        )
        assert named == added > 0, provider
    dimensions = cli.rows("select distinct provider from usage.usage_by_dimension where contains(value, 'drop schema')")
    assert {provider for (provider,) in dimensions} == {"mathpix", "reducto", "scopix"}  # Onepin's are names of languages
    cli("export", "focus", "focus.csv")
