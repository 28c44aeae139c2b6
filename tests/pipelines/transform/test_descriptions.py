"""The documentation that an analyst finds in the database, in the dbt docs, and in the manifest."""

import pytest

from meterhouse.pipelines.transform import PROJECT
from tests.pipelines.transform.warehouse import MARTS, Warehouse

PREFIXES = {"staging": "stg_", "intermediate": "int_"}


@pytest.mark.thorough
def test_database_and_dbt_docs_describe_every_column(built: Warehouse) -> None:
    """Every mart and mart column has its description as a comment, and the docs are one file that works offline."""
    nodes = built.manifest()["nodes"].values()
    models = {node["name"]: node for node in nodes if node["resource_type"] in ("model", "seed")}
    comments = built.comments()
    assert {table for table, _ in comments} == set(MARTS)
    for (table, column), comment in comments.items():
        described = models[table]["columns"][column] if column else models[table]
        assert comment, (table, column)
        assert comment == described["description"], (table, column)

    columns = built.query("select table_name, column_name from duckdb_columns() where schema_name like 'usage%'")
    undocumented = {(table, column) for table, column in columns if column not in models[table]["columns"]}
    assert undocumented == set()

    assert built.dbt("docs generate --static --no-compile", artifacts=True).success
    page = (built.target_path / "static_index.html").read_text(encoding="utf-8")
    assert models["cost_forecast_monthly"]["columns"]["forecast_low"]["description"].strip() in page


@pytest.mark.thorough
def test_project_follows_the_rules_of_dbt_project_evaluator(warehouse: Warehouse) -> None:
    """Keys are tested, sources have freshness checks, names show the layer, and only staging reads raw tables."""
    project = warehouse.manifest()
    nodes = project["nodes"]
    tests = [node for node in nodes.values() if node["resource_type"] == "test" and "test_metadata" in node]
    tested = {node["attached_node"] for node in tests if node["test_metadata"]["kwargs"].get("grain")}
    models = {key: node for key, node in nodes.items() if node["resource_type"] == "model"}
    for key, node in models.items():
        layer = node["fqn"][1]
        assert node["name"].startswith(PREFIXES.get(layer, "")), key
        assert (node["access"] == "public") == (layer == "marts"), key
        assert (node["access"] == "private") == (layer != "marts"), key
        parents = {parent.split(".")[0] for parent in node["depends_on"]["nodes"]}
        assert (layer == "staging") == ("source" in parents), key
    without_key = {node["name"] for key, node in models.items() if key not in tested and node["access"] == "public"}
    assert without_key == set()
    watched = {source["source_name"] for source in project["sources"].values() if source["freshness"]["warn_after"]["count"]}
    # Files that the user maintains by hand need no freshness check.
    assert watched == {source["source_name"] for source in project["sources"].values()} - {"billing"}


def test_a_long_model_says_why() -> None:
    """More than 200 lines need a reason in the head of the model."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT / "models").rglob("*.sql")}
    long_ = {name for name, text in texts.items() if text.count("\n") > 200}
    assert long_ == {name for name, text in texts.items() if "\n-- Longer than 200 lines: " in text}
