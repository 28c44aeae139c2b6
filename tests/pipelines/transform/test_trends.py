"""Trends, forecast, freshness and gaps of four providers, compared with a computation in Python."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import time_machine
import yaml

from tests.conftest import Cli
from tests.pipelines.transform.warehouse import PROJECT, Warehouse, d, duckdb_warehouse, postgres_warehouse

pytestmark = pytest.mark.thorough

REQUESTED_FROM = date(2025, 12, 20)
FIRST = date(2026, 1, 1)
TODAY = date(2026, 5, 31)
NOW = "2026-05-31 13:20:00"
GAP = (date(2026, 4, 10), date(2026, 4, 12))
MARTS = ("usage_daily", "usage_trends_daily", "cost_forecast_monthly", "data_freshness", "usage_gaps")
MODELS = " ".join(f"+{mart}" for mart in MARTS)
SPIKE = date(2026, 5, 13)


class Day(NamedTuple):
    """The usage of a day; no quantity in a gap."""

    quantity: Decimal | None
    is_complete: bool


def dates(first: date, last: date) -> list[date]:
    return [first + timedelta(days) for days in range((last - first).days + 1)]


def quantity(series: int, day: date) -> int:
    """A made-up amount with a weekly pattern, days without usage, and one spike."""
    if day == SPIKE:
        return 9_000
    return (
        0 if day.toordinal() % 11 == series else (400 if day.isoweekday() < 6 else 90) + (day.toordinal() * 37 + series) % 53
    )


def raw_tables(provider: str) -> list[str]:
    """The statements that create all raw tables of a provider, with the types that its sources declare."""
    page = PROJECT / "models" / "staging" / provider / f"_{provider}__sources.yml"
    (source,) = yaml.safe_load(page.read_text())["sources"]
    statements = [f"create schema {provider}"]
    for table in source["tables"]:
        columns = ", ".join('"{name}" {data_type}'.format_map(column) for column in table["columns"])
        statements.append(f"create table {provider}.{table['name']} ({columns})")
    return statements


def row(table: str, **values: object) -> str:
    """The statement that stores one row; other columns are null."""
    texts = [str(value) if isinstance(value, (int, Decimal)) else f"'{value}'" for value in values.values()]
    return f"insert into {table} ({', '.join(values)}) values ({', '.join(texts)})"


def fetched_window(
    provider: str, resource: str, account: str, part: str, first: date, until: str, complete_until: str
) -> str:
    """The statement that stores a fetched window, complete up to `complete_until`."""
    return row(
        f"{provider}.fetched_windows",
        resource=resource,
        account=account,
        part=part,
        window_start=f"{first} 00:00:00+00",
        window_end=f"{until}+00",
        complete_until=f"{complete_until}+00",
        row_count=1,
        fetched_at=f"{min(until, NOW)}+00",
    )


def raw_rows() -> Iterator[str]:
    """One load of all providers. One Mathpix account has a gap of three days, another a table that is no longer loaded."""
    for provider in ("mathpix", "reducto", "onepin", "scopix"):
        yield from raw_tables(provider)
    stamp = {"fetched_at": f"{NOW}+00", "row_version": "v"}
    for day in dates(FIRST, TODAY):
        done = {"is_complete": day < TODAY} | stamp
        for series, account in enumerate(("default", "holed")):
            if not (amount := quantity(series, day)) or (account == "holed" and GAP[0] <= day <= GAP[1]):
                continue
            yield row(
                "mathpix.ocr_usage_by_usage_type",
                account=account,
                timespan="hour",
                bucket_start=f"{day} 09:00:00+00",
                bucket_end=f"{day} 10:00:00+00",
                app_id=account,
                group_id="g",
                usage_type="image",
                request_args_hash="",
                count=amount,
                **done | {"is_complete": True},
            )
        yield row(
            "reducto.usage_by_product",
            account="default",
            org_id="org",
            date=day,
            product="parse",
            credits=Decimal(quantity(2, day)) / 4,
            request_count=1,
            is_unrated=False,
            **done,
        )
        yield row(
            "onepin.usage_daily",
            account="default",
            workspace_id="w",
            timezone="UTC",
            date=day,
            credits=quantity(3, day),
            characters=10 * quantity(3, day),
            lines=1,
            runs=1,
            **done,
        )
        yield row(
            "scopix.usage_daily",
            account="default",
            date=day,
            api_key_id="",
            total_credits=quantity(4, day),
            total_requests=1,
            **done,
        )
    whole = f"{TODAY + timedelta(1)} 00:00:00"
    hour, day_before = f"{TODAY} 13:00:00", f"{TODAY} 00:00:00"
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "default", "", REQUESTED_FROM, f"{TODAY} 14:00:00", hour)
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "holed", "", REQUESTED_FROM, *[f"{GAP[0]} 00:00:00"] * 2)
    after = GAP[1] + timedelta(1)
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "holed", "", after, f"{TODAY} 14:00:00", hour)
    yield fetched_window(
        "mathpix", "ocr_usage_by_app_id", "default", "", REQUESTED_FROM, "2026-05-20 09:00:00", "2026-05-20 08:00:00"
    )
    yield fetched_window("reducto", "usage_by_product", "default", "org", FIRST, whole, day_before)
    yield fetched_window("onepin", "usage_daily", "default", "w|UTC", FIRST, whole, day_before)
    yield fetched_window("scopix", "usage_daily", "default", "", FIRST, whole, day_before)


SERIES: Mapping[tuple[str, str, str], tuple[int, Decimal]] = {
    ("mathpix", "default", "image"): (0, d("1")),
    ("mathpix", "holed", "image"): (1, d("1")),
    ("reducto", "default", "credits"): (2, d("0.25")),
    ("onepin", "default", "credits"): (3, d("1")),
    ("onepin", "default", "characters"): (3, d("10")),
    ("scopix", "default", "credits"): (4, d("1")),
}


def known(series: tuple[str, str, str]) -> dict[date, Day]:
    """The days of a series in the raw rows."""
    number, factor = SERIES[series]
    hole = dates(*GAP) if series[1] == "holed" else []
    return {
        day: Day(None, False) if day in hole else Day(quantity(number, day) * factor, day < TODAY)
        for day in dates(FIRST, TODAY)
        # The series starts with the first day of usage.
        if day > FIRST or quantity(number, day)
    }


def rounded(number: Decimal) -> Decimal:
    return number.quantize(d("0.000001"), ROUND_HALF_UP)


def a_month_before(day: date) -> date:
    last = day.replace(day=1) - timedelta(1)
    return last.replace(day=min(day.day, last.day))


def complete(days: Mapping[date, Day], first: date, last: date) -> list[Decimal]:
    found = [days[day] for day in dates(first, last) if day in days]
    return [day.quantity for day in found if day.is_complete and day.quantity is not None]


def change(days: Mapping[date, Day], day: date, base: date) -> Decimal | None:
    now, before = complete(days, day, day), complete(days, base, base)
    return rounded((now[0] - before[0]) / before[0]) if now and before and before[0] else None


def average(values: list[Decimal]) -> Decimal | None:
    return rounded(sum(values, d("0")) / len(values)) if values else None


def score(days: Mapping[date, Day], day: date) -> Decimal | None:
    now, before = complete(days, day, day), complete(days, day - timedelta(28), day - timedelta(1))
    if not now or len(before) < 14:
        return None
    mean = statistics.mean(before)
    return rounded((now[0] - mean) / max(statistics.stdev(before), mean * d("0.05"), d("1")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The raw rows, built once with the data tests."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("trends"), scratch)
    warehouse.execute(list(raw_rows()))
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.having("error", "fail", "skipped", "warn") == []
    return warehouse


@pytest.mark.parametrize("series", SERIES, ids="-".join)
def test_trends_match_a_computation_in_python(built: Warehouse, series: tuple[str, str, str]) -> None:
    """Dates, averages, comparisons and scores match in every row of every series."""
    days = known(series)
    provider, account, meter = series
    rows = built.query(f"""
        select
            date, quantity, is_complete, is_gap, average_7d, average_7d_days, average_28d, average_28d_days,
            week_over_week, month_over_month, month_to_date, month_to_date_days, anomaly_score, is_anomaly
        from usage.usage_trends_daily
        where provider = '{provider}' and account = '{account}' and meter = '{meter}' order by date
    """)
    assert [row[0] for row in rows] == list(days)
    for day, *found in rows:
        weeks = [complete(days, day - timedelta(length - 1), day) for length in (7, 28)]
        month = [known for known in days if known.replace(day=1) == day.replace(day=1) and known <= day]
        to_date = [amount for known in month if (amount := days[known].quantity) is not None]
        expected_score = score(days, day)
        assert found == [
            days[day].quantity,
            days[day].is_complete,
            days[day].quantity is None,
            *(value for week in weeks for value in (average(week), len(week))),
            change(days, day, day - timedelta(7)),
            change(days, day, a_month_before(day)),
            sum(to_date) if to_date else None,
            len(complete(days, month[0], day)),
            expected_score,
            expected_score is not None and abs(expected_score) > 3,
        ], day


def test_spike_is_an_anomaly_in_every_series(built: Warehouse) -> None:
    """The spike is flagged; the comparison above would pass without any anomaly."""
    found = built.query("""
        select provider, account, meter from usage.usage_trends_daily
        where is_anomaly and date = date '2026-05-13' order by 1, 2, 3
    """)
    assert set(found) >= set(SERIES)


def test_distinguishes_gaps_from_days_without_usage(built: Warehouse) -> None:
    """The gap was never fetched; a loaded day without a row has no usage, even before the first usage; today is neither."""
    found = built.query("""
        select date, kind from usage.usage_gaps
        where provider = 'mathpix' and account = 'holed' and resource = 'ocr_usage_by_usage_type' order by date
    """)
    hole = dates(*GAP)
    idle = [day for day in dates(REQUESTED_FROM, TODAY - timedelta(1)) if day < FIRST or not quantity(1, day)]
    assert found == sorted([(day, "never fetched") for day in hole] + [(day, "no usage") for day in idle if day not in hole])


def test_freshness_is_measured_against_the_newest_fetch(built: Warehouse) -> None:
    """A table that is no longer loaded is stale compared with the others, at any time of the build."""
    assert built.table("data_freshness", "provider, account, resource, hours_behind, row_count, status") == [
        ("mathpix", "default", "ocr_usage_by_app_id", 268, 0, "stale"),
        (
            "mathpix",
            "default",
            "ocr_usage_by_usage_type",
            0,
            sum(bool(quantity(0, day)) for day in dates(FIRST, TODAY)),
            "fresh",
        ),
        (
            "mathpix",
            "holed",
            "ocr_usage_by_usage_type",
            0,
            sum(bool(quantity(1, day)) for day in dates(FIRST, TODAY) if not GAP[0] <= day <= GAP[1]),
            "fresh",
        ),
        ("onepin", "default", "usage_daily", 0, 151, "fresh"),
        ("reducto", "default", "usage_by_product", 0, 151, "fresh"),
        ("scopix", "default", "usage_daily", 0, 151, "fresh"),
    ]


def test_running_month_is_forecast_and_past_months_are_final(built: Warehouse) -> None:
    """On the last day of May one day remains: a Sunday with some billed hours."""
    months = built.query("""
        select billing_month, is_final, cost_to_date, forecast, forecast_low, remaining_days, basis
        from usage.cost_forecast_monthly where provider = 'mathpix' and account = 'default' order by 1
    """)
    price = d("0.002")
    for month, is_final, cost, forecast, low, remaining, basis in months[:-1]:
        amounts = [quantity(0, day) for day in dates(FIRST, TODAY) if day.replace(day=1) == month]
        assert (is_final, cost, remaining, basis) == (True, sum(amounts) * price, 0, "final")
        assert cost == forecast == low
    month, is_final, cost, forecast, low, remaining, basis = months[-1]
    amounts = [quantity(0, day) for day in dates(date(2026, 5, 1), TODAY)]
    sundays = [quantity(0, TODAY - timedelta(7 * weeks)) * price for weeks in range(1, 9)]
    today = amounts[-1] * price
    expected = sum(amounts) * price - today + max(statistics.mean(sundays), today)
    assert (month, is_final, remaining, basis) == (date(2026, 5, 1), False, 1, "averages of weekdays")
    assert cost == sum(amounts) * price
    assert abs(forecast - expected) < d("0.000001")
    assert cost <= low <= forecast


def test_second_build_and_postgresql_give_the_same_rows(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """No table depends on the time of the build or on the engine."""
    before = {mart: built.table(mart) for mart in MARTS}
    backtest = "select * from usage_intermediate.int_cost__backtested order by provider, account, billing_month, known_days"
    errors = built.query(backtest)
    assert errors
    assert built.dbt(f"run --select {MODELS} int_cost__backtested").success
    assert {mart: built.table(mart) for mart in MARTS} == before
    with postgres_warehouse(tmp_path, scratch) as elsewhere:
        elsewhere.execute(list(raw_rows()))
        elsewhere.execute(["alter database postgres set timezone to 'Pacific/Kiritimati'"])
        assert elsewhere.dbt("seed").success
        assert elsewhere.dbt(f"run --select {MODELS} int_cost__backtested").success
        assert {mart: elsewhere.table(mart) for mart in MARTS} == before
        assert elsewhere.query(backtest) == errors


def test_forecast_error_is_small_on_the_months_of_the_sandbox(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """The forecast after 10 and 20 days of each past month is compared with the cost of the month."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2025-05-01")
    with time_machine.travel(datetime(2026, 5, 10, 12, tzinfo=UTC)):
        cli("run", "mathpix.ocr_usage_by_usage_type")
    rows = cli.rows("""
        select
            known_days, count(*), avg(abs(relative_error)), sum(cast(cost between forecast_low and forecast_high as integer))
        from usage_intermediate.int_cost__backtested
        where relative_error is not null group by known_days order by known_days
    """)
    assert [(known_days, months) for known_days, months, _, _ in rows] == [(10, 12), (20, 12)]
    for known_days, months, error, inside in rows:
        record_property(
            f"forecast after {known_days} days", f"MAPE {error:.1%} of {months} months, {inside} between low and high"
        )
        assert error < {10: 0.15, 20: 0.08}[known_days]
        assert inside >= months / 2
    assert rows[1][2] < rows[0][2]
    assert cli.rows("select basis, forecast > cost_to_date from usage.cost_forecast_monthly where not is_final") == [
        ("averages of weekdays", True)
    ]
