"""A running sandbox whose clock stands still, and a client of its Mathpix."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox

NOW = datetime(2026, 3, 18, 14, 45, tzinfo=UTC)
"""The sandbox's present: a Wednesday."""


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests: fixtures that it has generated are not generated again."""
    with Sandbox(seed=7, clock=lambda: NOW) as running:
        yield running


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """One client for all tests without credentials: to make one takes longer than a request."""
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox in its initial state."""
    running_sandbox.requests.clear()
    versions = {name: vendor.usage.version for name, vendor in running_sandbox.vendors.items()}
    yield running_sandbox
    running_sandbox.faults.clear()
    for name, vendor in running_sandbox.vendors.items():
        initial = type(vendor.options)()
        for option in fields(initial):
            setattr(vendor.options, option.name, getattr(initial, option.name))
        if vendor.usage.version != versions[name]:
            vendor.usage.reset()


@dataclass
class UsageClient:
    """Sends requests to `/v3/ocr-usage`."""

    client: httpx.Client

    def get(self, **parameters: Any) -> httpx.Response:
        """The response to one request; a list value is a repeated parameter."""
        return self.client.get("/v3/ocr-usage", params=parameters)

    def rows(self, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a successful response."""
        response = self.get(**{"per_page": 1000, **parameters})
        assert response.status_code == 200, response.text
        rows: list[dict[str, Any]] = response.json()["ocr_usage"]
        return rows

    def error(self, **parameters: Any) -> tuple[int, str, str]:
        """Status, id and message of a response that is an error."""
        response = self.get(**parameters)
        body = response.json()
        assert body["error"] == body["error_info"]["message"]
        assert "ocr_usage" not in body
        return response.status_code, body["error_info"]["id"], body["error_info"]["message"]


@pytest.fixture(scope="session")
def mathpix(running_sandbox: Sandbox) -> Iterator[UsageClient]:
    """A client with the default account's first app."""
    credential = running_sandbox.mathpix.credential()
    headers = {"app_id": credential.app_id, "app_key": credential.app_key}
    with httpx.Client(base_url=running_sandbox.url, headers=headers, timeout=60) as client:
        yield UsageClient(client)
