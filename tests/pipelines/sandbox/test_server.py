"""The sandbox as a server: its vendors, its life, its record of requests, its own endpoints, and its billing files."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

import meterhouse.pipelines.sandbox
from meterhouse.pipelines.cli import app
from meterhouse.pipelines.sandbox import Fault, Sandbox, server
from meterhouse.sources.registry import PROVIDERS, Provider

from .conftest import UsageClient

USAGE = "/v3/ocr-usage"
EXPORT = "/api/v1/usage/export"
SUMMARY = "/api/v1/usage/summary"
DETAILS = "/api/v2/usage/details"
WEEK = {"start_date": "2026-03-02T00:00:00Z", "end_date": "2026-03-08T23:59:59.999999Z"}


def test_the_vendors_are_those_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every provider with a sandbox package is a vendor and an attribute; a provider without one is absent."""
    monkeypatch.setattr(server, "PROVIDERS", {**PROVIDERS, "unknown": Provider("unknown", "Unknown")})
    sandbox = Sandbox()
    assert list(sandbox.vendors) == list(PROVIDERS)
    assert all(getattr(sandbox, name) is vendor for name, vendor in sandbox.vendors.items())
    with pytest.raises(AttributeError, match="no vendor 'unknown'"):
        _ = sandbox.unknown


def test_the_sandbox_listens_within_its_with_block(http: httpx.Client) -> None:
    """A sandbox responds within its with block, on loopback, and not after it; it can be entered again."""
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="with block"):
        _ = sandbox.url
    for _ in range(2):
        with sandbox:
            url = sandbox.url
            assert url.startswith("http://127.0.0.1:")
            assert http.get(url + USAGE).status_code == 401
            with pytest.raises(RuntimeError, match="already"):
                sandbox.__enter__()
        with pytest.raises(httpx.ConnectError):
            http.get(url + USAGE)


def test_a_stalled_response_does_not_delay_the_end() -> None:
    """The sandbox ends at once, even if a client still waits for a response."""
    with Sandbox() as sandbox:
        sandbox.faults.add(Fault(path=USAGE, delay=3600))
        failed: list[Exception] = []

        def wait() -> None:
            try:
                httpx.get(sandbox.url + USAGE, timeout=60)
            except httpx.HTTPError as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not len(sandbox.requests):
            time.sleep(0.001)
        started = time.monotonic()
    waiting.join(5)
    assert time.monotonic() - started < 2
    assert len(failed) == 1


def test_two_sandboxes_are_independent(sandbox: Sandbox, http: httpx.Client) -> None:
    """Each sandbox has its own port, faults and requests; a taken port is an OSError."""
    with Sandbox() as other:
        other.faults.add(Fault(status=500))
        assert http.get(other.url + USAGE).status_code == 500
        assert http.get(sandbox.url + USAGE).status_code == 401
        assert len(sandbox.requests) == 1
        with pytest.raises(OSError, match="in use"):
            Sandbox(port=int(other.url.rsplit(":", 1)[1])).__enter__()


def past_usage(http: httpx.Client, variables: dict[str, str]) -> list[Any]:
    """Responses about the past from every vendor that the variables point at."""
    names = {name.removeprefix("SOURCES__"): value for name, value in variables.items()}

    def get(vendor: str, path: str, **parameters: Any) -> Any:
        headers = {name: names.get(f"{vendor}__{name.upper()}", "") for name in ("app_id", "app_key")}
        headers["Authorization"] = f"Bearer {names.get(f'{vendor}__API_KEY')}"
        url = names[f"{vendor}__BASE_URL"].removesuffix("/api/v2") + path
        response = http.get(url, params=parameters, headers=headers, timeout=30)
        assert response.status_code == 200, response.text
        return response.json()

    daily = get("ONEPIN", SUMMARY)["data"]["daily"]
    return [
        get("MATHPIX", USAGE, from_date="2025-02-03", to_date="2025-02-04", timespan="hour", group_by="request_args_hash"),
        get("REDUCTO", EXPORT, startDate="2025-02-01", endDate="2025-02-10", groupBy="feature"),
        get("SCOPIX", DETAILS, **WEEK, limit=100),
        [day for day in daily if day["date"] in {daily[3]["date"], daily[4]["date"]}],
    ]


@pytest.mark.thorough
def test_served_usage_is_the_same_in_every_process(http: httpx.Client) -> None:
    """`serve` reports the variables that suffice for a request, serves the usage of its seed, and ends on an interrupt."""
    script = (
        "import json; from meterhouse.pipelines.sandbox import serve\n"
        "serve(0, 7, lambda sandbox: print(json.dumps(sandbox.variables()), flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background makes its children ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        served = past_usage(http, msgspec.json.decode(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    with Sandbox(seed=7) as sandbox:
        assert past_usage(http, sandbox.variables()) == served


def test_requests_are_recorded_without_secrets(sandbox: Sandbox, mathpix: UsageClient, http: httpx.Client) -> None:
    """Requests are recorded in order, with repeated parameters and the status, faulty ones included, keys excluded."""
    sandbox.faults.add(Fault(status=503, times=1))
    mathpix.get(group_by=["app_id", "usage_type"], page=2)
    http.get(sandbox.url + USAGE)
    first, second = sandbox.requests
    assert (first.method, first.path, first.status, first.faulty) == ("GET", USAGE, 503, True)
    assert first.query == {"group_by": ["app_id", "usage_type"], "page": ["2"]}
    assert (first.headers["app_id"], first.headers["app_key"]) == ("lyceum_notes", "***")
    assert (second.status, second.faulty) == (401, False)
    assert [request.status for request in sandbox.requests[:1]] == [503]
    sandbox.requests.clear()
    assert len(sandbox.requests) == 0


def test_other_processes_control_faults_and_requests_over_http(sandbox: Sandbox, mathpix: UsageClient) -> None:
    """`/_sandbox/faults` and `/_sandbox/requests` control the sandbox, unrecorded; an invalid fault is a 422."""
    fault = Fault(
        path=USAGE,
        query={"page": "2"},
        after=0,
        times=2,
        delay=0.01,
        status=500,
        headers={"Retry-After": "1"},
        body={"a": 1},
    )
    with httpx.Client(base_url=f"{sandbox.url}/_sandbox") as control:
        assert control.post("/faults", content=msgspec.json.encode(fault)).status_code == 204
        assert list(sandbox.faults) == [fault]
        assert mathpix.get(page=2).status_code == 500
        assert control.delete("/faults").status_code == 204
        assert mathpix.get(page=2).status_code == 200
        assert [one["status"] for one in control.get("/requests").json()] == [500, 200]
        assert control.delete("/requests").status_code == 204
        assert len(sandbox.requests) == 0
        for body in (b"no json", b'{"status": "500"}', b'{"colour": "blue"}', b'{"status": 99}'):
            refused = control.post("/faults", content=body)
            assert refused.status_code == 422
            assert refused.json()["error"]
    assert not list(sandbox.faults)


def test_billing_files_bill_the_usage(sandbox: Sandbox, tmp_path: Path) -> None:
    """The files hold Mathpix's invoices at its documented prices, one with 4% too many pages, and made-up plans."""
    files = sandbox.billing_files(tmp_path, date(2025, 8, 1))
    rows = {name: [*csv.DictReader(Path(file).read_text(encoding="utf-8").splitlines())] for name, file in files.items()}
    assert [row["invoice_id"] for row in rows["invoices"]] == [f"MP-{month}" for month in (
        "2025-08", "2025-09", "2025-10", "2025-11", "2025-12", "2026-01"
    )]  # fmt: skip
    pages = [int(row["quantity"]) for row in rows["invoice_lines"] if row["sku_id"] == "mathpix/pdf-page"]
    counted = [
        sandbox.mathpix.usage.total(date(2025, month, 1), date(2025, month + 1, 1), usage_type="pdf-page")
        for month in (8, 9, 10, 11)
    ]
    december = sandbox.mathpix.usage.total("2025-12-01", "2026-01-01", usage_type="pdf-page")
    assert pages[:5] == [*counted, round(december * 1.04)]
    line = next(row for row in rows["invoice_lines"] if row["sku_id"] == "mathpix/pdf-page")
    assert float(line["amount"]) == pytest.approx(pages[0] * 0.005, abs=0.01)
    assert [row["grant_id"] for row in rows["credit_grants"]] == ["studio-plan", "team-plan", "pack"]
    assert {row["provider"] for row in rows["credit_prices"]} == {"reducto", "onepin", "scopix"}


@pytest.mark.parametrize(("arguments", "documented"), [([], False), (["--limits"], True)])
def test_the_command_line_sets_the_documented_limits(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], documented: bool
) -> None:
    """`meterhouse sandbox --limits` serves with the documented limits; by default no client waits."""
    served: list[Any] = []
    monkeypatch.setattr(
        meterhouse.pipelines.sandbox, "serve", lambda *_, documented_limits: served.append(documented_limits)
    )
    assert CliRunner().invoke(app, ["sandbox", *arguments]).exit_code == 0
    assert served == [documented]
