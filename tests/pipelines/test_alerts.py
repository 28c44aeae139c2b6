"""What the alerts find in the marts, and the budgets of `check` and `status`; the marts are filled by hand."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import time_machine

from meterhouse.pipelines.run import alert_kinds
from meterhouse.pipelines.run.alert_kinds import Alert, AlertLimits
from meterhouse.pipelines.run.alerts import ALERTS, Alerts
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.errors import LoadError
from tests.conftest import Cli
from tests.pipelines.report.marts import fill

NOW = datetime(2026, 5, 20, 10, 30, tzinfo=UTC)
MAY = date(2026, 5, 1)
FRESH = [{"last_fetched_at": NOW, "status": "fresh"}]


def budget(actual: str, forecast: str | None = None, name: str = "total", **others: Any) -> dict[str, Any]:
    """A row of `budget_status_monthly` with an amount of 200 USD."""
    used = Decimal(actual)
    amounts = {"amount": Decimal(200), "variance": used - 200, "share_used": used / 200, "is_over": used > 200}
    row = {"budget": name, "month": MAY, "cost_type": "billed", "currency": "USD", "budget_row": 2}
    alerted = {"thresholds": "50;80;100", "forecast_thresholds": "100"}
    return row | amounts | alerted | {"actual": used, "forecast": forecast and Decimal(forecast)} | others


class Sender:
    """Sends the alerts of a database as consecutive runs do, which record what was sent."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = AlertLimits()
        self.warnings = 0
        self.destination = fill(folder / "costs.duckdb")
        self._posted: list[str] = []
        self._execute("create schema meterhouse; create table meterhouse.alerts (subject text, told_at timestamptz)")
        monkeypatch.setattr(Alerts, "post", self._post)

    def __call__(
        self, kind: str, mart: str, *rows: Mapping[str, Any], now: datetime = NOW, failed_models: Sequence[str] = ()
    ) -> list[str]:
        """The texts of the alerts that a run sends if the mart has these rows."""
        self._posted.clear()
        self._execute(f"delete from usage.{mart}")
        for row in rows:
            names, places = ", ".join(row), ", ".join("?" * len(row))
            self._execute(f"insert into usage.{mart} ({names}) values ({places})", *row.values())
        kinds = tuple(kind.split(","))
        alerts, state = Alerts("https://alerts.example", kinds, self.limits), RunState(started_at=now)
        for sent in alerts.send(self.destination, state, failed_models, models=True):
            assert list(sent) == ALERTS.names
            assert sent["kind"] in kinds
            self._execute("insert into meterhouse.alerts values (?, ?)", sent["subject"], sent["told_at"])
        assert len(state.warnings) == self.warnings
        return list(self._posted)

    def ran(self, *, days_ago: int, outcome: str = "ok") -> None:
        """Records an earlier run."""
        self._execute("create table if not exists meterhouse.runs (started_at timestamptz, resource text, outcome text)")
        self._execute("insert into meterhouse.runs values (?, 'models', ?)", NOW - timedelta(days=days_ago), outcome)

    def _post(self, lines: Sequence[str], _: RunState) -> bool:
        self._posted += lines
        return True

    def _execute(self, sql: str, *parameters: object) -> None:
        with duckdb.connect(self.destination.location) as connection:
            connection.execute(sql, parameters)


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sender:
    return Sender(tmp_path, monkeypatch)


@time_machine.travel(NOW, tick=False)
def test_an_anomaly_names_the_value_that_moved_most(send: Sender) -> None:
    """The alert says how unusual the day is for its weekday, and which value of a dimension rose or fell most with it."""
    place = {"provider": "reducto", "account": "a", "date": date(2026, 5, 19), "unit": "credit"}
    drivers = [
        {"dimension": "api_key", "value": "batch", "quantity_before": 100, "quantity": 1_000},
        {"dimension": "product", "value": "parse", "quantity_before": 500, "quantity": 400},
        {"dimension": "sku", "value": "reducto/credit", "quantity_before": 600, "quantity": 2_000},
    ]
    assert send("anomalies", "cost_drivers", *(place | {"period": "day"} | driver for driver in drivers)) == []
    day = {"meter": "credits", "quantity": 2_000, "anomaly_score": Decimal("8.5"), "is_anomaly": True}
    text = "ANOMALY reducto a credits on 2026-05-19: 2,000 credit, 8.5 deviations above normal for Tuesdays"
    below = place | day | {"anomaly_score": Decimal(-5)}
    assert send("anomalies", "usage_trends_daily", place | day, below | {"account": "b"}, below | {"meter": "pages"}) == [
        f"{text}; most of it api_key batch: +900",
        text.replace("8.5", "5.0").replace("above", "below").replace("credits", "pages")
        + "; most of it product parse: -100",
        text.replace(" a ", " b ").replace("8.5", "5.0").replace("above", "below"),
    ]


def test_a_budget_is_alerted_once_a_month_for_each_threshold(send: Sender) -> None:
    """At 50, 80 and 100 % of the cost and at 100 % of the forecast; of several at once, for the highest."""

    def found(actual: str, forecast: str | None = None, **others: Any) -> list[str]:
        return send("budgets", "budget_status_monthly", budget(actual, forecast, **others))

    assert found("99.99", "199.99") == []
    assert found("100", "180") == ["BUDGET total: 100.00 of 200.00 USD used in 2026-05, 50 %"]
    assert found("120", "180") == []
    assert found("159.99", "200") == [
        "BUDGET total: the forecast for 2026-05 is 200.00 USD, 159.99 so far; the budget is 200.00 USD"
    ]
    assert [line.split(", ")[-1] for line in found("160", "210")] == ["80 %"]
    assert [line.split(", ")[-1] for line in found("230", "260")] == ["115 %"]
    assert found("500", "600") == []
    assert len(found("500", "600", month=date(2026, 6, 1))) == 2
    assert [line.split(", ")[-1] for line in found("500", amount=Decimal(400))] == ["250 %"]  # a new amount is a new budget
    jump = found("220", name="mathpix/europe", other_currencies="CHF, EUR", has_missing_cost=True, cost_type="effective")
    assert jump == [
        "BUDGET mathpix/europe: 220.00 of 200.00 USD used in 2026-05, 110 %, effective cost"
        "; cost in CHF, EUR does not count; some cost is not known yet"
    ]
    assert found("500", "600", name="silent", thresholds="none", forecast_thresholds="none") == []
    assert len(found("150", "600", name="other", thresholds="75;90", forecast_thresholds="250;400")) == 2
    assert len(found("165", "410", name="falls", forecast_thresholds="100;200")) == 2
    assert found("110", "210", name="falls", forecast_thresholds="100;200") == []


@time_machine.travel(NOW, tick=False)
def test_alerts_beyond_a_message_are_sent_by_the_next_run(send: Sender) -> None:
    """A message has twenty."""
    budgets = [budget("120", name=f"team {number}") for number in range(23)]
    *lines, more = send("budgets", "budget_status_monthly", *budgets)
    assert len(lines) == 20
    assert more == "… and 3 more with the next run"
    later = send("budgets", "budget_status_monthly", *budgets)
    assert [line.partition(":")[0] for line in later] == ["BUDGET team 20", "BUDGET team 21", "BUDGET team 22"]
    assert send("budgets", "budget_status_monthly", *budgets) == []


@time_machine.travel(NOW, tick=False)
def test_failures_of_many_accounts_hold_back_no_other_alert(send: Sender) -> None:
    """They recur every day, so a message has alerts of each kind."""
    failed = [f"model_{number}: it failed" for number in range(25)]
    *lines, more = send("failures,budgets", "budget_status_monthly", budget("120"), failed_models=failed)
    assert [line.split()[0] for line in lines].count("FAILED") == 19
    assert "BUDGET total: 120.00 of 200.00 USD used in 2026-05, 60 %" in lines
    assert more == "… and 6 more with the next run"


@time_machine.travel(NOW, tick=False)
def test_a_lasting_change_is_alerted_of_once(send: Sender) -> None:
    """On its first day; the next anomaly in the other direction, or a week later, is another one."""

    def anomalies(*days: int, score: int = 9) -> list[dict[str, Any]]:
        row = {
            "provider": "scopix",
            "account": "a",
            "meter": "credits",
            "unit": "credit",
            "quantity": 500,
            "is_anomaly": True,
        }
        return [row | {"date": date(2026, 5, day), "anomaly_score": Decimal(score)} for day in days]

    lasting = anomalies(1, 2, 5, 9, 14, 15, 16)
    assert send("anomalies", "usage_trends_daily", *lasting) == []
    assert len(send("anomalies", "usage_trends_daily", *lasting, *anomalies(17, 18, score=-9))) == 1
    assert len(send("anomalies", "usage_trends_daily", *anomalies(8, 16, 17))) == 1


@time_machine.travel(NOW, tick=False)
def test_a_month_before_is_alerted_of_in_the_first_week_only(send: Sender) -> None:
    """Its last hours are loaded in the next month."""
    april = budget("220", month=date(2026, 4, 1))
    assert send("budgets", "budget_status_monthly", april) == []
    first_days = datetime(2026, 5, 3, tzinfo=UTC)
    assert len(send("budgets", "budget_status_monthly", april, now=first_days)) == 1


@time_machine.travel(NOW, tick=False)
def test_credits_are_alerted_of_once_a_month_before_they_run_out(send: Sender) -> None:
    """Those that last for `credits_within`; not those that had run out before, nor the balances of an old load."""

    def balances(**days_left: float) -> list[dict[str, Any]]:
        return [
            {"provider": "reducto", "billing_account": "acme", "unit": unit, "date": date(2026, 5, 20 - back)}
            | {"remaining": Decimal(40), "days_left": Decimal(str(days)) + back}
            for unit, days in days_left.items()
            for back in (0, 1)
        ]

    assert send("credits", "credit_balance_daily", *balances(credit=7.1, USD=6)) == [
        "CREDITS reducto acme has 40 USD left, for 6 days"
    ]
    assert send("credits", "credit_balance_daily", *balances(credit=6.9, USD=5)) == [
        "CREDITS reducto acme has 40 credits left, for 7 days"
    ]
    assert send("credits", "credit_balance_daily", *balances(credit=0.4, USD=0.3)) == []
    gone = [row | {"remaining": Decimal(0), "days_left": Decimal(0), "unit": "page"} for row in balances(page=0)]
    assert send("credits", "credit_balance_daily", *gone) == []
    left = gone[1] | {"remaining": Decimal(9), "days_left": Decimal(20)}
    assert send("credits", "credit_balance_daily", gone[0], left) == ["CREDITS reducto acme has no pages left"]
    send.limits = AlertLimits(credits_within=timedelta(days=30))
    old = [row | {"date": row["date"] - timedelta(days=30)} for row in balances(old=20)]
    assert send("credits", "credit_balance_daily", *old) == []
    assert len(send("credits", "credit_balance_daily", *balances(old=20))) == 1


@time_machine.travel(NOW, tick=False)
def test_new_usage_without_a_price_is_alerted_of_once(send: Sender) -> None:
    """Usage is new if the meter had none without a price in the weeks before, also after weeks without a run."""

    def usage(meter: str, *days_ago: int, unit: str | None = None) -> list[dict[str, Any]]:
        row = {"provider": "mathpix", "account": "a", "meter": meter, "unit": unit, "reason": "unknown meter"}
        return [row | {"date": date(2026, 5, 20) - timedelta(days=ago), "quantity": Decimal(1500)} for ago in days_ago]

    rows = [
        *usage("new", 0, 1),
        *usage("old", 0, 40, 80),
        *usage("again", 2, 50, unit="page"),
        *usage("past", 9),
        *usage("gone", 46),
    ]
    assert send("unpriced", "unpriced_usage", *rows) == [
        "UNPRICED mathpix a again: 1,500 page since 2026-05-18, in no cost yet (unknown meter)",
        "UNPRICED mathpix a new: 3,000 uses since 2026-05-19, in no cost yet (unknown meter)",
        "UNPRICED mathpix a past: 1,500 uses since 2026-05-11, in no cost yet (unknown meter)",
    ]
    assert send("unpriced", "unpriced_usage", *rows) == []
    send.ran(days_ago=200)
    send.ran(days_ago=70)
    send.ran(days_ago=50, outcome="failed")
    outage = [*usage("old", 0, 40, 80, 119), *usage("outage", 0, 30, 59), *usage("before", 0, 37, 74)]
    assert send("unpriced", "unpriced_usage", *outage) == [
        "UNPRICED mathpix a outage: 4,500 uses since 2026-03-22, in no cost yet (unknown meter)"
    ]


@time_machine.travel(NOW, tick=False)
def test_an_invoice_that_differs_is_alerted_of_once(send: Sender) -> None:
    """With all its lines that differ. An older invoice, and one that matches, send nothing."""

    def line(invoice: str | None, name: str, status: str, difference: str | None = None, ends: date = MAY) -> dict[str, Any]:
        row = {"provider": "mathpix", "billing_account": "a", "invoice_id": invoice, "line": name, "status": status}
        return row | {"difference": difference and Decimal(difference), "currency": "USD", "period_end": ends}

    rows = [
        line("M-1", "mathpix/image", "over", "12.5"),
        line("M-1", "mathpix/pdf-page", "under", "-3"),
        line("M-1", "mathpix/other", "matched", "0"),
        line("M-2", "total", "missing usage"),
        line("M-3", "total", "within tolerance", "0.01"),
        line("M-0", "total", "over", "9", date(2026, 2, 1)),
        line(None, "mathpix/image", "missing invoice"),
    ]
    assert send("invoices", "invoice_reconciliation", *rows) == [
        "INVOICE mathpix a M-1: mathpix/image over by 12.50 USD; mathpix/pdf-page under by 3.00 USD",
        "INVOICE mathpix a M-2: total missing usage",
    ]
    assert send("invoices", "invoice_reconciliation", *rows) == []


@time_machine.travel(NOW, tick=False)
def test_restatements_are_alerted_of_above_the_amount_of_their_currency(send: Sender) -> None:
    """In both directions. Without an amount for the currency, every change is an alert."""

    def restated(account: str, change: str, currency: str) -> dict[str, Any]:
        row = {"provider": "mathpix", "account": account, "currency": currency, "cost_change": Decimal(change)}
        return row | {"restated_at": NOW.replace(tzinfo=None)}

    rows = [
        restated("a", "10", "USD"),
        restated("b", "-6", "USD"),
        restated("b", "-5", "USD"),
        restated("c", "0.5", "EUR"),
    ]
    send.limits = AlertLimits(restated_over={"USD": Decimal(10)})
    assert send("restated", "usage_restated", *rows) == [
        "RESTATED mathpix b on 2026-05-20: 2 buckets, -11.00 USD",
        "RESTATED mathpix c on 2026-05-20: 1 bucket, +0.50 EUR",
    ]


@time_machine.travel(NOW, tick=False)
def test_check_budgets_fails_over_budget_and_names_it(cli: Cli) -> None:
    """Status 1 above the amount, and 0 at it. Budgets of other months do not matter."""
    old = budget("900", name="april", month=date(2026, 4, 1))
    fill(cli.database, data_freshness=FRESH, budget_status_monthly=[old, budget("200"), budget("9", name="mathpix")])
    shown = [line for line in cli("check", "--budgets").splitlines() if line.startswith(("budget", "OVER"))]
    assert shown == [
        "budget  total: 200.00 of 200.00 USD used in 2026-05, 100 %",
        "budget  mathpix: 9.00 of 200.00 USD used in 2026-05, 4 %",
    ]
    fill(cli.database, data_freshness=FRESH, budget_status_monthly=[budget("200.01"), budget("9", name="mathpix")])
    assert "OVER BUDGET  total: 200.01 of 200.00 USD used in 2026-05, 100 %" in cli("check", "--budgets", status=1)
    printed = cli("check", "--budgets", "--json", "--log-format", "json", status=1).splitlines()
    found = [json.loads(line) for line in printed]
    assert [line["budget"] for line in found if line.get("event") == "over_budget"] == ["total"]
    (result,) = [line["budgets"] for line in found if "budgets" in line]
    assert [(row["budget"], row["actual"], row["is_over"]) for row in result] == [
        ("total", "200.010000000", True),
        ("mathpix", "9.000000000", False),
    ]


@time_machine.travel(NOW, tick=False)
def test_check_budgets_needs_budgets_and_data(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without budgets, the option is an error; a month without data is a warning; a database without the mart, an error."""
    fill(cli.database, data_freshness=FRESH)
    assert "there are no budgets to check. Write them into a CSV file" in cli("check", "--budgets", status=2)
    columns = "scope,provider,account,dimension,value,team,cost_centre,amount,currency,cost_type,valid_from,valid_to"
    Path("budgets.csv").write_text(f"{columns}\ntotal,,,,,,,1,USD,,2026-01-01,\n")
    monkeypatch.setenv("SOURCES__BILLING__BUDGETS", "budgets.csv")
    assert "WARNING  no budget is valid this month, or nothing of this month is loaded yet" in cli("check", "--budgets")
    with duckdb.connect(str(cli.database)) as connection:
        connection.execute("drop table usage.budget_status_monthly")
    assert "lacks a table" in cli("check", "--budgets", status=1)
    assert "budgets.csv  ok" in cli("check")  # without the option, budgets do not matter


@time_machine.travel(NOW, tick=False)
def test_status_shows_the_budgets_of_the_month(cli: Cli) -> None:
    """The most used first, in 80 columns; nothing without budgets."""
    fill(cli.database, data_freshness=FRESH)
    assert "\nbudgets" not in cli("status")
    many = [budget(str(number), name=f"b{number}") for number in range(8)]
    rows = [
        *many,
        budget("150", "1234567.5", name="mathpix/a-very-long-name-of-an-account", other_currencies="EUR"),
        budget("250", name="team search", cost_type="effective"),
        budget("900", name="april", month=date(2026, 4, 1)),
    ]
    fill(cli.database, data_freshness=FRESH, budget_status_monthly=rows)
    lines = cli("status").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("budgets"))
    assert lines[start : start + 3] == [
        "budgets                   so far     forecast      used",
        "team search               250.00            – USD  125 % of 200.00, effective",
        "mathpix/a-very-long…      150.00 1,234,567.50 USD  75 % of 200.00, without EUR",
    ]
    assert lines[start + 9] == "and 2 more: usage.budget_status_monthly"
    assert max(map(len, lines)) <= 80
    shown = cli.json("status")["budgets"]
    assert [row["budget"] for row in shown] == [*(row["budget"] for row in many), rows[8]["budget"], "team search"]
    assert shown[-1]["variance"] == "50.000000000"


def test_a_kind_that_cannot_be_read_neither_hides_nor_repeats_the_others(
    send: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has a warning."""

    def fail(*_: object) -> list[Alert]:
        raise LoadError("the mart lacks a column")

    monkeypatch.setitem(alert_kinds.FROM_MARTS, "anomalies", fail)
    send.warnings = 1
    with time_machine.travel(NOW, tick=False):
        assert len(send("anomalies,budgets", "budget_status_monthly", budget("170"))) == 1
        assert send("anomalies,budgets", "budget_status_monthly", budget("170")) == []
