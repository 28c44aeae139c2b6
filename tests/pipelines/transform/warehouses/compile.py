"""Compiles all models and tests for each target, without a connection, in the environment with the adapters.

`compile.py PROJECT OUT TARGET …`: the SQL for a target is in OUT/TARGET/compiled. One process takes half the time of one for
each target.
"""

import sys
from pathlib import Path

from dbt.adapters.databricks.impl import DatabricksAdapter
from dbt.cli.main import dbtRunner

# A SQL warehouse of Databricks has every capability, but the adapter needs a connection to find out.
DatabricksAdapter.has_capability = lambda *_: True

project, out, *targets = sys.argv[1:]
for target in targets:
    folder = str(Path(out) / target)
    result = dbtRunner().invoke(
        [
            *("--no-use-colors", "--no-version-check", "compile", "--project-dir", project),
            *("--profiles-dir", str(Path(__file__).parent), "--target", target),
            *("--target-path", folder, "--log-path", folder, "--no-introspect", "--no-populate-cache"),
            *("--vars", "semantic_models: true", "--no-write-json", "--log-level-file", "none"),
        ]
    )
    if result.exception is not None:
        raise result.exception
    if not result.success:
        sys.exit(f"dbt does not compile the models for {target}")
