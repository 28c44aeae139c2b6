"""Unattended runs: the JSON log, the table of runs, the age of the data, and alerts."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import time_machine
from dlt.common.runtime.run_context import active

from meterhouse.pipelines.output.json_lines import LogFormat, json_lines, write_interrupted
from meterhouse.pipelines.run.alert_kinds import AlertLimits
from meterhouse.pipelines.run.alerts import Alerts
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.pipelines.warehouse.locking import FileLock
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import select_models

LOAD = ("run", "--no-models")
NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
TABLES = [f"ocr_usage_by_{grouping}" for grouping in ("app_id", "request_args_hash", "usage_type", "usage_type_and_app_id")]


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


class Webhook:
    """A local webhook like Slack's: it records posts and responds with `status`."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.paths: list[str] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert body.keys() == {"text"}
                outer.paths.append(self.path)
                outer.posted.append(body["text"])
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name in the base class
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/services/T00/B00/verysecrettoken"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.delenv("ALERTS__ON", raising=False)
    hook = Webhook()
    monkeypatch.setenv("ALERTS__WEBHOOK", hook.address)
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def test_an_alert_shows_control_characters_written_out(webhook: Webhook) -> None:
    """A name can neither begin a line of its own nor reverse the text; links and mentions stay text, too."""
    alerts = Alerts.from_config()
    assert alerts
    assert alerts.post(["FAILED a\n• FAILED b\u202e <!channel>"], RunState())
    assert webhook.posted == [r"meterhouse" "\n" r"• FAILED a\n• FAILED b\u202e &lt;!channel&gt;"]


def log(cli: Cli, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """The parsed log of a command; every line of its output must be one."""
    lines = [json.loads(line) for line in cli(*arguments, "--log-format", "json", status=status).splitlines()]
    assert len({line["run_id"] for line in lines}) == 1
    assert all(line["time"].startswith("2026-03-") and line["time"].endswith("Z") for line in lines)
    assert [lines[0]["event"], lines[-1]["event"], lines[-1]["exit_status"]] == ["started", "finished", status]
    return lines


def recorded_runs(cli: Cli, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    return cli.rows(
        f"select {columns} from meterhouse.runs where {where} and resource <> 'run'"
        " order by started_at, provider, account, resource"
    )


def test_the_log_has_a_line_for_each_step(cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, windows, load and end are lines; so are a retry with its wait and each failure with its error."""
    steps = log(cli, *LOAD)
    assert [step["event"] for step in steps] == ["started", *["window_read"] * len(TABLES), "loaded", "finished"]
    window = steps[1]
    assert (window["level"], window["provider"], window["account"]) == ("info", "mathpix", "default")
    assert window["window_start"].startswith("2026-03-01")
    assert window["rows"] > 0
    assert isinstance(steps[-1]["seconds"], float)
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "2")
    sandbox.faults.add(Fault(path="/v3", times=1, status=429, headers={"Retry-After": "0"}))
    one_table = ("run", f"mathpix.{TABLES[2]}", "--no-models")  # of several, any could be the first to get the response
    (retry,) = [line for line in log(cli, *one_table) if line["event"] == "retry"]
    assert (retry["level"], retry["attempt"], retry["wait"], retry["endpoint"]) == ("warning", 1, 0.0, "/v3/ocr-usage")
    assert retry["resource"] == TABLES[2]
    assert "HTTP 429" in retry["error"]
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    lines = log(cli, *LOAD, status=1)
    failed = [line for line in lines if line["event"] == "failed"]
    assert sorted(line["resource"] for line in failed) == TABLES
    assert {(line["level"], line["kind"]) for line in failed} == {("error", "CredentialsRejected")}
    checked = [line for line in log(cli, "check", status=1) if line["event"] == "checked"]
    assert [line["level"] for line in checked] == ["error"]
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBAK", "3")
    (stopped,) = [line for line in log(cli, *LOAD, status=2) if line["event"] == "stopped"]
    assert stopped["kind"] == "ConfigurationError"
    assert "Did you mean lookback?" in stopped["error"]


def test_every_line_of_the_log_is_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of dlt and the traceback of a crash are JSON lines, too; with `--json`, stdout keeps its object."""
    monkeypatch.setattr("meterhouse.pipelines.run.orchestrate.load", lambda *_: 1 / 0)
    logging.getLogger("dlt").handlers.clear()
    (crashed,) = [line for line in log(cli, *LOAD, status=1) if line["event"] == "crashed"]
    assert crashed["level"] == "critical"
    assert crashed["traceback"].endswith("ZeroDivisionError: division by zero\n")

    def load(*_: Any) -> None:
        logging.getLogger("dlt").critical("%s is\nodd", "dlt")

    monkeypatch.setattr("meterhouse.pipelines.run.orchestrate.load", load)
    (logged,) = [line for line in log(cli, *LOAD) if line["event"] == "log"]
    assert (logged["logger"], logged["message"], logged["level"]) == ("dlt", "dlt is\nodd", "critical")
    assert cli.json(*LOAD, "--log-format", "json")["status"] == "ok"


def test_a_signal_writes_the_last_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """It has the exit status of the process. Without a JSON log, no line is written."""
    with json_lines(LogFormat.JSON, "a-run"):
        assert write_interrupted("SIGTERM", 143)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["interrupted_by"], line["exit_status"]) == ("finished", "SIGTERM", 143)
    with json_lines(LogFormat.TEXT, "a-run"):
        assert not write_interrupted("SIGINT", 130)
    assert capsys.readouterr().err == ""


def test_records_what_each_run_did(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows fetched, changed and deleted are exact: after a first run, without news, and after a restatement."""
    clock.move_to(datetime(2026, 3, 20, 10, 0, 1, tzinfo=UTC))
    run_id = cli.json(*LOAD)["run_id"]
    assert {name for (name,) in recorded_runs(cli, "run_id")} == {run_id}
    assert recorded_runs(cli, "provider, account, resource, outcome, error, retries") == [
        ("mathpix", "default", table, "ok", None, 0) for table in TABLES
    ]
    ((start, end, seconds, kind),) = set(recorded_runs(cli, "window_start, window_end, seconds >= 0, typeof(seconds)"))
    assert (start, end) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 20, 11, tzinfo=UTC))
    assert seconds
    assert kind == "DECIMAL(12,3)"
    for table, came, rows in recorded_runs(cli, "resource, rows_changed, rows_in"):
        assert cli.rows(f"select count(*) from mathpix.{table}") == [(came,)] == [(rows,)]
    assert sum(requests for (requests,) in recorded_runs(cli, "requests")) == len(sandbox.requests)
    cli(*LOAD)
    assert recorded_runs(cli, "rows_changed, rows_gone", f"run_id <> '{run_id}'") == [(0, 0)] * len(TABLES)
    before = set(cli.rows(f"select * from mathpix.{TABLES[2]}"))
    usage = sandbox.mathpix.usage
    usage.restate("2026-03-18T05:00:00", "2026-03-18T06:00:00", count=77, usage_type="image", app_id="lyceum_notes")
    usage.withdraw("2026-03-17", usage_type="pdf-page")
    clock.shift(timedelta(hours=1))
    third = cli.json(*LOAD)["run_id"]
    after = set(cli.rows(f"select * from mathpix.{TABLES[2]}"))
    where = f"run_id = '{third}' and resource = '{TABLES[2]}'"
    assert recorded_runs(cli, "rows_changed, rows_gone", where) == [(len(after - before), len(before - after))]
    assert len(before - after) > len(after - before) > 1
    clock.shift(timedelta(hours=1))
    sandbox.faults.add(Fault(path="/v3", query={"group_by": "request_args_hash"}, status=500))
    failed = cli.json(*LOAD, status=1)["run_id"]
    assert recorded_runs(cli, "resource, outcome, error is null", f"run_id = '{failed}'") == [
        (TABLES[0], "ok", True),
        (TABLES[1], "failed", False),
        (TABLES[2], "ok", True),
        (TABLES[3], "ok", True),
    ]
    monkeypatch.setenv("SOURCES__MATHPIX__BASE_URL", "http://127.0.0.1:9")
    sandbox.faults.clear()
    down = cli.json(*LOAD, status=1)["run_id"]
    message = recorded_runs(cli, "outcome, rows_in, rows_changed, requests, error", f"run_id = '{down}'")
    assert [row[:4] for row in message] == [("failed", 0, 0, 1)] * len(TABLES)
    assert all("cannot be reached" in row[4] for row in message)


def test_records_a_provider_that_could_not_be_loaded_as_failed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row has the error of the load and no changed rows."""

    def load_one(pipeline: dlt.Pipeline, source: Any, *_: Any) -> None:
        pipeline.extract(source)
        raise OSError("no space left")

    monkeypatch.setattr("meterhouse.pipelines.run.load.load_one", load_one)
    cli(*LOAD, status=1)
    rows = recorded_runs(cli, "outcome, rows_in > 0, rows_changed, error like '%no space left%'")
    assert rows == [("failed", True, 0, True)] * len(TABLES)


def test_a_run_that_cannot_be_recorded_has_a_warning(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data is loaded, and the exit status is 0."""

    def write(*_: Any) -> None:
        raise duckdb.Error("the disk is full")

    monkeypatch.setattr("meterhouse.pipelines.run.history.complete", write)
    result = cli.json(*LOAD)
    assert result["status"] == "ok"
    assert len(result["warnings"]) == 1
    assert "could not be recorded in meterhouse.runs" in result["warnings"][0]
    assert "WARNING  this run could not be recorded in meterhouse.runs" in cli(*LOAD)


@pytest.mark.thorough
def test_the_runs_table_has_the_same_name_in_every_database(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even in meterhouse.duckdb, where a schema of the same name would be ambiguous."""
    cli(*LOAD)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "costs.duckdb")
    cli(*LOAD)
    for name in ("meterhouse.duckdb", "costs.duckdb"):
        with duckdb.connect(name, read_only=True) as connection:
            assert connection.sql("select count(*) from meterhouse.runs").fetchall() == [(len(TABLES) + 1,)]


@pytest.mark.thorough
def test_check_reports_stale_tables(
    cli: Cli, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports each table with its age. A backfill refreshes nothing, and a wrong span exits with 2."""
    assert "STALE  mathpix: never loaded" in cli("check", "--max-age", "36h", status=1)
    assert not cli.database.exists()
    cli(*LOAD)
    assert "STALE" not in cli("check", "--max-age", "36h")
    assert cli.json("check", "--max-age", "36h")["stale"] == []
    assert cli.json("check")["stale"] is None
    clock.shift(timedelta(hours=40))
    cli("run", f"mathpix.{TABLES[0]}", "--no-models")
    cli("run", "--no-models", "--since", "2026-03-02", "--until", "2026-03-03")
    result = cli.json("check", "--max-age", "36h", status=1)
    assert result["status"] == "failed"
    assert [(old["provider"], old["account"], old["table"], round(old["hours"])) for old in result["stale"]] == [
        ("mathpix", "default", table, 40) for table in TABLES[1:]
    ]
    message = cli("check", "--max-age", "1 day", status=1)
    assert f"STALE  mathpix.{TABLES[1]} default: known up to 2026-03-20 10:30 UTC, 40.0 hours ago" in message
    assert [line["hours"] for line in log(cli, "check", "--max-age", "36h", status=1) if line["event"] == "stale"] == [
        pytest.approx(40, abs=0.1)
    ] * len(TABLES[1:])
    assert "STALE" not in cli("check", "--max-age", "2 days")
    for wrong in ("soon", "36 hour s", "-1h", ""):
        assert "is not a duration" in cli("check", f"--max-age={wrong}", status=2)
    for name in ("APP_ID", "APP_KEY"):  # a provider that lost its credentials
        monkeypatch.delenv(f"SOURCES__MATHPIX__{name}")
    for name, value in sandbox.variables().items():
        if name.startswith("SOURCES__REDUCTO__"):
            monkeypatch.setenv(name, value)
    message = cli("check", "--max-age", "36h", status=1)
    assert "mathpix  not in use" in message
    assert f"STALE  mathpix.{TABLES[1]} default" in message


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning shows neither its address nor that of the webhook."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:1080")
    for name in ("HTTPS_PROXY", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    state = RunState()
    assert not Alerts("https://hooks.invalid/hunter2").post(["FAILED"], state)
    (warning,) = state.warnings
    assert warning.startswith("alerts.webhook did not accept the alerts: ALL_PROXY is a SOCKS proxy")
    assert "hunter2" not in warning


@pytest.mark.thorough
def test_alerts_of_a_failure_once_a_day(
    cli: Cli, webhook: Webhook, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run sends one message. A failing webhook is a warning, and its address is in no output or file."""
    cli(*LOAD)
    assert webhook.posted == []
    monkeypatch.setenv("SOURCES__MATHPIX__APP_KEY", "not-the-right-key")
    webhook.status = 500
    message = cli(*LOAD, status=1)
    assert "WARNING  alerts.webhook did not accept the alerts: it responded with HTTP 500" in message
    webhook.status = 302
    message += cli(*LOAD, status=1)
    assert "HTTP 302" in message
    assert len(webhook.posted) == 2  # no redirect was followed
    webhook.status = 200
    cli(*LOAD, status=1)
    cli(*LOAD, status=1)
    assert len(webhook.posted) == 3
    assert webhook.posted[-1].startswith("meterhouse\n• FAILED mathpix /v3/ocr-usage (HTTP 401)")
    assert webhook.posted[-1].count("\n") == 1
    assert webhook.posted[-1].endswith("[account default: " + ", ".join(TABLES) + "]")
    assert cli.rows("select kind, told_at::date from meterhouse.alerts") == [("failures", date(2026, 3, 20))]
    clock.shift(timedelta(days=1))
    cli(*LOAD, status=1)
    assert len(webhook.posted) == 4
    monkeypatch.setenv("ALERTS__ON", "anomalies,budgets")
    clock.shift(timedelta(days=1))
    cli(*LOAD, status=1)
    assert len(webhook.posted) == 4
    monkeypatch.delenv("ALERTS__ON")
    with monkeypatch.context() as another_run:
        another_run.setattr(FileLock, "acquire", lambda _: False)
        assert "another run is using" in cli(*LOAD, status=1)
    assert len(webhook.posted) == 4
    monkeypatch.setenv("SOURCES__MATHPIX__LOOKBACK", "long")
    cli(*LOAD, status=2)
    assert webhook.posted[-1].startswith("meterhouse\n• STOPPED sources.mathpix.lookback is not a duration")
    webhook.server.shutdown()
    webhook.server.server_close()
    message += cli(*LOAD, status=2)
    assert "cannot be reached (ConnectError)" in message
    assert "verysecrettoken" not in message
    assert not [file for file in Path().rglob("*") if file.is_file() and b"verysecrettoken" in file.read_bytes()]


@pytest.mark.thorough
def test_alerts_of_anomalies_and_budgets_once(
    cli: Cli, webhook: Webhook, sandbox: Sandbox, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alerts come from the marts: an exceeded budget, and a recent anomaly; an older anomaly is not sent."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2026-01-20")
    monkeypatch.setenv("SOURCES__BILLING__BUDGETS", "budgets.csv")
    columns = (
        "scope,provider,account,dimension,value,team,cost_centre,amount,currency,cost_type,thresholds,valid_from,valid_to"
    )
    budgets = [
        "total,,,,,,,99,USD,,none,2026-01-01,",
        "provider,mathpix,,,,,,9000000,USD,,,2026-01-01,",
        "account,mathpix,default,,,,,1,EUR,,,2026-01-01,",
    ]
    Path("budgets.csv").write_text("\n".join((columns, *budgets)))
    usage = sandbox.mathpix.usage
    for day in ("2026-03-02", "2026-03-18"):
        usage.restate(f"{day}T05:00:00", f"{day}T06:00:00", count=500_000, usage_type="image", app_id="lyceum_notes")
    usage.withdraw("2026-03-20T10:00:00", "2026-03-20T11:00:00")  # the running hour grows by the minute
    select_models(monkeypatch, "usage_trends_daily", "cost_drivers", "budget_status_monthly")
    cli(*LOAD)  # the runs below request the lookback only, so that the second has no news and builds nothing
    assert webhook.posted == []
    cli("run", "--tests", "none")
    (text,) = webhook.posted
    lines = text.splitlines()[1:]
    found = cli.rows("select meter, cast(date as text) from usage.usage_trends_daily where is_anomaly")
    assert ("image", "2026-03-02") in found
    recent = sorted(day for _, day in found if day >= "2026-03-13")
    assert "2026-03-18" in recent
    anomalies = [line for line in lines if line.startswith("• ANOMALY")]
    assert len(anomalies) == len(recent)
    ((quantity,),) = cli.rows("select quantity from usage.usage_trends_daily where meter = 'image' and date = '2026-03-18'")
    assert any(line.startswith(f"• ANOMALY mathpix default image on 2026-03-18: {quantity:,.0f} ") for line in anomalies)
    ((forecast,),) = cli.rows("select sum(forecast) from usage.cost_forecast_monthly where billing_month = '2026-03-01'")
    (budget,) = [line for line in lines if line.startswith("• BUDGET")]
    assert budget.startswith(f"• BUDGET total: the forecast for 2026-03 is {forecast:,.2f} USD")
    assert len(lines) == len(anomalies) + 1
    cli("run", "--tests", "none")
    assert len(webhook.posted) == 1
    assert cli.rows("select kind, count(*) from meterhouse.alerts group by kind order by kind") == [
        ("anomalies", len(recent)),
        ("budgets", 1),
    ]
    assert recorded_runs(cli, "provider, account, outcome, error", "resource = 'models'") == [("", "", "ok", None)] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"WEBHOOK": "http://hooks.example.com/secret"}, "alerts.webhook is not HTTPS"),
        ({"WEBHOOK": "https://user:secret@hooks.example.com/"}, "alerts.webhook is not an address"),
        ({"WEBHOOK": "hooks.example.com/secret"}, "alerts.webhook is not an address"),
        (
            {"WEBHOK": "https://hooks.example.com/secret"},
            "alerts.webhok, which ALERTS__WEBHOK sets, is not known. Did you mean webhook?",
        ),
        ({"ON": "failure"}, "alerts.on has an unknown value. Use failures, anomalies, restated, budgets, credits, unpriced"),
        (
            {"BUDGETS": '{"total": "500 USD"}'},
            "alerts.budgets, which ALERTS__BUDGETS sets, is no longer a setting: budgets are billing data. Write them into"
            " a file such as billing/budgets.csv (`meterhouse check --billing-templates billing` writes an example), and"
            " name it in sources.billing.budgets.",
        ),
        ({"BUDGETS__TOTAL": "500 USD"}, "alerts.budgets, which ALERTS__BUDGETS__TOTAL sets, is no longer a setting"),
        ({"CREDITS_WITHIN": "soon"}, "alerts.credits_within is not a duration"),
        ({"RESTATED_OVER": "10"}, 'alerts.restated_over must be one amount for each currency. Write it as "10 USD"'),
        ({"RESTATED_OVER": "10 USD, 20 USD"}, "alerts.restated_over must be one amount for each currency"),
        ({"RESTATED_OVER": "1e3 USD"}, "alerts.restated_over must be one amount"),
    ],
)
def test_rejects_wrong_alert_settings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    """`run` and `check` exit with 2 and do not print the address."""
    for name, value in settings.items():
        monkeypatch.setenv(f"ALERTS__{name}", value)
    for command in (LOAD, ("check",)):
        assert message in cli(*command, status=2)
        assert "secret" not in cli.output


@pytest.mark.thorough
def test_reads_alerts_from_configuration_files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amounts are by currency. The repr hides the address, and `check` warns of readable secrets."""
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text(
        '[alerts]\non = ["budgets"]\ncredits_within = "36 hours"\nrestated_over = ["10 USD", "7.5 EUR"]\n'
    )
    Path(".dlt/secrets.toml").write_text('[alerts]\nwebhook = "https://hooks.example.com/verysecrettoken"\n')
    Path(".dlt/secrets.toml").chmod(0o600)
    active().reload()
    try:
        alerts = Alerts.from_config()
        assert alerts is not None
        assert alerts.kinds == ("budgets",)
        assert alerts.limits == AlertLimits(timedelta(hours=36), {"USD": Decimal(10), "EUR": Decimal("7.5")})
        assert alerts.webhook.endswith("verysecrettoken")
        assert "verysecrettoken" not in repr(alerts)
        assert "WARNING" not in cli("check")
        Path(".dlt/secrets.toml").chmod(0o640)
        for command in (("check",), LOAD):
            assert "WARNING  " in cli(*command)
            assert ".dlt/secrets.toml can be read by others" in cli.output
        assert len(cli.json("check")["warnings"]) == 1
        assert [line["level"] for line in log(cli, "check") if line["event"] == "warning"] == ["warning"]
    finally:
        Path(".dlt").rename("done")
        active().reload()


def test_a_run_has_a_row_from_its_start_to_its_end(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says `running` until the run ends; if it never ends, the next run sets it to `killed`.

    An error that ends the whole run is in its row.
    """

    class Killed(BaseException):
        pass

    def load_ends_with(error: BaseException) -> None:
        def load(*_: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("meterhouse.pipelines.run.orchestrate.load", load)
            with pytest.raises(type(error)):
                cli(*LOAD)

    cli(*LOAD)
    run = "select outcome, error, requests > 0, seconds > 0 from meterhouse.runs where resource = 'run' order by started_at"
    assert cli.rows(run) == [("ok", None, True, True)]
    load_ends_with(Killed())
    assert cli.rows(run)[1:] == [("running", None, False, False)]
    load_ends_with(ValueError("a cause of its own"))
    ((outcome, error, *_),) = cli.rows(run)[2:]
    assert (outcome, "a cause of its own" in error) == ("failed", True)
    cli(*LOAD)
    assert [outcome for outcome, *_ in cli.rows(run)] == ["ok", "killed", "failed", "ok"]
    assert cli.rows("select count(distinct run_id) from meterhouse.runs") == [(4,)]
    unknown = "run_id not in (select run_id from meterhouse.runs)"
    assert cli.rows(f"select count(*) from mathpix.ocr_usage_by_app_id where {unknown}") == [(0,)]
