"""Random usage, prices, credits, fees and accounts for tests of the models, and any scenario as raw rows."""

import os
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.pipelines.transform.by_hand import Account, Fee, Grant, Price, Scenario, Sku, Use
from tests.pipelines.transform.warehouse import MODELS_ONLY, USAGE_COLUMNS, WINDOW_COLUMNS, Warehouse, duckdb_warehouse

Draw = Callable[[st.SearchStrategy[Any]], Any]

SCENARIOS = 24
MATHPIX_FROM, CREDITS_FROM = date(2025, 2, 1), date(2026, 4, 1)
"""First months: the list prices of images change in the first span, and that of a credit of Reducto begins in the second."""
LEAP_DAY = date(2024, 2, 29)
METERS = ("image", "pdf-page", "image-async", "strokes", "strokes-session", "conversion", "pdf", "preview")
OWN_SKUS = [
    Sku("mathpix", "pdf", "mathpix/pdf", "document"),
    Sku("mathpix", "strokes", "mathpix/strokes", "stroke"),
    Sku("mathpix", "image-async", "mathpix/image", "image"),
    Sku("mathpix", "preview", "", "page"),
]
"""An unknown and a shipped meter with a SKU of their own, one that keeps its shipped SKU, and one that is not billed."""
COUNTS = (1, 999, 1000, 40_000, 600_000, 400_000, 1, 7, -3, -1000)
CREDITS = ("10", "25.5", "5", "40", "0.333333333", "7.777777777", "100", "-4", "-30.000000001")
BOUNDS = ("10", "5", "25.5", "40", "100", "1000", "601000")
UNIT_PRICES = ("0.01", "0", "0.0015", "0.333333333", "2", "0.000000007")
AMOUNTS = ("50", "0.7", "25.5", "300", "7")
COSTS = (None, "10", "0.01", "14.99", "3")
ZONES = ("", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")

COMMON = "is_complete boolean, fetched_at timestamptz, row_version text"
TRACE = "source text, row_number bigint, loaded_at timestamptz"
SCHEMA = {
    "mathpix.ocr_usage_by_usage_type": USAGE_COLUMNS,
    "reducto.usage_by_product": f"""account text, org_id text, date date, product text, credits decimal(28,9),
        request_count bigint, is_unrated boolean, {COMMON}""",
    "onepin.usage_daily": f"""account text, workspace_id text, timezone text, date date, credits decimal(28,9),
        characters bigint, lines bigint, runs bigint, {COMMON}""",
    "scopix.usage_daily": f"""account text, date date, api_key_id text, total_requests bigint, successful_requests bigint,
        failed_requests bigint, describe_count bigint, verify_count bigint, batch_count bigint,
        avg_response_time_ms decimal(28,9), total_credits decimal(28,9), {COMMON}""",
    **{f"{provider}.fetched_windows": WINDOW_COLUMNS for provider in ("mathpix", "reducto", "onepin", "scopix")},
    "billing.accounts": f"""provider text, account text, billing_account text, billing_timezone text, plan text,
        signed_up_on date, {TRACE}""",
    "billing.skus": f"provider text, meter text, sku_id text, unit text, is_billed boolean, {TRACE}",
    "billing.prices": f"""provider text, billing_account text, sku_id text, pricing_model text, tier_from decimal(28,9),
        tier_to decimal(28,9), unit text, unit_price decimal(28,9), currency text, valid_from date, valid_to date,
        {TRACE}""",
    "billing.credit_prices": f"""provider text, billing_account text, unit_price decimal(28,9), currency text,
        valid_from date, valid_to date, {TRACE}""",
    "billing.credit_grants": f"""provider text, billing_account text, grant_id text, kind text, unit text,
        amount decimal(28,9), starts_on date, expires_on date, renews text, priority bigint, cost decimal(28,9),
        currency text, {TRACE}""",
    "billing.fees": f"""provider text, billing_account text, fee_id text, kind text, description text,
        amount decimal(28,9), currency text, valid_from date, valid_to date, sku_id text, prorate boolean,
        after_credits boolean, {TRACE}""",
}


def days(first: date, last: int) -> st.SearchStrategy[date]:
    return st.integers(0, last).map(lambda n: first + timedelta(days=n))


def drawn_prices(draw: Draw, provider: str, owner: str, sku: str, currency: str, first: date) -> list[Price]:
    """Up to three consecutive versions, some with a pause between them, the last one open or not."""
    cuts = sorted(draw(st.lists(days(first - timedelta(days=9), 60), min_size=1, max_size=3, unique=True)))
    prices = []
    for start, following in zip(cuts, [*cuts, None][1:], strict=True):
        pauses = draw(st.booleans())
        end = (start + ((following - start) / 2 if following else timedelta(days=20))) if pauses else following
        if end is not None and end <= start:
            continue
        model = draw(st.sampled_from(("graduated", "volume", "flat")))
        bounds = [] if model == "flat" else sorted(map(Decimal, draw(st.sets(st.sampled_from(BOUNDS), max_size=3))))
        tiers = tuple(
            (low, high, Decimal(draw(st.sampled_from(UNIT_PRICES))))
            for low, high in zip([Decimal(0), *bounds], [*bounds, None], strict=True)
        )
        is_credit_price = model == "flat" and sku.endswith("/credit")
        prices.append(Price(provider, owner, sku, model, tiers, currency, start, end, is_credit_price))
    return prices


def drawn_grant(draw: Draw, provider: str, owner: str, name: str, first: date) -> Grant:
    starts = draw(days(first - timedelta(days=9), 38))
    lapses = draw(st.sampled_from((None, None, 30, 45, 46)))
    cost = draw(st.sampled_from(COSTS))
    return Grant(
        provider,
        owner,
        name,
        draw(st.sampled_from(("purchased", "purchased", "promotional", "included"))),
        "USD" if provider == "mathpix" else draw(st.sampled_from(("credit", "credit", "credit", "USD"))),
        Decimal(draw(st.sampled_from(AMOUNTS))),
        starts,
        first + timedelta(days=lapses) if lapses else None,
        draw(st.sampled_from((None, None, "monthly"))),
        draw(st.sampled_from((None, None, None, 2))),
        Decimal(cost) if cost else None,
        draw(st.sampled_from(("USD", "USD", "EUR"))) if cost else None,
    )


def drawn_fees(draw: Draw, provider: str, owner: str, skus: Sequence[str], first: date) -> list[Fee]:
    """One fee with one or two adjoining versions."""
    kind = draw(st.sampled_from(("monthly", "yearly", "one_time", "minimum")))
    start = draw(days(first - timedelta(days=40), 60))
    if kind == "yearly":
        start = draw(st.sampled_from((start, start - timedelta(days=365), LEAP_DAY)))
    end = draw(st.sampled_from((None, 12, 31, 50, 365)))
    sku = draw(st.sampled_from(("", *skus))) if kind == "minimum" else ""
    amounts = [Decimal(amount) for amount in draw(st.lists(st.sampled_from(("99", "1500", "0.05")), min_size=2, max_size=2))]
    change = start + timedelta(days=end) if end and kind != "one_time" else None
    by_days, net = kind in ("monthly", "yearly") and draw(st.booleans()), kind == "minimum" and draw(st.booleans())
    fees = [Fee(provider, owner, "fee", kind, amounts[0], "USD", start, change, sku, by_days, net)]
    if change and draw(st.booleans()):
        fees.append(replace(fees[0], amount=amounts[1], valid_from=change, valid_to=None))
        if kind != "minimum" and draw(st.booleans()):
            fees[1] = replace(fees[1], prorate=not by_days)
    return fees


def drawn_uses(draw: Draw, provider: str, account: str, start: datetime) -> list[Use]:
    """Hours of any meter of Mathpix; days of credits."""
    if provider == "mathpix":
        hours = st.tuples(st.integers(0, 44 * 24), st.sampled_from(METERS), st.sampled_from(COUNTS))
        drawn = draw(st.lists(hours, min_size=2, max_size=8, unique_by=lambda use: use[:2]))
        used = [(start + timedelta(hours=hour), meter, Decimal(count)) for hour, meter, count in drawn]
        return [Use(provider, account, meter, at, at + timedelta(hours=1), count) for at, meter, count in used]
    dates = st.tuples(st.integers(0, 44), st.sampled_from(CREDITS))
    drawn = draw(st.lists(dates, min_size=2, max_size=10, unique_by=lambda use: use[0]))
    days_ = [(start + timedelta(days=day), Decimal(amount)) for day, amount in drawn]
    return [Use(provider, account, "credits", at, at + timedelta(days=1), amount) for at, amount in days_]


@st.composite
def scenarios(draw: Draw) -> Scenario:
    """Accounts of Mathpix and of one vendor with credits; `named` makes their names unique."""
    scenario = Scenario()
    for provider, first in (
        ("mathpix", MATHPIX_FROM),
        (draw(st.sampled_from(("reducto", "onepin", "scopix"))), CREDITS_FROM),
    ):
        zone = draw(st.sampled_from(ZONES))
        owner = draw(st.sampled_from(("payer", "")))
        owners = set()
        for name in ("a", "b")[: draw(st.integers(1, 2))]:
            owners.add(owner or name)
            start = datetime.combine(first - timedelta(days=1), datetime.min.time(), UTC)
            end = start + timedelta(days=draw(st.sampled_from((80, 91, 45))), hours=12)
            signup = draw(st.none() | days(first - timedelta(days=99), 130))
            scenario.accounts.append(Account(provider, name, owner or name, zone or "UTC", signup, start, end))
            scenario.uses += drawn_uses(draw, provider, name, start)
        skus = ("mathpix/image", "mathpix/pdf-page") if provider == "mathpix" else (f"{provider}/credit",)
        currency = "USD" if provider == "mathpix" else draw(st.sampled_from(("USD", "EUR")))
        for payer in sorted(owners):
            for sku in skus:
                if draw(st.booleans()):
                    scenario.prices += drawn_prices(draw, provider, payer, sku, currency, first)
            for number in range(draw(st.integers(0, 2 if provider == "mathpix" else 5))):
                scenario.grants.append(drawn_grant(draw, provider, payer, f"grant{number}", first))
            if draw(st.booleans()):
                scenario.fees += drawn_fees(draw, provider, payer, skus, first)
    return scenario


@st.composite
def prices_of_all(draw: Draw) -> list[Price]:
    """Contracts for all accounts of a provider, shared by all scenarios."""
    return [
        price
        for provider, sku, first in (
            ("mathpix", "mathpix/image", MATHPIX_FROM),
            ("mathpix", "mathpix/strokes-session", MATHPIX_FROM),
            ("mathpix", "mathpix/pdf", MATHPIX_FROM),
            ("mathpix", "mathpix/strokes", MATHPIX_FROM),
            ("reducto", "reducto/credit", CREDITS_FROM),
            ("onepin", "onepin/credit", CREDITS_FROM),
        )
        for price in drawn_prices(draw, provider, "", sku, "USD", first)
    ]


def named(scenario: Scenario, number: int, shared: list[Price]) -> Scenario:
    """The scenario with unique names, and the shared prices."""

    def own(name: str) -> str:
        return f"w{number:02}{name}"

    return Scenario(
        [replace(a, account=own(a.account), billing_account=own(a.billing_account)) for a in scenario.accounts],
        [replace(use, account=own(use.account)) for use in scenario.uses],
        [*(replace(price, billing_account=own(price.billing_account)) for price in scenario.prices), *shared],
        [replace(grant, billing_account=own(grant.billing_account)) for grant in scenario.grants],
        [replace(fee, billing_account=own(fee.billing_account)) for fee in scenario.fees],
        OWN_SKUS,
    )


def literal(value: object) -> str:
    """The value as an SQL literal."""
    if value is None:
        return "null"
    return f"'{value}'"


def literals(rows: list[tuple[object, ...]]) -> str:
    """Each row once: scenarios share prices."""
    return ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in dict.fromkeys(rows))


def inserts(scenarios_: list[Scenario]) -> list[str]:
    """The statements that store the raw tables."""
    rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in SCHEMA}
    fetched = "2026-07-01 00:00:00+00"
    resources = {
        "mathpix": ("ocr_usage_by_usage_type", ""),
        "reducto": ("usage_by_product", "org"),
        "onepin": ("usage_daily", "workspace|UTC"),
        "scopix": ("usage_daily", ""),
    }
    trace = ("file.csv", 2, fetched)
    for scenario in scenarios_:
        for a in scenario.accounts:
            zone = None if a.timezone == "UTC" else a.timezone
            owner = "" if a.billing_account == a.account else a.billing_account
            rows["billing.accounts"].append((a.provider, a.account, owner, zone, "", a.signed_up_on, *trace))
            resource, part = resources[a.provider]
            rows[f"{a.provider}.fetched_windows"].append(
                (resource, a.account, part, a.loaded_from, a.loaded_until, a.loaded_until, 1, fetched)
            )
            if a.provider == "scopix" and a.account.endswith("a"):  # a side table without a response changes no cost
                rows["scopix.fetched_windows"].append(("tokens_daily", a.account, "", None, None, None, 0, fetched))
        for use in scenario.uses:
            day, amount, end = use.start.date(), use.quantity, (True, fetched, "v")
            if use.provider == "mathpix":
                row = (use.account, "hour", use.start, use.end, "app", "group", use.meter, "", amount, *end)
                rows["mathpix.ocr_usage_by_usage_type"].append(row)
            elif use.provider == "reducto":
                rows["reducto.usage_by_product"].append((use.account, "org", day, "parse", amount, 1, False, *end))
            elif use.provider == "onepin":
                rows["onepin.usage_daily"].append((use.account, "workspace", "UTC", day, amount, 1, 1, 1, *end))
            else:
                rows["scopix.usage_daily"].append((use.account, day, "", *[1] * 6, None, amount, *end))
        rows["billing.skus"] += [
            (sku.provider, sku.meter, sku.sku_id or None, sku.unit, bool(sku.sku_id), *trace) for sku in scenario.skus
        ]
        for price in scenario.prices:
            what = (price.provider, price.billing_account)
            ends = (price.currency, price.valid_from, price.valid_to, *trace)
            if price.is_credit_price:
                rows["billing.credit_prices"].append((*what, price.tiers[0][2], *ends))
                continue
            rows["billing.prices"] += [
                (*what, price.sku_id, price.model, low, high, "", unit_price, *ends) for low, high, unit_price in price.tiers
            ]
        rows["billing.credit_grants"] += [
            (*(getattr(grant, column.name) for column in fields(Grant) if column.name != "key"), *trace)
            for grant in scenario.grants
        ]
        rows["billing.fees"] += [
            (f.provider, f.billing_account, f.fee_id, f.kind, None, f.amount, f.currency, f.valid_from, f.valid_to,
             f.sku_id, f.prorate, f.after_credits, *trace)
            for f in scenario.fees
        ]  # fmt: skip
    return [
        *(f"create schema {schema}" for schema in sorted({table.split(".")[0] for table in SCHEMA})),
        *(f"create table {table} ({columns})" for table, columns in SCHEMA.items()),
        *(f"insert into {table} values {literals(stored)}" for table, stored in rows.items() if stored),
    ]


def build(folder: Path, scratch: Path, scenarios_: list[Scenario]) -> Warehouse:
    """The models over all scenarios."""
    (folder / "meterhouse.duckdb").unlink(missing_ok=True)
    warehouse = duckdb_warehouse(folder, scratch)
    warehouse.execute(inserts(scenarios_))
    marts = ("+charges", "+cost_monthly", "+cost_daily", "+credit_balance_daily", "+int_focus__charges")
    outcome = warehouse.dbt("build", "--select", *marts, *MODELS_ONLY)
    assert outcome.success, outcome.having("error", "skipped")
    return warehouse


def examples(default: int) -> settings:
    """Settings that draw METERHOUSE_EXAMPLES random examples, or the default."""
    return settings(
        max_examples=int(os.environ.get("METERHOUSE_EXAMPLES", str(default))),
        deadline=None,
        database=None,
        # A smaller example takes as long to build, and the failure shows only the first scenario that differs.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
