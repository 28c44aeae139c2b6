from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from meterhouse.sources._core.http.rate_limit import WINDOW, RateLimiter


class Clock:
    """A clock that only sleeping moves."""

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


def test_the_burst_goes_first_then_the_pace() -> None:
    """45 requests at 30 a minute: 30 at once, 15 a minute later, and nothing slower than that."""
    clock = Clock()
    times = list(sent(RateLimiter(30, clock=clock, sleep=clock.sleep), clock, 45))
    assert times == [1_000.0] * 30 + [1_000.0 + WINDOW] * 15


@given(st.integers(1, 40), st.lists(st.floats(0, 90), max_size=120))
def test_no_minute_has_more_than_the_budget(limit: int, pauses: list[float]) -> None:
    """Whatever the pauses between requests, no 60 seconds hold more than the limit."""
    clock = Clock()
    budget = RateLimiter(limit, clock=clock, sleep=clock.sleep)
    times = []
    for pause in pauses:
        clock.now += pause
        budget.wait()
        times.append(clock.now)
    for start in times:
        assert sum(start <= moment < start + 60 for moment in times) <= limit


def test_threads_share_one_budget() -> None:
    """The limit is the account's, not the thread's."""
    clock = Clock()
    delays: list[float] = []
    budget = RateLimiter(10, clock=clock, sleep=delays.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: budget.wait(), range(25)))
    assert len(delays) == 15
    assert all(delay in {WINDOW, 2 * WINDOW} for delay in delays)


def test_without_a_limit_nobody_waits() -> None:
    """None is no limit."""
    clock = Clock()
    assert list(sent(RateLimiter(None, clock=clock, sleep=clock.sleep), clock, 1000)) == [1_000.0] * 1000


def test_the_providers_own_limit_lowers_the_budget() -> None:
    """X-RateLimit-Limit below the configured number wins; above it, the configured number stays."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-limit": "10"})
    budget.observe({"x-ratelimit-limit": "500"})
    assert budget.requests_per_minute == 10


def test_an_empty_allowance_is_waited_for() -> None:
    """X-RateLimit-Remaining: 0 holds the next request until X-RateLimit-Reset, in either of its forms."""
    for reset, wall in (("20", 0.0), (str(1_800_000_020), 1_800_000_000.0)):
        clock = Clock()
        budget = RateLimiter(30, clock=clock, sleep=clock.sleep, wall_clock=lambda wall=wall: wall)  # type: ignore[misc]
        budget.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})
        assert list(sent(budget, clock, 1)) == [1_020.0]


def test_a_small_allowance_is_all_that_goes_out() -> None:
    """X-RateLimit-Remaining: 5 lets five requests go, and the others wait for the reset; it is foreseen, too."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "50"})
    assert [budget.seconds_for(requests) for requests in (5, 6, 20)] == [0, 50, 50]
    assert list(sent(budget, clock, 20)) == [1_000.0] * 5 + [1_050.0] * 15
    assert list(sent(RateLimiter(None, clock=clock, sleep=clock.sleep), clock, 1)) == [1_050.0]


def test_the_least_that_answers_tell_is_left() -> None:
    """An answer that was overtaken by a later one does not give back what is used; after the reset a new one counts."""
    clock = Clock()
    budget = RateLimiter(None, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "20"})
    budget.observe({"x-ratelimit-remaining": "9", "x-ratelimit-reset": "20"})
    assert list(sent(budget, clock, 2)) == [1_000.0, 1_020.0]
    budget.observe({"x-ratelimit-remaining": "2", "x-ratelimit-reset": "60"})
    assert list(sent(budget, clock, 3)) == [1_020.0, 1_020.0, 1_080.0]


def test_who_slept_looks_again() -> None:
    """Another thread may have been told meanwhile that nothing is left."""
    clock = Clock()
    budget = RateLimiter(1, clock=clock)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now == 1_000.0 + WINDOW:
            budget.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"})

    budget.sleep = sleep
    assert list(sent(budget, clock, 2)) == [1_000.0, 1_000.0 + WINDOW + 30]


def test_nonsense_in_headers_is_ignored() -> None:
    """A header that is no number, or a reset in a year, does not stop a run."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    budget.observe({"x-ratelimit-limit": "many", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "31536000"})
    assert list(sent(budget, clock, 1)) == [1_000.0]
    assert budget.requests_per_minute == 30


def test_how_long_requests_will_take_is_known_beforehand() -> None:
    """Asking for it takes no turn, and what was sent a moment ago counts."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    assert [budget.seconds_for(requests) for requests in (0, 30, 31, 60, 61)] == [0, 0, WINDOW, WINDOW, 2 * WINDOW]
    assert list(sent(budget, clock, 20)) == [1_000.0] * 20
    assert [budget.seconds_for(requests) for requests in (10, 11)] == [0, WINDOW]
    assert RateLimiter(None).seconds_for(1_000_000) == 0


def test_what_is_left_is_told() -> None:
    """What the minute still holds, less where the provider says less, and nothing is said where no limit is known."""
    clock = Clock()
    budget = RateLimiter(30, clock=clock, sleep=clock.sleep)
    list(sent(budget, clock, 12))
    assert budget.remaining() == 18
    budget.observe({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "20"})
    assert budget.remaining() == 5
    clock.sleep(WINDOW + 1)
    assert budget.remaining() == 30
    assert RateLimiter(clock=clock).remaining() is None
