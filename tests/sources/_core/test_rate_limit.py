from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from meterhouse.sources._core.http.rate_limit import WINDOW, RateLimiter


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def sent(budget: RateLimiter, clock: Clock, requests: int) -> Iterator[float]:
    for _ in range(requests):
        budget.wait()
        yield clock.now


def test_sends_a_burst_then_keeps_the_rate() -> None:
    """Of 45 requests at 30 a minute, 30 go at once and 15 a minute later."""
    clock = Clock()
    times = list(sent(RateLimiter(30, clock=clock, sleep=clock.sleep), clock, 45))
    assert times == [1_000.0] * 30 + [1_000.0 + WINDOW] * 15


@given(st.integers(1, 40), st.lists(st.floats(0, 90), max_size=120))
def test_no_minute_exceeds_the_limit(limit: int, pauses: list[float]) -> None:
    """For any pauses between requests, no 60 seconds hold more than the limit."""
    clock = Clock()
    budget = RateLimiter(limit, clock=clock, sleep=clock.sleep)
    times = []
    for pause in pauses:
        clock.now += pause
        budget.wait()
        times.append(clock.now)
    for start in times:
        assert sum(start <= moment < start + 60 for moment in times) <= limit


def test_threads_share_one_limit() -> None:
    """The limit belongs to the account, not to the thread."""
    clock = Clock()
    delays: list[float] = []
    budget = RateLimiter(10, clock=clock, sleep=delays.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: budget.wait(), range(25)))
    assert len(delays) == 15
    assert all(delay in {WINDOW, 2 * WINDOW} for delay in delays)


def test_without_a_limit_no_request_waits() -> None:
    """None means no limit."""
    clock = Clock()
    assert list(sent(RateLimiter(None, clock=clock, sleep=clock.sleep), clock, 1000)) == [1_000.0] * 1000


def test_the_providers_header_lowers_the_limit() -> None:
    """X-RateLimit-Limit counts if it is lower than the configured number."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-limit": "10"})
    budget.observe({"x-ratelimit-limit": "500"})
    assert budget.requests_per_minute == 10


def test_waits_for_the_reset_when_nothing_remains() -> None:
    """X-RateLimit-Remaining: 0 holds the next request until X-RateLimit-Reset, in either of its forms."""
    for reset, wall in (("20", 0.0), (str(1_800_000_020), 1_800_000_000.0)):
        clock = Clock()
        budget = RateLimiter(30, clock=clock, sleep=clock.sleep, wall_clock=lambda wall=wall: wall)  # type: ignore[misc]
        budget.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})
        assert list(sent(budget, clock, 1)) == [1_020.0]


def test_sends_no_more_than_the_remaining_requests() -> None:
    """With X-RateLimit-Remaining: 5, five requests go and the others wait for the reset; the estimate includes that."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "50"})
    assert [budget.seconds_for(requests) for requests in (5, 6, 20)] == [0, 50, 50]
    assert list(sent(budget, clock, 20)) == [1_000.0] * 5 + [1_050.0] * 15
    assert list(sent(RateLimiter(None, clock=clock, sleep=clock.sleep), clock, 1)) == [1_050.0]


def test_the_lowest_remaining_number_counts() -> None:
    """A response that arrives late does not raise the number; after the reset a new one counts."""
    clock = Clock()
    budget = RateLimiter(None, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "20"})
    budget.observe({"x-ratelimit-remaining": "9", "x-ratelimit-reset": "20"})
    assert list(sent(budget, clock, 2)) == [1_000.0, 1_020.0]
    budget.observe({"x-ratelimit-remaining": "2", "x-ratelimit-reset": "60"})
    assert list(sent(budget, clock, 3)) == [1_020.0, 1_020.0, 1_080.0]


def test_checks_again_after_a_wait() -> None:
    """Another thread's response may have shown meanwhile that nothing remains."""
    clock = Clock()
    budget = RateLimiter(1, clock=clock)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now == 1_000.0 + WINDOW:
            budget.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"})

    budget.sleep = sleep
    assert list(sent(budget, clock, 2)) == [1_000.0, 1_000.0 + WINDOW + 30]


def test_ignores_unusable_headers() -> None:
    """A header that is not a number, or a reset in a year, does not stop a run."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-limit": "many", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "31536000"})
    assert list(sent(budget, clock, 1)) == [1_000.0]
    assert budget.requests_per_minute == 30


def test_estimates_the_duration_of_requests() -> None:
    """The estimate takes no turn, and counts recent requests."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    assert [budget.seconds_for(requests) for requests in (0, 30, 31, 60, 61)] == [0, 0, WINDOW, WINDOW, 2 * WINDOW]
    assert list(sent(budget, clock, 20)) == [1_000.0] * 20
    assert [budget.seconds_for(requests) for requests in (10, 11)] == [0, WINDOW]
    assert RateLimiter(None).seconds_for(1_000_000) == 0


def test_reports_the_remaining_requests() -> None:
    """It is the rest of the minute, or the provider's number if that is lower, or None without a limit."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    list(sent(budget, clock, 12))
    assert budget.remaining() == 18
    budget.observe({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "20"})
    assert budget.remaining() == 5
    clock.sleep(WINDOW + 1)
    assert budget.remaining() == 30
    assert RateLimiter(clock=clock).remaining() is None
