"""Runs dbt with the given arguments, without a connection, in the environment with the adapters."""

import contextlib
import sys

from dbt.cli.main import dbtRunner

# A SQL warehouse of Databricks has every capability, but the adapter needs a connection to find out.
with contextlib.suppress(ImportError):
    from dbt.adapters.databricks.impl import DatabricksAdapter

    DatabricksAdapter.has_capability = lambda *_: True

result = dbtRunner().invoke(sys.argv[1:])
if result.exception is not None:
    raise result.exception
sys.exit(not result.success)
