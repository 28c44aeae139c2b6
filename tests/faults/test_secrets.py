"""Keys are in nothing that is said or written, however a run fails: of each provider, and the database's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli

ALL = ("mathpix", "reducto", "onepin", "scopix")
PATHS = {"mathpix": "/v3", "reducto": "/api/v1/usage/export", "onepin": "/api/v1", "scopix": "/api/v2"}


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ALL


@pytest.fixture
def keys(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Each provider's key; as much is logged as dlt can."""
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    variables = sandbox.variables()
    found = {
        provider: variables.get(f"SOURCES__{provider.upper()}__APP_KEY")
        or variables[f"SOURCES__{provider.upper()}__API_KEY"]
        for provider in ALL
    }
    assert len(set(found.values())) == len(ALL)
    return found


def command(*arguments: str, status: int = 1) -> str:
    """All that the command says, in a process of its own, with its log."""
    finished = subprocess.run(
        [sys.executable, "-m", "meterhouse.pipelines.cli", *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert finished.returncode == status, finished.stderr
    return finished.stdout + finished.stderr


def all_that_is_stored(cli: Cli) -> str:
    """Every value of every table, dlt's own included, as text: DuckDB packs what stands in its file."""
    tables = cli.rows("select schema_name, table_name from duckdb_tables()")
    assert {"_dlt_pipeline_state", "_dlt_version", "runs"} <= {table for _, table in tables}
    return "\n".join(str(cli.rows(f'select * from {schema}."{table}"')) for schema, table in tables)


def require_unseen(secrets: dict[str, str], said: str, *folders: Path) -> None:
    """None of them in what was said, nor in any file."""
    assert [name for name, secret in secrets.items() if secret in said] == []
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        assert [name for name, secret in secrets.items() if secret.encode() in content] == [], file


@pytest.mark.thorough
def test_no_key_is_in_what_a_failing_run_says_or_writes(
    cli: Cli, sandbox: Sandbox, keys: dict[str, str], own_dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vendors that repeat the key in an error, in HTML, in a redirect; silent ones; hosts that are down, then dbt."""
    for provider in ALL:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", "2026-11-01")
    monkeypatch.setenv("SOURCES__HTTP__READ", "0.3")
    faults = (
        lambda key: {"status": 400, "body": {"error": key, "message": key, "detail": {"error": key}}},
        lambda key: {"status": 500, "body": f"<html>{key}</html>"},
        lambda key: {"redirect": f"http://127.0.0.1:9/{key}"},
        lambda _: {"stall": True},
    )
    said = ""
    for turn, words in enumerate((("run", "--no-models", "--json"), ("check", "--json"))):
        for number, (provider, path) in enumerate(PATHS.items()):
            sandbox.faults.add(Fault(path=path, **faults[(number + turn) % len(faults)](keys[provider])))
        said += command(*words)
        sandbox.faults.clear()
    for number, (provider, path) in enumerate(PATHS.items()):
        sandbox.faults.add(Fault(path=path, after=1, **faults[number](keys[provider])))
    said += command("run", "--no-models", "--log-format", "json")
    assert '"event": "failed"' in said
    assert '"logger": "dlt"' in said
    for provider in ALL:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__BASE_URL", "http://127.0.0.1:9")
    said += command("run")
    assert said.count("FAILED") > len(ALL)
    require_unseen(keys, said + all_that_is_stored(cli), cli.folder, own_dlt_data_dir)
    assert cli.rows("select count(distinct provider) from meterhouse.runs where outcome = 'failed'") == [(len(ALL),)]


@pytest.mark.thorough
def test_no_key_is_in_what_a_good_run_writes_and_exports(
    cli: Cli, keys: dict[str, str], own_dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the address of a webhook that is not there, nor in a FOCUS file or the report."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-11-15")
    monkeypatch.setenv("ALERTS__WEBHOOK", "http://127.0.0.1:9/services/webhook-of-somebody")
    monkeypatch.setenv("ALERTS__BUDGETS__TOTAL", "0.01 USD")
    said = command("run", "mathpix", status=0) + command("check", "--max-age", "1h", status=1)
    assert "alerts.webhook did not take" in said
    said += command("export", "focus", "focus.csv", status=0) + command("report", status=0) + command("status", status=0)
    secrets = keys | {"webhook": "webhook-of-somebody"}
    require_unseen(secrets, said + all_that_is_stored(cli), cli.folder, own_dlt_data_dir)


def test_no_password_of_a_database_is_in_what_a_failing_run_says_or_writes(
    cli: Cli, keys: dict[str, str], own_dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PostgreSQL that is not there: its driver's error names the host, and nothing names the password."""
    password = "pa55word-of-the-database"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"postgresql://loader:{password}@127.0.0.1:9/usage")
    said = command("run", "mathpix", "--no-models", "--destination", "postgres")
    assert "127.0.0.1" in said
    require_unseen(keys | {"database": password}, said, own_dlt_data_dir)
