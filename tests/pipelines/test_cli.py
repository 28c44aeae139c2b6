"""The command: its output, its exit statuses, and the files that it leaves unchanged."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import MARTS

LOAD = ("run", "--no-models")
PUBLIC_PRICES = {"prices", "skus"}
"""The marts that have rows without any usage."""

TOP = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "meterhouse.pipelines.cli"]


@pytest.fixture
def march() -> Iterator[None]:
    """Twenty days after the first usage that is loaded, so that a run has little to load."""
    with time_machine.travel(datetime(2026, 3, 20, 10, 30, tzinfo=UTC)):
        yield


def lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip()]


def test_reports_a_wrong_key_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names provider, endpoint, status and correction, once for all tables; the exit status is 1.

    The correction names the account's own section.
    """
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "mathpix /v3/ocr-usage (HTTP 401): Invalid credentials" in failed
    assert "Correct app_id and app_key in [sources.mathpix], then run again." in failed
    assert "not-the-right-key" not in cli.output
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", "press")
    for name in ("APP_ID", "APP_KEY"):
        monkeypatch.setenv(f"SOURCES__MATHPIX__ACCOUNTS__PRESS__{name}", "not-the-right-key")
    assert "Correct app_id and app_key in [sources.mathpix.accounts.press], then run again." in cli(*LOAD, status=1)


def test_reports_an_unreachable_host_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the setting of the address; the exit status is 1."""
    monkeypatch.setenv("SOURCES__MATHPIX__BASE_URL", "http://127.0.0.1:9")
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "cannot be reached" in failed
    assert "sources.mathpix.base_url" in failed


def test_reports_a_malformed_response_in_one_line(cli: Cli, sandbox: Sandbox) -> None:
    """HTML with status 200 is reported as not JSON; the exit status is 1."""
    sandbox.faults.add(Fault(path="/v3", body="<html>login</html>"))
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "(HTTP 200): the response is not JSON" in failed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "yesterday"), "since is not a date. Write it as 2026-01-31"),
        (("--since", "2026-02-30"), "since is not a date"),
        (("--until", "2026-01-01"), "until is given without since"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "not before until"),
        (("--since", "2026-01-02", "--until", "9999-12-31T23:59:59Z"), "until is not between 2000 and 2099"),
        (("mathpics",), "there is no provider 'mathpics'. Known: mathpix"),
        (("mathpix.usage",), "mathpix has no table usage. Known: ocr_usage_by_usage_type"),
        (("--destination", "nowhere"), "the destination 'nowhere' cannot be used"),
    ],
)
def test_reports_a_wrong_command_line_in_one_line(
    cli: Cli, sandbox: Sandbox, arguments: tuple[str, ...], message: str
) -> None:
    """The exit status is 2, no request is sent, and no file is created."""
    (line,) = lines(cli(*LOAD, *arguments, status=2))
    assert line.startswith("meterhouse: ")
    assert message in line
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("TIMESPAN", "year", "sources.mathpix.timespan is not a unit of time. Use hour, day, week or month."),
        ("LOOKBACK", "a while", "sources.mathpix.lookback is not a duration"),
        ("INITIAL_DATE", "2026-31-01", "sources.mathpix.initial_date is not a date"),
        ("BASE_URL", "http://api.mathpix.com", "sources.mathpix.base_url (api.mathpix.com) is not HTTPS"),
        ("APP_KEY", "", "mathpix has no app_key in [sources.mathpix]"),
        ("PAGE_SIZE", "5000", "sources.mathpix.page_size must be from 1 to 1000"),
        ("REQUESTS_PER_MINUTE", "0", "sources.mathpix.requests_per_minute must be 1 or more"),
        ("PAGE_SIZE", "many", "sources.mathpix.page_size is not of type int"),
    ],
)
def test_reports_a_wrong_setting_in_one_line(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, message: str
) -> None:
    """The line names the setting as the configuration does; the exit status is 2, and no request is sent."""
    monkeypatch.setenv(f"SOURCES__MATHPIX__{setting}", value)
    (line,) = lines(cli(*LOAD, status=2))
    assert message in line
    assert len(sandbox.requests) == 0


def test_requires_credentials(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any credentials, the exit status is 2, and the line says where credentials go."""
    monkeypatch.delenv("SOURCES__MATHPIX__APP_ID")
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    (line,) = lines(cli(*LOAD, status=2))
    assert "no provider has credentials" in line
    assert ".dlt/secrets.toml" in line
    (line,) = lines(cli(*LOAD, "mathpix", status=2))
    assert "SOURCES__MATHPIX__APP_ID" in line


@pytest.mark.thorough
@pytest.mark.usefixtures("march")
def test_refuses_a_read_only_database(cli: Cli, sandbox: Sandbox) -> None:
    """The file stays unchanged, even for the superuser, and no request is sent."""
    cli(*LOAD)
    cli.database.chmod(0o444)
    before = cli.database.read_bytes()
    sandbox.requests.clear()
    (line,) = lines(cli(*LOAD, status=2))
    assert f"the database file {cli.database} is read-only" in line
    assert cli.database.read_bytes() == before
    assert len(sandbox.requests) == 0


def test_refuses_a_database_in_a_missing_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the missing folder."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "missing/folder/costs.duckdb")
    (line,) = lines(cli(*LOAD, status=2))
    assert "there is no folder" in line


@pytest.mark.thorough
@pytest.mark.usefixtures("march")
def test_refuses_a_database_that_another_process_has_open(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command says why in one line, and the file stays unchanged."""
    monkeypatch.setattr(DuckDBDestination, "wait", timedelta(0))
    cli(*LOAD)
    before = cli.rows("select * from mathpix.ocr_usage_by_app_id order by all")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb; c = duckdb.connect({str(cli.database)!r}); print('in', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    holder.stdout.readline()
    try:
        for command in (LOAD, ("run",), ("models",), ("check",)):
            (line,) = [line for line in lines(cli(*command, status=1)) if not line.startswith("loading")]
            assert f"another process has {cli.database} open" in line
        assert cli.json("run", status=1)["status"] == "failed"
    finally:
        holder.communicate("\n")
    assert cli.rows("select * from mathpix.ocr_usage_by_app_id order by all") == before


def test_refuses_a_file_that_is_not_a_database(cli: Cli) -> None:
    """A wrong path is an error, and the file stays unchanged."""
    cli.database.write_text("my precious notes, long enough to be mistaken for a header " * 100)
    before = cli.database.read_bytes()
    (line,) = [line for line in lines(cli("run", status=1)) if not line.startswith("loading")]
    assert f"{cli.database} cannot be used" in line
    assert cli.database.read_bytes() == before


RUN_BLOCKS = """
import json, os, sys, time_machine
import dlt, duckdb, dlt.destinations.impl.duckdb.duck, pyarrow.dataset, meterhouse.sources
for block in json.load(sys.stdin):
    if not (child := os.fork()):
        with time_machine.travel("2026-03-20T10:30:00+00:00"):
            exec(compile(block, "README", "exec"), {"__name__": "__main__"})
        break
    if os.waitpid(child, 0)[1]:
        sys.exit(block)
"""
"""Each block runs in a forked process that has already imported dlt and DuckDB, at the fixed time of the fixture `march`."""


@pytest.mark.parametrize("providers", [("mathpix", "reducto", "onepin", "scopix")])
@pytest.mark.thorough
@pytest.mark.usefixtures("march")
def test_python_examples_of_the_readmes_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of every README runs as printed; here it loads the last days only."""
    for provider in PROVIDERS:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-03-18")
    pages = sorted([TOP / "README.md", *TOP.glob("sources/*/README.md")])
    assert len(pages) > len(PROVIDERS)
    text = "\n".join(page.read_text() for page in pages)
    blocks = json.dumps(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    command = [sys.executable, "-c", RUN_BLOCKS]
    finished = subprocess.run(command, input=blocks, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_check_reports_configuration_and_credentials(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends one request to each provider, exits with 0, 1 or 2, and prints no secret."""
    assert "mathpix  default  ok" in cli("check")
    assert len(sandbox.requests) == 1
    assert not cli.database.exists()
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    cli("check", status=1)
    assert "HTTP 401" in cli.output
    assert "not-the-right-key" not in cli.output
    result = cli.json("check", status=1)
    assert result["providers"][0] | {"error": ""} == {"provider": "mathpix", "account": "default", "ok": False, "error": ""}
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    assert "no app_key" in cli("check", status=2)


@pytest.mark.thorough
@pytest.mark.usefixtures("march")
def test_json_output_is_one_object(cli: Cli) -> None:
    """Stdout has one object; tests/pipelines/test_cost.py checks the costs in it."""
    result = cli.json(*LOAD)
    assert result["status"] == "ok"
    assert result["exit_status"] == 0
    assert {entry["table"] for entry in result["loaded"]} >= {"ocr_usage_by_usage_type"}
    broken = cli.json("run", "--since", "never", status=2)
    assert broken["exit_status"] == 2


def test_models_path_prints_the_dbt_project(cli: Cli) -> None:
    """`meterhouse models --path` prints a folder with a dbt project."""
    assert (Path(cli("models", "--path").strip()) / "dbt_project.yml").exists()


@pytest.mark.thorough
def test_models_builds_on_an_empty_database(cli: Cli) -> None:
    """A new database gets all marts, without rows except for the public prices, and no data test fails or warns."""
    result = cli.json("models")
    assert result["status"] == "ok"
    assert (result["models"]["failures"], result["models"]["warnings"]) == ([], [])
    assert result["models"]["tests_passed"] > 100
    found = cli.rows_of_each(f"from usage.{mart} limit 1" for mart in MARTS)
    assert {mart for mart, rows in zip(MARTS, found, strict=True) if rows} == PUBLIC_PRICES


@pytest.mark.thorough
@pytest.mark.usefixtures("march")
def test_secrets_appear_in_no_output_file_or_table(cli: Cli, sandbox: Sandbox, dlt_data_dir: Path) -> None:
    """After successful and failed runs, the key is in no output, file or table."""
    key = sandbox.mathpix.credential().app_key
    message = cli(*LOAD) + cli("check")
    sandbox.faults.add(Fault(path="/v3", status=500, times=1, body=f"<html>{key}</html>"))
    sandbox.faults.add(Fault(path="/v3", body={"error": key, "error_info": {"id": "opts_bad", "message": f"bad {key}"}}))
    message += cli(*LOAD, status=1) + cli("check", status=1)
    assert key not in message
    written = [file for folder in (cli.folder, dlt_data_dir) for file in folder.rglob("*") if file.is_file()]
    assert cli.database in written
    assert not [file for file in written if key.encode() in file.read_bytes()]
    with duckdb.connect(str(cli.database), read_only=True) as connection:
        for schema, table in connection.sql("select table_schema, table_name from information_schema.tables").fetchall():
            rows = connection.sql(f'select * from "{schema}"."{table}"').fetchall()
            assert key not in str(rows)


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[dict[str, str]]:
    """`meterhouse sandbox` in another process: the environment variables that it prints."""
    process = subprocess.Popen([*COMMAND, "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    variables = dict(process.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in sandbox.variables())
    yield variables
    process.terminate()
    process.wait(10)


def test_sandbox_serves_a_run_in_another_process(cli: Cli, served: dict[str, str]) -> None:
    """The printed variables are all that the run needs."""
    finished = subprocess.run(
        [*COMMAND, "run", "mathpix", "--no-models", "--since", "2026-03-01", "--until", "2026-03-02"],
        env=os.environ | served,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    assert cli.rows("select count(*) > 0 from mathpix.ocr_usage_by_app_id") == [(True,)]


def test_sandbox_names_all_accounts(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that it prints as comments load them."""
    monkeypatch.setattr("meterhouse.pipelines.sandbox.serve", lambda *arguments, **_: arguments[2](sandbox))
    printed = re.findall(r"^# export (\w+)=(.+)$", cli("sandbox"), re.MULTILINE)
    for name, value in [*sandbox.variables().items(), *printed]:
        monkeypatch.setenv(name, value)
    tables = ("mathpix.ocr_usage_by_app_id", "reducto.usage_by_product")
    cli("run", *tables, "--no-models", "--since", "2026-03-01", "--until", "2026-03-02")
    assert cli.rows("select distinct account from mathpix.ocr_usage_by_app_id order by 1") == [("default",), ("press",)]
    assert cli.rows("select distinct account from reducto.usage_by_product order by 1") == [("default",), ("firm",)]
    assert {name.split("__")[1] for name, _ in printed} == {"MATHPIX", "REDUCTO", "ONEPIN", "SCOPIX"}


def test_help_imports_no_heavy_package() -> None:
    """`meterhouse --help` responds quickly, because it does not import dlt, dbt, Arrow or DuckDB."""
    code = (
        "import sys; from typer.testing import CliRunner; from meterhouse.pipelines.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([name for name in ('dlt', 'dbt', 'pyarrow', 'duckdb', 'httpx') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def printed_version() -> str:
    return subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def test_version_is_in_the_changelog() -> None:
    """`--version` prints the version of pyproject.toml, which has a section in the changelog."""
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert printed_version() == version
    assert f"## {version}" in (TOP / "CHANGELOG.md").read_text()


def test_runs_without_stdout_or_stderr(cli: Cli) -> None:
    """Some supervisors close one of them; the exit status stays 0."""
    for closed in ("--version >&-", "--version 2>&-", "check >&-", "check 2>&-"):
        assert shell(closed).returncode == 0, closed


@pytest.mark.thorough
def test_a_command_that_cannot_print_its_result_fails(cli: Cli) -> None:
    """On a full disk, it prints a warning and exits with status 1. A closed pipe, as with `head`, prints no warning."""
    duckdb.connect(cli.database).close()
    on_a_full_disk = shell("query 'select 1' > /dev/full")
    assert (on_a_full_disk.returncode, on_a_full_disk.stderr.count("\n")) == (1, 1)
    assert "WARNING  <stdout> cannot be written (No space left on device)" in on_a_full_disk.stderr
    assert shell("query --csv 'from range(100000)' | head -1").stderr == ""
    assert shell("check --billing-templates billing > /dev/full").returncode == 1
    assert Path("billing/prices.csv").exists()


def shell(arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with arguments and redirections of a shell."""
    command = ["sh", "-c", f'"$0" -m meterhouse.pipelines.cli {arguments}', sys.executable]
    return subprocess.run(command, check=False, capture_output=True, text=True)
