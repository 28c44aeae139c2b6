"""The dbt project in this folder, and the modules that run it. This module needs neither dlt nor dbt."""

from enum import StrEnum
from pathlib import Path

PROJECT = Path(__file__).parent
"""The folder of the dbt project: `meterhouse models --path` prints it, to be installed as a `local:` package."""


class DataTestMode(StrEnum):
    """When a build runs the data tests."""

    ALL = "all"
    CHANGED = "changed"
    NONE = "none"
