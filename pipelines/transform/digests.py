"""Digests of the code that builds the models. If a digest changes, a build may give other results."""

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def code_digest(project: Path, packages: Sequence[str]) -> str:
    """A digest of the dbt project, the versions of packages, and the settings of dbt in the environment."""
    digest = hashlib.sha256(project_digest(project).encode())
    for name in packages:
        digest.update(f"{name} {version(name)}\n".encode())
    for name in sorted(os.environ):
        if name.startswith(("DBT_", "METERHOUSE_")):
            digest.update(f"{name}={os.environ[name]}\n".encode())
    return digest.hexdigest()


def project_digest(project: Path) -> str:
    """A digest of the files of the dbt project."""
    digest = hashlib.sha256()
    for file in sorted(project.rglob("*")):
        if file.suffix in {".sql", ".yml", ".csv", ".py"}:
            digest.update(f"{file.relative_to(project)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
