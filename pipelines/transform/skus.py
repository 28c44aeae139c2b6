"""Reads the shipped SKUs and list prices, which are seeds of the dbt project."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from meterhouse.pipelines.transform import PROJECT

VERIFIED_FOR = timedelta(days=180)
"""How long a list price counts as verified after a comparison with the vendor's page."""


@dataclass(frozen=True, slots=True)
class UnverifiedPrice:
    """The list price of a SKU that was last compared with the vendor's page too long ago."""

    sku_id: str
    verified_on: date
    source_url: str

    def __str__(self) -> str:
        return (
            f"the list price of {self.sku_id} was last verified on {self.verified_on}, more than {VERIFIED_FOR.days} days"
            f" ago: compare it with {self.source_url}"
        )


def known_skus() -> dict[str, str]:
    """Every SKU that usage can be billed as, from the shipped price list and the map from meters to SKUs, with its unit."""
    rows = [*_seed("price_list"), *_seed("sku_map")]
    return {row["sku_id"]: row["unit"] for row in rows if row["sku_id"]}


def unverified_prices(providers: Collection[str], today: date) -> list[UnverifiedPrice]:
    """The list prices of these providers that are valid today and were last verified too long ago, the oldest per SKU."""
    oldest: dict[str, UnverifiedPrice] = {}
    for row in _seed("price_list"):
        has_ended = row["valid_to"] and date.fromisoformat(row["valid_to"]) <= today
        price = UnverifiedPrice(row["sku_id"], date.fromisoformat(row["verified_on"]), row["source_url"])
        if row["sku_id"].split("/")[0] in providers and not has_ended and price.verified_on + VERIFIED_FOR < today:
            oldest[price.sku_id] = min(price, oldest.get(price.sku_id, price), key=lambda price: price.verified_on)
    return list(oldest.values())


def _seed(name: str) -> list[Mapping[str, str]]:
    with (PROJECT / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
