"""The kinds of alerts: what each finds in a run or in the marts, and its text."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from meterhouse.pipelines.run import history
from meterhouse.pipelines.run.budgets import budget_statuses
from meterhouse.pipelines.run.events import LoadFailed
from meterhouse.pipelines.run.restatements import RECENT
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.query import Query, Row, queries
from meterhouse.sources._core.events import FetchFailed
from meterhouse.sources.billing.currencies import rounded_to_currency

LASTING = timedelta(days=56)
"""For how long a lasting change can be an anomaly: that many days are compared."""
NEW_AFTER = timedelta(days=45)
"""Unpriced usage is new for this long, if the meter had none for this long before."""
INVOICE_AGE = timedelta(days=92)
"""How long after the end of its period an invoice can cause an alert; differences in older ones are known by then."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. It is sent once per `subject`. The subjects in `covers` then count as sent, too."""

    kind: str
    subject: str
    text: str
    covers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """Alerts are sent of credits that last for `credits_within` or less, and of restatements above a currency's amount."""

    credits_within: timedelta = timedelta(days=7)
    restated_over: Mapping[str, Decimal] = field(default_factory=dict)


def failures(state: RunState, failed_models: Sequence[str]) -> Iterator[Alert]:
    """One alert for all tables of an account that fail alike, as they do with a wrong key."""
    day = state.started_at.date().isoformat()
    alike: dict[tuple[str, str, str], list[FetchFailed | LoadFailed]] = {}
    for failure in state.failures:
        place = failure.place
        alike.setdefault((place.provider, place.account, type(failure.error).__name__), []).append(failure)
    for (provider, account, kind), same in alike.items():
        tables = ", ".join(sorted({failure.place.table for failure in same if failure.place.table}))
        where = f" [account {account}: {tables}]" if account else f" [{tables}]" if tables else ""
        subject = _subject("failures", day, provider, account, kind)
        yield Alert("failures", subject, f"FAILED {same[0].error}{where}")
    for line in failed_models:
        yield Alert("failures", _subject("failures", day, history.MODELS, line.partition(":")[0]), f"FAILED {line}")


def _anomalies(query: Query, now: datetime, _: AlertLimits) -> Iterator[Alert]:
    """One alert for consecutive anomalies of a meter in one direction: a lasting change is an anomaly for weeks."""
    since, last = now.date() - RECENT, dict[tuple[object, ...], date]()
    for row in query(queries()["recent_anomalies"], since - LASTING):
        score = row["anomaly_score"]
        direction = (row["provider"], row["account"], row["meter"], score > 0)
        is_first = direction not in last or row["date"] - last[direction] > RECENT
        last[direction] = row["date"]
        if not is_first or row["date"] < since:
            continue
        text = (
            f"ANOMALY {row['provider']} {row['account']} {row['meter']} on {row['date']}: {row['quantity']:,.0f}"
            f" {row['unit']}, {abs(score):.1f} deviations {'above' if score > 0 else 'below'} normal for {row['date']:%A}s"
        )
        if row["value"]:
            text += f"; most of it {row['dimension']} {row['value']}: {row['quantity_change']:+,.0f}"
        yield Alert("anomalies", _subject("anomalies", row["provider"], row["account"], row["meter"], row["date"]), text)


def _restated(query: Query, now: datetime, limits: AlertLimits) -> Iterator[Alert]:
    """One alert per account and day: for the first restatements that change the cost by more than the limit."""
    for row in query(queries()["recent_restatements"], now.date() - RECENT):
        change = row["cost_change"]
        if change and abs(change) > limits.restated_over.get(row["currency"], 0):
            text = (
                f"RESTATED {row['provider']} {row['account']} on {row['date']}: {row['buckets']}"
                f" bucket{'' if row['buckets'] == 1 else 's'}, {_money(change, row['currency'], sign='+')}"
            )
            yield Alert(
                "restated", _subject("restated", row["provider"], row["account"], row["currency"], row["date"]), text
            )


def _budgets(query: Query, now: datetime, _: AlertLimits) -> Iterator[Alert]:
    """Per budget and month, one alert for the highest threshold that the cost has reached, and one for the forecast.

    In the first week of a month, also for the month before.
    """
    for budget in budget_statuses(query, (now.date() - RECENT).replace(day=1)):
        name = ("budgets", budget.budget, budget.month, budget.amount, budget.currency, budget.cost_type)
        if reached := _reached(budget.thresholds, budget.actual, budget.amount):
            subject, *lower = (_subject(*name, percentage) for percentage in reached)
            yield Alert("budgets", subject, f"BUDGET {budget}", lower)
        if budget.forecast is None or budget.month < now.date().replace(day=1):  # the month has ended
            continue
        if reached := _reached(budget.forecast_thresholds, budget.forecast, budget.amount):
            forecast, actual, amount = (
                rounded_to_currency(value, budget.currency) for value in (budget.forecast, budget.actual, budget.amount)
            )
            text = (
                f"BUDGET {budget.budget}: the forecast for {budget.month:%Y-%m} is {forecast:,} {budget.currency},"
                f" {actual:,} so far; the budget is {amount:,} {budget.currency}"
            )
            subject, *lower = (_subject(*name, "forecast", percentage) for percentage in reached)
            yield Alert("budgets", subject, text, lower)


def _reached(thresholds: str, cost: Decimal, amount: Decimal) -> list[int]:
    """The thresholds in percent that the cost has reached, the highest first."""
    percentages = [int(percentage) for percentage in thresholds.split(";") if percentage.isdecimal()]
    return sorted((percentage for percentage in percentages if cost * 100 >= amount * percentage), reverse=True)


def _credits(query: Query, now: datetime, limits: AlertLimits) -> Iterator[Alert]:
    """One alert per balance and month, while credits are left, or if they ran out in the last week."""
    days = Decimal(int(limits.credits_within.total_seconds())) / 86_400
    since = now.date() - RECENT
    for row in query(queries()["credits_running_out"], since, days, since):
        name = (row["provider"], row["billing_account"])
        subject = _subject("credits", *name, row["unit"], now.date().replace(day=1))
        yield Alert("credits", subject, f"CREDITS {' '.join(name)} has {credits_left(row)}")


def credits_left(row: Row) -> str:
    """How much is left of a row of `credit_balance_daily`, and for how long."""
    remaining, is_currency = row["remaining"], row["unit"].isupper()
    unit = row["unit"] if is_currency or remaining == 1 else f"{row['unit']}s"
    if not remaining:
        return f"no {unit} left"
    days = round(row["days_left"])
    span = "less than a day" if row["days_left"] < 1 else f"{days} day{'' if days == 1 else 's'}"
    return f"{f'{remaining:,.2f}'.removesuffix('.00')} {unit} left, for {span}"


def _unpriced(query: Query, now: datetime, _: AlertLimits) -> Iterator[Alert]:
    """One alert per meter and unit whose unpriced usage is new, with the quantity since its first day.

    Usage is new if it began in the last `NEW_AFTER` or, after a longer time without runs, since the last run.
    """
    since = now - NEW_AFTER
    last_build = [row["started_at"] for row in query(queries()["last_build_before"], since) if row["started_at"]]
    new_since = min([since.date(), *(moment.date() for moment in last_build)])
    rows = query(queries()["unpriced_usage_by_date"], new_since - NEW_AFTER)
    for (provider, account, meter, unit), days in groupby(rows, itemgetter("provider", "account", "meter", "unit")):
        recent: list[Row] = []
        for day in days:
            recent = [*recent, day] if recent and day["date"] - recent[-1]["date"] <= NEW_AFTER else [day]
        first = recent[0]["date"]
        if first >= new_since:
            text = (
                f"UNPRICED {provider} {account} {meter}: {sum(day['quantity'] for day in recent):,.0f} {unit or 'uses'}"
                f" since {first}, in no cost yet ({max(day['reason'] for day in recent)})"
            )
            yield Alert("unpriced", _subject("unpriced", provider, account, meter, unit, first), text)


def _invoices(query: Query, now: datetime, _: AlertLimits) -> Iterator[Alert]:
    """One alert per invoice, with the lines that differ."""
    rows = query(queries()["differing_invoices"], now.date() - INVOICE_AGE)
    for name, lines in groupby(rows, itemgetter("provider", "billing_account", "invoice_id")):
        text = "; ".join(
            f"{row['line']} {row['status']}"
            + (f" by {_money(abs(row['difference']), row['currency'])}" if row["difference"] else "")
            for row in lines
        )
        yield Alert("invoices", _subject("invoices", *name), f"INVOICE {' '.join(name)}: {text}")


FROM_MARTS: Mapping[str, Callable[[Query, datetime, AlertLimits], Iterator[Alert]]] = {
    "anomalies": _anomalies,
    "restated": _restated,
    "budgets": _budgets,
    "credits": _credits,
    "unpriced": _unpriced,
    "invoices": _invoices,
}
"""By kind, the function that finds its alerts in the marts."""


def _money(amount: Decimal, currency: str, *, sign: str = "") -> str:
    return f"{rounded_to_currency(amount, currency):{sign},} {currency}"


def _subject(*parts: object) -> str:
    return json.dumps([str(part) for part in parts], ensure_ascii=False)
