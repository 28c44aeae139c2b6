"""Makes the README's pictures from the demo.

Run `python .pictures/make.py` with the package installed with its extras `dev` and `ui`, and Chromium (.ci/chromium). The
demo's days end today, so that every new picture differs from the last; make them again only when the output has changed.
"""

import asyncio
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harlequin import Harlequin
from harlequin_duckdb import DuckDbAdapter
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
QUERY = """select billing_month, provider, round(sum(billed_cost), 2) as billed
from usage.cost_monthly
where billing_month >= current_date - interval 3 month
group by all
order by 1, 2"""
CHROMIUM = os.environ.get("METERHOUSE_CHROMIUM") or shutil.which("chromium") or "chromium"


def main() -> None:
    """Runs the demo and takes the pictures."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        environment = {
            **os.environ,
            "DLT_DATA_DIR": str(folder / "dlt"),
            "COLUMNS": "80",
            "LINES": "60",
        }
        demo = run_in_terminal(["demo"], folder, environment)
        environment["DESTINATION__DUCKDB__CREDENTIALS"] = str(folder / "demo.duckdb")
        status = run_in_terminal(["status"], folder, environment)
        rows = run_in_terminal(["query", QUERY], folder, environment)
        with ThreadPoolExecutor() as executor:  # Playwright occupies the event loop of this thread
            client = executor.submit(lambda: asyncio.run(run_in_harlequin(folder / "demo.duckdb"))).result()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        frames = [frame for frame in re.split(r"(?:\r|\x1b\[\d*[AK])+", demo) if "rate limit left" in frame]
        progress = max(frames, key=lambda frame: frame.count("\n")).strip("\n")
        picture_of_terminal(browser, f"$ meterhouse run\n{progress}", "run")
        picture_of_terminal(browser, f"$ meterhouse status\n{status.replace(str(folder), '/srv/costs')}", "status")
        quoted = QUERY.replace("\n", "\n  ")
        picture_of_terminal(browser, f'$ meterhouse query "\n  {quoted}"\n{rows}', "query")
        picture_of_svg(browser, client, "ui", width=1100)
        picture_of_report(browser, folder / "demo.html", "report", width=1280, height=1180, theme="light")
        picture_of_report(
            browser, folder / "demo.html", "report-dark", width=1280, height=1080, theme="dark", section="#days"
        )
        browser.close()


def run_in_terminal(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    """The output of the command in a terminal."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "meterhouse.pipelines.cli", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        output = io.BytesIO()
        while True:
            try:
                output.write(os.read(controller, 65536))
            except OSError:  # Linux raises this when the other end is closed
                break
    if process.returncode:
        raise SystemExit(output.getvalue().decode())
    os.close(controller)
    return output.getvalue().decode().replace("\r\n", "\n")


def picture_of_terminal(browser: Browser, text: str, name: str) -> None:
    """A picture of a terminal with this text."""
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    picture_of_svg(browser, console.export_svg(title="meterhouse", theme=MONOKAI), name, width=820)


async def run_in_harlequin(database: Path) -> str:
    """A screenshot of `meterhouse ui` after running the query, as SVG."""
    client = Harlequin(adapter=DuckDbAdapter([str(database)], read_only=True))
    async with client.run_test(size=(110, 32)) as pilot:
        await pilot.pause(3)  # until the client is connected
        client.editor.text = QUERY
        await pilot.press("ctrl+j")
        await pilot.pause(3)  # until the rows are there
        return client.export_screenshot(title="meterhouse ui")


def picture_of_svg(browser: Browser, svg: str, name: str, *, width: int) -> None:
    """A picture of an SVG, with fonts of this machine instead of downloaded ones."""
    drawing = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    tab = browser.new_page(viewport={"width": width, "height": 600})
    tab.set_content(f"<style>body {{ margin: 0 }} svg {{ width: {width}px; display: block }}</style>{drawing}")
    tab.locator("svg").first.screenshot(path=HERE / f"{name}.png", omit_background=True)


def picture_of_report(
    browser: Browser, file: Path, name: str, *, width: int, height: int, theme: str, section: str = "body"
) -> None:
    """A picture of the report from its top, or from a section on."""
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-ready]")
    top = tab.locator(section).bounding_box()["y"]
    tab.screenshot(
        path=HERE / f"{name}.png", full_page=True, clip={"x": 0, "y": max(0, top - 24), "width": width, "height": height}
    )


if __name__ == "__main__":
    main()
