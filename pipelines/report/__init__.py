"""The HTML report: one file that opens from disk, asks nothing of any network, and reads only the marts.

`gathering` reads the numbers into a `Page`, `charts` says what is drawn, and the template, style sheet and script in this
folder show it. The script filters and adds up; it knows no number that is not in the page.
"""

import base64
import hashlib
import os
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from meterhouse.pipelines.report.gathering import gather
from meterhouse.pipelines.report.model import Page
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import LoadError
from meterhouse.sources._core.errors import ConfigurationError

HERE = Path(__file__).parent


def write_report(destination: Destination, file: Path) -> int:
    """Writes the report of what is in `destination` to `file`, which is replaced when it is whole; returns its bytes.

    Raises:
        ConfigurationError: the file cannot be one.
        LoadError: the marts cannot be read, or the file cannot be written.
    """
    if (file.exists() and not file.is_file()) or not file.absolute().parent.is_dir():
        raise ConfigurationError(f"{file} cannot be written", hint="Name a file in a folder that exists.")
    with destination.reader() as reader:
        page = gather(reader.rows, Path(destination.location).name)
    content = render(page).encode()
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError as error:
        raise LoadError(f"{file} cannot be written ({error.strerror or error})") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return len(content)


def render(page: Page) -> str:
    """The HTML of the page."""
    from meterhouse.pipelines.report.charts import specs

    environment = Environment(
        loader=PackageLoader("meterhouse.pipelines.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, scripts = _file("page.css"), [_vega(), _file("exact.js"), _file("page.js")]
    return environment.get_template("page.html.j2").render(
        page=page,
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(map(_hash, scripts))}",
                f"style-src {_hash(style)}",
                "style-src-attr 'unsafe-inline'",  # Vega sets sizes and cursors on what it draws
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        style=Markup(style),  # noqa: S704 - our own files; nothing of the data is in them
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        data=_as_script(msgspec.json.encode(page)),
        specs=_as_script(msgspec.json.encode(specs())),
    )


def _as_script(json: bytes) -> Markup:
    """JSON that no name in it can end: `<` is written as an escape, so that neither `</script>` nor `<!--` can be there."""
    text = json.decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - made safe just now


def _hash(content: str) -> str:
    """What the page's policy lets run: this very text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, which the package vl-convert carries."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").strip()
