"""All providers in one run: the marts equal the vendors' counts, and one that fails does not affect the others."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Fault, Sandbox
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import build_selected, select_models

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
START = "2026-03-01"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return tuple(PROVIDERS)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


METERED = "select provider, meter, sum(quantity), max(date) from usage.usage_daily group by 1, 2 order by 1, 2"


@pytest.mark.thorough
def test_marts_equal_the_vendors_counts(cli: Cli, sandbox: Sandbox) -> None:
    """Each meter of each provider, loaded over HTTP and built by dbt, equals the vendor's own sum."""
    mathpix, reducto = sandbox.mathpix.usage, sandbox.reducto.usage
    onepin, scopix = sandbox.onepin.usage, sandbox.scopix.usage
    with time_machine.travel(NOW, tick=False):
        cli("run", "--no-models")
        build_selected("usage_daily", "cost_monthly", "unpriced_usage")
        by_type: dict[str, int] = {}
        for row in mathpix.rows(START):
            by_type[row.usage_type] = by_type.get(row.usage_type, 0) + row.count
        expected: dict[tuple[str, str], Any] = {("mathpix", kind): count for kind, count in by_type.items()}
        expected["reducto", "credits"] = reducto.total(START).credits
        expected["onepin", "credits"] = onepin.credits(START)
        expected["scopix", "requests"] = scopix.total(START)
        for meter, what in (("credits", "credits"), ("input-tokens", "input_tokens"), ("output-tokens", "output_tokens")):
            expected["scopix", meter] = scopix.total(START, what=what)
    since = METERED.replace("group by", f"where date >= '{START}' group by")
    counted = {(provider, meter): quantity for provider, meter, quantity, _ in cli.rows(since)}
    other_meters = {("onepin", meter) for meter in ("characters", "lines", "runs")}
    assert counted.keys() - other_meters == expected.keys()
    assert {key: counted[key] for key in expected} == {key: Decimal(str(value)) for key, value in expected.items()}
    assert min(expected.values()) > 0
    assert cli.rows("select distinct provider from usage.cost_monthly") == [("mathpix",)]
    unpriced = "select provider, sum(quantity) from usage.unpriced_usage where meter = 'credits' and date >= ? group by 1"
    assert dict(cli.rows(unpriced.replace("?", f"'{START}'"))) == {
        provider: Decimal(str(value)) for (provider, meter), value in expected.items() if meter == "credits"
    }


@pytest.mark.thorough
def test_failing_providers_do_not_affect_the_others(
    cli: Cli, sandbox: Sandbox, providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are loaded and built, the exit status is 1, and the summary names each failing one."""
    select_models(monkeypatch, "usage_daily")
    failing = {"onepin": "/api/v1/usage/summary", "scopix": "/api/v2"}
    for path in failing.values():
        sandbox.faults.add(Fault(path=path, status=503))
    counted = cli("run", "--tests", "none", status=1)
    failed = [line for line in counted.splitlines() if line.startswith("FAILED")]
    assert {line.split()[1] for line in failed} == set(failing)
    assert all(line.split()[2].startswith("/") for line in failed)
    assert "not all done" in counted
    assert {name for name, *_ in cli.rows(METERED)} == set(providers) - set(failing)
