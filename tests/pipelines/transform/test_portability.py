"""The models on warehouses that no test can connect to: the dbt adapter compiles them, and sqlglot parses the dialect."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.pipelines.transform.warehouse import PROJECT

ADAPTERS = os.environ.get("METERHOUSE_WAREHOUSE_ADAPTERS")
"""The Python of the environment with the adapters, which .ci/warehouse-adapters creates."""

FILES = Path(__file__).parent / "warehouses"
FOREIGN_TYPES = {
    "snowflake": {"HUGEINT", "DATETIME"},
    "bigquery": {"HUGEINT", "TIMESTAMPTZ", "TEXT"},
    "databricks": {"HUGEINT", "TIMESTAMPTZ", "DATETIME"},
}
"""Types of other engines that this engine lacks or defines differently."""

CAST_TYPE = re.compile(r"\bas (\w+)(?:\([\d, ]+\))?\s*\)", re.IGNORECASE)
COMMENT = re.compile(r"--.*")

RESERVED = frozenset((FILES / "reserved.txt").read_text().split())
"""Words that must not be names without quotes, on any warehouse; sqlglot accepts most of them."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each warehouse, with the SQL of every model and data test."""
    if not ADAPTERS:
        pytest.skip("METERHOUSE_WAREHOUSE_ADAPTERS is not set: `.ci/warehouse-adapters FOLDER` prints its value")
    folder = tmp_path_factory.mktemp("compiled")
    command = [ADAPTERS, str(FILES / "compile.py"), str(PROJECT), str(folder), *FOREIGN_TYPES]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


@pytest.mark.parametrize("warehouse", list(FOREIGN_TYPES))
def test_models_compile_and_their_sql_parses(compiled: Path, warehouse: str) -> None:
    """All models and data tests use types and time zone functions that the warehouse has, and no reserved name."""
    files = (compiled / warehouse / "compiled").rglob("*.sql")
    queries = {path.stem: path.read_text() for path in files if path.is_file()}
    models = {path.stem for path in (PROJECT / "models").rglob("*.sql")}
    assert models < queries.keys()
    wrong = []
    for name, query in queries.items():
        for tree in sqlglot.parse(query, dialect=warehouse):
            assert isinstance(tree, exp.Query), name
            identifiers = {node.this.upper() for node in tree.find_all(exp.Identifier) if not node.quoted}
            wrong += [(name, identifier) for identifier in identifiers & RESERVED]
            wrong += [(name, "at time zone") for _ in tree.find_all(exp.AtTimeZone)]
        types = {name.upper() for name in CAST_TYPE.findall(COMMENT.sub("", query))}
        wrong += [(name, type_name) for type_name in types & FOREIGN_TYPES[warehouse]]
    assert wrong == []
