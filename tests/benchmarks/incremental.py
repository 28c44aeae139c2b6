"""Models that read every hour, plain and incremental: `python -m tests.benchmarks.incremental [APPS]`.

Ten million rows of hours by default. In a copy of the project the two models that read the hours become incremental: they
delete the last seven days, which every run loads again, and insert them anew. This alone is not exact: it misses usage that
is restated or withdrawn further back (a backfill, `--full-refresh`, a new account).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb

from tests.benchmarks.models import measured, statements
from tests.pipelines.transform.warehouse import PROJECT

MODELS = {"int_mathpix__metered": "grouped_by = 'usage_type'", "int_mathpix__by_dimension": "timespan in ('hour', 'day')"}
"""By name, the condition with which each reads the hours."""
TIMES = {"int_mathpix__metered": "bucket_start", "int_mathpix__by_dimension": "date"}
READ_AS = {"int_mathpix__metered": "bucket_start", "int_mathpix__by_dimension": "cast(bucket_start as date)"}
RUNS = 3


def made_incremental(project: Path) -> None:
    """Changes the models of a copy of the project."""
    for model, condition in MODELS.items():
        file = project / "models" / "intermediate" / f"{model}.sql"
        text, column = file.read_text(), TIMES[model]
        last = f"(select max({column}) from {{{{ this }}}})"
        week = f"delete from {{{{ this }}}} where {column} >= {last} - interval 7 day"
        config = (
            "{{ config(materialized='incremental', incremental_strategy='append',"
            f' pre_hook="{{% if is_incremental() %}}{week}{{% endif %}}") }}}}\n'
        )
        kept = f"{condition}{{% if is_incremental() %}} and {READ_AS[model]} > {last}{{% endif %}}"
        if condition not in text:
            sys.exit(f"{model} has changed: it does not say {condition}")
        file.write_text(config + text.replace(condition, kept))


def main() -> None:
    """Prints the seconds of each model, plain and incremental, as dbt measures them."""
    apps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = folder / "project"
        shutil.copytree(PROJECT, project)
        with duckdb.connect(folder / "meterhouse.duckdb") as connection:
            for statement in statements(2, apps):
                connection.execute(statement)
        build = ("from dbt.cli.main import cli; cli()", "--quiet", "run", "--project-dir", str(project))
        paths = ("--profiles-dir", str(project), "--target-path", f"{folder}/target", "--log-path", f"{folder}/logs")
        measured(folder, "from dbt.cli.main import cli; cli()", "--quiet", "seed", *build[3:], *paths)
        measured(folder, *build, *paths)
        for what in ("plain", "incremental"):
            if what == "incremental":
                made_incremental(project)
                measured(folder, *build, *paths, "--select", *MODELS)  # dbt parses the changed files
            for _ in range(RUNS):
                seconds, _peak = measured(folder, *build, *paths, "--select", *MODELS)
                results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
                times = {result["unique_id"].split(".")[2]: result["execution_time"] for result in results}
                shown = ", ".join(f"{model} {times[model]:.2f} s" for model in MODELS)
                sys.stdout.write(f"{what}: {shown}; the command {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
