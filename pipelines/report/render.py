"""Renders the report's data as one HTML file: the template, style sheets and scripts of the folder `page`, and Vega.

The scripts filter and sum the data in the browser; they hold no numbers of their own.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from meterhouse.pipelines.report.charts import chart_specs
from meterhouse.pipelines.report.model import ReportData

PAGE = Path(__file__).parent / "page"

STYLES = ("theme.css", "layout.css", "components.css", "media.css")

SCRIPTS = (
    "data.js",
    "dom.js",
    "format.js",
    "selection.js",
    "table.js",
    "chart.js",
    "daily_costs.js",
    "forecast.js",
    "budgets.js",
    "currency.js",
    "owners.js",
    "usage.js",
    "overview.js",
    "week_changes.js",
    "cost_changes.js",
    "breakdown.js",
    "credits.js",
    "invoices.js",
    "freshness.js",
    "page.js",
)
"""In this order, each file uses only names from the files before it, except in functions that run later."""


def render(data: ReportData) -> str:
    """The HTML of the report."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "\n".join(map(_read, STYLES))
    scripts = [_vega(), _read("exact.js"), _in_one_scope(map(_read, SCRIPTS))]
    return environment.get_template("page.html.j2").render(
        data=data,
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(map(_hash_source, scripts))}",
                f"style-src {_hash_source(style)}",
                "style-src-attr 'unsafe-inline'",  # Vega sets sizes and cursors in style attributes
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        style=Markup(style),  # noqa: S704 - our own files, without any of the data
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - as above
        data_json=_for_script(msgspec.json.encode(data)),
        specs_json=_for_script(msgspec.json.encode(chart_specs())),
    )


def _for_script(json: bytes) -> Markup:
    """JSON with `<`, `>` and `&` escaped, so that no name in the data can end the script element or open a comment."""
    text = json.decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - escaped in the line above


def _hash_source(content: str) -> str:
    """The source expression of the Content Security Policy that allows exactly this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    """A script or style sheet without indentation, comment lines, and line breaks after `,`, `;` or an opening bracket.

    No file may contain a text of several lines, or a comment that starts or ends within a line.
    """
    lines = map(str.strip, (PAGE / name).read_text(encoding="utf-8").splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith(("//", "/*")))
    return re.sub(r"(?<=[,;({\[])\n", "", code)


def _in_one_scope(scripts: Iterable[str]) -> str:
    """One script, whose names cannot collide with the global names of Vega's minified bundle."""
    return "\n".join(('"use strict";', "(() => {", *scripts, "})();"))


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, bundled by the package vl-convert."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").strip()
