"""What the command says and with which status it ends, for whoever schedules it."""

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

from meterhouse.pipelines.run.open import PROVIDERS
from meterhouse.pipelines.sandbox import Fault, Sandbox
from tests.conftest import Cli

LOAD = ("run", "--no-models")
TOP = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "meterhouse.pipelines.cli"]


def lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip()]


def test_a_wrong_key_is_one_line_and_status_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the provider, the endpoint, the status and what to correct, once for all tables."""
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "mathpix /v3/ocr-usage (HTTP 401): Invalid credentials" in failed
    assert "Correct app_id and app_key in [sources.mathpix], then run again." in failed
    assert "not-the-right-key" not in cli.output


def test_an_unreachable_host_is_one_line_and_status_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that the host cannot be reached and where its address stands."""
    monkeypatch.setenv("SOURCES__MATHPIX__BASE_URL", "http://127.0.0.1:9")
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "cannot be reached" in failed
    assert "sources.mathpix.base_url" in failed


def test_a_malformed_answer_is_one_line_and_status_1(cli: Cli, sandbox: Sandbox) -> None:
    """HTML with status 200 is told as what it is."""
    sandbox.faults.add(Fault(path="/v3", body="<html>login</html>"))
    (failed,) = [line for line in lines(cli(*LOAD, status=1)) if line.startswith("FAILED")]
    assert "(HTTP 200): the answer is not JSON" in failed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "since is 'yesterday', which is not a date. Write it as 2026-01-31"),
        (("--since", "2026-02-30"), "since is '2026-02-30', which is not a date"),
        (("--until", "2026-01-01"), "until is given without since"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "not before until"),
        (("mathpics",), "there is no provider 'mathpics'. Known: mathpix"),
        (("mathpix.usage",), "mathpix has no table usage. Known: ocr_usage_by_usage_type"),
        (("--destination", "nowhere"), "the destination 'nowhere' cannot be used"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    cli: Cli, sandbox: Sandbox, arguments: tuple[str, ...], said: str
) -> None:
    """Nothing is asked of anyone, and no file is made."""
    (line,) = lines(cli(*LOAD, *arguments, status=2))
    assert line.startswith("meterhouse: ")
    assert said in line
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("TIMESPAN", "year", "sources.mathpix.timespan is 'year'. Use hour, day, week or month."),
        ("LOOKBACK", "a while", "sources.mathpix.lookback is 'a while', which is not a length of time"),
        ("INITIAL_DATE", "2026-31-01", "sources.mathpix.initial_date is '2026-31-01', which is not a date"),
        ("BASE_URL", "http://api.mathpix.com", "sources.mathpix.base_url (api.mathpix.com) is not HTTPS"),
        ("APP_KEY", "", "mathpix has no app_key in [sources.mathpix]"),
        ("PAGE_SIZE", "5000", "sources.mathpix.page_size is 5000"),
        ("REQUESTS_PER_MINUTE", "0", "sources.mathpix.requests_per_minute is 0"),
        ("PAGE_SIZE", "many", "page_size"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    """The setting is named as it stands in the configuration."""
    monkeypatch.setenv(f"SOURCES__MATHPIX__{setting}", value)
    (line,) = lines(cli(*LOAD, status=2))
    assert said in line
    assert len(sandbox.requests) == 0


def test_no_credentials_at_all_is_status_2(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is configured: the line says where credentials go."""
    monkeypatch.delenv("SOURCES__MATHPIX__APP_ID")
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    (line,) = lines(cli(*LOAD, status=2))
    assert "no provider has credentials" in line
    assert ".dlt/secrets.toml" in line
    (line,) = lines(cli(*LOAD, "mathpix", status=2))
    assert "SOURCES__MATHPIX__APP_ID" in line


def test_a_read_only_database_stays_as_it_was(cli: Cli, sandbox: Sandbox) -> None:
    """Also for the superuser: a file that nobody may write was meant to stay."""
    cli(*LOAD)
    cli.database.chmod(0o444)
    before = cli.database.read_bytes()
    sandbox.requests.clear()
    (line,) = lines(cli(*LOAD, status=2))
    assert f"the database file {cli.database} is read-only" in line
    assert cli.database.read_bytes() == before
    assert len(sandbox.requests) == 0


def test_a_database_in_no_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that cannot be made is named."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "missing/folder/costs.duckdb")
    (line,) = lines(cli(*LOAD, status=2))
    assert "there is no folder" in line


@pytest.mark.thorough
def test_a_database_that_another_process_holds_stays_as_it_was(cli: Cli) -> None:
    """The line says who is in the way."""
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


def test_a_file_that_is_no_database_stays_as_it_was(cli: Cli) -> None:
    """A wrong path is an error, not an overwritten file."""
    cli.database.write_text("my precious notes, long enough to be mistaken for a header " * 100)
    before = cli.database.read_bytes()
    (line,) = [line for line in lines(cli("run", status=1)) if not line.startswith("loading")]
    assert f"{cli.database} cannot be used" in line
    assert cli.database.read_bytes() == before


@pytest.mark.parametrize("name", ["mathpix", "usage"])
def test_a_database_may_not_be_called_as_a_schema(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """DuckDB names a database after its file, and could not tell it from the schema of that name."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"{name}.duckdb")
    (line,) = lines(cli("run", status=2))
    assert "has the name of a schema" in line
    assert not (cli.folder / f"{name}.duckdb").exists()


@pytest.mark.parametrize("providers", [("mathpix", "reducto", "onepin", "scopix")])
@pytest.mark.thorough
def test_the_python_of_the_readmes_runs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every python block of every README, as printed; they run today, and load the last days only."""
    for provider in PROVIDERS:
        day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", day)
    pages = sorted([TOP / "README.md", *TOP.glob("sources/*/README.md")])
    assert len(pages) > len(PROVIDERS)
    for page in pages:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            finished = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
            assert finished.returncode == 0, finished.stderr


def test_check_says_what_is_configured_and_whether_it_works(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cheap call a provider; status 0, 1 or 2; never a secret."""
    assert "mathpix  default  ok" in cli("check")
    assert len(sandbox.requests) == 1
    assert not cli.database.exists()
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    cli("check", status=1)
    assert "HTTP 401" in cli.output
    assert "not-the-right-key" not in cli.output
    answer = cli.json("check", status=1)
    assert answer["providers"][0] | {"error": ""} == {"provider": "mathpix", "account": "default", "ok": False, "error": ""}
    monkeypatch.delenv("SOURCES__MATHPIX__APP_KEY")
    assert "no app_key" in cli("check", status=2)


@pytest.mark.thorough
def test_json_is_one_object_on_stdout(cli: Cli) -> None:
    """Numbers of money are text there, and the human text is not in it."""
    report = cli.json("run")
    assert report["status"] == "ok"
    assert report["exit_status"] == 0
    assert {entry["table"] for entry in report["loaded"]} >= {"ocr_usage_by_usage_type"}
    assert all(isinstance(row["billed_cost"], str) for row in report["cost_monthly"])
    assert [row["meter"] for row in report["unpriced_usage"]] == ["conversion"]
    broken = cli.json("run", "--since", "never", status=2)
    assert broken["exit_status"] == 2


def test_models_say_where_they_are(cli: Cli) -> None:
    """`meterhouse models --path` names a dbt project."""
    assert (Path(cli("models", "--path").strip()) / "dbt_project.yml").exists()


@pytest.mark.thorough
def test_models_run_on_what_is_loaded(cli: Cli) -> None:
    """Loading and modelling may be two steps."""
    cli(*LOAD)
    cli("models")
    assert cli.rows("select count(*) > 0 from usage.cost_monthly") == [(True,)]


@pytest.mark.thorough
def test_models_on_nothing_are_empty(cli: Cli) -> None:
    """A new database has all marts, without rows."""
    cli("models")
    assert cli.rows("select count(*) from usage.charges") == [(0,)]


@pytest.mark.thorough
def test_secrets_are_in_no_output_file_or_table(cli: Cli, sandbox: Sandbox, dlt_data_dir: Path) -> None:
    """After good runs and bad ones, the key is in nothing that was said or written."""
    key = sandbox.mathpix.credential().app_key
    said = cli("run") + cli("check")
    sandbox.faults.add(Fault(path="/v3", status=500, times=1, body=f"<html>{key}</html>"))
    sandbox.faults.add(Fault(path="/v3", body={"error": key, "error_info": {"id": "opts_bad", "message": f"bad {key}"}}))
    said += cli(*LOAD, status=1) + cli("check", status=1)
    assert key not in said
    written = [file for folder in (cli.folder, dlt_data_dir) for file in folder.rglob("*") if file.is_file()]
    assert cli.database in written
    assert not [file for file in written if key.encode() in file.read_bytes()]
    with duckdb.connect(str(cli.database), read_only=True) as connection:
        for schema, table in connection.sql("select table_schema, table_name from information_schema.tables").fetchall():
            rows = connection.sql(f'select * from "{schema}"."{table}"').fetchall()
            assert key not in str(rows)


BILLS_IN_FOCUS = """
    with bills as (
        select
            "InvoiceId" as invoice_id, "BillingAccountId" as account, "BillingPeriodStart"::date as billing_month, "SkuId",
            round(sum("BilledCost"), 2) as line
        from usage.focus_1_2_cost_and_usage
        where "InvoiceId" is not null and "ProviderName" = 'Mathpix'
        group by all
    ),

    invoices as (select invoice_id, account, billing_month, sum(line) as billed from bills group by all)

    select invoice_id, billed, sum(computed) as computed
    from invoices
    left join usage.invoice_reconciliation as lines
        on lines.provider = 'mathpix' and lines.account = invoices.account and lines.billing_month = invoices.billing_month
    group by all
    order by all
"""
"""By invoice what FOCUS bills, rounded line by line as an invoice is, and what the reconciliation computes."""


def test_the_demo_needs_nothing_and_sends_no_real_key(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is configured, the demo asks its own sandbox under its own key, and ends with a cost by month.

    All queries of the README have an answer in it, and its invoices are as the models compute them, but for one line.
    """
    monkeypatch.setenv("SOURCES__BILLING__PRICES", "missing.csv")
    output = cli("demo")
    assert "missing.csv" not in output
    assert "cost by month" in output
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()
    assert (cli.folder / "demo.duckdb").exists()
    assert output.count(" mathpix   default ") == 13
    queries = "".join(re.findall(r"^```sql\n(.*?)^```", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)).split(
        ";"
    )
    cli.database = cli.folder / "demo.duckdb"
    assert len([query for query in queries if query.strip()]) == 10
    for query in filter(str.strip, queries):
        assert cli.rows(query), query
    statuses = cli.rows("select status, count(*) from usage.invoice_reconciliation where provider = 'mathpix' group by 1")
    assert "report  demo.html" in cli.output
    assert b"Usage and cost" in (cli.folder / "demo.html").read_bytes()
    assert {"matched": 32, "over": 1, "missing invoice": 3}.items() <= dict(statuses).items()
    bills = cli.rows(BILLS_IN_FOCUS)
    assert len(bills) == 11
    assert all(billed == computed > 0 for _, billed, computed in bills)
    assert all(f"\n{provider}" in output for provider in PROVIDERS)
    assert "UNPRICED" in output


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[dict[str, str]]:
    """`meterhouse sandbox` in a process of its own, and the variables that it prints."""
    process = subprocess.Popen([*COMMAND, "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    variables = dict(process.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in sandbox.variables())
    yield variables
    process.terminate()
    process.wait(10)


def test_the_sandbox_command_serves_what_a_run_reads(cli: Cli, served: dict[str, str]) -> None:
    """Its variables are all that a run in another process needs."""
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


def test_help_needs_no_heavy_import() -> None:
    """`meterhouse --help` is typed to be answered: dlt, dbt, Arrow and DuckDB stay unread."""
    code = (
        "import sys; from typer.testing import CliRunner; from pipelines.cli import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([name for name in ('dlt', 'dbt', 'pyarrow', 'duckdb', 'httpx') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def house_version() -> str:
    return subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def test_the_version_is_the_changelogs() -> None:
    """Whoever reads the changelog finds the version that is installed."""
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert house_version() == version
    assert f"## {version}" in (TOP / "CHANGELOG.md").read_text()


def test_a_process_without_an_output_ends_as_any_other() -> None:
    """Some supervisors close stdout or stderr."""
    for closed in (">&-", "2>&-"):
        command = ["sh", "-c", f'"$0" -m meterhouse.pipelines.cli --version {closed}', sys.executable]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
