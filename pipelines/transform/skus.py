"""Reads the shipped SKUs and list prices, which are seeds of the dbt project."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from meterhouse.pipelines.transform import PROJECT

VERIFIED_FOR = timedelta(days=180)
"""How long a list price counts as verified after a comparison with the vendor's page."""


@dataclass(frozen=True, slots=True)
class UnverifiedAmount:
    """An amount that was last compared with the vendor's page too long ago: a list price, or a fee or credit at signup."""

    name: str
    verified_on: date
    source_url: str

    def __str__(self) -> str:
        return (
            f"the {self.name} was last verified on {self.verified_on}, more than {VERIFIED_FOR.days} days ago: compare it"
            f" with {self.source_url}"
        )


def known_skus() -> dict[str, str]:
    """Every SKU that usage can be billed as, from the shipped price list and the map from meters to SKUs, with its unit."""
    rows = [*_seed("price_list"), *_seed("sku_map")]
    return {row["sku_id"]: row["unit"] for row in rows if row["sku_id"]}


def unverified_amounts(providers: Collection[str], today: date) -> list[UnverifiedAmount]:
    """The shipped amounts of these providers that are valid today and were verified too long ago; the oldest per name."""
    amounts = [
        (row["sku_id"].split("/")[0], f"list price of {row['sku_id']}", row)
        for row in _seed("price_list")
        if not row["valid_to"] or date.fromisoformat(row["valid_to"]) > today
    ]
    amounts += [
        (row["provider"], f"signup {row['kind']} {row['provider']}/{row['term_id']}", row) for row in _seed("signup_terms")
    ]
    oldest: dict[str, UnverifiedAmount] = {}
    for provider, name, row in amounts:
        price = UnverifiedAmount(name, date.fromisoformat(row["verified_on"]), row["source_url"])
        if provider in providers and price.verified_on + VERIFIED_FOR < today:
            oldest[name] = min(price, oldest.get(name, price), key=lambda price: price.verified_on)
    return list(oldest.values())


def _seed(name: str) -> list[Mapping[str, str]]:
    with (PROJECT / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
