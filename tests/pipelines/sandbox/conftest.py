"""A sandbox a test, and clients that speak to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from meterhouse.pipelines.sandbox import Sandbox

NOW = datetime(2026, 3, 18, 14, 45, tzinfo=UTC)
"""What the sandbox of a test takes for the present: a Wednesday."""


@dataclass
class Asking:
    """Asks the sandbox's Mathpix over HTTP."""

    client: httpx.Client

    def get(self, **parameters: Any) -> httpx.Response:
        """The answer to one request; a list value is a repeated parameter."""
        return self.client.get("/v3/ocr-usage", params=parameters)

    def rows(self, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of an answer that must be one."""
        answer = self.get(**{"per_page": 1000, **parameters})
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["ocr_usage"]
        return rows

    def problem(self, **parameters: Any) -> tuple[int, str, str]:
        """Status, id and message of an answer that must be an error."""
        answer = self.get(**parameters)
        body = answer.json()
        assert body["error"] == body["error_info"]["message"]
        assert "ocr_usage" not in body
        return answer.status_code, body["error_info"]["id"], body["error_info"]["message"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose clock stands still."""
    with Sandbox(seed=7, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def ask(sandbox: Sandbox) -> Iterator[Asking]:
    """The default account's first app."""
    credential = sandbox.mathpix.credential()
    headers = {"app_id": credential.app_id, "app_key": credential.app_key}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=5) as client:
        yield Asking(client)
