"""What Acme documents about `GET /v1/usage` (made up for this example)."""

from datetime import timedelta

BASE_URL = "https://api.acme.example"
ENDPOINT = "/v1/usage"

INITIAL_DATE = "2026-01-01"
LOOKBACK = "3 days"

REQUESTS_PER_MINUTE = 60

LONGEST_WINDOW = timedelta(days=31)
"""The longest time that one response covers."""
