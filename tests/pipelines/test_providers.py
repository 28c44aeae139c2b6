"""All providers in one run: the marts say what the vendors say, and one that fails keeps nobody else from being loaded."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from pipelines.sandbox import Fault, Sandbox
from tests.conftest import House

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
START = "2026-03-01"


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("mathpix", "reducto", "onepin", "scopix")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW) as traveller:
        yield traveller


def metered(house: House) -> dict[tuple[str, str], Decimal]:
    """What each provider metered since START, as the mart has it."""
    query = f"select provider, meter, sum(quantity) from usage.usage_daily where date >= '{START}' group by 1, 2"
    return {(provider, meter): quantity for provider, meter, quantity in house.rows(query)}


def truth(sandbox: Sandbox) -> dict[tuple[str, str], Any]:
    """The same, as the vendors themselves would add it up."""
    scopix, onepin, reducto = sandbox.scopix.usage, sandbox.onepin.usage, sandbox.reducto.usage
    said: dict[tuple[str, str], Any] = {
        ("scopix", "credits"): scopix.total(START, what="credits"),
        ("scopix", "requests"): scopix.total(START),
        ("scopix", "input-tokens"): scopix.total(START, what="input_tokens"),
        ("scopix", "output-tokens"): scopix.total(START, what="output_tokens"),
    }
    return said
