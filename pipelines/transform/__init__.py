"""The dbt project in this folder, and the modules that run it."""

from pathlib import Path

PROJECT = Path(__file__).parent
"""The folder of the dbt project: `meterhouse models --path` prints it, to be installed as a `local:` package."""
