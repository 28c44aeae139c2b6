"""The examples of schedulers work: in the scheduler itself, or its command as the scheduler would run it."""

import configparser
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.test_project import TOP

pytestmark = pytest.mark.thorough

SCHEDULERS = os.environ.get("METERHOUSE_SCHEDULERS")
"""The folder with their environments, which .ci/schedulers makes."""

EXAMPLES = TOP / ".examples"
HERE = Path(__file__).parent


@pytest.fixture
def schedulers() -> Path:
    if not SCHEDULERS:
        pytest.skip("METERHOUSE_SCHEDULERS is not set; .ci/schedulers FOLDER makes the folder")
    return Path(SCHEDULERS)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `meterhouse` that records its arguments and interval, and fails for onepin."""
    command = tmp_path / "bin" / "meterhouse"
    command.parent.mkdir()
    command.write_text(
        '#!/bin/sh\necho "$*" "$DLT_INTERVAL_START" "$DLT_INTERVAL_END" >> "$CALLS"\ncase "$*" in *onepin*) exit 1;; esac\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def run(python: Path, script: str, *arguments: Any, folder: Path, **variables: str) -> Any:
    """Runs a script of this folder in an environment, and returns the last line that it prints, as JSON."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"DO_NOT_TRACK": "1", "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", **variables}
    finished = subprocess.run(
        [str(python), str(HERE / script), *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def commands() -> list[tuple[str, str]]:
    """Every command of cron, systemd and GitHub Actions that runs meterhouse, with its example."""
    (line,) = [line for line in (EXAMPLES / "crontab").read_text().splitlines() if not line.startswith("#")]
    minute, hour, day, month, weekday, command = line.split(maxsplit=5)
    assert (minute, hour, day, month, weekday) == ("7", "*", "*", "*", "*")
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.read(EXAMPLES / "meterhouse.service")
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["run"]["steps"] if step.get("run", "").startswith("meterhouse")]
    return [
        ("crontab", command),
        ("meterhouse.service", service["Service"]["ExecStart"]),
        *(("actions", run) for run in steps),
    ]


@pytest.mark.parametrize(("example", "command"), commands())
def test_the_commands_of_the_examples_run(cli: Cli, example: str, command: str) -> None:
    """As the scheduler starts them, with empty variables where there is no interval; into DuckDB, without models."""
    installed = Path(sys.executable).parent
    for there, here in (
        ("/srv/costs", str(cli.folder)),
        ("/opt/meterhouse/bin", str(installed)),
        ("meterhouse run", "meterhouse run --no-models"),
        ("--destination postgres", ""),
    ):
        command = command.replace(there, here)
    since = utc_now().subtract(days=3)
    environment = os.environ | {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "DLT_INTERVAL_START": since.to_date_string() if example == "actions" else "",
        "DLT_INTERVAL_END": since.add(days=1).to_date_string() if example == "actions" else "",
        "SOURCES__MATHPIX__INITIAL_DATE": since.subtract(days=1).to_date_string(),
    }
    subprocess.run(["sh", "-c", command], env=environment, cwd=cli.folder, check=True, capture_output=True)
    ((days,),) = cli.rows("select count(distinct bucket_start::date) from mathpix.ocr_usage_by_usage_type")
    assert days == (1 if example == "actions" else 5)


def test_the_timer_is_hourly_and_no_example_has_a_secret() -> None:
    """Keys come from the environment or the secrets of the workflow."""
    timer = configparser.ConfigParser(interpolation=None)
    timer.read(EXAMPLES / "meterhouse.timer")
    assert timer["Timer"]["OnCalendar"] == "hourly"
    for file in EXAMPLES.iterdir():
        for line in file.read_text().splitlines():
            if "_KEY:" in line or "CREDENTIALS:" in line:
                assert "${{ secrets." in line, line


def test_airflow_loads_each_provider_and_then_builds_the_models(schedulers: Path, tmp_path: Path) -> None:
    """One task a provider, then the models even after a failure; only a backfill has an interval."""
    result = run(schedulers / "airflow/bin/python", "in_airflow.py", EXAMPLES / "airflow_dag.py", folder=tmp_path,
               AIRFLOW_HOME=str(tmp_path / "airflow"))  # fmt: skip
    assert result["commands"] == {
        **{provider: f"meterhouse run {provider} --no-models" for provider in PROVIDERS},
        "models": "meterhouse models --tests changed",
    }
    assert result["models"] == ["all_done", *sorted(PROVIDERS)]
    assert sorted(result["leaves"]) == ["all_loaded", "models"]
    assert result["at_once"] == [1, 1]
    assert result["scheduled"] == {"DLT_INTERVAL_START": "", "DLT_INTERVAL_END": ""}
    assert result["backfill"] == {
        "DLT_INTERVAL_START": "2026-01-01T00:00:00+00:00",
        "DLT_INTERVAL_END": "2026-01-02T00:00:00+00:00",
    }


def test_prefect_builds_the_models_after_a_failure(schedulers: Path, calls: Path, tmp_path: Path) -> None:
    """The flow runs every provider, one of which fails, then the models, and fails itself."""
    result = run(schedulers / "prefect/bin/python", "in_prefect.py", EXAMPLES / "prefect_flow.py", folder=tmp_path,
               PREFECT_HOME=str(tmp_path / "prefect"))  # fmt: skip
    assert result == "FAILED"
    bounds = "--since 2026-01-01 --until 2026-01-02"
    assert [shlex.join(shlex.split(line)) for line in calls.read_text().splitlines()] == [
        *(f"run {provider} --no-models {bounds}" for provider in PROVIDERS),
        "models --tests changed",
    ]


def test_dagster_loads_one_partition_and_builds_the_selected_models(schedulers: Path, cli: Cli) -> None:
    """A partition of the provider's assets loads exactly its day, and `usage_daily` is built from it."""
    day = utc_now().subtract(days=2).to_date_string()
    result = run(schedulers / "dagster/bin/python", "in_dagster.py", EXAMPLES / "dagster_definitions.py", day,
               folder=cli.folder, PROVIDERS="mathpix", METERHOUSE_DUCKDB=str(cli.database), DBT_LOG_LEVEL_FILE="none",
               DAGSTER_HOME=str(cli.folder))  # fmt: skip
    assert result == [True, True]
    assert cli.rows("select distinct date::text from usage.usage_daily") == [(day,)]
