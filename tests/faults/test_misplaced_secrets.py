"""A key in a wrong place or a wrong form is in no output, log, file or alert."""

import inspect
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle
from pathlib import Path

import pytest
from dlt.common.exceptions import MissingDependencyException
from typer.testing import CliRunner

from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources._core.config.limits import Limits
from meterhouse.sources._core.windows import utc_now
from meterhouse.sources.billing import TABLES
from meterhouse.sources.registry import PROVIDERS

SECRET = "sk-MARKED7f3Kq9ZsecretX2vB8"
FORMS = {
    "bare": SECRET,
    "in quotes": f'"{SECRET}"',
    "with spaces": f"  {SECRET} x",
    "with a line break": f"a\n{SECRET}",
    "with commas": f"eu,{SECRET}",
    "JSON": json.dumps({"eu": {"api_key": SECRET}}),
    "JSON, flat": json.dumps({"eu": SECRET}),
    "JSON, as a name": json.dumps({SECRET: {"api_key": SECRET}}),
    "JSON, as a field": json.dumps({"eu": {SECRET: "x"}}),
    "JSON, with a trailing comma": f'{{"eu": {{"api_key": "{SECRET}",}}}}',
    "JSON, cut": f'{{"eu": "{SECRET}',
    "JSON list": json.dumps([SECRET]),
    "JSON list of accounts": json.dumps([{"name": SECRET}]),
    "Python dict": f"{{'eu': {{'api_key': '{SECRET}'}}}}",
    "Python list, cut": f"['{SECRET}',",
    "amount": f"{SECRET} USD",
    "address": f"https://user:{SECRET}@host/x?token={SECRET}",
}
ADDRESSES = {
    "MotherDuck": f"md:usage?motherduck_token={SECRET}",
    "PostgreSQL": f"postgresql://user:{SECRET}@127.0.0.1:9/usage",
    "PostgreSQL, with two @": f"postgresql://user:x@{SECRET}@127.0.0.1:9/usage",
    "PostgreSQL, with a slash": f"postgresql://user:x/{SECRET}@127.0.0.1:9/usage",
    "PostgreSQL, as the port": f"postgresql://user:x@127.0.0.1:{SECRET}/usage",
    "PostgreSQL, as an option": f"postgresql://user:x@127.0.0.1:9/usage?x={SECRET}",
    "PostgreSQL, as words": f"host=127.0.0.1 password={SECRET}",
}
OF_ACCOUNTS = ("accounts__eu", "accounts__eu__base_url", "accounts__eu__x")
SETTINGS = {
    name: [
        *(f"sources.{name}.{field}" for field in inspect.signature(provider.source).parameters if field != "observer"),
        *(f"sources.{name}.{field}" for field in OF_ACCOUNTS),
    ]
    for name, provider in PROVIDERS.items()
} | {
    "others": [
        *(f"sources.http.{field.name}" for field in fields(Limits)),
        *(f"sources.billing.{setting}" for setting in (*TABLES, "reporting_currency")),
        *(f"alerts.{name}" for name in ("webhook", "on", "credits_within", "restated_over", "budgets")),
    ],
    **{
        name: [
            f"destination.{name}.{field}"
            for field in ("credentials", "destination_type", "credentials.password", "credentials.database", "bucket_url")
        ]
        for name in ("duckdb", "postgres", "filesystem")
    },
}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the configured webhook receives."""
    posted: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ALERTS__WEBHOOK", f"http://127.0.0.1:{server.server_port}/x")
    yield posted
    server.shutdown()


def outputs(arguments: Iterable[str], posted: list[str]) -> tuple[int, str]:
    """The exit status of a command, and all that it printed and posted."""
    posted.clear()
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, SystemExit | MissingDependencyException | None), (result.output, result.exception)
    return result.exit_code, result.output + repr(result.exception) + "".join(posted)


def placed(settings: Sequence[str], forms: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Settings with the forms and texts that they hold."""
    for number, setting in enumerate(settings):
        has_all = setting.endswith((".accounts", ".credentials"))
        for form, text in list(forms.items())[None if has_all else number % 5 :: None if has_all else 5]:
            yield setting, form, text


@pytest.mark.thorough
@pytest.mark.parametrize("group", SETTINGS)
def test_no_misplaced_key_is_shown(
    group: str,
    sandbox: Sandbox,
    webhook: list[str],
    monkeypatch: pytest.MonkeyPatch,
    empty_working_directory: Path,
    dlt_data_dir: Path,
) -> None:
    """Every setting holds a key; `check` and, where that refuses it, `run` show nothing of it.

    Accounts and credentials hold it in every form. In the other settings, and in the kinds of output of `run`, the forms
    have their turns.
    """
    monkeypatch.setenv("SOURCES__HTTP__ATTEMPTS", "1")
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", utc_now().subtract(days=1).to_date_string())
    provider = group if group in PROVIDERS else "mathpix"
    for name, value in sandbox.variables().items():
        if name.startswith(f"SOURCES__{provider.upper()}__"):
            monkeypatch.setenv(name, value)
    to = [] if group in PROVIDERS or group == "others" else ["--destination", group]
    forms = FORMS | (ADDRESSES if to else {})
    logs = cycle((["--log-format", "json"], [], ["--json"], []))
    shown, refused = [], 0
    for setting, form, text in placed(SETTINGS[group], forms):
        with monkeypatch.context() as configured:
            if "accounts__eu" in setting:
                configured.setenv(f"SOURCES__{provider.upper()}__ACCOUNTS", "eu")
            configured.setenv(setting.replace(".", "__").upper(), text)
            status, output = outputs(["check", "--json", *to], webhook)
            if status == 2:
                refused += 1
                if log := next(logs):
                    output += outputs(["run", provider, "--no-models", *log, *to], webhook)[1]
        if SECRET[3:].lower() in output.lower() or "Traceback" in output:
            shown.append(f"{setting} {form}: {output}")
    assert shown == []
    assert refused > len(SETTINGS[group]) / 2
    files = [file for folder in (empty_working_directory, dlt_data_dir) for file in folder.rglob("*")]
    assert not [file for file in files if SECRET[3:].lower() in str(file).lower()]
    assert not [file for file in files if file.is_file() and SECRET.encode() in file.read_bytes()]
