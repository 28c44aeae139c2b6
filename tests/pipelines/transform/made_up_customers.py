"""Made-up customers: growth, seasons, weekdays and chance as in the sandbox, day by day, with plans of all kinds."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from meterhouse.pipelines.sandbox.seasonality import NIGHTLY, OFFICE, SCHOOL, Seasonality, draws, growth
from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario
from tests.pipelines.transform.rows import dates

FIRST, TODAY = date(2025, 4, 1), date(2026, 6, 11)
"""The first day of usage, and the first day that is not loaded."""

QUARTER = (date(2026, 3, 11), date(2026, 6, 10))
"""The last 92 loaded days, in which anomalies count."""

CUSTOMERS = 10
GROWTH = (-0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -0.1, 0.15)
"""Growth of each customer in a year."""

PROFILES = (SCHOOL, OFFICE, NIGHTLY)
MONTHLY = {"image": 500_000, "pdf-page": 40_000, "reducto": 100_000, "onepin": 30_000, "scopix": 8_000}
"""Units in an average month."""

SPIKES = 20
SPIKES_FROM = date(2026, 1, 1)
KEYS = {"backend": 0.45, "search": 0.3, "import": 0.15, "batch": 0.1}
"""The API keys of the accounts with a spike, and their shares of the usage."""

NULL = "null"
STAMP = ("2026-06-11 01:00:00+00", "v")


def used(day: date, monthly: float, customer: Seasonality, yearly_growth: float, chance: float) -> int:
    """The units that a customer uses on a day: those of the sandbox, times a growth of their own."""
    grown: float = monthly / 30.4 * (1 + yearly_growth) ** ((day - FIRST).days / 365)
    return round(grown * growth(day) * customer.day(day) * (0.92 + 0.16 * chance))


def spike_of(number: int) -> tuple[date, str]:
    """The day of the spike in an account, and the API key that uses ten times as much."""
    chance = draws("spike", number)
    return QUARTER[0] + timedelta(int(chance[0] * 92)), list(KEYS)[number % len(KEYS)]


def plans(customer: int) -> Scenario:
    """The four accounts of a customer without their usage: free credits, minimums, tiers, packs and plans with overage."""
    name, trace = f"w{customer}", {"currency": "USD"}
    first = datetime.combine(FIRST, datetime.min.time(), UTC)
    last = datetime.combine(TODAY, datetime.min.time(), UTC)
    providers = ("mathpix", "reducto", "onepin", "scopix")
    scenario = Scenario([Account(provider, name, name, "UTC", None, first, last) for provider in providers])

    def price(provider: str, sku: str, model: str, *tiers: tuple[int, int | None, str]) -> Price:
        bounds = tuple((Decimal(low), None if high is None else Decimal(high), Decimal(unit)) for low, high, unit in tiers)
        return Price(provider, name, sku, model, bounds, "USD", date(2025, 1, 1), None, is_credit_price=model == "credit")

    def fee(provider: str, kind: str, amount: int) -> Fee:
        return Fee(provider, name, kind, kind, Decimal(amount), "USD", date(2025, 1, 1), None, "")

    def grant(provider: str, kind: str, unit: str, amount: int, start: date, **more: object) -> Grant:
        return Grant(provider, name, kind, kind, unit, Decimal(amount), start, **{**trace, **more})  # type: ignore[arg-type]

    if customer % 3 == 0:
        scenario.grants.append(grant("mathpix", "promotional", "USD", 9_000, date(2025, 9, 10)))
    elif customer % 3 == 1:
        scenario.fees.append(fee("mathpix", "minimum", 1_000))
    else:
        tiers = (0, 400_000, "0.0018"), (400_000, 700_000, "0.0014"), (700_000, None, "0.001")
        scenario.prices.append(price("mathpix", "mathpix/image", ("graduated", "volume")[customer % 2], *tiers))
    if customer % 2 == 0:
        scenario.prices.append(price("reducto", "", "credit", (0, None, "0.014")))
    else:
        scenario.grants.append(grant("reducto", "purchased", "credit", 1_500_000, date(2025, 6, 10), cost=Decimal(15_000)))
    scenario.grants += [
        grant("onepin", "included", "credit", 10_000, date(2025, 1, 1 + customer), renews="monthly"),
        grant("scopix", "included", "credit", 3_000, date(2025, 1, 1), renews="monthly"),
    ]
    scenario.prices += [price("onepin", "", "credit", (0, None, "0.01")), price("scopix", "", "credit", (0, None, "0.02"))]
    scenario.fees += [fee("onepin", "monthly", 99), fee("scopix", "monthly", 49)]
    return scenario


def spiked_account(number: int) -> Scenario:
    """An account of Reducto without its usage."""
    first, last = (datetime.combine(day, datetime.min.time(), UTC) for day in (SPIKES_FROM, TODAY))
    return Scenario([Account("reducto", f"s{number}", f"s{number}", "UTC", None, first, last)])


def usage_rows() -> Iterator[tuple[str, tuple[object, ...]]]:
    """The raw usage of all accounts: a table, and a row of it."""
    for day in dates(FIRST, TODAY - timedelta(1)):
        for customer in range(CUSTOMERS):
            name, chance = f"w{customer}", draws("world", customer, day)
            image, page, *credits_ = (
                used(day, monthly, PROFILES[(customer + place) % 3], GROWTH[customer], chance[place])
                for place, monthly in enumerate(MONTHLY.values())
            )
            for meter, count in (("image", image), ("pdf-page", page)):
                bounds = f"{day} 12:00:00+00", f"{day} 13:00:00+00"
                row = (name, "hour", *bounds, "app", "group", meter, "", count, True, *STAMP)
                yield "mathpix.ocr_usage_by_usage_type", row
            reducto, onepin, scopix = credits_
            yield "reducto.usage_by_product", (name, "org", day, "parse", reducto, 1, False, True, *STAMP)
            yield "onepin.usage_daily", (name, "workspace", "UTC", day, onepin, 1, 1, 1, True, *STAMP)
            yield "scopix.usage_daily", (name, day, "", *[1] * 6, None, scopix, True, *STAMP)
        for number in range(SPIKES if day >= SPIKES_FROM else 0):
            name, chance, total = f"s{number}", draws("spike", number, day), 0
            for place, (key, share) in enumerate(KEYS.items()):
                count = used(day, 100_000 * share, PROFILES[number % 3], GROWTH[number % CUSTOMERS], chance[place])
                count *= 10 if (day, key) == spike_of(number) else 1
                total += count
                yield "reducto.usage_by_api_key", (name, "org", day, key, count, 1, False, True, *STAMP)
            yield "reducto.usage_by_product", (name, "org", day, "parse", total, 1, False, True, *STAMP)


def usage_inserts(folder: Path) -> Sequence[str]:
    """Writes the rows as CSV files, which DuckDB reads much faster than statements, and returns those that load them."""
    files = {}
    for table, row in usage_rows():
        if table not in files:
            files[table] = (folder / f"{table}.csv").open("w", newline="")
        csv.writer(files[table]).writerow([NULL if value is None else value for value in row])
    for file in files.values():
        file.close()
    options = f"header = false, all_varchar = true, nullstr = '{NULL}'"
    return [f"insert into {table} select * from read_csv('{folder}/{table}.csv', {options})" for table in files]
