"""Compiles all models and data tests for each target, without a connection, in the environment with the adapters.

`compile.py PROJECT OUT TARGET …`: the SQL for a target is in OUT/TARGET/compiled. One process
compiles all targets, so that dbt is imported only once.
"""

import gc
import sys
from pathlib import Path

from dbt.adapters.databricks.impl import DatabricksAdapter
from dbt.cli.main import dbtRunner
from dbt_common.dataclass_schema import dbtClassMixin
from templates import compile_templates_once  # type: ignore[import-not-found]  # it is beside this file

compile_templates_once()  # those of the project and of dbt's own macros, for all targets
# A SQL warehouse of Databricks has every capability, but the adapter needs a connection to find out.
DatabricksAdapter.has_capability = lambda *_: True

# At the default thresholds, garbage collection takes a tenth of the time.
gc.set_threshold(100_000, 50, 50)

project, out, *targets = sys.argv[1:]
for number, target in enumerate(targets):
    if number == 1:
        # dbt has compared the project's YAML with its JSON schemas for the first target. This takes a quarter of the time.
        dbtClassMixin.validate = lambda *_: None
    arguments = {
        "project-dir": project,
        "profiles-dir": str(Path(__file__).parent),
        "target": target,
        "target-path": str(Path(out) / target),
        "log-path": str(Path(out) / target),
        "log-level-file": "none",
        "vars": "semantic_models: true",
    }
    options = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    flags = ("--no-use-colors", "--no-version-check", "--no-introspect", "--no-populate-cache", "--no-write-json")
    result = dbtRunner().invoke(["compile", "--exclude", "resource_type:unit_test", *flags, *options])
    if result.exception is not None:
        raise result.exception
    if not result.success:
        sys.exit(f"dbt does not compile the models for {target}")
