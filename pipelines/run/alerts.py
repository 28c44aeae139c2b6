"""Posts the alerts of a run to a webhook of Slack, or of any service that accepts `{"text": …}`.

Alerts are failures, new anomalies of usage, restatements that change a cost, budgets whose cost or forecast reaches a
threshold, credits that run out, new usage without a price, and invoices that differ. The table `meterhouse.alerts`
records what was sent: each alert is sent once, and a lasting failure once a day. A run sends at most one message with
MAX_LINES alerts; the next run sends the others.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import dlt
import httpx
import pyarrow as pa

from meterhouse.pipelines.run import history
from meterhouse.pipelines.run.alert_kinds import FROM_MARTS, Alert, AlertLimits, failures
from meterhouse.pipelines.run.events import AlertsSent, Warned
from meterhouse.pipelines.run.state import RunState
from meterhouse.pipelines.warehouse.destination import Destination
from meterhouse.pipelines.warehouse.errors import describe_error
from meterhouse.sources._core.config.parse import parse_choices, parse_duration, parse_names
from meterhouse.sources._core.config.unknown_settings import require_known, require_unset
from meterhouse.sources._core.control_characters import escape_control_characters
from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources._core.http.auth import is_loopback
from meterhouse.sources._core.http.timeouts import deadline
from meterhouse.sources._core.http.transport import open_client
from meterhouse.sources._core.schema import TIMESTAMP
from meterhouse.sources.billing.currencies import CURRENCIES

SECTION = "alerts"
SETTINGS = ("webhook", "on", "credits_within", "restated_over")
KINDS = ("failures", *FROM_MARTS)
ALERTS = pa.schema(
    [
        pa.field("told_at", TIMESTAMP, nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
MEMORY = timedelta(days=1000)
"""How long the record of a sent alert counts. No alert recurs later: its subject has a date or a month, or names an invoice,
whose period is at most a year and which is compared only until INVOICE_AGE after it."""
MAX_LINES = 20
TIMEOUT = 15.0
"""Seconds for the webhook to respond, so that the webhook does not hold up the run."""


@dataclass(frozen=True)
class Alerts:
    """The configured alerts. The repr hides the webhook's address, which is a secret."""

    webhook: str = field(repr=False)
    kinds: tuple[str, ...] = KINDS
    limits: AlertLimits = field(default_factory=AlertLimits)

    @classmethod
    def from_config(cls) -> "Alerts | None":
        """The alerts of `[alerts]`; None without a webhook.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        hint = (
            "Write them into a file such as billing/budgets.csv (`meterhouse check --billing-templates billing` writes an"
            " example), and name it in sources.billing.budgets."
        )
        require_unset(SECTION, ("budgets",), reason="is no longer a setting: budgets are billing data", hint=hint)
        require_known(SECTION, SETTINGS)
        configured: Any = dlt.config.get(f"{SECTION}.on")
        kinds = parse_choices(configured or KINDS, KINDS, setting=f"{SECTION}.on")
        limits = _configured_limits()
        webhook: Any = dlt.secrets.get(f"{SECTION}.webhook")
        return cls(_checked_address(str(webhook)), kinds, limits) if webhook else None

    def send(
        self, destination: Destination, state: RunState, failed_models: Sequence[str], *, models: bool
    ) -> list[dict[str, Any]]:
        """Sends the new alerts and returns the rows for `meterhouse.alerts`.

        If they cannot be sent, the run has a warning, no rows are returned, and the next run sends them.
        """
        alerts: list[Alert] = list(failures(state, failed_models)) if "failures" in self.kinds else []
        sent: set[str] = set()
        with _errors_are_warnings(SECTION, destination, state):
            sent = history.alerted_subjects(destination, state.started_at - MEMORY)
        if models:
            with _errors_are_warnings(SECTION, destination, state), destination.reader() as reader:
                for kind, find in FROM_MARTS.items():
                    if kind in self.kinds:
                        with _errors_are_warnings(f"{SECTION}: {kind}", destination, state):
                            alerts += find(reader.rows_if_built, state.started_at, self.limits)
        news = list({alert.subject: alert for alert in alerts if alert.subject not in sent}.values())
        places = {kind: count() for kind in KINDS}
        # Each kind in turn: failures recur daily, and could fill every message.
        news.sort(key=lambda alert: next(places[alert.kind]))
        posted = news[:MAX_LINES]
        more = len(news) - len(posted)
        lines = [*(alert.text for alert in posted), *([f"… and {more} more with the next run"] if more else [])]
        if not news or not self.post(lines, state):
            return []
        state.observe(AlertsSent([alert.subject for alert in posted]))
        now = datetime.now(UTC)
        return [
            {"told_at": now, "run_id": state.run_id, "kind": alert.kind, "subject": subject, "text": alert.text}
            for alert in posted
            for subject in dict.fromkeys((alert.subject, *alert.covers))
            if subject not in sent
        ]

    def post(self, lines: Sequence[str], state: RunState) -> bool:
        """Posts one message. If the webhook does not accept it, the run has a warning and the result is False."""
        text = "\n".join(("meterhouse", *(f"• {_escaped(line)}" for line in lines)))
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
        state.observe(Warned(f"{SECTION}.webhook did not accept the alerts: {problem}"))
        return False


@contextmanager
def _errors_are_warnings(what: str, destination: Destination, state: RunState) -> Iterator[None]:
    """Within the block, an error of the destination is a warning: the other alerts are still sent."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - drivers raise errors of many kinds
        state.observe(Warned(f"{what}: {describe_error(error, destination.location)}"))


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


_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Z]{3})")


def _configured_limits() -> AlertLimits:
    within: Any = dlt.config.get(f"{SECTION}.credits_within")
    over: Any = dlt.config.get(f"{SECTION}.restated_over")
    amounts: dict[str, Decimal] = {}
    for text in parse_names(over or (), setting=f"{SECTION}.restated_over"):
        match = _AMOUNT.fullmatch(text)
        if match is None or match[2] not in CURRENCIES or match[2] in amounts:
            raise ConfigurationError(
                f"{SECTION}.restated_over must be one amount for each currency",
                hint='Write it as "10 USD", or as ["10 USD", "10 EUR"].',
            )
        amounts[match[2]] = Decimal(match[1])
    limits = AlertLimits(restated_over=amounts)
    return replace(limits, credits_within=parse_duration(within, setting=f"{SECTION}.credits_within")) if within else limits


def _escaped(text: str) -> str:
    """One line that Slack shows as plain text: a name in it cannot become a link or mention a user."""
    plain = escape_control_characters(text)[:500]
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
