"""Materializes one day, then `usage_daily` and its upstream models, in Dagster's environment.

Prints whether each step succeeded.
"""

import json
import runpy
import sys

import dagster

definitions = runpy.run_path(sys.argv[1])["definitions"]
raw, models = definitions.assets
loaded = dagster.materialize([raw], partition_key=sys.argv[2], resources=definitions.resources, raise_on_error=False)
daily = [key for key in models.keys if key.path[-1] == "usage_daily"]
selection = dagster.AssetSelection.assets(*daily).upstream()
built = dagster.materialize([models], resources=definitions.resources, selection=selection, raise_on_error=False)
print(json.dumps([loaded.success, built.success]))  # noqa: T201 - the test reads it
