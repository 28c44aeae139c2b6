"""Reads the dimensions of each provider from the settings of the dbt project."""

import yaml  # a dependency of dlt

from meterhouse.pipelines.transform import PROJECT


def known_dimensions() -> dict[str, tuple[str, ...]]:
    """By provider, the dimensions that `usage_by_dimension` can have."""
    settings = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    providers = settings["vars"]["providers"]
    return {name: tuple(provider.get("dimensions", ())) for name, provider in providers.items()}
