"""Posts the alerts of a run to a webhook of Slack, or of any service that accepts `{"text": …}`.

Alerts are failures, new anomalies of usage, restatements that change a cost, and months whose forecast exceeds a budget.
The table `meterhouse.alerts` records what was sent: each alert is sent once, and a lasting failure once a day. A run sends
at most one message.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dlt
import httpx
import pyarrow as pa

from meterhouse.pipelines.run import history
from meterhouse.pipelines.run.budgets import SECTION, Budget, configured_budgets
from meterhouse.pipelines.run.events import AlertsSent, LoadFailed, Warned
from meterhouse.pipelines.run.restatements import RECENT
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import describe_error
from meterhouse.pipelines.warehouse.query import Row, queries
from meterhouse.sources._core.config.parse import parse_choices
from meterhouse.sources._core.config.unknown_settings import require_known
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.events import FetchFailed
from meterhouse.sources._core.http.auth import is_loopback
from meterhouse.sources._core.http.timeouts import deadline
from meterhouse.sources._core.http.transport import open_client
from meterhouse.sources._core.schema import TIMESTAMP
from meterhouse.sources.billing.currencies import rounded_to_currency

SETTINGS = ("webhook", "on", "budgets")
KINDS = ("failures", "anomalies", "restated", "budgets")
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
"""How long the record of a sent alert counts. No subject recurs later: every subject has a date or a month."""
MAX_LINES = 20
TIMEOUT = 15.0
"""Seconds for the webhook to respond, so that the webhook does not hold up the run."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. It is sent once for its `subject`."""

    kind: str
    subject: str
    text: str


@dataclass(frozen=True)
class Alerts:
    """The configured alerts. The repr hides the webhook's address, which is a secret."""

    webhook: str = field(repr=False)
    kinds: tuple[str, ...] = KINDS
    budgets: tuple[Budget, ...] = ()

    @classmethod
    def from_config(cls) -> "Alerts | None":
        """The alerts of `[alerts]`; None without a webhook.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        require_known(SECTION, SETTINGS, tables=("budgets",))
        budgets = configured_budgets()
        configured: Any = dlt.config.get(f"{SECTION}.on")
        kinds = parse_choices(configured or KINDS, KINDS, setting=f"{SECTION}.on")
        webhook: Any = dlt.secrets.get(f"{SECTION}.webhook")
        return cls(_checked_address(str(webhook)), kinds, budgets) if webhook else None

    def send(
        self, destination: Destination, state: RunState, failed_models: Sequence[str], *, models: bool
    ) -> list[dict[str, Any]]:
        """Sends the new alerts and returns the rows for `meterhouse.alerts`.

        If they cannot be sent, the run has a warning, no rows are returned, and the next run sends them.
        """
        alerts = list(_failures(state, failed_models)) if "failures" in self.kinds else []
        sent: set[str] = set()
        try:
            if models and "anomalies" in self.kinds:
                alerts += _anomalies(destination, state.started_at)
            if models and "restated" in self.kinds:
                alerts += _restated(destination, state.started_at)
            if models and "budgets" in self.kinds and self.budgets:
                alerts += _exceeded_budgets(destination, state.started_at, self.budgets)
            sent = history.alerted_subjects(destination, state.started_at - MEMORY)
        except Exception as error:  # noqa: BLE001 - failures are sent even if the destination cannot be read
            state.observe(Warned(f"{SECTION}: {describe_error(error, destination.location)}"))
        news = {alert.subject: alert for alert in alerts if alert.subject not in sent}
        if not news or not self.post([alert.text for alert in news.values()], state):
            return []
        state.observe(AlertsSent(list(news)))
        now = datetime.now(UTC)
        return [
            {"told_at": now, "run_id": state.run_id, "kind": alert.kind, "subject": subject, "text": alert.text}
            for subject, alert in news.items()
        ]

    def post(self, lines: Sequence[str], state: RunState) -> bool:
        """Posts one message. If the webhook does not accept it, the run has a warning and the result is False."""
        shown = [_escaped(line) for line in lines[:MAX_LINES]]
        more = [f"… and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
        text = "\n".join(("meterhouse", *(f"• {line}" for line in (*shown, *more))))
        try:
            with open_client(self.webhook, timeout=TIMEOUT) as http, deadline(time.monotonic() + TIMEOUT):
                status = http.post(self.webhook, json={"text": text}).status_code
        except ConfigurationError as error:
            problem = error.problem
        except Exception as error:  # noqa: BLE001 - no error here may fail a run that has loaded
            problem = f"it cannot be reached ({type(error).__name__})"  # the message of the error may contain the address
        else:
            if 200 <= status < 300:
                return True
            problem = f"it responded with HTTP {status}"
        state.observe(Warned(f"{SECTION}.webhook did not accept {len(lines)} alerts: {problem}"))
        return False


def _checked_address(webhook: str) -> str:
    """The address of the webhook; error messages do not show it.

    Raises:
        ConfigurationError: `webhook` is not an address, or uses HTTP for a host other than this machine.
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


def _failures(state: RunState, failed_models: Sequence[str]) -> Iterator[Alert]:
    """One alert for all tables of an account that fail alike, as they do with a wrong key."""
    day = state.started_at.date().isoformat()
    alike: dict[tuple[str, str, str], list[FetchFailed | LoadFailed]] = {}
    for failure in state.failures:
        place = failure.place
        alike.setdefault((place.provider, place.account, type(failure.error).__name__), []).append(failure)
    for (provider, account, kind), failures in alike.items():
        tables = ", ".join(sorted({failure.place.table for failure in failures if failure.place.table}))
        where = f" [account {account}: {tables}]" if account else f" [{tables}]" if tables else ""
        subject = _subject("failures", day, provider, account, kind)
        yield Alert("failures", subject, f"FAILED {failures[0].error}{where}")
    for line in failed_models:
        yield Alert("failures", _subject("failures", day, history.MODELS, line.partition(":")[0]), f"FAILED {line}")


def _anomalies(destination: Destination, now: datetime) -> Iterator[Alert]:
    for row in _marts(destination, "recent_anomalies", now.date() - RECENT):
        score = row["anomaly_score"]
        text = (
            f"ANOMALY {row['provider']} {row['account']} {row['meter']} on {row['date']}: {row['quantity']:,.0f}"
            f" {row['unit']}, {abs(score):.1f} deviations {'above' if score > 0 else 'below'} the 28 days before"
        )
        yield Alert("anomalies", _subject("anomalies", row["provider"], row["account"], row["meter"], row["date"]), text)


def _restated(destination: Destination, now: datetime) -> Iterator[Alert]:
    """One alert per account and day: for the first restatements that change the cost."""
    for row in _marts(destination, "recent_restatements", now.date() - RECENT):
        if change := row["cost_change"]:
            amount = rounded_to_currency(change, row["currency"])
            text = (
                f"RESTATED {row['provider']} {row['account']} on {row['date']}: {row['buckets']}"
                f" bucket{'' if row['buckets'] == 1 else 's'}, {amount:+,} {row['currency']}"
            )
            yield Alert(
                "restated", _subject("restated", row["provider"], row["account"], row["currency"], row["date"]), text
            )


def _exceeded_budgets(destination: Destination, now: datetime, budgets: Sequence[Budget]) -> Iterator[Alert]:
    month: date = now.date().replace(day=1)
    costs = _marts(destination, "month_forecasts", month)
    for budget in budgets:
        covered = [row for row in costs if budget.covers(row)]
        forecast, to_date = (sum((row[name] for row in covered), Decimal()) for name in ("forecast", "cost_to_date"))
        if forecast > budget.amount:
            expected, billed = (rounded_to_currency(amount, budget.currency) for amount in (forecast, to_date))
            text = (
                f"BUDGET {budget.name}: the forecast for {month:%Y-%m} is {expected:,} {budget.currency}, {billed:,} so far;"
                f" the budget is {budget.amount:,} {budget.currency}"
            )
            subject = _subject("budgets", budget.name, month, budget.amount, budget.currency)
            yield Alert("budgets", subject, text)


def _marts(destination: Destination, query: str, day: date) -> list[Row]:
    with destination.reader() as reader:
        return reader.rows_if_built(queries()[query], day)


def _subject(*parts: object) -> str:
    return json.dumps([str(part) for part in parts], ensure_ascii=False)


def _escaped(text: str) -> str:
    """One line that Slack shows as plain text: a name in it cannot become a link or mention a user."""
    plain = escape_control_characters(text)[:500]
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
