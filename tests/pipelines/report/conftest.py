"""A real browser to look at the page with, and pages to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from meterhouse.pipelines.report import write_report
from tests.pipelines.report.marts import HOSTILE, fill, house

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("METERHOUSE_CHROMIUM") or next(
    filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FOUR = ("mathpix", "reducto", "onepin", "scopix")
HOUSES: dict[str, dict[str, Any]] = {
    "small": {"accounts": {"mathpix": ["default"], "reducto": ["east", "west"]}, "days": 70},
    "empty": {},
    "one provider": {"accounts": {"onepin": ["default"]}, "days": 40, "unpriced": False, "price": 0},
    "one day": {"accounts": {"scopix": ["default"]}, "days": 1},
    "50 accounts": {"accounts": {"mathpix": [f"team-{n:02}" for n in range(49)], "reducto": ["default"]}, "days": 60},
    "hostile names": {"accounts": {"mathpix": HOSTILE, "reducto": ["default"]}, "values": HOSTILE, "days": 40},
    "two years": {
        "accounts": {provider: ["default"] for provider in FOUR},
        "days": 730,
        "meters": 5,
        "values": [f"value-{n}" for n in range(30)],
    },
}


class Written:
    """A page that was written, and the database that it was written from."""

    def __init__(self, folder: Path, name: str) -> None:
        self.database = folder / f"{name}.duckdb"
        self.file = folder / f"{name}.html"
        marts = house(**HOUSES[name]) if HOUSES[name] else {}
        self.size = write_report(fill(self.database, **marts), self.file)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    """All pages, each written when it is first asked for."""
    folder = tmp_path_factory.mktemp("pages")

    class Pages(dict[str, Written]):
        def __missing__(self, name: str) -> Written:
            self[name] = Written(folder, name)
            return self[name]

    return Pages()


class Eyes:
    """The browser. A page must ask for nothing but itself and have nothing to complain of."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    @contextmanager
    def on(
        self, file: Path, *, width: int = 1280, theme: Any = "light", anchor: str = "", **settings: Any
    ) -> Iterator[Page]:
        """The page, drawn."""
        said: list[str] = []
        context = self.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **settings)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        context.on("request", lambda request: said.append(f"asked for {request.url[:200]}"))
        address = file.as_uri()
        page.goto(address + anchor)
        page.wait_for_selector("html[data-ready]")
        try:
            yield page
            assert [line for line in said if not line.startswith(f"asked for {address}")] == []
        finally:
            context.close()


@pytest.fixture(scope="session")
def eyes() -> Iterator[Eyes]:
    """Chromium, without a window."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium; .ci/chromium installs Debian's")
    from playwright.sync_api import sync_playwright

    # As root, and in a container, Chromium has no sandbox of its own to go into.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield Eyes(browser)
        browser.close()
