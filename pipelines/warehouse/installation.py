"""How to install an extra: meterhouse is in no package index, so pip needs the place that it was installed from."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install(extra: str) -> str:
    """The command that installs an extra of meterhouse."""
    return f"pip install '{_origin()}[{extra}]'"


def _origin() -> str:
    """The clone or wheel that pip has recorded as the origin, or a placeholder if it is gone or not local."""
    try:
        origin = json.loads(distribution("meterhouse").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = urlsplit(str(origin.get("url", "")))
    path = Path(url2pathname(url.path))
    return str(path) if url.scheme == "file" and path.exists() else "/path/to/meterhouse"
