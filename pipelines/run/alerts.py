"""Alerts: what somebody should know of a run, posted to a webhook of Slack or of whatever understands `{"text": …}`.

Told are failures, new anomalies of usage, and months whose forecast is over a budget; each once, as `meterhouse.alerts`
remembers, and a failure that stays once a day. All that a run has to tell is one message.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dlt
import httpx
import pyarrow as pa

from meterhouse.pipelines.output.json_log import tell
from meterhouse.pipelines.run import history as runs
from meterhouse.pipelines.run.state import Failure, RunState
from meterhouse.pipelines.warehouse.destination import Destination, describe_error, query_rows
from meterhouse.sources._core.config.parse import parse_names
from meterhouse.sources._core.config.unknown_settings import require_known, require_known_fields
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.http.auth import is_loopback
from meterhouse.sources._core.http.timeouts import deadline, enforce_deadlines
from meterhouse.sources._core.schema import TIMESTAMP

SECTION = "alerts"
SETTINGS = ("webhook", "on", "budgets")
KINDS = ("failures", "anomalies", "budgets")
ALERTS = pa.schema(
    [
        pa.field("told_at", TIMESTAMP, nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
MEMORY = timedelta(days=45)
"""Longer than any subject can come up again: a budget's is its month."""
RECENT = timedelta(days=7)
"""An older anomaly is no news: it is of a history that was loaded just now, or was restated."""
MOST_LINES = 20
PATIENCE = 15.0
"""Seconds for the webhook to answer; whoever waits for the run must not wait for it."""

ANOMALIES = """
    select provider, account, meter, date, quantity, unit, anomaly_score
    from usage.usage_trends_daily
    where is_anomaly and date >= %s
    order by date, provider, account, meter
"""
FORECASTS = """
    select provider, account, currency, cost_to_date, coalesce(forecast, cost_to_date) as forecast
    from usage.cost_forecast_monthly
    where billing_month = %s
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a month may cost: of one account, of a provider, or with neither of all together."""

    provider: str
    account: str
    amount: Decimal
    currency: str

    @property
    def name(self) -> str:
        """As the configuration has it."""
        return "/".join(part for part in (self.provider, self.account) if part) or "total"

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a cost counts towards it."""
        return (
            self.currency == row["currency"]
            and self.provider in {"", row["provider"]}
            and self.account in {"", row["account"]}
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell. `subject` is what it is told once of."""

    kind: str
    subject: str
    text: str


@dataclass(frozen=True)
class Alerts:
    """Whom to tell, and of what. Its repr does not show the address, which is a secret."""

    webhook: str = field(repr=False)
    kinds: tuple[str, ...] = KINDS
    budgets: tuple[Budget, ...] = ()

    @classmethod
    def from_config(cls, providers: Sequence[str]) -> "Alerts | None":
        """What `[alerts]` sets; None where no webhook is named.

        Raises:
            ConfigurationError: a setting cannot be used.
        """
        require_known(SECTION, SETTINGS, tables=("budgets",))
        budgets = _budgets(providers)
        stated: Any = dlt.config.get(f"{SECTION}.on")
        kinds = parse_names(stated or KINDS, setting=f"{SECTION}.on")
        require_known_fields(f"{SECTION}.on", kinds, KINDS)
        webhook: Any = dlt.secrets.get(f"{SECTION}.webhook")
        return cls(_safe(str(webhook)), kinds, budgets) if webhook else None

    def send(
        self, destination: Destination, record: RunState, failed_models: Sequence[str], *, models: bool
    ) -> list[dict[str, Any]]:
        """Tells what has not been told yet, and returns that as rows of `meterhouse.alerts`.

        What goes wrong in it is a warning on the record, and nothing is returned: the next run tells it.
        """
        alerts = list(_failures(record, failed_models)) if "failures" in self.kinds else []
        known: set[str] = set()
        try:
            if models and "anomalies" in self.kinds:
                alerts += _anomalies(destination, record.started_at)
            if models and "budgets" in self.kinds and self.budgets:
                alerts += _overruns(destination, record.started_at, self.budgets)
            known = set(runs.read(destination, "alerts", "subject", ("told_at", record.started_at - MEMORY)))
        except Exception as error:  # noqa: BLE001 - a destination that cannot be read is no reason to be silent
            record.warn(f"{SECTION}: {describe_error(error, destination)}")
        news = {alert.subject: alert for alert in alerts if alert.subject not in known}
        if not news or not self.post([alert.text for alert in news.values()], record):
            return []
        tell("alerted", subjects=list(news))
        told_at = datetime.now(UTC)
        return [
            {"told_at": told_at, "run_id": record.run_id, "kind": alert.kind, "subject": subject, "text": alert.text}
            for subject, alert in news.items()
        ]

    def post(self, lines: Sequence[str], record: RunState) -> bool:
        """Posts one message; False, and a warning on the record, where it did not arrive."""
        shown = [_escaped(line) for line in lines[:MOST_LINES]]
        more = [f"… and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        text = "\n".join(("meterhouse", *(f"• {line}" for line in (*shown, *more))))
        try:
            client = httpx.Client(
                timeout=PATIENCE, follow_redirects=False, trust_env=not is_loopback(httpx.URL(self.webhook).host)
            )
            with enforce_deadlines(client) as http, deadline(time.monotonic() + PATIENCE):
                status = http.post(self.webhook, json={"text": text}).status_code
        except Exception as fault:  # noqa: BLE001 - whatever it is, it must not turn a run that has loaded into a failed one
            said = f"it cannot be reached ({type(fault).__name__})"  # whatever else the error says may name the address
        else:
            if 200 <= status < 300:
                return True
            said = f"it answered with HTTP {status}"
        record.warn(f"{SECTION}.webhook did not take {len(lines)} alerts: {said}")
        return False


def _safe(webhook: str) -> str:
    """The address, or an error that does not show it.

    Raises:
        ConfigurationError: it is no address, or neither HTTPS nor of this machine.
    """
    try:
        parsed = httpx.URL(webhook.strip())
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if not parsed.host or parsed.scheme not in {"http", "https"} or parsed.userinfo:
        raise ConfigurationError(f"{SECTION}.webhook is not an address", hint="Write it as https://host/path.")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise ConfigurationError(f"{SECTION}.webhook is not HTTPS", hint="Use https://.")
    return str(parsed)


def _budgets(providers: Sequence[str]) -> tuple[Budget, ...]:
    configured: Any = dlt.config.get(f"{SECTION}.budgets")
    stated: Any = configured or {}
    if isinstance(stated, str):
        try:
            stated = json.loads(stated)
        except ValueError:
            stated = None
    if not isinstance(stated, Mapping):
        raise ConfigurationError(
            f"{SECTION}.budgets is no table", hint='Write it as total = "500 USD" below [alerts.budgets].'
        )
    require_known_fields(f"{SECTION}.budgets", (name.partition("/")[0] for name in stated), ("total", *providers))
    require_known(f"{SECTION}.budgets", {*stated, "total", *providers})
    for name in ("total", *providers):  # one variable each
        value: Any = dlt.config.get(f"{SECTION}.budgets.{name}")
        stated = {**stated, name: value} if value else stated
    return tuple(_budget(name, str(value)) for name, value in stated.items())


_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Z]{3})")


def _budget(name: str, value: str) -> Budget:
    match = _AMOUNT.fullmatch(value.strip())
    if match is None:
        raise ConfigurationError(
            f"{SECTION}.budgets.{name} is {value!r}", hint="Write amount and currency, such as '500 USD'."
        )
    provider, _, account = name.partition("/")
    return Budget("" if provider == "total" else provider, account, Decimal(match[1]), match[2])


def _failures(record: RunState, failed_models: Sequence[str]) -> Iterator[Alert]:
    """A wrong key fails every table alike, and is told once."""
    day = record.started_at.date().isoformat()
    alike: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in record.failures:
        alike.setdefault((failure.provider, failure.account, type(failure.error).__name__), []).append(failure)
    for (provider, account, kind), failures in alike.items():
        tables = ", ".join(dict.fromkeys(failure.table for failure in failures if failure.table))
        where = f" [account {account}: {tables}]" if account else f" [{tables}]" if tables else ""
        subject = _subject("failures", day, provider, account, kind)
        yield Alert("failures", subject, f"FAILED {failures[0].error}{where}")
    for line in failed_models:
        yield Alert("failures", _subject("failures", day, runs.MODELS, line.partition(":")[0]), f"FAILED {line}")


def _anomalies(destination: Destination, now: datetime) -> Iterator[Alert]:
    with destination.pipeline(runs.SCHEMA).sql_client() as client:
        found = query_rows(client, ANOMALIES, now.date() - RECENT)
    for row in found:
        score = row["anomaly_score"]
        text = (
            f"ANOMALY {row['provider']} {row['account']} {row['meter']} on {row['date']}: {row['quantity']:,.0f}"
            f" {row['unit']}, {abs(score):.1f} deviations {'above' if score > 0 else 'below'} the 28 days before"
        )
        yield Alert("anomalies", _subject("anomalies", row["provider"], row["account"], row["meter"], row["date"]), text)


def _overruns(destination: Destination, now: datetime, budgets: Sequence[Budget]) -> Iterator[Alert]:
    month: date = now.date().replace(day=1)
    with destination.pipeline(runs.SCHEMA).sql_client() as client:
        rows = query_rows(client, FORECASTS, month)
    for budget in budgets:
        held = [row for row in rows if budget.holds(row)]
        forecast, progress_table = (sum((row[name] for row in held), Decimal()) for name in ("forecast", "cost_to_date"))
        if forecast > budget.amount:
            text = (
                f"BUDGET {budget.name}: {month:%Y-%m} will have cost {forecast:,.2f} {budget.currency} by its forecast,"
                f" {progress_table:,.2f} so far; the budget is {budget.amount:,} {budget.currency}"
            )
            subject = _subject("budgets", budget.name, month, budget.amount, budget.currency)
            yield Alert("budgets", subject, text)


def _subject(*parts: object) -> str:
    return json.dumps([str(part) for part in parts], ensure_ascii=False)


def _escaped(text: str) -> str:
    """A line of text that is nothing else to Slack: a vendor's or a user's name in it is no link and calls nobody."""
    plain = " ".join(text.split())[:500]
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
