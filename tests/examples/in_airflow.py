"""Loads the DAG in Airflow's environment and prints its tasks as JSON."""

import json
import runpy
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

dag = runpy.run_path(sys.argv[1])["dag"]
models, mathpix = dag.get_task("models"), dag.get_task("mathpix")


def environment(run_type: str) -> dict[str, str]:
    days = {"data_interval_start": datetime(2026, 1, 1, tzinfo=UTC), "data_interval_end": datetime(2026, 1, 2, tzinfo=UTC)}
    return mathpix.render_template(mathpix.env, {**days, "dag_run": SimpleNamespace(run_type=run_type)})  # type: ignore[no-any-return]


result = {
    "commands": {task.task_id: task.bash_command for task in dag.tasks if hasattr(task, "bash_command")},
    "models": [str(models.trigger_rule.value), *sorted(models.upstream_task_ids)],
    "leaves": [task.task_id for task in dag.leaves],
    "at_once": [dag.max_active_runs, dag.max_active_tasks],
    "scheduled": environment("scheduled"),
    "backfill": environment("backfill"),
}
print(json.dumps(result))  # noqa: T201 - the test reads it
