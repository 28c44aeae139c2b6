"""`/api/v2/usage/tokens/*`: the tokens of a month, by file, and by conversation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from meterhouse.pipelines.sandbox.dates import DAY, iso_text, midnight, next_month
from meterhouse.pipelines.sandbox.scopix.fixtures import Credential, Event
from meterhouse.pipelines.sandbox.scopix.options import Options
from meterhouse.pipelines.sandbox.scopix.parameters import Parameters
from meterhouse.pipelines.sandbox.scopix.store import EventStore


class TokenResponses:
    """The bodies of the responses."""

    def __init__(self, usage: EventStore, options: Options) -> None:
        self._usage, self._options = usage, options

    def monthly(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """The tokens of a month, or of the days from start_date to end_date."""
        now = self._usage.now()
        start = midnight(now.date().replace(day=1))
        if self._options.tokens == "months":
            start = datetime(query.number("year", now.year, 1, 9998), query.number("month", now.month, 1, 12), 1, tzinfo=UTC)
            end = (start + 31 * DAY).replace(day=1)
        else:
            start = query.time("start_date") or start
            end = query.time("end_date") or midnight(next_month(now.date())) - DAY
            end = max(start, end) if self._options.tokens == "end excluded" else end + DAY
        input_tokens, output_tokens = _tokens(self._usage.events(credential.account, start, end))
        return {
            "year": start.year,
            "month": start.month,
            "total_input_tokens": input_tokens,
            "total_output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }

    def files(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """A file for each describe request that succeeded."""
        events = [event for event in self._usage.events(credential.account) if event.is_file][::-1]
        page, counted = query.page(events, ignored=self._options.paging == "ignored")
        files = [
            {
                "image_id": f"img_{event.id}",
                "filename": f"scan-{event.id[:8]}.jpg",
                "input_tokens": event.input_tokens,
                "output_tokens": event.output_tokens,
                "total_tokens": event.input_tokens + event.output_tokens,
                "created_at": iso_text(event.timestamp),
            }
            for event in page
        ]
        input_tokens, output_tokens = _tokens(events)
        return {"files": files, **counted, "total_input_tokens": input_tokens, "total_output_tokens": output_tokens}

    def conversations(self, credential: Credential, query: Parameters) -> dict[str, Any]:
        """A conversation for each session, by the time of its first message."""
        sessions: dict[str, list[Event]] = {}
        for event in self._usage.events(credential.account):
            if event.session:
                sessions.setdefault(event.session, []).append(event)
        newest = sorted(sessions, key=lambda session: (sessions[session][0].timestamp, session), reverse=True)
        page, counted = query.page(newest, ignored=self._options.paging == "ignored")
        conversations = []
        for session in page:
            input_tokens, output_tokens = _tokens(sessions[session])
            conversations.append(
                {
                    "session_id": session,
                    "title": f"About {session.removeprefix('session-')}",
                    "input_tokens": input_tokens,
                    "output_tokens": output_tokens,
                    "total_tokens": input_tokens + output_tokens,
                    "message_count": len(sessions[session]),
                    "created_at": iso_text(sessions[session][0].timestamp),
                }
            )
        return {"conversations": conversations, **counted}


def _tokens(events: Sequence[Event]) -> tuple[int, int]:
    return sum(event.input_tokens for event in events), sum(event.output_tokens for event in events)
