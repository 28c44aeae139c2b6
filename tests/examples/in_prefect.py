"""Runs the flow in Prefect's environment, on a server of its own, and prints how it ended."""

import json
import os
import runpy
import sys

os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

from prefect.testing.utilities import prefect_test_harness

example = runpy.run_path(sys.argv[1])
example["load"].retries = 0
with prefect_test_harness(server_startup_timeout=180):  # its 30 seconds are too few on a busy machine
    state = example["meterhouse"](since="2026-01-01", until="2026-01-02", return_state=True)
print(json.dumps(state.type.value))  # noqa: T201 - the test reads it
