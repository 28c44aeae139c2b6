"""Trends, forecast, freshness and gaps of four providers, compared with a computation in Python."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import pytest
import time_machine

from tests.conftest import Cli
from tests.pipelines.transform.rows import FIRST, GAP, REQUESTED_FROM, SPIKE, TODAY, dates, quantity
from tests.pipelines.transform.warehouse import Warehouse, build_selected, d

pytestmark = pytest.mark.thorough


class Day(NamedTuple):
    """The usage of a day; no quantity in a gap."""

    quantity: Decimal | None
    is_complete: bool


SERIES: Mapping[tuple[str, str, str], tuple[int, Decimal]] = {
    ("mathpix", "default", "image"): (0, d("1")),
    ("mathpix", "holed", "image"): (1, d("1")),
    ("reducto", "default", "credits"): (2, d("0.25")),
    ("onepin", "default", "credits"): (3, d("1")),
    ("onepin", "default", "characters"): (3, d("10")),
    ("scopix", "default", "credits"): (4, d("1")),
}


SERIES_ONLY = "account in ('default', 'holed')"


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


def weekday_median(days: Mapping[date, Day], day: date) -> tuple[Decimal, Decimal] | None:
    """The median of the same weekday in the 8 weeks before, and the median deviation from it."""
    before = [complete(days, day - timedelta(7 * week), day - timedelta(7 * week)) for week in range(1, 9)]
    values = [value for values in before for value in values]
    if len(values) < 4:
        return None
    median = statistics.median(values)
    return median, statistics.median(abs(value - median) for value in values)


def score(days: Mapping[date, Day], day: date) -> Decimal | None:
    now, weekday = complete(days, day, day), weekday_median(days, day)
    if not now or weekday is None:
        return None
    median, deviation = weekday
    usual = []
    for known in dates(day - timedelta(28), day - timedelta(1)):
        quantities, its_weekday = complete(days, known, known), weekday_median(days, known)
        if quantities and its_weekday and its_weekday[0]:
            usual.append(min(abs(quantities[0] - its_weekday[0]) / its_weekday[0], d("1")))
    floors = [median * d("0.1"), d("3"), *([median * statistics.mean(usual) * d("1.2533")] if usual else [])]
    return rounded((now[0] - median) / max(deviation * d("1.4826"), *floors))


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
            expected_score is not None and abs(expected_score) > d("4.5"),
        ], day


def test_spike_is_an_anomaly_in_every_series(built: Warehouse) -> None:
    """The spike is flagged; the comparison above would pass without any anomaly."""
    found = built.query(f"""
        select provider, account, meter from usage.usage_trends_daily
        where is_anomaly and date = date '{SPIKE}' order by 1, 2, 3
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
    assert built.table("data_freshness", "provider, account, resource, hours_behind, status", SERIES_ONLY) == [
        ("mathpix", "default", "ocr_usage_by_app_id", 268, "stale"),
        ("mathpix", "default", "ocr_usage_by_usage_type", 0, "fresh"),
        ("mathpix", "holed", "ocr_usage_by_usage_type", 0, "fresh"),
        ("onepin", "default", "usage_daily", 0, "fresh"),
        ("reducto", "default", "usage_by_product", 0, "fresh"),
        ("scopix", "default", "usage_daily", 0, "fresh"),
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
    today = amounts[-1]

    def without_extremes(values: list[int]) -> Decimal:
        kept = sorted(values)[1:-1]
        return Decimal(sum(kept)) / len(kept)

    averages = {
        day.weekday(): without_extremes([quantity(0, day - timedelta(7 * weeks)) for weeks in range(8)])
        for day in dates(TODAY - timedelta(7), TODAY - timedelta(1))
    }
    recent = [
        (d(str(quantity(0, day))), averages[day.weekday()]) for day in dates(TODAY - timedelta(14), TODAY - timedelta(1))
    ]
    level_days = sorted(recent, key=lambda used: used[0] / used[1])[1:-1]
    level = sum((used for used, _ in level_days), d("0")) / sum((average for _, average in level_days), d("0"))
    expected = price * (sum(amounts) - today + max(level * averages[TODAY.weekday()], Decimal(today)))
    assert (month, is_final, remaining, basis) == (date(2026, 5, 1), False, 1, "averages of weekdays")
    assert cost == sum(amounts) * price
    assert abs(forecast - expected) < d("0.000001")
    assert cost <= low <= forecast


def test_forecast_error_is_small_on_the_months_of_the_sandbox(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """The forecast after 10 and 20 days of each past month is compared with the cost of the month."""
    monkeypatch.setenv("SOURCES__MATHPIX__INITIAL_DATE", "2025-05-01")
    with time_machine.travel(datetime(2026, 5, 10, 12, tzinfo=UTC)):
        cli("run", "mathpix.ocr_usage_by_usage_type", "--no-models")
        build_selected("int_cost__backtested", "cost_forecast_monthly")
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
        assert error < {10: 0.06, 20: 0.03}[known_days]
        assert inside >= months * 0.75
    assert rows[1][2] < rows[0][2]
    assert cli.rows("select basis, forecast > cost_to_date from usage.cost_forecast_monthly where not is_final") == [
        ("averages of weekdays", True)
    ]
