"""No key or password is in any output, log, file or table, however a run fails."""

from collections.abc import Callable
from pathlib import Path

import pytest

from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli
from tests.faults.conftest import Start
from tests.providers import DESCRIPTIONS

Command = Callable[..., str]


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(DESCRIPTIONS)


@pytest.fixture
def keys(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Each provider's key; dlt logs as much as it can."""
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    variables = sandbox.variables()
    found = {name: variables[provider.setting(provider.secret)] for name, provider in DESCRIPTIONS.items()}
    assert len(set(found.values())) == len(found)
    return found


@pytest.fixture
def command(start: Start) -> Command:
    """Runs the command in a process of its own, and returns all output, with its log."""

    def run(*arguments: str, status: int = 1) -> str:
        process = start(*arguments)
        assert process.exit_status() == status, process.stderr
        return process.stdout + process.stderr

    return run


def stored_values(cli: Cli) -> str:
    """Every value of every table, dlt's own included, as text: DuckDB compresses its file."""
    tables = cli.rows("select schema_name, table_name from duckdb_tables()")
    assert {"_dlt_pipeline_state", "_dlt_version", "runs"} <= {table for _, table in tables}
    return "\n".join(str(cli.rows(f'select * from {schema}."{table}"')) for schema, table in tables)


def require_absent(secrets: dict[str, str], output: str, *folders: Path) -> None:
    """No secret is in the output or in any file."""
    assert [name for name, secret in secrets.items() if secret in output] == []
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        assert [name for name, secret in secrets.items() if secret.encode() in content] == [], file


@pytest.mark.thorough
def test_a_failing_run_prints_and_writes_no_key(
    command: Command, cli: Cli, sandbox: Sandbox, keys: dict[str, str], dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vendors repeat the key in an error, in HTML or in a redirect, or send nothing; then hosts are down."""
    for provider in DESCRIPTIONS.values():
        monkeypatch.setenv(provider.setting("initial_date"), "2026-11-01")
    monkeypatch.setenv("SOURCES__HTTP__READ", "0.3")
    faults = (
        lambda key: {"status": 400, "body": {"error": key, "message": key, "detail": {"error": key}}},
        lambda key: {"status": 500, "body": f"<html>{key}</html>"},
        lambda key: {"redirect": f"http://127.0.0.1:9/{key}"},
        lambda _: {"stall": True},
    )
    output = ""
    for turn, arguments in enumerate((("run", "--no-models", "--json"), ("check", "--json"))):
        for number, (name, provider) in enumerate(DESCRIPTIONS.items()):
            sandbox.faults.add(Fault(path=provider.prefix, **faults[(number + turn) % len(faults)](keys[name])))
        output += command(*arguments)
        sandbox.faults.clear()
    for number, (name, provider) in enumerate(DESCRIPTIONS.items()):
        sandbox.faults.add(Fault(path=provider.prefix, after=1, **faults[number % len(faults)](keys[name])))
    output += command("run", "--no-models", "--log-format", "json")
    assert '"event": "failed"' in output
    assert '"logger": "dlt"' in output
    for provider in DESCRIPTIONS.values():
        monkeypatch.setenv(provider.setting("base_url"), "http://127.0.0.1:9")
    output += command("run", "--no-models")
    assert output.count("FAILED") > len(DESCRIPTIONS)
    require_absent(keys, output + stored_values(cli), cli.folder, dlt_data_dir)
    assert cli.rows("select count(distinct provider) from meterhouse.runs where outcome = 'failed' and provider <> ''") == [
        (len(DESCRIPTIONS),)
    ]


@pytest.mark.thorough
def test_a_good_run_prints_writes_and_exports_no_key(
    command: Command, cli: Cli, keys: dict[str, str], dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a webhook's address appear, and neither does any secret in the FOCUS file or the report."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-11-15")
    monkeypatch.setenv("ALERTS__WEBHOOK", "http://127.0.0.1:9/services/webhook-of-somebody")
    columns = "scope,provider,account,dimension,value,team,cost_centre,amount,currency,cost_type,valid_from,valid_to"
    Path("budgets.csv").write_text(f"{columns}\ntotal,,,,,,,0.01,USD,,2026-01-01,\n")
    monkeypatch.setenv("SOURCES__BILLING__BUDGETS", "budgets.csv")
    output = command("run", "mathpix", status=0) + command("check", "--max-age", "1h", status=1)
    assert "alerts.webhook did not accept" in output
    output += command("export", "focus", "focus.csv", status=0) + command("report", status=0) + command("status", status=0)
    secrets = keys | {"webhook": "webhook-of-somebody"}
    require_absent(secrets, output + stored_values(cli), cli.folder, dlt_data_dir)


def test_a_failing_run_prints_and_writes_no_database_password(
    command: Command, cli: Cli, keys: dict[str, str], dlt_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one line about an unreachable PostgreSQL names the host, and nothing names the password."""
    password = "pa55word-of-the-database"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"postgresql://loader:{password}@127.0.0.1:9/usage")
    output = command("run", "mathpix", "--no-models", "--destination", "postgres", status=1)
    assert "meterhouse: 127.0.0.1:9/usage cannot be used: connection to server" in output
    assert "Traceback" not in output
    require_absent(keys | {"database": password}, output, dlt_data_dir)
