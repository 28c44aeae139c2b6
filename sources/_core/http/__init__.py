"""The HTTP client of all providers: authentication, retries, rate limits, timeouts and decoding."""
