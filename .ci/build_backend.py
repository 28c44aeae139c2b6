"""setuptools as the build backend, with an empty build folder.

setuptools packs everything that an earlier build left in `build/lib`, such as modules and SQL models that no longer exist.
"""

from pathlib import Path
from shutil import rmtree
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def build_wheel(*arguments: Any, **options: Any) -> str:
    """Removes `build/lib` and builds the wheel."""
    rmtree(Path("build") / "lib", ignore_errors=True)
    name: str = build_meta.build_wheel(*arguments, **options)
    return name
