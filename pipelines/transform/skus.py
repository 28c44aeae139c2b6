"""Reads the seeds of the dbt project."""

import csv

from meterhouse.pipelines.transform import PROJECT


def known_skus() -> frozenset[str]:
    """Every SKU that usage can be billed as, from the shipped price list and the map from meters to SKUs."""
    skus: set[str] = set()
    for seed in ("price_list", "sku_map"):
        with (PROJECT / "seeds" / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
            skus |= {row["sku_id"] for row in csv.DictReader(file)}
    return frozenset(skus - {""})
