"""Reports of several scenarios, and a real browser to open them in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from meterhouse.pipelines.report import write_report
from meterhouse.sources.registry import PROVIDERS
from tests.pipelines.report.marts import HOSTILE, currency_rows, fill, mart_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("METERHOUSE_CHROMIUM") or next(
    filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SCENARIOS: dict[str, dict[str, Any]] = {
    "small": {"accounts": {"mathpix": ["default"], "reducto": ["east", "west"]}, "days": 70},
    "empty": {},
    "one provider": {"accounts": {"onepin": ["default"]}, "days": 40, "unpriced": False, "price": 0},
    "currencies": {"accounts": {"mathpix": ["default"], "reducto": ["default"]}, "days": 30},
    "one day": {"accounts": {"scopix": ["default"]}, "days": 1},
    "50 accounts": {"accounts": {"mathpix": [f"team-{n:02}" for n in range(49)], "reducto": ["default"]}, "days": 60},
    "hostile names": {"accounts": {"mathpix": HOSTILE, "reducto": ["default"]}, "values": HOSTILE, "days": 40},
    "two years": {
        "accounts": {provider: ["default"] for provider in PROVIDERS},
        "days": 730,
        "meters": 5,
        "values": [f"value-{n}" for n in range(30)],
    },
}


class WrittenReport:
    """A written report and its database."""

    def __init__(self, folder: Path, name: str) -> None:
        self.database = folder / f"{name}.duckdb"
        self.file = folder / f"{name}.html"
        marts = mart_rows(**SCENARIOS[name]) if SCENARIOS[name] else {}
        marts |= currency_rows() if name == "currencies" else {}
        self.size = write_report(fill(self.database, **marts), self.file)


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WrittenReport]:
    """The report of each scenario, written on first use."""
    folder = tmp_path_factory.mktemp("reports")

    class Reports(dict[str, WrittenReport]):
        def __missing__(self, name: str) -> WrittenReport:
            self[name] = WrittenReport(folder, name)
            return self[name]

    return Reports()


class ReportBrowser:
    """Opens reports in Chromium. A report must send no request and log nothing to the console."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    @contextmanager
    def open(
        self, file: Path, *, width: int = 1280, theme: Any = "light", anchor: str = "", **settings: Any
    ) -> Iterator[Page]:
        """The report, completely drawn."""
        messages: list[str] = []
        context = self.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **settings)
        page = context.new_page()
        page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))
        context.on("request", lambda request: messages.append(f"requested {request.url[:200]}"))
        address = file.as_uri()
        page.goto(address + anchor)
        page.wait_for_selector("html[data-ready]")
        try:
            yield page
            assert [line for line in messages if not line.startswith(f"requested {address}")] == []
        finally:
            context.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[ReportBrowser]:
    """Headless Chromium."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed; .ci/chromium installs Debian's")
    from playwright.sync_api import sync_playwright

    # Chromium cannot start its sandbox as root or in a container.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield ReportBrowser(chromium)
        chromium.close()
