"""Runs dbt with the arguments given, for warehouses that nobody connects to; in the environment that has their adapters."""

import contextlib
import sys

from dbt.cli.main import dbtRunner

# What a SQL warehouse of Databricks can do is everything, but the adapter wants a connection to say so.
with contextlib.suppress(ImportError):
    from dbt.adapters.databricks.impl import DatabricksAdapter

    DatabricksAdapter.has_capability = lambda *_: True

result = dbtRunner().invoke(sys.argv[1:])
if result.exception is not None:
    raise result.exception
sys.exit(not result.success)
