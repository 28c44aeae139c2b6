"""Marts filled by hand, with the columns and types of their contracts, so that tests of the report need no dbt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from meterhouse.pipelines.transform import PROJECT
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination

TODAY = date(2026, 5, 20)
NOW = datetime(2026, 5, 20, 12, 30)  # noqa: DTZ001 - the mart holds UTC without a time zone
MONTH = TODAY.replace(day=1)
TYPES = {"string": "varchar", "numeric(28,9)": "decimal(28,9)"}
PATTERNS = {"timestamp": "timestamp", "(28,12)": "decimal(28,12)"}
"""Types whose names differ between engines, by a part of the expression in the contract."""

Rows = Iterable[Mapping[str, Any]]

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\u202e\u0645\u0631\u062d\u0628\u0627 evil\u202c",
    "x" * 300,
    "=HYPERLINK(1)",
    '"; DROP TABLE usage.charges; -- {{ 7 * 7 }} ${1 + 1}',
)


@cache
def contracts() -> dict[str, dict[str, str]]:
    """The columns of every mart and their types in DuckDB."""
    found = {}
    for file in (PROJECT / "models" / "marts").glob("*.yml"):
        for model in yaml.safe_load(file.read_text()).get("models", ()):
            types = {column["name"]: column["data_type"] for column in model["columns"]}
            found[model["name"]] = {
                name: next((type_ for part, type_ in PATTERNS.items() if part in kind), TYPES.get(kind, kind))
                for name, kind in types.items()
            }
    return found


def fill(database: Path, **marts: Rows) -> DuckDBDestination:
    """A database with all marts, and rows in those that are named; missing columns are null, or false."""
    database.unlink(missing_ok=True)
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema usage")
        for mart, columns in contracts().items():
            if mart.startswith("focus_"):
                continue
            named = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            connection.execute(f"create table usage.{mart} ({named})")
            rows = list(marts.pop(mart, ()))
            unknown = {name for row in rows for name in row} - columns.keys()
            assert not unknown, f"{mart} has no column {unknown}"
            if rows:
                defaults = {name: False if kind == "boolean" else None for name, kind in columns.items()}
                filled = pa.Table.from_pydict(
                    {
                        name: pa.array([row.get(name, defaults[name]) for row in rows], _arrow(kind))
                        for name, kind in columns.items()
                    }
                )
                connection.register("filled", filled)
                connection.execute(f"insert into usage.{mart} select * from filled")
    assert not marts, f"no marts: {marts.keys()}"
    return DuckDBDestination("duckdb", "duckdb", str(database), None)


def _arrow(kind: str) -> pa.DataType:
    kinds = {
        "varchar": pa.string(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
        "boolean": pa.bool_(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
    }
    return kinds[kind] if kind in kinds else pa.decimal128(28, 12 if "12" in kind else 9)


def mart_rows(
    accounts: Mapping[str, Sequence[str]],
    *,
    days: int = 60,
    meters: int = 2,
    values: Sequence[str] = ("alpha", "beta"),
    unpriced: bool = True,
    price: int | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of all marts for these accounts by provider: weekly seasonality, growth, and one anomaly per account.

    The numbers derive from counters and agree with each other only as far as the tests need.
    """
    marts: dict[str, list[dict[str, Any]]] = {mart: [] for mart in contracts() if not mart.startswith("focus_")}
    for number, (provider, account) in enumerate((p, a) for p, names in accounts.items() for a in names):
        _account(marts, provider, account, number, days, meters, values, unpriced=unpriced, price=price)
    return marts


def currency_rows() -> dict[str, list[dict[str, Any]]]:
    """The cost of three months in three currencies, with euros as the reporting currency and no rate for Swiss francs."""
    april = date(2026, 4, 1)
    costs = (
        ("mathpix", MONTH, "USD", 4000, 3600),
        ("mathpix", april, "USD", 300, 270),
        ("mathpix", date(2026, 3, 1), "USD", 200, 180),
        ("mathpix", MONTH, "EUR", 1000, 1000),
        ("reducto", MONTH, "CHF", 30, None),
        ("reducto", april, "EUR", 40, 40),
    )
    months, charges, forecasts, owners = [], [], [], []
    for provider, month, currency, cost, reporting_cost in costs:
        key = {"provider": provider, "account": "default", "billing_account": "default", "billing_month": month}
        cents, converted = Decimal(cost), None if reporting_cost is None else Decimal(reporting_cost)
        costed = {**key, "currency": currency, "billed_cost": cents, "effective_cost": cents, "reporting_currency": "EUR"}
        months.append({**costed, "reporting_cost": converted})
        rate = None if converted is None else round(converted / cents, 9)
        charges.append({**costed, "charge_period_start": datetime(2026, month.month, 4), "fx_rate": rate})  # noqa: DTZ001
        forecast = {**key, "currency": currency, "cost_to_date": cents, "forecast": cents}
        forecasts.append(forecast | {"basis": "final"})
        reporting = {"reporting_currency": "EUR", "reporting_cost_to_date": converted}
        owners.append(forecast | reporting | {"team": "search", "cost_centre": "4711"})
    return {
        "cost_monthly": months,
        "charges": charges,
        "cost_forecast_monthly": forecasts,
        "cost_forecast_by_owner_monthly": owners,
    }


def _account(
    marts: dict[str, list[dict[str, Any]]],
    provider: str,
    account: str,
    number: int,
    days: int,
    meters: int,
    values: Sequence[str],
    *,
    unpriced: bool,
    price: int | None,
) -> None:
    key = {"provider": provider, "account": account}
    spent: dict[date, Decimal] = {}
    by_date: dict[date, Decimal] = {}
    for back in reversed(range(days)):
        day = TODAY - timedelta(days=back)
        level = Decimal(3 if day.weekday() > 4 else 10) + Decimal(days - back) / 50 + number % 7
        is_complete = back > 0
        for meter in range(meters):
            is_anomaly = meter == 0 and back == 4
            quantity = round(level * 100 * (meter + 1) * (4 if is_anomaly else 1), 3)
            cost = round(quantity * (Decimal(price) if price is not None else 1 / Decimal(300)), 9)
            spent[day.replace(day=1)] = spent.get(day.replace(day=1), Decimal(0)) + cost
            by_date[day] = by_date.get(day, Decimal(0)) + cost
            unit = {"unit": ("page", "credit", "image")[meter % 3]}
            usage = {**key, "meter": f"meter-{meter}", "date": day, **unit, "quantity": quantity, "is_complete": is_complete}
            marts["usage_daily"].append(usage)
            marts["usage_trends_daily"].append(
                {
                    **usage,
                    "average_7d": round(level * 100, 6),
                    "average_28d": round(level * 97, 6),
                    "week_over_week": Decimal("0.125") if is_complete else None,
                    "month_to_date": quantity * day.day,
                    "anomaly_score": Decimal("8.5") if is_anomaly else Decimal("0.2"),
                    "is_anomaly": is_anomaly,
                }
            )
            sku = {"sku_id": f"{provider}/sku-{meter}", **unit, "currency": "USD"}
            marts["cost_daily"].append(
                {
                    **key,
                    **sku,
                    "date": day,
                    "billing_account": account,
                    "quantity": quantity,
                    "billed_cost": cost,
                    "is_complete": is_complete,
                }
            )
            for position, value in enumerate(values):
                share = round(Decimal(position + 1) / sum(range(1, len(values) + 1)), 6)
                marts["usage_by_dimension"].append(
                    {
                        **key,
                        **unit,
                        "dimension": "app_id",
                        "value": value,
                        "date": day,
                        "quantity": round(quantity * share, 3),
                        "allocated_cost": round(cost * share, 9),
                        "currency": "USD",
                    }
                )
    marts["cost_drivers"] += _drivers(key, spent, by_date, values)
    for month, cost in spent.items():
        running = month == MONTH
        marts["cost_monthly"].append(
            {
                **key,
                "billing_account": account,
                "sku_id": f"{provider}/sku-0",
                "billing_month": month,
                "billed_cost": cost,
                "unit": "page",
                "currency": "USD",
            }
        )
        marts["cost_forecast_monthly"].append(
            {
                **key,
                "billing_account": account,
                "billing_month": month,
                "currency": "USD",
                "cost_to_date": cost,
                "forecast": cost * 3 / 2 if running else cost,
                "forecast_low": cost * 7 / 5 if running else cost,
                "forecast_high": cost * 8 / 5 if running else cost,
                "is_final": not running,
                "remaining_days": 12 if running else 0,
                "learned_days": 56,
                "as_of_date": TODAY,
                "basis": "averages of weekdays" if running else "final",
            }
        )
        owner = {"team": "unowned", "cost_centre": ""} if number else {"team": "search", "cost_centre": "4711"}
        forecast = marts["cost_forecast_monthly"][-1]
        names = (*key, "billing_account", "billing_month", "currency", "cost_to_date", "forecast")
        marts["cost_forecast_by_owner_monthly"].append({**owner, **{name: forecast[name] for name in names}})
        budget = round(cost * 6 / 5, 2) if number else round(cost / 2, 2)  # the first account is over budget
        marts["budget_status_monthly"].append(
            {
                **key,
                "budget": f"{provider}/{account}",
                "month": month,
                "cost_type": "billed",
                "amount": budget,
                "currency": "USD",
                "actual": cost,
                "forecast": cost * 3 / 2 if running else cost,
                "variance": cost - budget,
                "share_used": round(cost / budget, 9) if budget else 0,
                "is_over": cost > budget,
                "other_currencies": None if number else "EUR",
                "has_missing_cost": unpriced,
                "budget_row": number + 2,
            }
        )
        marts["invoice_reconciliation"].append(
            {
                "provider": provider,
                "billing_account": account,
                "billing_month": month,
                "period_start": month,
                "period_end": (month + timedelta(days=31)).replace(day=1),
                "invoice_id": None if running else f"{provider}-{month:%Y-%m}",
                "line_number": None if running else 1,
                "line": f"{provider}/sku-0",
                "computed": round(cost, 2),
                "invoiced": None if running else round(cost, 2) + number + 5,
                "net": None if running else round(cost, 2) + number,
                "tax": None if running else Decimal(5),
                "difference": None if running else Decimal(number),
                "tolerance": Decimal("0.05"),
                "currency": "USD",
                "status": "month still open" if running else "matched" if number == 0 else "over",
                "what_to_do": "Wait." if running else "",
            }
        )
    if unpriced:
        marts["unpriced_usage"].append(
            {**key, "meter": "mystery", "date": TODAY, "quantity": Decimal("7.5"), "reason": "unknown meter"}
        )
    for back in reversed(range(min(days, 40))):
        left = Decimal(5000 - number * 10 + back * 100)
        marts["credit_balance_daily"].append(
            {
                "provider": provider,
                "billing_account": account,
                "date": TODAY - timedelta(days=back),
                "unit": "credit",
                "granted": Decimal(10000),
                "used": 10000 - left,
                "remaining": left,
                "used_on_date": Decimal(100),
                "overage": Decimal(0),
                "days_left": Decimal(20 + number * 30),
            }
        )
    marts["data_freshness"].append(
        {
            **key,
            "resource": "usage",
            "loaded_from": NOW - timedelta(days=days),
            "complete_until": NOW - timedelta(hours=1),
            "last_fetched_at": NOW,
            "hours_behind": 0,
            "account_hours_behind": 0,
            "status": "late" if number == 1 else "fresh",
        }
    )
    marts["usage_gaps"] += [
        {**key, "resource": "usage", "date": TODAY - timedelta(days=back), "kind": "never fetched"} for back in (30, 29, 20)
    ]


def _drivers(
    key: Mapping[str, str], by_month: Mapping[date, Decimal], by_date: Mapping[date, Decimal], values: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The drivers of April and of the anomaly of TODAY - 4 days, by SKU and by app."""
    april, anomaly = date(2026, 4, 1), TODAY - timedelta(days=4)
    for period, costs, day, before in (
        ("month", by_month, april, date(2026, 3, 1)),
        ("day", by_date, anomaly, anomaly - timedelta(days=7)),
    ):
        if day not in costs or before not in costs:
            continue
        for dimension, names in (("sku", [f"{key['provider']}/sku-0"]), ("app_id", values)):
            for position, name in enumerate(names, 1):
                cost, cost_before = (
                    round(costs[side] * position / sum(range(1, len(names) + 1)), 9) for side in (day, before)
                )
                change = cost - cost_before
                volume, price = round(change * 3 / 4, 9), round(change / 2, 9)
                yield {
                    **key,
                    "period": period,
                    "date": day,
                    "compared_with": before,
                    "dimension": dimension,
                    "value": name,
                    "position": len(names) + 1 - position,
                    "currency": "USD",
                    "billed_cost_before": cost_before,
                    "billed_cost": cost,
                    "change": change,
                    "volume_change": volume,
                    "price_change": price,
                    "mix_change": change - volume - price,
                }
